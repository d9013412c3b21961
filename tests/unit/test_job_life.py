"""A job from request to published order sets, with every part real but the world outside."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from adapters.stores.open import Store
from domain.errors import Invalid, KeyReused, NotFound, StoreUnavailable, UpstreamFault, UpstreamUnavailable
from domain.ids import JobId
from domain.item import Item, ItemState, Out
from domain.job import JobState
from domain.ports import ClaimMiss, Finish, JobStore, Token
from tasks.broker_outage import why_it_waits
from tasks.cancel_job import cancel_job
from tasks.run_token import run_token
from tasks.steward import PLENTY
from tests.support import builders
from tests.support.waiting import eventually
from tests.support.world import SHORT_RULES, World
from worker.loops import run_steward


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path)
    yield world
    world.store.close()


# ------------------------------------------------------------------------------------------------ the calm run


def test_every_portfolio_gets_one_result_and_one_order_set_with_the_same_id(world: World) -> None:
    world.book(7)

    job = world.finish(world.submit())

    items = world.items(job.job_id)
    assert job.state is JobState.DONE
    assert dict(job.counts) == {"traded": 7}
    assert [item.item_id for item in items] == sorted(world.publisher.entries)
    assert all(item.out is Out.SENT for item in items)
    assert all(world.publisher.entries[item.item_id] == item.order_set for item in items)


def test_an_undisturbed_run_repairs_nothing(world: World) -> None:
    world.book(9)

    job = world.finish(world.submit(parallelism=3))

    assert dict(job.healing) == {}
    assert world.publisher.repeats == []
    assert all(item.attempt == 1 and item.fence == 1 for item in world.items(job.job_id))


def test_an_order_set_says_what_the_contract_promises(world: World) -> None:
    world.book(1)

    job = world.finish(world.submit(correlation_id="c-1"))

    (body,) = world.publisher.entries.values()
    order_set = json.loads(body)
    assert order_set["schema"] == "trimtab.order-set.v1"
    assert order_set["id"] == f"{job.job_id}:{builders.portfolio_id(1)}"
    assert order_set["outcome"] == "traded"
    assert order_set["correlation_id"] == "c-1"
    assert order_set["proof"]["gap"] == "0.00"
    assert [order["side"] for order in order_set["orders"]] == ["SELL", "BUY", "BUY"]
    assert order_set["orders"][0]["ticker"] == "T1"
    inputs = world.store.get_inputs(job.job_id)
    assert inputs is not None
    assert order_set["snapshot_sha256"] == inputs.sha256


def test_upstreams_are_called_twice_a_job_and_once_a_portfolio(world: World) -> None:
    world.book(12)

    world.finish(world.submit())

    assert len(world.upstreams.calls) == 2 + 12


def test_the_same_inputs_give_the_same_bytes_again(world: World) -> None:
    world.book(3)
    world.finish(world.submit("first"))
    first = dict(world.publisher.entries)

    second = world.finish(world.submit("second"))

    for item_id, body in world.publisher.entries.items():
        if item_id not in first:
            portfolio = item_id.split(":")[1]
            (same,) = (known for key, known in first.items() if key.endswith(portfolio))
            assert body.replace(second.job_id.encode(), b"") == same.replace(
                json.loads(same)["job_id"].encode(), b""
            )


def test_a_job_done_writes_the_models_last_rebalance_date(world: World) -> None:
    model = world.book(1)
    assert model.last_rebalance_date is None

    world.finish(world.submit())

    after = world.store.get_model(model.model_id)
    assert after.last_rebalance_date is not None
    assert after.version == model.version


def test_a_dry_run_publishes_nothing_and_leaves_the_model_alone(world: World) -> None:
    model = world.book(2)

    job = world.finish(world.submit(dry_run=True))

    assert dict(job.counts) == {"traded": 2}
    assert world.publisher.entries == {}
    assert world.store.get_model(model.model_id).last_rebalance_date is None


def test_data_inside_the_request_needs_no_upstream(world: World) -> None:
    world.book(1)
    world.upstreams.out = True

    job = world.finish(
        world.submit(
            portfolios=(builders.portfolio(1000, {1: 5}, number=8), builders.portfolio(0, {}, number=9)),
            prices=builders.prices({1: 10, 2: 20, 3: "29.99"}),
        )
    )

    assert dict(job.counts) == {"traded": 1, "no_trade": 1}
    assert world.upstreams.calls == []


# ------------------------------------------------------------------------------------------------ intake


def test_the_same_key_and_request_is_the_same_job(world: World) -> None:
    world.book(2)

    assert world.submit().job_id == world.submit().job_id
    assert len(world.store.list_jobs()) == 1


def test_the_same_key_with_another_request_is_refused(world: World) -> None:
    world.book(2)
    world.submit(parallelism=2)

    with pytest.raises(KeyReused):
        world.submit(parallelism=3)


def test_a_repeat_is_answered_even_after_the_model_is_gone(world: World) -> None:
    model = world.book(2)
    job = world.submit()
    world.store.delete_model(model.model_id, model.version)

    assert world.submit().job_id == job.job_id


def test_an_unknown_model_is_not_found_and_nothing_is_stored(world: World) -> None:
    with pytest.raises(NotFound):
        world.submit()
    assert world.store.list_jobs() == []


def test_a_model_without_targets_is_refused(world: World) -> None:
    world.store.create_model(builders.model({}, portfolios=[1]))

    with pytest.raises(Invalid, match="no target above 0"):
        world.submit()


def test_a_request_without_portfolios_is_refused(world: World) -> None:
    world.store.create_model(builders.model({1: "0.5"}))

    with pytest.raises(Invalid, match="no portfolios"):
        world.submit()


@pytest.mark.parametrize("parallelism", [0, -1, 100_000])
def test_parallelism_out_of_range_is_refused(world: World, parallelism: int) -> None:
    world.book(1)

    with pytest.raises(Invalid, match="parallelism"):
        world.submit(parallelism=parallelism)


def test_a_deadline_that_has_passed_is_refused(world: World) -> None:
    world.book(1)

    with pytest.raises(Invalid, match="deadline"):
        world.submit(deadline=world.clock.now() - timedelta(seconds=1))


def test_a_portfolio_named_twice_is_refused(world: World) -> None:
    world.book(1)

    with pytest.raises(Invalid, match="more than once"):
        world.submit(portfolio_ids=(builders.portfolio_id(1), builders.portfolio_id(1)))


# ------------------------------------------------------------------------------------------------ outcomes


def test_a_portfolio_nobody_knows_is_rejected_by_name(world: World) -> None:
    world.book(1)
    stranger = builders.portfolio_id(99)

    job = world.finish(world.submit(portfolio_ids=(stranger,)))

    (item,) = world.items(job.job_id)
    assert (item.state, item.reason) == (ItemState.REJECTED, "unknown_portfolio")
    assert stranger in json.loads(item.order_set)["conflicts"][0]["message"]


def test_a_known_portfolio_without_any_balance_is_empty_and_no_error(world: World) -> None:
    world.book(1)
    world.upstreams.known.add(builders.portfolio_id(50))

    job = world.finish(world.submit(portfolio_ids=(builders.portfolio_id(50),)))

    assert dict(job.counts) == {"no_trade": 1}
    assert world.items(job.job_id)[0].reason == "empty"


def test_a_security_without_a_price_rejects_the_portfolio_and_names_it(world: World) -> None:
    world.book(1)
    del world.upstreams.by_ticker[builders.ticker(2)]

    job = world.finish(world.submit())

    (item,) = world.items(job.job_id)
    assert (item.state, item.reason) == (ItemState.REJECTED, "missing_price")
    assert json.loads(item.order_set)["conflicts"][0]["security_id"] == builders.security_id(2)


def test_one_portfolio_that_always_fails_does_not_stop_the_others(world: World) -> None:
    world.book(5)
    world.upstreams.broken[builders.portfolio_id(1)] = UpstreamFault(
        "accounting", "HTML where JSON was promised"
    )

    job = world.finish(world.submit(parallelism=1))

    assert job.state is JobState.DONE_WITH_ERRORS
    assert dict(job.counts) == {"traded": 4, "failed": 1}
    failed = world.items(job.job_id)[0]
    assert failed.attempt == world.services.rules.max_attempts
    assert failed.reason.startswith("upstream_fault")
    assert failed.item_id not in world.publisher.entries


def test_an_error_nobody_foresaw_costs_an_attempt_and_is_told(world: World) -> None:
    world.book(1)
    world.upstreams.broken[builders.portfolio_id(1)] = ZeroDivisionError("oops")

    job = world.finish(world.submit())

    (item,) = world.items(job.job_id)
    assert (item.state, item.reason) == (ItemState.FAILED, "internal_error: oops")


def test_an_answer_that_the_store_refuses_costs_attempts_and_is_told_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    """Larger than a document may be, say. Not by leases running out, one after the other, and called poison then."""
    world = World.create(tmp_path, connect=lambda store: cast("JobStore", Refusing(store)))
    world.book(3)
    with capture_logs():
        job = world.finish(world.submit(parallelism=1))

    assert dict(job.counts) == {"traded": 2, "failed": 1}
    assert "expired" not in job.healing
    refused = next(item for item in world.items(job.job_id) if item.state is ItemState.FAILED)
    assert refused.reason == "too_large: too large to be stored"
    assert [attempt.cause for attempt in refused.attempts] == [refused.reason] * 3
    world.store.close()


class Refusing:
    """A store that takes every answer but those of one portfolio."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*args: Any, **named: Any) -> Any:
            if args and isinstance(args[0], Finish) and args[0].item_id.endswith(builders.portfolio_id(2)):
                raise Invalid("too large to be stored", code="too_large")
            return method(*args, **named)

        return call


def test_retry_brings_failed_portfolios_back_under_the_same_ids(world: World) -> None:
    world.book(3)
    world.upstreams.broken[builders.portfolio_id(2)] = UpstreamFault("accounting", "nonsense")
    job = world.finish(world.submit())
    del world.upstreams.broken[builders.portfolio_id(2)]

    assert world.store.retry_job(job.job_id, job.gen)
    again = world.finish(job)

    assert again.state is JobState.DONE
    assert dict(again.counts) == {"traded": 3}
    assert len(world.publisher.entries) == 3


# ------------------------------------------------------------------------------------------------ seats and tokens


def test_never_more_portfolios_in_work_than_the_parallelism(world: World) -> None:
    world.book(10)
    job = world.submit(parallelism=2)
    world.tick(2)

    claims = [world.store.claim(job.job_id, seat, "w") for seat in (0, 1, 0, 1)]

    assert [isinstance(claim, ClaimMiss) for claim in claims] == [False, False, True, True]
    assert world.counts(job)["running"] == 2


def test_tokens_delivered_twice_change_nothing(world: World) -> None:
    world.book(4)
    job = world.submit()
    world.tick(2)
    world.tokens.queue.extend(tuple(world.tokens.queue) * 5)

    done = world.finish(job)

    assert dict(done.counts) == {"traded": 4}
    assert all(item.attempt == 1 for item in world.items(job.job_id))
    assert world.publisher.repeats == []


def test_a_token_for_a_job_nobody_knows_is_dropped(world: World) -> None:
    run_token(Token(JobId("no-such-job"), 0), world.services, world.bench)

    assert not world.tokens.queue


def test_lost_tokens_are_sent_again(world: World) -> None:
    world.book(3)
    job = world.submit(parallelism=2)
    world.tick(2)
    world.tokens.queue.clear()

    done = world.finish(job)

    assert dict(done.counts) == {"traded": 3}
    assert done.healing["resent"] == 2


def test_a_lost_seat_comes_back_while_the_others_go_on(world: World) -> None:
    world.book(200)
    job = world.submit(parallelism=2)
    world.tick(2)
    world.tokens.queue.pop()

    for _ in range(60):
        world.work(at_most=2)
        world.tick()

    assert {token.seat for token in world.tokens.queue} == {0, 1}
    assert world.job(job).healing["resent"] >= 1


class HastyStore:
    """A store on whose clock 0.3 s pass between any two looks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._now = store.now()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def now(self) -> datetime:
        self._now += timedelta(seconds=0.3)
        return self._now


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[World]:
    """Where the steward takes a token for lost after a few rounds, however long those take."""
    rules = replace(SHORT_RULES, lease_seconds=600.0, lost_token_seconds=1.0)
    world = World.create(tmp_path, rules, connect=lambda store: cast(JobStore, HastyStore(store)))
    yield world
    world.store.close()


def test_a_job_that_waits_behind_one_that_moves_has_lost_no_token(hasty: World) -> None:
    hasty.book(60)
    ahead, behind = hasty.submit("ahead", parallelism=2), hasty.submit("behind", parallelism=2)
    hasty.tick(2)

    while hasty.counts(ahead).get("pending"):
        token = next(token for token in hasty.tokens.queue if token.job_id == ahead.job_id)
        hasty.tokens.queue.remove(token)
        run_token(token, hasty.services, hasty.bench)
        hasty.tick()

    assert dict(hasty.job(behind).healing) == {}


def test_tokens_do_not_pile_up_while_nobody_takes_them(hasty: World) -> None:
    hasty.book(9)
    hasty.submit(parallelism=3)

    hasty.tick(400)

    assert 3 < len(hasty.tokens.queue) <= 3 * PLENTY + 3


def test_a_round_that_fails_for_whatever_reason_does_not_end_the_steward(world: World) -> None:
    world.book(2)
    job = world.submit()
    stop = threading.Event()

    class Odd:
        """A store whose first answer makes no sense, and whose job being open ends the test."""

        def __init__(self) -> None:
            self.rounds = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def expire_items(self, *_rules: object, **_more: object) -> list[object]:
            self.rounds += 1
            if self.rounds == 1:
                raise TypeError("an answer nobody thought of")
            if world.job(job).state is JobState.RUNNING:
                stop.set()
            return []

    with capture_logs() as logs:
        run_steward(replace(world.services, jobs=cast(JobStore, Odd())), 0.001, stop)

    assert world.job(job).state is JobState.RUNNING
    assert [entry["event"] for entry in logs].count("steward.tick_failed") == 1


def test_tokens_that_cannot_be_sent_are_sent_once_the_broker_is_back(world: World) -> None:
    world.book(2)
    job = world.submit()
    world.tokens.out = True
    world.tick(3)
    world.tokens.out = False

    assert dict(world.finish(job).counts) == {"traded": 2}


def test_an_open_job_tells_that_the_broker_is_out_and_forgets_it_when_it_is_back(world: World) -> None:
    world.book(2)
    job = world.submit()
    world.tick(2)
    world.tokens.out = True

    world.tick()
    assert "connection refused" in (why_it_waits(world.job(job), world.services) or "")
    world.tokens.out = False
    world.tick()

    assert why_it_waits(world.job(job), world.services) is None
    world.tokens.out = True
    done = world.finish(job)
    world.tick()
    assert why_it_waits(done, world.services) is None  # it is over: nothing is in its way


def test_a_worker_that_cannot_send_the_next_token_still_keeps_its_result(world: World) -> None:
    world.book(2)
    job = world.submit(parallelism=1)
    world.tick(2)
    world.tokens.out = True
    world.work()
    world.tokens.out = False

    assert world.counts(job) == {"traded": 1, "pending": 1}
    assert dict(world.finish(job).counts) == {"traded": 2}


# ------------------------------------------------------------------------------------------------ crashes


def test_a_portfolio_whose_worker_died_is_done_again(world: World) -> None:
    world.book(2)
    job = world.submit(parallelism=1)
    world.tick(2)
    world.store.claim(job.job_id, 0, "a worker that dies here")
    world.tokens.queue.clear()

    done = world.finish(job)

    assert dict(done.counts) == {"traded": 2}
    assert done.healing["expired"] == 1
    assert [item.attempt for item in world.items(job.job_id)] == [2, 1]


def test_a_portfolio_that_kills_every_worker_is_failed_and_the_job_ends(world: World) -> None:
    world.book(2)
    job = world.submit(parallelism=1)
    world.tick(2)
    world.tokens.queue.clear()

    def die_with_the_first() -> ItemState:
        world.tick()
        world.tokens.queue.clear()
        world.store.claim(job.job_id, 0, "poisoned")
        return world.store.get_item(world.items(job.job_id)[0].item_id).state

    eventually(die_with_the_first, lambda state: state is ItemState.FAILED)
    done = world.finish(job)

    assert dict(done.counts) == {"traded": 1, "failed": 1}
    assert world.items(job.job_id)[0].reason.startswith("poison: ")


def test_a_zombie_can_neither_store_nor_publish(world: World) -> None:
    world.book(1)
    job = world.submit(parallelism=1)
    world.tick(2)
    zombie = world.store.claim(job.job_id, 0, "zombie")
    assert not isinstance(zombie, ClaimMiss)
    done = world.finish(job)
    (item,) = world.items(job.job_id)

    late = Finish(
        item_id=zombie.item_id,
        fence=zombie.fence,
        state=ItemState.TRADED,
        reason="late",
        result=b"late",
        order_set=b"late",
    )

    assert not world.store.finish(late)
    assert world.items(job.job_id) == [item]
    assert dict(done.counts) == {"traded": 1}
    assert world.publisher.entries[item.item_id] == item.order_set


def test_a_result_that_was_stored_but_not_published_is_published_as_stored(world: World) -> None:
    world.book(2)
    job = world.submit()
    world.publisher.out = True
    world.tick(2)
    world.work()
    assert world.counts(job) == {"traded": 2}
    assert world.publisher.entries == {}
    world.publisher.out = False

    eventually(lambda: len(world.tick().publisher.entries), lambda published: published == 2)

    assert all(world.publisher.entries[item.item_id] == item.order_set for item in world.items(job.job_id))
    assert world.job(job).healing["republished"] == 2


class OneByOne:
    """A store that knows of one due order set at a time, as after a loss: each is due so long after its own mark."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def due_items(self, older_than_seconds: float, _limit: int = 1000) -> Sequence[Item]:
        return self._store.due_items(older_than_seconds, 1)


def test_what_falls_due_bit_by_bit_is_told_once_in_a_while_and_counted_to_the_last(tmp_path: Path) -> None:
    rules = replace(SHORT_RULES, due_after_seconds=0.0)
    world = World.create(tmp_path, rules, connect=lambda store: cast(JobStore, OneByOne(store)))
    world.book(6)
    job = world.finish(world.submit())
    world.store.due_again(job.job_id)

    with capture_logs() as logs:
        for _ in range(6):
            world.tick()
            world.clock.time += timedelta(seconds=1)
        world.clock.time += timedelta(seconds=60)
        world.tick(2)

    told = [entry for entry in logs if entry["event"] == "order_sets.republished"]
    assert [(entry["job"], entry["count"]) for entry in told] == [(job.job_id, 1), (job.job_id, 5)]
    assert world.job(job).healing == {"republished": 6}
    world.store.close()


def test_an_order_set_published_but_not_marked_stands_once_on_the_queue(world: World) -> None:
    world.book(1)
    job = world.submit()
    world.tick(2)
    world.bench.marks._waiting = Forgetful()  # type: ignore[assignment]  # the process dies before the marks

    world.work()

    eventually(lambda: world.tick().items(job.job_id)[0].out, lambda out: out is Out.SENT)
    assert len(world.publisher.entries) == 1
    assert [repeat.body for repeat in world.publisher.repeats] == list(world.publisher.entries.values())


class Forgetful(list[object]):
    def append(self, _mark: object) -> None: ...


def test_a_store_that_is_out_for_a_moment_at_the_finish_loses_nothing(world: World) -> None:
    world.book(1)
    job = world.submit()
    world.tick(2)
    rules = replace(world.services.rules, lease_seconds=30.0)
    services = replace(world.services, jobs=cast("JobStore", Flaky(world.store)), rules=rules)

    run_token(world.tokens.queue.popleft(), services, world.bench)

    assert world.counts(job) == {"traded": 1}


class Flaky:
    """A store whose first finish fails as if the connection was lost before it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def finish(self, finish: Finish) -> bool:
        if not self._failed:
            self._failed = True
            raise StoreUnavailable("store", "connection lost")
        return self._store.finish(finish)


# ------------------------------------------------------------------------------------------------ outages


def test_an_outage_burns_no_attempt_and_the_job_says_why_it_waits(world: World) -> None:
    world.book(4)
    job = world.submit(parallelism=2)
    world.tick(2)
    world.upstreams.out = True

    world.work()

    waiting = world.job(job)
    assert waiting.state is JobState.WAITING
    assert "accounting is unavailable" in (waiting.reason or "")
    assert all(item.attempt == 0 for item in world.items(job.job_id))
    assert not world.tokens.queue

    world.upstreams.out = False
    done = world.finish(job)
    assert dict(done.counts) == {"traded": 4}
    assert all(item.attempt == 1 for item in world.items(job.job_id))
    assert done.reason is None


def test_during_an_outage_only_single_probes_go_out(world: World) -> None:
    world.book(4)
    world.submit(parallelism=4)
    world.tick(2)
    world.upstreams.out = True
    world.work()

    sent = []
    for _ in range(30):
        world.tick()
        sent.append([token.probe for token in world.tokens.queue])
        world.work()

    assert any(sent)
    assert all(probes in ([], [True]) for probes in sent)


def test_a_portfolio_whose_own_record_is_out_does_not_block_the_others(world: World) -> None:
    world.book(4)
    world.upstreams.broken[builders.portfolio_id(1)] = UpstreamUnavailable(
        "accounting", "HTTP 500, four times"
    )
    job = world.submit(parallelism=1)

    eventually(lambda: world.tick().work().counts(job), lambda counts: counts.get("traded") == 3)

    world.upstreams.broken.clear()
    assert dict(world.finish(job).counts) == {"traded": 4}


def test_at_its_deadline_what_an_outage_held_up_is_failed_with_the_cause(world: World) -> None:
    world.book(3)
    job = world.submit(deadline=world.clock.now() + timedelta(seconds=0.3))
    world.tick(2)
    world.upstreams.out = True

    done = eventually(lambda: world.tick().work().job(job), lambda job: job.state.closed)

    assert done.state is JobState.DONE_WITH_ERRORS
    assert dict(done.counts) == {"failed": 3}
    assert all(item.reason.startswith("upstream_unavailable") for item in world.items(job.job_id))


def test_an_upstream_out_at_the_start_keeps_the_job_accepted_and_says_so(world: World) -> None:
    world.book(2)
    world.upstreams.out = True
    job = world.submit()
    world.tick(3)

    assert world.job(job).state is JobState.ACCEPTED
    assert "unavailable" in (world.job(job).reason or "")

    world.upstreams.out = False
    assert dict(world.finish(job).counts) == {"traded": 2}


def test_a_bug_at_the_start_is_told_on_the_job_and_in_the_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.book(2)

    def broken() -> Mapping[str, Decimal]:
        raise TypeError("a bug")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(world.upstreams, "prices", broken)
        job = world.submit()
        world.tick(3)

    assert world.job(job).state is JobState.ACCEPTED
    assert world.job(job).reason == "internal_error: TypeError: a bug"
    assert {entry["event"] for entry in logs if entry["log_level"] == "error"} == {"job.open_failed"}
    assert dict(world.finish(job).counts) == {"traded": 2}


def test_more_jobs_than_one_page_are_all_tended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.steward.JOBS_AT_ONCE", 2)
    world.book(1)
    jobs = [world.submit(f"job-{number}") for number in range(5)]

    for job in jobs:
        assert dict(world.finish(job).counts) == {"traded": 1}


def test_a_deadline_before_the_start_still_accounts_for_every_portfolio(world: World) -> None:
    world.book(3)
    world.upstreams.out = True
    job = world.submit(deadline=world.clock.now() + timedelta(seconds=2))

    done = eventually(lambda: world.tick().job(job), lambda job: job.state.closed)

    assert dict(done.counts) == {"failed": 3}


# ------------------------------------------------------------------------------------------------ cancel


def test_cancel_ends_what_is_left_and_keeps_what_is_decided(world: World) -> None:
    world.book(6)
    job = world.submit(parallelism=1)
    world.tick(2)
    world.work(at_most=2)

    cancel_job(job.job_id, world.services)
    done = world.finish(job)

    assert done.state is JobState.CANCELLED
    assert dict(done.counts) == {"traded": 2, "cancelled": 4}
    assert len(world.publisher.entries) == 2


def test_cancel_before_the_start_accounts_for_every_portfolio(world: World) -> None:
    world.book(3)
    job = world.submit()

    cancel_job(job.job_id, world.services)

    assert dict(world.finish(job).counts) == {"cancelled": 3}


def test_cancel_of_a_job_that_is_over_changes_nothing(world: World) -> None:
    world.book(1)
    done = world.finish(world.submit())

    assert cancel_job(done.job_id, world.services) == done


def test_a_price_of_zero_in_the_request_stops_the_job_and_says_so(world: World) -> None:
    world.book(1)

    job = world.finish(world.submit(prices={builders.security_id(1): Decimal(0)}))

    assert job.state is JobState.DONE_WITH_ERRORS
    assert dict(job.counts) == {"failed": 1}


def test_a_tick_asks_the_store_twice_about_a_job_that_goes_on(tmp_path: Path) -> None:
    """What was read of it with the open jobs aside: what is pending, and which seats are taken."""

    class Counting:
        def __init__(self, store: Store) -> None:
            self._store = store
            self.asked: Counter[str] = Counter()

        def __getattr__(self, name: str) -> Any:
            self.asked[name] += 1
            return getattr(self._store, name)

    counting: list[Counting] = []

    def connect(store: Store) -> JobStore:
        counting.append(Counting(store))
        return cast("JobStore", counting[-1])

    world = World.create(tmp_path, connect=connect)
    world.book(4)
    world.submit(parallelism=1)
    world.tick(3)
    counting[0].asked.clear()

    world.tick()

    each_tick = {"expire_items", "wake_items", "now", "due_items", "list_jobs", "untold"}
    assert {name: n for name, n in counting[0].asked.items() if name not in each_tick} == {
        "next_pending": 1,
        "busy_seats": 1,
    }
    world.store.close()
