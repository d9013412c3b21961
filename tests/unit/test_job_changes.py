"""What people and accidents change about a job on its way: retries, parallelism, a queue that forgot, lost tokens."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.stores.open import Store
from domain.errors import Invalid, NotFound, UpstreamFault, WrongState
from domain.ids import JobId
from domain.item import ItemState
from domain.job import Job, JobState, Retry
from domain.ports import ClaimMiss, JobStore, Token
from tasks.bench import SEATS_KNOWN_FOR
from tasks.cancel_job import cancel_job
from tasks.change_parallelism import change_parallelism
from tasks.close_job import close_job_if_finished
from tasks.republish import republish_job
from tasks.retry_job import RetryJob, retry_job
from tasks.run_token import run_token
from tests.support import builders
from tests.support.waiting import eventually
from tests.support.world import SHORT_RULES, World

PATIENT = replace(SHORT_RULES, lost_token_seconds=60.0, lease_seconds=60.0)


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[World]:
    """A world whose steward takes no token for lost and no worker for dead while the test lasts."""
    world = World.create(tmp_path, PATIENT)
    yield world
    world.store.close()


# ------------------------------------------------------------------------------------------------ attempts


def test_every_attempt_is_told_with_its_cause(world: World) -> None:
    world.book(1)
    world.upstreams.broken[builders.portfolio_id(1)] = UpstreamFault("accounting", "nonsense")
    job = world.finish(world.submit())
    world.upstreams.broken.clear()
    retry_job(RetryJob(job_id=job.job_id), world.services)
    world.finish(job)

    (item,) = world.items(job.job_id)

    fault = "upstream_fault: accounting gave an answer that cannot be used: nonsense"
    assert [(one.gen, one.number, one.cause) for one in item.attempts] == [
        (0, 1, fault),
        (0, 2, fault),
        (0, 3, fault),
        (1, 1, "traded"),
    ]
    assert len({one.owner for one in item.attempts}) == 4
    assert all(one.started <= one.ended for one in item.attempts)


def test_a_poison_portfolio_is_parked_and_the_others_go_on(world: World) -> None:
    world.book(6)
    job = world.submit(parallelism=2)
    world.tick(2)
    poison = world.items(job.job_id)[0].item_id

    def die_of_it() -> ItemState:
        """Every worker that claims the poison dies; all other portfolios are worked on as ever."""
        world.tick()
        for seat in (0, 1):
            item = world.store.claim(job.job_id, seat, "doomed")
            if isinstance(item, ClaimMiss) or item.item_id == poison:
                continue
            world.store.fail_attempt(item.item_id, item.fence, "put back", max_attempts=99, delay_seconds=0)
        return world.store.get_item(poison).state

    eventually(die_of_it, lambda state: state is ItemState.FAILED)
    done = world.finish(job)

    assert (done.state, dict(done.counts)) == (JobState.DONE_WITH_ERRORS, {"traded": 5, "failed": 1})
    parked = world.store.get_item(poison)
    assert (parked.reason or "").startswith("poison: attempt 3")
    assert [one.cause for one in parked.attempts] == ["lost_worker"] * 3
    assert poison not in world.publisher.entries


# ------------------------------------------------------------------------------------------------ retry


def failed_job(world: World, portfolios: int = 4, bad: tuple[int, ...] = (2, 3), **changes: Any) -> Job:
    """A closed job whose ``bad`` portfolios failed, for a cause that is gone now."""
    world.book(portfolios)
    for number in bad:
        cause = UpstreamFault("accounting", f"nonsense {number}")
        world.upstreams.broken[builders.portfolio_id(number)] = cause
    job = world.finish(world.submit(**changes))
    world.upstreams.broken.clear()
    assert job.state is JobState.DONE_WITH_ERRORS
    return job


def test_a_retry_brings_all_failures_back_under_the_same_ids_and_ends_done(patient: World) -> None:
    world = patient
    job = failed_job(world)
    published = dict(world.publisher.entries)

    retried = retry_job(RetryJob(job_id=job.job_id), world.services)
    done = world.finish(job)

    assert (retried.state, retried.gen) == (JobState.REOPENING, 1)
    assert (done.state, dict(done.counts)) == (JobState.DONE, {"traded": 4})
    assert sorted(world.publisher.entries) == sorted(item.item_id for item in world.items(job.job_id))
    assert published.items() <= world.publisher.entries.items()
    assert dict(done.healing) == {}


@pytest.mark.parametrize(
    "retry",
    [
        Retry(portfolio_ids=(builders.portfolio_id(3),)),
        Retry(cause="upstream_fault: accounting gave an answer that cannot be used: nonsense 3"),
    ],
)
def test_a_retry_of_some_leaves_the_others_failed(world: World, retry: Retry) -> None:
    job = failed_job(world)

    retry_job(RetryJob(job_id=job.job_id, retry=retry), world.services)
    done = world.finish(job)

    assert (done.state, dict(done.counts)) == (JobState.DONE_WITH_ERRORS, {"traded": 3, "failed": 1})
    assert [item.state for item in world.items(job.job_id)][1] is ItemState.FAILED

    retry_job(RetryJob(job_id=job.job_id), world.services)
    assert dict(world.finish(job).counts) == {"traded": 4}


def test_a_retried_job_gets_time_again(world: World) -> None:
    job = failed_job(world, deadline=world.clock.now() + timedelta(minutes=1))

    by_default = retry_job(RetryJob(job_id=job.job_id), world.services).deadline

    hours = world.services.rules.default_deadline_seconds / 3600
    assert by_default is not None
    assert abs(by_default - world.store.now() - timedelta(hours=hours)) < timedelta(minutes=1)


def test_a_retry_after_the_deadline_is_not_failed_again_at_once(world: World) -> None:
    world.book(2)
    job = world.submit(deadline=world.clock.now() + timedelta(seconds=0.3))
    world.tick(2)
    world.upstreams.out = True
    closed = eventually(lambda: world.tick().work().job(job), lambda job: job.state.closed)
    assert dict(closed.counts) == {"failed": 2}
    world.upstreams.out = False

    deadline = world.store.now() + timedelta(minutes=5)
    retry_job(RetryJob(job_id=job.job_id, deadline=deadline), world.services)

    done = world.finish(job)
    assert (done.deadline, dict(done.counts)) == (deadline, {"traded": 2})


def test_a_job_whose_market_was_never_frozen_is_frozen_by_its_retry(world: World) -> None:
    world.book(3)
    world.upstreams.out = True
    job = world.submit(deadline=world.clock.now() + timedelta(seconds=0.05))
    closed = eventually(lambda: world.tick().job(job), lambda job: job.state.closed)
    assert (dict(closed.counts), world.store.get_inputs(job.job_id)) == ({"failed": 3}, None)

    retry_job(
        RetryJob(job_id=job.job_id, retry=Retry(portfolio_ids=(builders.portfolio_id(2),))), world.services
    )
    world.tick(2)
    assert "unavailable" in (world.job(job).reason or "")  # it is out still
    world.upstreams.out = False

    assert dict(world.finish(job).counts) == {"traded": 1, "failed": 2}
    retry_job(RetryJob(job_id=job.job_id), world.services)
    assert dict(world.finish(job).counts) == {"traded": 3}


def test_a_retry_under_way_is_answered_and_another_is_refused(world: World) -> None:
    job = failed_job(world)
    command = RetryJob(job_id=job.job_id, retry=Retry(cause="upstream"))
    first = retry_job(command, world.services)

    assert retry_job(command, world.services) == first
    with pytest.raises(WrongState, match="when it is over") as refused:
        retry_job(RetryJob(job_id=job.job_id), world.services)
    assert refused.value.code == "job_not_over"


def test_of_two_retries_at_once_one_is_made(world: World) -> None:
    job = failed_job(world)
    command = RetryJob(job_id=job.job_id)
    assert world.store.retry_job(
        job.job_id, 0, Retry(cause="upstream")
    )  # between look and write of the other

    class Late:
        """A store that shows the job as it was before."""

        def __init__(self) -> None:
            self.looks = 0

        def __getattr__(self, name: str) -> object:
            return getattr(world.store, name)

        def get_job(self, job_id: JobId) -> Job:
            self.looks += 1
            return job if self.looks == 1 else world.store.get_job(job_id)

    late = replace(world.services, jobs=Late())  # type: ignore[arg-type]  # it answers every method of the store
    with pytest.raises(WrongState, match="reopening"):
        retry_job(command, late)


def test_a_job_that_is_over_without_failures_has_nothing_to_retry(world: World) -> None:
    world.book(2)
    done = world.finish(world.submit())
    with pytest.raises(WrongState, match="nothing to retry") as refused:
        retry_job(RetryJob(job_id=done.job_id), world.services)
    assert refused.value.code == "nothing_to_retry"


def test_a_cancelled_job_takes_up_nothing_more_though_no_steward_is_there_to_sweep_it(world: World) -> None:
    world.book(20)
    job = world.submit(parallelism=2)
    world.tick()
    world.work(at_most=4)
    cancel_job(job.job_id, world.services)
    world.clock.time += 2 * SEATS_KNOWN_FOR

    world.work()

    assert world.counts(job) == {"traded": 4, "pending": 16}
    assert dict(world.finish(job).counts) == {"traded": 4, "cancelled": 16}


def test_cancelled_portfolios_are_not_retried(world: World) -> None:
    world.book(2)
    job = world.submit()
    cancel_job(job.job_id, world.services)
    world.finish(job)
    with pytest.raises(WrongState, match="cancelled"):
        retry_job(RetryJob(job_id=job.job_id), world.services)


def test_a_job_can_be_cancelled_while_a_retry_puts_its_portfolios_back(world: World) -> None:
    job = failed_job(world)
    retry_job(RetryJob(job_id=job.job_id), world.services)

    stopping = cancel_job(job.job_id, world.services)

    assert (stopping.state, stopping.gen) == (JobState.STOPPING, 1)
    assert (
        close_job_if_finished(job.job_id, world.services) is None
    )  # a late worker, before any of them is back
    closed = world.finish(job)
    assert closed.state is JobState.CANCELLED
    assert dict(closed.counts) == {"cancelled": job.counts["failed"]} | {
        state: count for state, count in job.counts.items() if state != "failed"
    }
    # A steward that read the job as it reopened, and only now comes to put its portfolios back.
    assert world.store.reopen_items(job.job_id, 1, Retry()) == 0


def test_a_cause_nothing_failed_by_is_refused(world: World) -> None:
    job = failed_job(world)
    with pytest.raises(WrongState, match="no failed portfolio of this choice"):
        retry_job(RetryJob(job_id=job.job_id, retry=Retry(cause="solver")), world.services)
    assert world.job(job).state is JobState.DONE_WITH_ERRORS


def test_a_chosen_portfolio_that_has_not_failed_is_named(world: World) -> None:
    job = failed_job(world)
    wrong = tuple(builders.portfolio_id(number) for number in (2, 1, *range(50, 61)))
    with pytest.raises(Invalid, match=f"{builders.portfolio_id(1)}, .* and 2 more"):
        retry_job(RetryJob(job_id=job.job_id, retry=Retry(portfolio_ids=wrong)), world.services)


def test_a_retry_with_a_deadline_in_the_past_is_refused(world: World) -> None:
    job = failed_job(world)
    with pytest.raises(Invalid, match="has passed already"):
        retry_job(RetryJob(job_id=job.job_id, deadline=world.store.now()), world.services)


def test_a_retry_of_an_unknown_job_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        retry_job(RetryJob(job_id=JobId("nobody")), world.services)


# ------------------------------------------------------------------------------------------------ parallelism


def later(world: World) -> None:
    """So much later that every worker reads a job's seats again."""
    world.clock.time += timedelta(seconds=1)


def test_more_parallelism_fills_the_new_seats_at_once(patient: World) -> None:
    patient.book(8)
    job = patient.submit(parallelism=2)
    patient.tick(2)

    changed = change_parallelism(job.job_id, 5, patient.services)

    assert changed.parallelism == 5
    assert sorted(token.seat for token in patient.tokens.queue) == [0, 1, 2, 3, 4]
    later(patient)
    done = patient.finish(job)
    assert dict(done.counts) == {"traded": 8}
    assert dict(done.healing) == {}


def test_a_worker_takes_the_token_of_a_new_seat_though_it_read_the_seats_just_before(patient: World) -> None:
    patient.book(8)
    job = patient.submit(parallelism=2)
    patient.tick(2)
    patient.work(at_most=2)

    change_parallelism(job.job_id, 3, patient.services)

    assert patient.bench.frozen.has_seat(Token(job.job_id, 2), patient.clock.now())
    done = patient.finish(job)
    assert dict(done.counts) == {"traded": 8}
    assert dict(done.healing) == {}


def test_more_seats_than_portfolios_are_not_filled(patient: World) -> None:
    patient.book(3)
    job = patient.submit(parallelism=2)
    patient.tick(2)
    change_parallelism(job.job_id, 50, patient.services)
    assert sorted(token.seat for token in patient.tokens.queue) == [0, 1, 2]


def test_less_parallelism_ends_the_tokens_of_the_other_seats(patient: World) -> None:
    patient.book(9)
    job = patient.submit(parallelism=4)
    patient.tick(2)
    patient.work(at_most=4)
    in_work = [patient.store.claim(job.job_id, seat, "before") for seat in (2, 3)]

    change_parallelism(job.job_id, 1, patient.services)
    later(patient)
    patient.tokens.queue.extend(Token(job.job_id, seat) for seat in (1, 2, 3))

    while patient.tokens.queue:
        assert patient.store.busy_seats(job.job_id).keys() <= {2, 3}  # what was in work ends in peace
        seat = patient.tokens.queue[0].seat
        waiting = patient.counts(job).get("pending", 0)
        run_token(patient.tokens.queue.popleft(), patient.services, patient.bench)
        assert patient.counts(job).get("pending", 0) == waiting - (seat == 0 and waiting > 0)
    for item in in_work:
        assert not isinstance(item, ClaimMiss)
        assert patient.store.give_back(item.item_id, item.fence, "done with", delay_seconds=-1)

    done = patient.finish(job)
    assert dict(done.counts) == {"traded": 9}
    assert dict(done.healing) == {}


def test_a_worker_learns_of_fewer_seats_within_a_second(patient: World) -> None:
    patient.book(4)
    job = patient.submit(parallelism=2)
    patient.tick(2)
    assert patient.bench.frozen.has_seat(Token(job.job_id, 1), patient.clock.now())
    change_parallelism(job.job_id, 1, patient.services)
    assert patient.bench.frozen.has_seat(Token(job.job_id, 1), patient.clock.now())
    later(patient)
    assert not patient.bench.frozen.has_seat(Token(job.job_id, 1), patient.clock.now())


def test_a_clock_set_back_does_not_keep_old_seats(patient: World) -> None:
    patient.book(4)
    job = patient.submit(parallelism=2)
    assert patient.bench.frozen.has_seat(Token(job.job_id, 1), patient.clock.now())
    change_parallelism(job.job_id, 1, patient.services)
    assert not patient.bench.frozen.has_seat(Token(job.job_id, 1), patient.clock.now() - timedelta(hours=3))


def test_the_seats_of_many_jobs_are_known_but_not_kept_for_ever(patient: World) -> None:
    patient.book(1)
    for number in range(12):
        job = patient.submit(f"k{number}", parallelism=1)
        assert not patient.bench.frozen.has_seat(Token(job.job_id, 1), patient.clock.now())
    assert len(patient.bench.frozen._seats) == 8  # bounded, whatever comes


def test_new_seats_get_tokens_later_when_the_broker_is_out(world: World) -> None:
    world.book(6)
    job = world.submit(parallelism=1)
    world.tick(2)
    world.tokens.out = True

    assert change_parallelism(job.job_id, 3, world.services).parallelism == 3

    world.tokens.out = False
    later(world)
    assert dict(world.finish(job).counts) == {"traded": 6}


def test_a_job_that_has_not_begun_starts_with_the_new_parallelism(patient: World) -> None:
    patient.book(5)
    job = patient.submit(parallelism=1)
    change_parallelism(job.job_id, 3, patient.services)
    patient.tick(2)
    assert sorted(token.seat for token in patient.tokens.queue) == [0, 1, 2]


@pytest.mark.parametrize("parallelism", [0, -3, 257])
def test_a_parallelism_out_of_range_is_refused(world: World, parallelism: int) -> None:
    world.book(1)
    with pytest.raises(Invalid, match=r"not within 1\.\.256"):
        change_parallelism(world.submit().job_id, parallelism, world.services)


def test_the_parallelism_of_a_job_that_is_over_stays(world: World) -> None:
    world.book(1)
    done = world.finish(world.submit())
    with pytest.raises(WrongState, match="done") as refused:
        change_parallelism(done.job_id, 2, world.services)
    assert refused.value.code == "job_over"
    with pytest.raises(NotFound):
        change_parallelism(JobId("nobody"), 2, world.services)


# ------------------------------------------------------------------------------------------------ woken


def test_portfolios_that_wake_when_all_tokens_have_ended_get_tokens_at_once(patient: World) -> None:
    patient.book(3)
    for number in (1, 2):
        patient.upstreams.broken[builders.portfolio_id(number)] = UpstreamFault("accounting", "nonsense")
    job = patient.submit(parallelism=3)
    patient.tick(2)
    patient.work()
    patient.upstreams.broken.clear()
    assert patient.counts(job) == {"traded": 1, "delayed": 2}

    eventually(lambda: patient.tick().counts(job), lambda counts: counts.get("pending") == 2)

    assert len(patient.tokens.queue) == 2
    done = patient.finish(job)
    assert dict(done.counts) == {"traded": 3}
    assert dict(done.healing) == {}


def test_a_portfolio_that_wakes_while_others_are_pending_calls_no_token(patient: World) -> None:
    patient.book(4)
    patient.upstreams.broken[builders.portfolio_id(1)] = UpstreamFault("accounting", "nonsense")
    job = patient.submit(parallelism=1)
    patient.tick(2)
    patient.work(at_most=1)

    eventually(lambda: patient.tick().counts(job), lambda counts: counts.get("pending") == 4)

    assert len(patient.tokens.queue) == 1


# ------------------------------------------------------------------------------------------------ the queue forgot


def settled(world: World) -> World:
    """Until the stewards have noted the queue as it is now."""
    eventually(
        lambda: world.tick().store.get_note("result queue"), lambda note: note == world.publisher.identity()
    )
    return world


def test_a_queue_that_forgot_everything_gets_it_again_byte_for_byte(world: World) -> None:
    world.book(5)
    first, second = (world.finish(world.submit(key)) for key in ("first", "second"))
    before = dict(world.publisher.entries)
    settled(world).publisher.forget()

    eventually(lambda: len(world.tick().publisher.entries), lambda n: n == len(before))

    assert world.publisher.entries == before
    settled(world)
    for job in (first, second):
        assert world.job(job).healing["republished"] >= 5


def test_a_loss_in_the_middle_of_a_job_is_made_good(world: World) -> None:
    world.book(8)
    job = world.submit(parallelism=2)
    world.tick(2)
    world.work(at_most=4)
    world.publisher.forget()

    world.finish(job)
    settled(world)
    eventually(lambda: len(world.tick().publisher.entries), lambda n: n == 8)

    assert world.publisher.entries == {item.item_id: item.order_set for item in world.items(job.job_id)}


def test_a_mark_written_after_the_loss_was_noticed_hides_nothing(world: World) -> None:
    world.book(1)
    job = world.submit()
    world.tick(2)
    run_token(world.tokens.queue.popleft(), world.services, world.bench)  # published; the mark waits
    world.publisher.forget()
    world.tick()
    assert world.publisher.entries == {}

    world.bench.marks.flush()  # a mark about an entry that is gone

    eventually(lambda: len(world.tick().publisher.entries), lambda n: n == 1)
    assert world.publisher.entries == {item.item_id: item.order_set for item in world.items(job.job_id)}


def test_a_job_that_is_retried_while_its_steward_looks_for_recent_jobs_is_not_overlooked(
    tmp_path: Path,
) -> None:
    """It is not among the open ones yet when these are listed, and no longer among those that are over."""

    class RetriedMeanwhile:
        def __init__(self, store: Store) -> None:
            self._store = store
            self.to_retry: list[JobId] = []

        def list_jobs(self, **asked: Any) -> Any:
            if asked.get("finished_since"):
                while self.to_retry:
                    assert self._store.retry_job(self.to_retry.pop(), 0)
            return self._store.list_jobs(**asked)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

    connected: list[RetriedMeanwhile] = []

    def connect(store: Store) -> JobStore:
        connected.append(RetriedMeanwhile(store))
        return cast("JobStore", connected[-1])

    world = World.create(tmp_path, PATIENT, connect=connect)
    job = failed_job(world)
    before = dict(world.publisher.entries)
    settled(world).publisher.forget()
    connected[0].to_retry.append(job.job_id)

    assert before
    eventually(lambda: len(world.tick().publisher.entries), lambda n: n == len(before))

    assert connected[0].to_retry == []
    assert world.publisher.entries == before
    world.store.close()


def test_the_first_queue_ever_seen_is_noted_and_nothing_is_published(world: World) -> None:
    world.book(2)
    job = world.finish(world.submit())
    settled(world)
    assert dict(world.job(job).healing) == {}
    assert world.publisher.repeats == []


def test_a_queue_that_cannot_tell_is_left_alone(world: World) -> None:
    world.publisher.tells = False
    world.tick(2)
    assert world.store.get_note("result queue") is None


def test_a_queue_that_is_out_is_looked_at_later(world: World) -> None:
    world.publisher.out = True
    world.tick(2)
    assert world.store.get_note("result queue") is None
    world.publisher.out = False
    settled(world)


def test_a_second_loss_during_the_first_is_made_good_too(world: World) -> None:
    world.book(3)
    world.finish(world.submit())
    before = dict(world.publisher.entries)
    settled(world).publisher.forget()
    world.tick()
    world.publisher.forget()

    settled(world)
    eventually(lambda: len(world.tick().publisher.entries), lambda n: n == 3)

    assert world.publisher.entries == before


def test_what_ended_before_the_window_stays_as_it_is(tmp_path: Path) -> None:
    world = World.create(tmp_path, replace(SHORT_RULES, republish_window_seconds=0.001))
    world.book(3)
    done = world.finish(world.submit())
    settled(world).publisher.forget()

    eventually(
        world.store.now,
        lambda now: done.finished_at is not None and now > done.finished_at + timedelta(milliseconds=5),
    )
    settled(world)

    assert world.publisher.entries == {}
    assert republish_job(done.job_id, world.services) == 3
    eventually(lambda: len(world.tick().publisher.entries), lambda n: n == 3)
    world.store.close()


def test_republishing_an_unknown_job_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        republish_job(JobId("nobody"), world.services)


def test_a_price_in_the_request_that_can_never_be_right_stops_the_retry_too(world: World) -> None:
    world.book(1)
    job = world.finish(world.submit(prices={builders.security_id(1): Decimal(0)}))
    retry_job(RetryJob(job_id=job.job_id), world.services)
    again = world.finish(job)
    assert (again.state, dict(again.counts)) == (JobState.DONE_WITH_ERRORS, {"failed": 1})
