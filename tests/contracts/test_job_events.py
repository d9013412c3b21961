"""What happens to a job is written with the change itself, and stays to be told until it is marked as told."""

from collections.abc import Callable

import pytest

from adapters.stores.open import Store
from domain.item import ItemState
from domain.job import EVENTS_KEPT, EventKind, JobEvent, JobState
from domain.ports import JobStore
from tests.support.lives import HOUR, JOB_ID, claimed, failed, finish_of, job, job_in

A, S, W, R, F, O = (  # noqa: E741 - a letter each, for the table below
    EventKind.ACCEPTED,
    EventKind.STARTED,
    EventKind.WAITING,
    EventKind.RESUMED,
    EventKind.FINISHED,
    EventKind.REOPENED,
)
LIVES = {
    JobState.ACCEPTED: [A],
    JobState.RUNNING: [A, S],
    JobState.WAITING: [A, S, W],
    JobState.STOPPING: [A, S],
    JobState.DONE: [A, S, F],
    JobState.DONE_WITH_ERRORS: [A, S, F],
    JobState.CANCELLED: [A, S, F],
    JobState.REOPENING: [A, S, F, O],
}


def events(store: JobStore, job_id: str = JOB_ID) -> list[JobEvent]:
    return [event for untold in store.untold() if untold.job.job_id == job_id for event in untold.events]


def kinds(store: JobStore) -> list[EventKind]:
    return [event.kind for event in events(store)]


@pytest.mark.parametrize("state", LIVES)
def test_every_state_is_reached_with_the_events_that_lead_there(store: Store, state: JobState) -> None:
    reached = job_in(store, state)

    found = events(store)
    assert [event.kind for event in found] == LIVES[state]
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    assert {event.gen for event in found[:-1]} <= {0}
    if state is not JobState.STOPPING:  # that it stops is no news until it is over
        assert (found[-1].state, found[-1].gen) == (state, reached.gen)
    assert all(abs((store.now() - event.at).total_seconds()) < 60 for event in found)
    assert [event.at for event in found] == sorted(event.at for event in found)


def test_an_event_says_why_and_the_last_one_what_became_of_the_portfolios(store: Store) -> None:
    job_in(store, JobState.WAITING)
    assert events(store)[-1].reason == "pricing is out"
    assert events(store)[-1].counts is None

    job_in(store, JobState.CANCELLED, "job-2")
    last = events(store, "job-2")[-1]
    assert (last.reason, last.state) == ("enough", JobState.CANCELLED)
    assert {state: n for state, n in (last.counts or {}).items() if n} == {"cancelled": 1}


def test_a_job_that_cannot_be_opened_is_told_to_wait_once_and_then_that_it_started(store: Store) -> None:
    job_in(store, JobState.ACCEPTED)
    for reason in ("$pricing is out", "pricing is still out"):
        assert store.wait_job(JOB_ID, reason, HOUR)
    assert store.start_job(JOB_ID)

    found = events(store)
    assert [event.kind for event in found] == [A, W, S]
    assert (found[1].state, found[1].reason) == (JobState.ACCEPTED, "$pricing is out")
    assert store.get_job(JOB_ID).reason is None


CHANGES: dict[str, Callable[[JobStore], object]] = {
    "insert_job": lambda store: store.insert_job(job()),
    "start_job": lambda store: store.start_job(JOB_ID),
    "wait_job": lambda store: store.wait_job(JOB_ID, "out", HOUR),
    "resume_job": lambda store: store.resume_job(JOB_ID),
    "close_job": lambda store: store.close_job(JOB_ID, 0),
    "retry_job": lambda store: store.retry_job(JOB_ID, 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_does_not_match_tells_nothing(store: Store, change: str) -> None:
    job_in(store, JobState.CANCELLED)
    before = events(store)

    CHANGES[change](store)

    assert events(store) == before


def test_a_second_end_is_told_after_a_retry_and_the_count_goes_on(store: Store) -> None:
    job_in(store, JobState.REOPENING)
    store.reopen_items(JOB_ID, 1)
    assert store.reopened_job(JOB_ID, 1)
    assert store.finish(finish_of(claimed(store)))
    assert store.close_job(JOB_ID, 1)

    found = events(store)
    assert [event.kind for event in found] == [A, S, F, O, F]
    assert [event.sequence for event in found] == [1, 2, 3, 4, 5]
    assert [event.gen for event in found] == [0, 0, 0, 1, 1]
    first, second = ({s: n for s, n in (found[at].counts or {}).items() if n} for at in (2, 4))
    assert (first, second) == ({"failed": 1}, {"traded": 1})


def test_what_was_marked_is_not_told_again_and_what_came_since_is(store: Store) -> None:
    job_in(store, JobState.RUNNING)
    assert store.mark_told(JOB_ID, 1)
    assert kinds(store) == [S]

    assert store.mark_told(JOB_ID, 2)
    assert store.untold() == []
    assert not store.mark_told(JOB_ID, 2)
    assert not store.mark_told(JOB_ID, 1)

    store.wait_job(JOB_ID, "out", HOUR)
    assert kinds(store) == [W]


def test_a_mark_beyond_the_last_event_does_not_swallow_the_next(store: Store) -> None:
    job_in(store, JobState.ACCEPTED)
    assert store.mark_told(JOB_ID, 9)

    store.start_job(JOB_ID)

    assert kinds(store) == [S]


def test_told_again_means_from_the_beginning(store: Store) -> None:
    job_in(store, JobState.DONE)
    assert not store.tell_again(JOB_ID)
    store.mark_told(JOB_ID, 3)

    assert store.tell_again(JOB_ID)

    assert kinds(store) == [A, S, F]


def test_the_oldest_job_is_told_of_first_and_no_more_than_asked_for(store: Store) -> None:
    for name in ("job-3", "job-1", "job-2"):
        store.insert_job(job(name))

    born = [untold.job.created_at for untold in store.untold() if untold.job.created_at is not None]
    assert born == sorted(born)
    assert len(store.untold(2)) == 2
    assert {untold.job.job_id for untold in store.untold()} == {"job-1", "job-2", "job-3"}


def test_an_upstream_that_comes_and_goes_for_hours_does_not_grow_the_job(store: Store) -> None:
    job_in(store, JobState.RUNNING)
    for _ in range(EVENTS_KEPT // 2):
        assert store.wait_job(JOB_ID, "out", HOUR)
        assert store.resume_job(JOB_ID)

    found = events(store)
    assert len(found) == EVENTS_KEPT
    assert [event.sequence for event in found] == list(range(3, EVENTS_KEPT + 3))


def test_a_deleted_job_may_still_be_told_of(store: Store) -> None:
    store.delete_job(job_in(store, JobState.DONE).job_id, 0)

    assert kinds(store) == [A, S, F]


def test_a_failed_portfolio_is_in_the_counts_of_the_end(store: Store) -> None:
    job_in(store, JobState.RUNNING)
    failed(store, claimed(store))
    store.close_job(JOB_ID, 0)

    assert (events(store)[-1].counts or {})[ItemState.FAILED] == 1
