"""Order sets on their way out: together where they can, soon where they must, and never lost by an outage."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from domain.ids import ItemId, JobId
from domain.item import ItemState, Out
from domain.ports import Publication
from tasks.bench import Marks, Outgoing
from tests.support.lives import finish_of, item_in, the_item_id
from tests.support.waiting import eventually
from tests.support.world import World

MINUTE = 60.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path)
    yield world
    world.store.close()


def order_set(world: World) -> Publication:
    item = item_in(world.store, ItemState.TRADED)
    return Publication(item.item_id, item.job_id, finish_of(item).order_set or b"")


def outgoing(world: World, seconds: float = MINUTE) -> Outgoing:
    return Outgoing(world.publisher, Marks(world.store, every_seconds=0.001), every_seconds=seconds)


def test_what_is_published_is_marked(world: World) -> None:
    out = outgoing(world)
    out.add(order_set(world), is_last=True)
    assert not world.publisher.entries

    out.flush()

    eventually(lambda: world.store.get_item(the_item_id()).out, lambda state: state is Out.SENT)


def test_a_timer_publishes_what_waits_and_the_next_one_gets_a_timer_of_its_own(world: World) -> None:
    out = outgoing(world, seconds=0.001)
    for number in ("1", "2"):
        out.add(Publication(ItemId(number), JobId("job"), b"{}"), is_last=False)
        eventually(lambda: list(world.publisher.entries), lambda ids: ids[-1:] == [number])  # noqa: B023 - it waits here


def test_nothing_waits_after_a_close(world: World) -> None:
    out = outgoing(world)
    out.add(Publication(ItemId("job:1"), JobId("job"), b"{}"), is_last=False)

    out.close()
    out.close()

    assert list(world.publisher.entries) == ["job:1"]


def test_an_outage_leaves_it_due_for_the_steward_and_says_which(world: World) -> None:
    out = outgoing(world)
    world.publisher.out = True
    out.add(order_set(world), is_last=True)

    with capture_logs() as logs:
        out.flush()
        out.flush()

    assert [(line["event"], line["items"]) for line in logs] == [("order_sets.still_due", [the_item_id()])]
    assert world.store.get_item(the_item_id()).out is Out.DUE
