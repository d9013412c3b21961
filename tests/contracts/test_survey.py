"""How much is open, alike in every store: what is over never counts, and nothing is counted without end."""

from dataclasses import replace

import pytest

from adapters.stores.open import Store
from domain.item import OPEN_STATES, ItemState
from domain.job import OPEN, JobState
from tests.support.lives import JOB_ID, claimed, expanded, failed, finish_of, item_in, job, job_in


def test_an_empty_store_has_nothing_open(store: Store) -> None:
    survey = store.survey(10)

    assert (dict(survey.jobs), dict(survey.oldest_jobs)) == ({}, {})
    assert dict(survey.portfolios) == dict.fromkeys(OPEN_STATES, 0)
    assert (survey.due, survey.oldest_due) == (0, 0)


@pytest.mark.parametrize("state", JobState)
def test_a_job_counts_in_its_state_until_it_is_over(store: Store, state: JobState) -> None:
    job_in(store, state)

    assert dict(store.survey(10).jobs) == ({state: 1} if state in OPEN else {})


@pytest.mark.parametrize("state", ItemState)
def test_a_portfolio_counts_in_its_state_until_it_is_over(store: Store, state: ItemState) -> None:
    item_in(store, state)

    counted = {each: n for each, n in store.survey(10).portfolios.items() if n}
    assert counted == ({state: 1} if state in OPEN_STATES else {})


def test_portfolios_of_all_jobs_are_counted_and_no_more_than_asked(store: Store) -> None:
    for number in range(3):
        expanded(store, f"job-{number}", n=4)
    claimed(store, "job-1")

    assert store.survey(100).portfolios[ItemState.PENDING] == 11
    assert store.survey(100).portfolios[ItemState.RUNNING] == 1
    assert store.survey(5).portfolios[ItemState.PENDING] == 5
    assert sum(store.survey(2).jobs.values()) == 2


def test_a_state_is_as_old_as_its_oldest_job_but_a_retry_makes_nothing_old(store: Store) -> None:
    job_in(store, JobState.REOPENING)
    oldest = store.insert_job(job("job-first"))
    store.insert_job(job("job-second"))

    ages = store.survey(10).oldest_jobs
    assert oldest.created_at is not None
    assert 0 <= ages[JobState.ACCEPTED] <= (store.now() - oldest.created_at).total_seconds()
    assert ages[JobState.REOPENING] == 0


def test_the_outbox_is_as_old_as_its_oldest_order_set_and_empty_once_all_are_sent(store: Store) -> None:
    expanded(store, n=3)
    first = claimed(store)
    store.finish(finish_of(first))
    failed(store, claimed(store))
    second = claimed(store)
    store.finish(finish_of(second))
    decided_at = store.get_item(first.item_id).touched
    assert decided_at is not None

    survey = store.survey(10)
    assert survey.due == 2
    assert 0 <= survey.oldest_due <= (store.now() - decided_at).total_seconds()
    assert store.survey(1).due == 1

    store.mark_sent([first.item_id, second.item_id])
    assert (store.survey(10).due, store.survey(10).oldest_due) == (0, 0)


def test_the_trace_of_a_request_is_stored_with_its_job(store: Store) -> None:

    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    store.insert_job(replace(job(), trace_parent=parent))

    assert store.get_job(JOB_ID).trace_parent == parent
