"""A whole job while connections to the store break all the time, before and after writes: every promise is kept."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import stamina
from structlog.testing import capture_logs

from adapters.stores.open import Store
from domain.errors import StoreUnavailable
from domain.job import Job, JobState
from domain.ports import JobStore
from tasks.run_token import run_token
from tasks.services import Rules
from tests.support.lost_replies import BreakingStore
from tests.support.waiting import eventually
from tests.support.world import SHORT_RULES, World

PORTFOLIOS = 12
PARALLELISM = 3
# A claim nobody heard of costs an attempt when its lease ends: here that happens more often than in a year.
MANY_ATTEMPTS = replace(SHORT_RULES, max_attempts=1000, lease_seconds=0.2)
LONG_LEASE = replace(SHORT_RULES, lease_seconds=60.0, lost_token_seconds=60.0)


@pytest.fixture(autouse=True)
def _without_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3), capture_logs():
        yield


def submitted(world: World) -> Job:
    """As a caller does it: with the same key until there is an answer."""
    while True:
        try:
            return world.submit(parallelism=PARALLELISM)
        except StoreUnavailable:
            continue


def one_round(world: World, job: Job) -> Job:
    """One tick and one token; what either raises, its process would have logged."""
    for act in (world.steward.tick, lambda: deliver_one(world)):
        with suppress(StoreUnavailable):
            act()
        assert len(world.store.busy_seats(job.job_id)) <= PARALLELISM
    return world.job(job)


def deliver_one(world: World) -> None:
    if world.tokens.queue:
        run_token(world.tokens.queue.popleft(), world.services, world.bench)
    else:
        world.bench.marks.flush()


class Worlds:
    """Makes worlds, on one store between them, whose connections to it break; closes them at the end."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self._folder = folder
        self._store_url = store_url
        self.made: list[World] = []
        self.connections: list[BreakingStore] = []

    def calm(self) -> World:
        return self._keep(World.create(self._folder))

    def breaking(self, rules: Rules, *, seed: int | None = None, share: float = 0.0) -> World:
        def connect(store: Store) -> JobStore:
            self.connections.append(BreakingStore(store, seed=seed, share=share))
            return cast("JobStore", self.connections[-1])

        return self._keep(World.create(self._folder, rules, store_url=self._store_url, connect=connect))

    def _keep(self, world: World) -> World:
        self.made.append(world)
        return world


@pytest.fixture
def worlds(tmp_path: Path, store_url: str) -> Iterator[Worlds]:
    worlds = Worlds(tmp_path, store_url)
    yield worlds
    for world in worlds.made:
        world.store.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_job_ends_as_on_a_calm_day_however_often_connections_break(worlds: Worlds, seed: int) -> None:
    calm = worlds.calm()
    calm.book(PORTFOLIOS)
    calm.finish(calm.submit(parallelism=PARALLELISM))
    world = worlds.breaking(MANY_ATTEMPTS, seed=seed, share=0.3)
    world.clock.time = calm.clock.time
    world.book(PORTFOLIOS)
    job = submitted(world)

    done = eventually(lambda: one_round(world, job), lambda job: job.state.closed, seconds=60)
    worlds.connections[0].calm()
    eventually(
        lambda: world.tick().items(job.job_id), lambda items: all(item.out == "sent" for item in items)
    )

    assert (done.state, dict(done.counts)) == (JobState.DONE, {"traded": PORTFOLIOS})
    assert world.publisher.entries == calm.publisher.entries
    assert world.publisher.entries == {item.item_id: item.order_set for item in world.items(job.job_id)}
    assert all(repeat.body == world.publisher.entries[repeat.entry_id] for repeat in world.publisher.repeats)
    assert sum(worlds.connections[0].broken.values()) >= PORTFOLIOS // 2
    assert all(item.attempts[-1].cause == "traded" for item in world.items(job.job_id))


def test_a_claim_whose_reply_is_lost_is_found_again_and_costs_nothing(worlds: Worlds) -> None:
    world = worlds.breaking(LONG_LEASE)
    world.book(2)
    job = world.submit(parallelism=1)
    world.tick(2)
    worlds.connections[0].break_once("claim", "after")

    done = world.finish(job)

    assert dict(done.counts) == {"traded": 2}
    assert dict(done.healing) == {}
    assert [(item.attempt, item.fence) for item in world.items(job.job_id)] == [(1, 1), (1, 1)]


def test_the_claim_of_the_last_portfolio_is_found_again_too(worlds: Worlds) -> None:
    """The repeat is told that nothing is pending, not that its seat is busy."""
    world = worlds.breaking(LONG_LEASE)
    world.book(1)
    job = world.submit()
    world.tick(2)
    worlds.connections[0].break_once("claim", "after")

    done = world.finish(job, rounds=3)

    assert (dict(done.counts), dict(done.healing)) == ({"traded": 1}, {})
    assert [(item.attempt, item.fence) for item in world.items(job.job_id)] == [(1, 1)]


def test_a_seat_that_another_took_while_the_store_was_out_stays_his(worlds: Worlds) -> None:
    world = worlds.breaking(LONG_LEASE)
    world.book(2)
    job = world.submit(parallelism=1)
    world.tick(2)
    world.store.claim(job.job_id, 0, "another worker")
    worlds.connections[0].break_once("claim", "before")

    world.work()

    assert world.counts(job) == {"running": 1, "pending": 1}
    assert world.publisher.entries == {}
