"""What Celery, and so Flower, is told of a task: its portfolios as its arguments, and what became of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stamina
from celery import Celery
from structlog.testing import capture_logs

from domain.errors import UpstreamFault, UpstreamUnavailable
from domain.item import Item
from domain.ports import Finish, Token
from tasks.account import Account
from tasks.bench import FrozenJob
from tasks.registry import PortfolioFailed, register
from tasks.run_token import Work, answered, run_token
from tasks.services import Services
from tests.support.world import SHORT_RULES, World


@pytest.fixture(autouse=True)
def _without_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3), capture_logs():
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path, replace(SHORT_RULES, slice_portfolios=2, lease_seconds=60.0))
    yield world
    world.store.close()


class Desk:
    """The use cases of a worker, on the world's fakes, with ``work`` done on each portfolio."""

    def __init__(self, world: World, work: Work) -> None:
        self._world = world
        self._work = work

    def run_token(self, token: Token, account: Account) -> None:
        run_token(token, self._world.services, self._world.bench, account.keep(self._work))


class Watched:
    """Celery's task on a desk, and the events it sends. ``deaf``: the broker takes none."""

    def __init__(
        self, world: World, work: Work = answered, *, events: bool = True, deaf: bool = False
    ) -> None:
        app = Celery("t", broker="memory://", set_as_current=False)
        app.conf.worker_send_task_events = events
        register(app, Desk(world, work))
        task: Any = app.tasks["trimtab.run"]
        task.send_event = self._deaf if deaf else self._hear
        self.task = task
        self.events: list[tuple[str, str]] = []

    def _hear(self, name: str, *, retry: bool, kwargs: str) -> None:
        assert not retry
        self.events.append((name, kwargs))

    def _deaf(self, *_told: object, **_fields: object) -> None:
        raise ConnectionRefusedError("no broker")

    def run(self, token: Token) -> str:
        return str(self.task.run(job_id=token.job_id, seat=token.seat))


def token_of(world: World, portfolios: int) -> Token:
    world.book(portfolios)
    world.submit(parallelism=1)
    world.tick(2)
    (token,) = world.tokens.queue
    world.tokens.queue.clear()
    return token


def failing(error: Exception) -> Work:
    def work(_item: Item, _frozen: FrozenJob, _services: Services) -> Finish:
        raise error

    return work


def test_the_arguments_name_the_job_and_every_portfolio_so_far(world: World) -> None:
    watched = Watched(world)
    token = token_of(world, 2)
    first, second = world.upstreams.book

    result = watched.run(token)

    where = f"job={token.job_id} seat=0"
    assert watched.events == [
        ("task-claimed", f"portfolio={first} {where}"),
        ("task-claimed", f"portfolio={first},{second} {where}"),
    ]
    assert result == f"{first} traded; {second} traded"


def test_a_failed_attempt_fails_the_task_with_the_portfolio_and_the_cause(world: World) -> None:
    watched = Watched(world, failing(UpstreamFault("accounting", "not JSON")))
    token = token_of(world, 1)

    with pytest.raises(PortfolioFailed, match=r"^\S+ attempt 1 failed: .*not JSON"):
        watched.run(token)

    assert list(world.tokens.queue) == [token]  # the seat goes on all the same


def test_a_page_of_an_upstream_is_told_in_a_few_lines(world: World) -> None:
    watched = Watched(world, failing(UpstreamFault("accounting", "<html>" * 10_000)))

    with pytest.raises(PortfolioFailed) as failed:
        watched.run(token_of(world, 1))

    assert len(str(failed.value)) <= 500


def test_an_outage_is_no_failure_of_the_task(world: World) -> None:
    watched = Watched(world, failing(UpstreamUnavailable("pricing", "refused")))

    assert "given back: " in watched.run(token_of(world, 1))


def test_a_task_without_a_portfolio_says_so(world: World) -> None:
    watched = Watched(world)
    token = token_of(world, 1)
    watched.run(token)

    assert watched.run(token) == "nothing to do"


def test_who_does_not_watch_pays_for_no_event(world: World) -> None:
    watched = Watched(world, events=False)

    assert watched.run(token_of(world, 1)).endswith(" traded")
    assert watched.events == []


def test_a_broker_that_takes_no_events_does_not_touch_the_work(world: World) -> None:
    watched = Watched(world, deaf=True)

    assert watched.run(token_of(world, 1)).endswith(" traded")
