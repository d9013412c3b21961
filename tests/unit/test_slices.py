"""Several portfolios a token: every promise of one a token, and nothing that ends a token is put off to its end."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import stamina
from structlog.testing import capture_logs

from adapters.stores.open import Store
from domain.errors import StoreUnavailable, UpstreamFault, UpstreamUnavailable
from domain.ids import PortfolioId
from domain.item import Item, ItemState
from domain.job import Job, JobState
from domain.ports import Finish, JobStore, Token
from tasks.bench import FrozenJob, Outgoing
from tasks.cancel_job import cancel_job
from tasks.change_parallelism import change_parallelism
from tasks.run_token import HandBack, Work, answered, run_token
from tasks.services import Services
from tests.support.lost_replies import BreakingStore
from tests.support.waiting import eventually
from tests.support.world import SHORT_RULES, FakePublisher, World

SLICE = 3
RULES = replace(SHORT_RULES, slice_portfolios=SLICE, lease_seconds=60.0, due_after_seconds=60.0)
WRITES = ("claim", "finish", "finish_and_claim", "mark_sent", "give_back", "fail_attempt")


class Counting:
    """A store that counts what workers ask it to write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        if name in WRITES:
            self.asked[name] += 1
        return getattr(self._store, name)


@pytest.fixture(autouse=True)
def _without_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3), capture_logs():
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path, RULES)
    yield world
    world.store.close()


def running(world: World, portfolios: int, **changes: Any) -> tuple[Job, Token]:
    """A job on one seat, and its token."""
    world.book(portfolios)
    job = world.submit(**{"parallelism": 1, **changes})
    world.tick(2)
    (token,) = world.tokens.queue
    world.tokens.queue.clear()
    return job, token


def at(turn: int, act: Callable[[Item], object]) -> Work:
    """Work as ever, but ``act`` comes first at the ``turn``-th portfolio."""
    seen: list[Item] = []

    def work(item: Item, frozen: FrozenJob, services: Services) -> Finish:
        seen.append(item)
        if len(seen) == turn:
            act(item)
        return answered(item, frozen, services)

    return work


def raising(error: BaseException) -> Callable[[Item], object]:
    def act(_item: Item) -> None:
        raise error

    return act


def test_a_token_works_its_share_and_is_then_passed_on(world: World) -> None:
    job, token = running(world, 5)

    run_token(token, world.services, world.bench)

    assert world.counts(job) == {"traded": SLICE, "pending": 2}
    assert list(world.tokens.queue) == [token]
    assert len(world.publisher.entries) == SLICE


def test_by_default_a_token_is_worth_one_portfolio(tmp_path: Path) -> None:
    world = World.create(tmp_path, replace(RULES, slice_portfolios=1))
    job, token = running(world, 2)

    run_token(token, world.services, world.bench)

    assert world.counts(job) == {"traded": 1, "pending": 1}
    world.store.close()


def test_a_slice_costs_a_claim_and_a_write_for_each_portfolio(tmp_path: Path) -> None:
    counting: list[Counting] = []

    def connect(store: Store) -> JobStore:
        counting.append(Counting(store))
        return cast("JobStore", counting[-1])

    world = World.create(tmp_path, replace(RULES, slice_portfolios=8), connect=connect)
    job, token = running(world, 9)

    run_token(token, world.services, world.bench)

    assert counting[0].asked == {"claim": 1, "finish_and_claim": 7, "finish": 1}
    assert world.counts(job) == {"traded": 8, "pending": 1}
    world.store.close()


def test_every_portfolio_of_a_slice_has_a_claim_of_its_own(world: World) -> None:
    job, token = running(world, SLICE)

    run_token(token, world.services, world.bench)

    items = world.items(job.job_id)
    assert [(item.fence, item.attempt) for item in items] == [(1, 1)] * SLICE
    assert len({item.owner for item in items}) == SLICE
    assert all(item.attempts[0].started is not None for item in items)


def test_a_slice_that_finds_nothing_left_closes_the_job_and_its_token_ends(world: World) -> None:
    job, token = running(world, 2)

    run_token(token, world.services, world.bench)

    assert world.job(job).state is JobState.DONE
    assert not world.tokens.queue
    assert dict(world.job(job).healing) == {}
    assert all(item.out == "sent" for item in world.items(job.job_id))


def test_a_job_in_slices_ends_as_one_portfolio_at_a_time_does(tmp_path: Path) -> None:
    worlds = []
    for share in (1, 4):
        folder = tmp_path / str(share)
        folder.mkdir()
        worlds.append(World.create(folder, replace(RULES, slice_portfolios=share)))
    for world in worlds:
        world.clock.time = worlds[0].clock.time
        world.book(11)
        done = world.finish(world.submit(parallelism=2))
        assert (done.state, dict(done.healing)) == (JobState.DONE, {})

    assert worlds[0].publisher.entries == worlds[1].publisher.entries
    assert len(worlds[0].publisher.entries) == 11
    for world in worlds:
        world.store.close()


def test_a_slice_ends_when_its_time_is_over(world: World) -> None:
    job, token = running(world, 3)
    passed = timedelta(milliseconds=RULES.slice_milliseconds)

    def act(_item: Item) -> None:
        world.clock.time += passed

    run_token(token, world.services, world.bench, at(2, act))

    assert world.counts(job) == {"traded": 2, "pending": 1}
    assert list(world.tokens.queue) == [token]


def test_an_outage_gives_back_what_is_in_hand_and_ends_the_token(world: World) -> None:
    job, token = running(world, 3)

    run_token(
        token, world.services, world.bench, at(2, raising(UpstreamUnavailable("accounting", "refused")))
    )

    assert world.counts(job) == {"traded": 1, "delayed": 1, "pending": 1}
    assert world.job(job).state is JobState.WAITING
    assert not world.tokens.queue
    assert [item.attempt for item in world.items(job.job_id)] == [1, 0, 0]


def test_a_probe_takes_one_portfolio_and_fills_the_seats(world: World) -> None:
    job, token = running(world, 3)
    world.store.wait_job(job.job_id, "accounting is out", 0.0)

    run_token(replace(token, probe=True), world.services, world.bench)

    assert world.counts(job) == {"traded": 1, "pending": 2}
    assert world.job(job).state is JobState.RUNNING


def test_a_portfolio_that_fails_ends_the_slice_and_costs_only_its_own_attempt(world: World) -> None:
    job, token = running(world, 3)

    run_token(token, world.services, world.bench, at(2, raising(UpstreamFault("accounting", "not JSON"))))

    assert world.counts(job) == {"traded": 1, "delayed": 1, "pending": 1}
    assert list(world.tokens.queue) == [token]


def test_a_seat_that_is_taken_away_ends_its_slice_between_two_portfolios(world: World) -> None:
    world.book(6)
    job = world.submit(parallelism=2)
    world.tick(2)
    token = next(token for token in world.tokens.queue if token.seat == 1)

    def act(_item: Item) -> None:
        change_parallelism(job.job_id, 1, world.services)
        world.clock.time += timedelta(seconds=1)

    world = replace(world, services=replace(world.services, rules=replace(RULES, slice_milliseconds=5000.0)))
    run_token(token, world.services, world.bench, at(1, act))

    assert world.counts(job) == {"traded": 1, "pending": 5}
    assert world.store.busy_seats(job.job_id) == {}


def test_a_cancel_stops_a_slice_between_two_portfolios(world: World) -> None:
    job, token = running(world, 3)

    def act(_item: Item) -> None:
        cancel_job(job.job_id, world.services)
        world.tick()

    run_token(token, world.services, world.bench, at(1, act))

    assert world.counts(job) == {"traded": 1, "cancelled": 2}
    assert world.tick().job(job).state is JobState.CANCELLED


def test_what_is_in_hand_when_the_process_is_told_to_end_is_handed_back(world: World) -> None:
    job, token = running(world, 3)

    run_token(token, world.services, world.bench, at(2, raising(HandBack())))

    assert world.counts(job) == {"traded": 1, "delayed": 1, "pending": 1}
    assert [item.attempt for item in world.items(job.job_id)] == [1, 0, 0]
    assert list(world.tokens.queue) == [token]


@pytest.mark.parametrize(("write", "left"), [("claim", 0), ("finish_and_claim", 1)])
def test_a_portfolio_that_was_claimed_in_the_moment_of_the_signal_is_handed_back_too(
    tmp_path: Path, write: str, left: int
) -> None:
    class Signalled(Counting):
        """The write is done, and the signal comes before anybody has its answer."""

        def __getattr__(self, name: str) -> Any:
            method = super().__getattr__(name)

            def call(*args: Any) -> None:
                method(*args)
                raise HandBack

            return call if name == write else method

    world = World.create(tmp_path, RULES, connect=lambda store: cast("JobStore", Signalled(store)))
    job, token = running(world, 3)

    run_token(token, world.services, world.bench)

    counts = world.counts(job)
    assert counts == {"delayed": 1, "pending": 2 - left, **({"traded": left} if left else {})}
    assert [item.attempt for item in world.items(job.job_id) if item.state is ItemState.DELAYED] == [0]
    assert world.store.busy_seats(job.job_id) == {}
    assert list(world.tokens.queue) == [token]
    world.store.close()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("portfolios", [2, 5])
def test_a_fold_whose_connection_breaks_is_repeated_and_costs_nothing(
    tmp_path: Path, moment: Any, portfolios: int
) -> None:
    """With two portfolios the lost reply took the last one: nothing is pending when it is repeated."""
    broken: list[BreakingStore] = []

    def connect(store: Store) -> JobStore:
        broken.append(BreakingStore(store))
        return cast("JobStore", broken[-1])

    world = World.create(tmp_path, RULES, connect=connect)
    job, token = running(world, portfolios)
    broken[0].break_once("finish_and_claim", moment)

    run_token(token, world.services, world.bench)

    assert broken[0].broken == {("finish_and_claim", moment): 1}
    assert world.counts(job)["traded"] == min(portfolios, SLICE)
    assert world.store.busy_seats(job.job_id) == {}
    assert {item.fence for item in world.items(job.job_id)} <= {0, 1}
    assert dict(world.job(job).healing) == {}
    world.store.close()


class RepeatingDriver:
    """A store whose driver repeats a write by itself, when its reply was lost, and tells what came of the second.

    A driver may do that (MongoDB's retryable writes) and a server may have forgotten the first, as after a restart.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in {"claim", "finish_and_claim"}:
            return method

        def twice(*args: object) -> object:
            method(*args)
            return method(*args)

        return twice


@pytest.mark.parametrize("portfolios", [1, 5])
@pytest.mark.parametrize("share", [1, 3])
def test_a_claim_that_the_driver_repeated_by_itself_is_recognised(
    tmp_path: Path, portfolios: int, share: int
) -> None:
    rules = replace(RULES, slice_portfolios=share, lost_token_seconds=60.0)
    world = World.create(tmp_path, rules, connect=lambda store: cast("JobStore", RepeatingDriver(store)))
    world.book(portfolios)

    done = world.finish(world.submit(parallelism=2))

    assert (dict(done.counts), dict(done.healing)) == ({"traded": portfolios}, {})
    assert {item.attempt for item in world.items(done.job_id)} == {1}
    world.store.close()


def test_the_last_claim_of_all_is_found_again_when_its_reply_is_lost(tmp_path: Path) -> None:
    broken: list[BreakingStore] = []

    def connect(store: Store) -> JobStore:
        broken.append(BreakingStore(store))
        return cast("JobStore", broken[-1])

    world = World.create(tmp_path, RULES, connect=connect)
    job, token = running(world, 1)
    broken[0].break_once("claim", "after")

    run_token(token, world.services, world.bench)

    assert world.job(world.submit(parallelism=1)).job_id == job.job_id
    assert world.counts(job) == {"traded": 1}
    world.store.close()


def test_a_store_that_is_out_when_the_seats_are_read_ends_the_slice_and_loses_nothing(tmp_path: Path) -> None:
    class Unread(BreakingStore):
        def __getattr__(self, name: str) -> Any:
            return self._breaking(name, getattr(self._store, name))

    broken: list[BreakingStore] = []

    def connect(store: Store) -> JobStore:
        broken.append(Unread(store))
        return cast("JobStore", broken[-1])

    rules = replace(RULES, slice_milliseconds=5000.0)
    world = World.create(tmp_path, rules, connect=connect)
    job, token = running(world, 3)

    def act(_item: Item) -> None:
        world.clock.time += timedelta(seconds=1)  # what was read of the seats is too old now
        broken[0].break_once("get_job", "before")

    run_token(token, world.services, world.bench, at(2, act))

    assert world.counts(job) == {"traded": 2, "pending": 1}
    assert list(world.tokens.queue) == [token]
    world.store.close()


def test_a_zombie_drops_its_answer_and_goes_on_with_what_it_could_claim(world: World) -> None:
    job, token = running(world, 3)

    def act(_item: Item) -> None:
        world.store.expire_items(-1, max_attempts=3)

    run_token(token, world.services, world.bench, at(1, act))

    assert world.counts(job) == {"delayed": 1, "traded": 2}
    assert world.job(job).healing == {"zombies": 1}
    assert len(world.publisher.entries) == 2


def test_the_order_sets_of_a_slice_go_out_together_at_its_end(world: World) -> None:
    job, token = running(world, 5)
    seen: list[int] = []

    run_token(
        token, world.services, world.bench, at(SLICE, lambda _: seen.append(len(world.publisher.entries)))
    )

    assert seen == [0]
    assert len(world.publisher.entries) == SLICE
    assert [item.out for item in world.items(job.job_id)] == ["due"] * SLICE + [None] * 2
    world.bench.close()
    assert [item.out for item in world.items(job.job_id)] == ["sent"] * SLICE + [None] * 2


def test_a_slow_portfolio_does_not_hold_up_the_order_sets_before_it(world: World) -> None:
    _, token = running(world, 2)
    outgoing = Outgoing(world.publisher, world.bench.marks, every_seconds=0.001)
    bench = replace(world.bench, outgoing=outgoing)

    def act(_item: Item) -> None:
        eventually(lambda: len(world.publisher.entries), lambda published: published == 1)

    run_token(token, world.services, bench, at(2, act))

    assert len(world.publisher.entries) == 2


def test_what_was_stored_is_published_though_the_store_goes_out_in_the_slice(tmp_path: Path) -> None:
    world = World.create(tmp_path, replace(RULES, lease_seconds=0.002))
    _, token = running(world, 3)

    with pytest.raises(StoreUnavailable):
        run_token(
            token, world.services, world.bench, at(2, raising(StoreUnavailable("sqlite", "disk I/O error")))
        )

    assert len(world.publisher.entries) == 1
    world.store.close()


def test_a_result_queue_that_is_out_leaves_the_slice_due_and_loses_nothing(world: World) -> None:
    job, token = running(world, 2)
    world.publisher.out = True

    run_token(token, world.services, world.bench)

    assert world.job(job).state is JobState.DONE
    assert {item.out for item in world.items(job.job_id)} == {"due"}


def test_a_mistake_after_the_next_was_claimed_hands_that_one_back(tmp_path: Path) -> None:
    class Mistaken(Counting):
        def __getattr__(self, name: str) -> Any:
            if name == "note_healing":
                raise ValueError("a mistake of ours")
            return super().__getattr__(name)

    world = World.create(tmp_path, RULES, connect=lambda store: cast("JobStore", Mistaken(store)))
    job, token = running(world, 3)

    def act(_item: Item) -> None:
        world.store.expire_items(-1, max_attempts=3)  # so that its healing is noted

    run_token(token, world.services, world.bench, at(1, act))

    assert world.counts(job) == {"delayed": 2, "pending": 1}
    assert world.store.busy_seats(job.job_id) == {}
    assert sorted(item.attempt for item in world.items(job.job_id)) == [0, 0, 1]
    assert list(world.tokens.queue) == [token]
    world.store.close()


def test_a_publisher_that_raises_anything_leaves_the_slice_due(world: World) -> None:
    class Broken(FakePublisher):
        def publish(self, *_publications: object) -> None:
            raise ValueError("a mistake of ours")

    job, token = running(world, 2)
    bench = replace(world.bench, outgoing=Outgoing(Broken(), world.bench.marks))

    run_token(token, world.services, bench)

    assert world.job(job).state is JobState.DONE
    assert {item.out for item in world.items(job.job_id)} == {"due"}


def test_the_worked_portfolios_are_the_first_of_the_request(world: World) -> None:
    job, token = running(world, 5)
    worked: list[PortfolioId] = []

    def work(item: Item, frozen: FrozenJob, services: Services) -> Finish:
        worked.append(item.portfolio_id)
        return answered(item, frozen, services)

    run_token(token, world.services, world.bench, work)

    assert worked == [item.portfolio_id for item in world.items(job.job_id)][:SLICE]
