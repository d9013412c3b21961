"""The JobStore contract, second part: what an attempt leaves behind, retries by choice, changes of an open job, notes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from adapters.stores.open import Store
from domain.ids import JobId
from domain.item import ATTEMPTS_KEPT, Attempt, Item, ItemState, Out
from domain.job import CLOSED, Job, JobState, Retry
from tests.support.claimers import together
from tests.support.lives import (
    ALL_OLD,
    JOB_ID,
    OWNER,
    claimed,
    expanded,
    failed,
    finish_of,
    item_in,
    job_in,
    members,
    the_item_id,
    woken,
)

UNKNOWN = JobId("nobody-knows")
PORTFOLIOS = [member.portfolio_id for member in members(4)]

# ------------------------------------------------------------------------------------------------ attempts


def error(store: Store, item: Item) -> None:
    store.fail_attempt(item.item_id, item.fence, "solver_failed: no", max_attempts=9, delay_seconds=-1)


def outage(store: Store, item: Item) -> None:
    store.give_back(item.item_id, item.fence, "accounting is out", delay_seconds=-1)


def death(store: Store, _item: Item) -> None:
    store.expire_items(ALL_OLD, max_attempts=9)


def success(store: Store, item: Item) -> None:
    assert store.finish(finish_of(item))


ENDS: dict[str, Callable[[Store, Item], None]] = {
    "solver_failed: no": error,
    "accounting is out": outage,
    "lost_worker": death,
    "traded": success,
}


@pytest.mark.parametrize("cause", ENDS)
def test_an_attempt_is_told_by_the_write_that_ends_it(store: Store, cause: str) -> None:
    expanded(store)
    item = claimed(store)
    assert item.past_attempts == ()
    assert item.attempts == (Attempt(gen=0, number=1, owner=OWNER, started=item.touched),)

    ENDS[cause](store, item)

    after = store.get_item(item.item_id)
    assert after.attempts == after.past_attempts
    (told,) = after.past_attempts
    assert told == Attempt(
        gen=0, number=1, owner=OWNER, started=item.touched, ended=after.touched, cause=cause
    )
    assert told.started is not None
    assert told.ended is not None
    assert told.started.utcoffset() == timedelta(0)
    assert told.started <= told.ended


def test_attempts_are_told_in_order_across_a_retry(store: Store) -> None:
    expanded(store)
    store.start_job(JOB_ID)
    for end in (outage, death):
        end(store, claimed(store))
        assert woken(store) == 1
    failed(store, claimed(store, owner="worker-2"))
    assert store.close_job(JOB_ID, 0)
    store.retry_job(JOB_ID, 0)
    store.reopen_items(JOB_ID, 1)
    store.reopened_job(JOB_ID, 1)
    success(store, claimed(store, owner="worker-3"))

    told = store.get_item(the_item_id()).attempts

    assert [(one.gen, one.number, one.owner, one.cause) for one in told] == [
        (0, 1, OWNER, "accounting is out"),
        (0, 1, OWNER, "lost_worker"),
        (0, 2, "worker-2", "boom"),
        (1, 1, "worker-3", "traded"),
    ]
    (listed,) = store.list_items(JOB_ID)
    assert listed.attempts == told


def test_only_the_last_attempts_are_kept(store: Store) -> None:
    expanded(store)
    for number in range(ATTEMPTS_KEPT + 3):
        item = claimed(store)
        store.give_back(item.item_id, item.fence, f"outage {number}", delay_seconds=-1)
        assert woken(store) == 1

    told = store.get_item(the_item_id()).past_attempts

    assert [one.cause for one in told] == [f"outage {number}" for number in range(3, ATTEMPTS_KEPT + 3)]


def test_a_cause_that_looks_like_an_expression_is_text(store: Store) -> None:
    expanded(store)
    item = claimed(store, owner="$owner")
    store.give_back(item.item_id, item.fence, "$$NOW", delay_seconds=-1)
    (told,) = store.get_item(item.item_id).past_attempts
    assert (told.owner, told.cause) == ("$owner", "$$NOW")


def test_a_repeated_finish_tells_its_attempt_once(store: Store) -> None:
    expanded(store)
    finish = finish_of(claimed(store))
    assert [store.finish(finish) for _ in range(3)] == [True] * 3
    assert len(store.get_item(finish.item_id).past_attempts) == 1


def test_a_zombie_adds_nothing_to_what_is_told(store: Store) -> None:
    expanded(store)
    zombie = claimed(store)
    death(store, zombie)
    for late in (error, outage):
        late(store, zombie)
    assert not store.finish(finish_of(zombie))
    assert [one.cause for one in store.get_item(zombie.item_id).past_attempts] == ["lost_worker"]


# ------------------------------------------------------------------------------------------------ waking


def test_waking_tells_of_which_jobs_and_how_many(store: Store) -> None:
    for job_id, n in (("job-1", 2), ("job-2", 1), ("job-3", 1)):
        expanded(store, job_id, n=n)
        for seat in range(n):
            outage(store, claimed(store, job_id, seat=seat))
    asleep = item_in(store, ItemState.DELAYED, "job-4")

    assert store.wake_items() == {"job-1": 2, "job-2": 1, "job-3": 1}
    assert store.wake_items() == {}
    assert store.get_item(asleep.item_id) == asleep


# ------------------------------------------------------------------------------------------------ retry by choice


def closed_with_failures(store: Store) -> Job:
    """Four portfolios: one traded, the others failed by three causes."""
    expanded(store, n=4, parallelism=1)
    store.start_job(JOB_ID)
    success(store, claimed(store))
    for reason in ("solver_timeout: 30 s", "solver_failed: numbers", "internal_error: (x.*)"):
        item = claimed(store)
        store.fail_attempt(item.item_id, item.fence, reason, max_attempts=1, delay_seconds=0)
    closed = store.close_job(JOB_ID, 0)
    assert closed is not None
    return closed


def pending(store: Store) -> list[int]:
    return [item.seq for item in store.list_items(JOB_ID, states=[ItemState.PENDING])]


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry(), [1, 2, 3]),
        (Retry(cause="solver_"), [1, 2]),
        (Retry(cause="solver_timeout: 30 s"), [1]),
        (Retry(cause="internal_error: (x.*)"), [3]),  # text, no pattern
        (Retry(cause="internal_error: (x.*) and more"), []),
        (Retry(cause="internal_error."), []),
        (Retry(cause="timeout"), []),
        (Retry(portfolio_ids=(PORTFOLIOS[3], PORTFOLIOS[1])), [1, 3]),
        (Retry(portfolio_ids=(PORTFOLIOS[3], PORTFOLIOS[1]), cause="solver_"), [1]),
        (Retry(portfolio_ids=(PORTFOLIOS[0],)), []),  # it has not failed
        (Retry(portfolio_ids=()), []),
    ],
)
def test_a_retry_brings_back_what_was_chosen_and_both_stores_read_a_choice_as_the_domain_does(
    store: Store, retry: Retry, expected: list[int]
) -> None:
    closed = closed_with_failures(store)
    before = {item.seq: item for item in store.list_items(JOB_ID)}
    assert store.retry_job(JOB_ID, closed.gen, retry)
    reopening = store.get_job(JOB_ID)
    assert (reopening.state, reopening.gen, reopening.retry) == (JobState.REOPENING, 1, retry)

    assert store.reopen_items(JOB_ID, 1, retry) == len(expected)
    assert store.reopen_items(JOB_ID, 1, retry) == 0

    assert pending(store) == expected
    chosen = [
        item.seq
        for item in before.values()
        if item.state is ItemState.FAILED and retry.chooses(item.portfolio_id, item.reason)
    ]
    assert sorted(chosen) == expected
    for item in store.list_items(JOB_ID):
        if item.seq not in expected:
            assert item == before[item.seq]


def test_what_one_retry_left_out_the_next_one_brings_back(store: Store) -> None:
    closed_with_failures(store)
    first = Retry(portfolio_ids=(PORTFOLIOS[1],))
    store.retry_job(JOB_ID, 0, first)
    store.reopen_items(JOB_ID, 1, first)
    store.reopened_job(JOB_ID, 1)
    success(store, claimed(store))
    again = store.close_job(JOB_ID, 1)
    assert again is not None
    assert (again.state, again.counts) == (JobState.DONE_WITH_ERRORS, {"traded": 2, "failed": 2})

    store.retry_job(JOB_ID, 1)
    assert store.reopen_items(JOB_ID, 1, first) == 0  # a steward that is late by a whole retry
    assert store.reopen_items(JOB_ID, 2) == 2
    assert pending(store) == [2, 3]


def test_a_retry_may_bring_a_new_deadline(store: Store) -> None:
    deadline = store.now() + timedelta(hours=3, microseconds=7)
    job_in(store, JobState.DONE_WITH_ERRORS, "job-1")
    job_in(store, JobState.DONE_WITH_ERRORS, "job-2")
    store.retry_job(JobId("job-1"), 0, deadline=deadline)
    store.retry_job(JobId("job-2"), 0)
    assert store.get_job(JobId("job-1")).deadline == deadline
    assert store.get_job(JobId("job-2")).deadline is None
    (listed,) = [found for found in store.list_jobs() if found.job_id == "job-1"]
    assert listed.deadline == deadline


def test_a_retried_job_that_was_never_frozen_is_accepted_again(store: Store) -> None:
    job_in(store, JobState.REOPENING)
    store.reopen_items(JOB_ID, 1)
    assert store.reaccept_job(JOB_ID, 1)
    assert not store.reopened_job(JOB_ID, 1)  # a steward that is late
    assert store.get_job(JOB_ID).state is JobState.ACCEPTED
    assert store.start_job(JOB_ID)
    assert claimed(store).gen == 1


def test_a_stop_that_names_a_generation_leaves_every_other_alone(store: Store) -> None:
    job_in(store, JobState.REOPENING)
    store.reopen_items(JOB_ID, 1)
    store.reopened_job(JOB_ID, 1)
    assert not store.stop_job(JOB_ID, ItemState.FAILED, "an earlier deadline", gen=0)
    assert store.get_job(JOB_ID).state is JobState.RUNNING
    assert store.stop_job(JOB_ID, ItemState.FAILED, "deadline", gen=1)
    assert store.get_job(JOB_ID).state is JobState.STOPPING


# ------------------------------------------------------------------------------------------------ an open job changes


@pytest.mark.parametrize("state", JobState)
def test_the_parallelism_of_an_open_job_can_be_changed(store: Store, state: JobState) -> None:
    before = job_in(store, state)
    for given, previous in ((9, before.parallelism), (2, 9), (2, 2)):
        if state in CLOSED:
            assert store.set_parallelism(JOB_ID, given) is None
        else:
            assert store.set_parallelism(JOB_ID, given) == previous
            assert store.get_job(JOB_ID) == replace(before, parallelism=given)
    if state in CLOSED:
        assert store.get_job(JOB_ID) == before


def test_the_parallelism_of_an_unknown_job_is_nobodys(store: Store) -> None:
    assert store.set_parallelism(UNKNOWN, 3) is None


# ------------------------------------------------------------------------------------------------ due again


def test_order_sets_fall_due_again_and_keep_their_bytes_and_stamps(store: Store) -> None:
    expanded(store, n=3)
    expanded(store, "job-2")
    items = [claimed(store, seat=seat) for seat in range(3)]
    for item in (*items[:2], claimed(store, "job-2")):
        store.finish(finish_of(item))
        store.mark_sent([item.item_id])
    before = [store.get_item(item.item_id) for item in items]

    assert store.due_again(JOB_ID) == 2
    assert store.due_again(JOB_ID) == 0
    assert store.due_again(UNKNOWN) == 0

    assert store.get_item(the_item_id("job-2")).out is Out.SENT
    after = [store.get_item(item.item_id) for item in items]
    assert after == [*(replace(item, out=Out.DUE) for item in before[:2]), before[2]]
    assert {item.order_set for item in store.due_items(ALL_OLD)} == {item.order_set for item in before[:2]}


def test_only_what_was_decided_since_a_moment_falls_due_again(store: Store) -> None:
    item = item_in(store, ItemState.TRADED)
    store.mark_sent([item.item_id])
    assert item.touched is not None
    assert store.due_again(JOB_ID, since=item.touched + timedelta(seconds=1)) == 0
    assert store.due_again(JOB_ID, since=item.touched) == 1


def test_a_dry_run_and_what_failed_never_fall_due(store: Store) -> None:
    item_in(store, ItemState.FAILED, "job-1")
    expanded(store, "job-2")
    store.finish(replace(finish_of(claimed(store, "job-2")), order_set=None))
    assert [store.due_again(JobId(name)) for name in ("job-1", "job-2")] == [0, 0]
    assert store.due_items(ALL_OLD) == []


def test_jobs_are_listed_by_when_they_ended(store: Store) -> None:
    done = job_in(store, JobState.DONE, "job-1")
    job_in(store, JobState.RUNNING, "job-2")
    assert done.finished_at is not None
    assert list(store.list_jobs(finished_since=done.finished_at)) == [done]
    assert list(store.list_jobs(finished_since=done.finished_at, states=[JobState.CANCELLED])) == []
    assert list(store.list_jobs(finished_since=done.finished_at + timedelta(seconds=1))) == []


# ------------------------------------------------------------------------------------------------ notes


def test_a_note_is_swapped_only_by_whoever_read_the_last_one(store: Store) -> None:
    assert store.get_note("queue") is None
    assert not store.swap_note("queue", "a guess", "a")
    assert store.swap_note("queue", None, "a")
    assert not store.swap_note("queue", None, "b")
    assert not store.swap_note("queue", "b", "c")
    assert store.swap_note("queue", "a", "b")
    assert store.get_note("queue") == "b"
    assert store.get_note("another") is None


def test_a_note_is_swapped_by_one_of_eight(store: Store) -> None:
    def swap(old: str | None, new: str) -> Callable[[], bool]:
        return lambda: store.swap_note("queue", old, new)

    assert together([swap(None, f"first {number}") for number in range(8)]).count(True) == 1
    first = store.get_note("queue")
    assert together([swap(first, f"second {number}") for number in range(8)]).count(True) == 1
