"""What stores add for people: items by cause, jobs by portfolio, and a job whose results are deleted (J12)."""

from dataclasses import replace

import pytest

from adapters.stores.open import Store
from domain.ids import JobId
from domain.item import ItemState
from domain.job import CLOSED, Inputs, JobState
from domain.ports import Member
from tests.support import builders
from tests.support.claimers import together
from tests.support.lives import JOB_ID, claimed, expanded, failed, finish_of, job, job_in, members


def listed(store: Store, *portfolios: int, deleted: bool = True) -> set[str]:
    asked = [builders.portfolio_id(number) for number in portfolios]
    return {found.job_id for found in store.list_jobs(portfolio_ids=asked, deleted=deleted)}


def test_jobs_are_found_by_any_of_their_portfolios(store: Store) -> None:
    for name, numbers in (("job-a", (1, 2)), ("job-b", (2, 3)), ("job-c", (4,))):
        stored = store.insert_job(job(name, n=len(numbers)))
        store.insert_items(
            stored, 0, [Member(portfolio_id=builders.portfolio_id(number)) for number in numbers]
        )
    assert listed(store, 2) == {"job-a", "job-b"}
    assert listed(store, 1, 4) == {"job-a", "job-c"}
    assert listed(store, 9) == set()
    assert listed(store) == {"job-a", "job-b", "job-c"}
    assert len(store.list_jobs(portfolio_ids=[builders.portfolio_id(2)], limit=1)) == 1


def test_items_are_listed_by_the_beginning_of_their_reason(store: Store) -> None:
    expanded(store, n=3, parallelism=1)
    for reason in ("solver_timeout: 30 s", "solver_failed: (.*)", "poison"):
        item = claimed(store)
        store.fail_attempt(item.item_id, item.fence, reason, max_attempts=1, delay_seconds=0)

    def reasons(cause: str) -> list[str | None]:
        return [item.reason for item in store.list_items(JOB_ID, cause=cause)]

    assert len(reasons("solver_")) == 2
    assert reasons("solver_failed: (.*)") == ["solver_failed: (.*)"]
    assert reasons("olver") == reasons(".*") == reasons("POISON") == []
    assert len(reasons("")) == 3
    assert store.list_items(JOB_ID, cause="poison", states=[ItemState.TRADED]) == []


@pytest.mark.parametrize("state", JobState)
def test_only_a_closed_job_is_marked_as_deleted_and_only_once(store: Store, state: JobState) -> None:
    stored = job_in(store, state)
    assert store.delete_job(JOB_ID, stored.gen) is (state in CLOSED)
    assert not store.delete_job(JOB_ID, stored.gen)
    found = store.get_job(JOB_ID)
    assert (found.deleted_at is not None) is (state in CLOSED)
    assert replace(found, deleted_at=None) == stored


def test_a_job_is_deleted_at_its_gen_only(store: Store) -> None:
    stored = job_in(store, JobState.DONE)
    assert not store.delete_job(JOB_ID, stored.gen + 1)
    assert not store.delete_job(JobId("nobody-knows"), 0)
    assert store.get_job(JOB_ID).deleted_at is None


def test_a_deleted_job_is_left_out_where_asked(store: Store) -> None:
    stored = job_in(store, JobState.DONE)
    assert [found.job_id for found in store.list_jobs(deleted=False)] == [JOB_ID]
    store.delete_job(JOB_ID, stored.gen)
    assert store.list_jobs(deleted=False) == []
    assert [found.job_id for found in store.list_jobs()] == [JOB_ID]


def test_dry_runs_and_others_are_listed_apart(store: Store) -> None:
    store.insert_job(job("real"))
    store.insert_job(replace(job("dry"), dry_run=True))

    def found(*, dry_run: bool | None) -> set[str]:
        return {each.job_id for each in store.list_jobs(dry_run=dry_run)}

    assert found(dry_run=True) == {"dry"}
    assert found(dry_run=False) == {"real"}
    assert found(dry_run=None) == {"dry", "real"}
    assert store.get_job(JobId("dry")).dry_run


def test_no_retry_brings_a_deleted_job_back(store: Store) -> None:
    stored = job_in(store, JobState.DONE_WITH_ERRORS)
    assert store.delete_job(JOB_ID, stored.gen)
    assert not store.retry_job(JOB_ID, stored.gen)
    assert store.get_job(JOB_ID).state is JobState.DONE_WITH_ERRORS


def test_a_retry_or_the_deletion_comes_first_never_both(store: Store) -> None:
    stored = job_in(store, JobState.DONE_WITH_ERRORS)
    retried, deleted = together(
        [lambda: store.retry_job(JOB_ID, stored.gen), lambda: store.delete_job(JOB_ID, stored.gen)]
    )
    assert retried is not deleted


def test_a_key_whose_results_were_deleted_still_names_the_job(store: Store) -> None:
    stored = job_in(store, JobState.DONE)
    store.delete_job(JOB_ID, stored.gen)
    assert store.insert_job(job()).deleted_at is not None


def test_deleting_items_takes_all_they_hold_and_nothing_of_other_jobs(store: Store) -> None:
    for name in ("job-1", "job-2"):
        stored = store.insert_job(job(name, n=2, parallelism=1))
        store.insert_items(stored, 0, [replace(each, inline=b"inline") for each in members(2)])
        store.freeze_inputs(Inputs(job_id=JobId(name), snapshot=b"prices", sha256="s"))
        store.finish(finish_of(claimed(store, name)))
        failed(store, claimed(store, name))
    kept = store.list_items(JobId("job-2"), bodies=True)
    assert store.delete_items(JobId("job-1")) == 2
    assert store.delete_items(JobId("job-1")) == 0
    assert store.list_items(JobId("job-1")) == []
    assert store.get_inputs(JobId("job-1")) is None
    assert store.list_items(JobId("job-2"), bodies=True) == kept
    assert kept[0].result is not None
    assert store.get_inputs(JobId("job-2")) is not None


def test_what_is_due_is_seen_until_it_is_sent(store: Store) -> None:
    expanded(store)
    assert not store.has_due(JOB_ID)
    item = claimed(store)
    store.finish(finish_of(item))
    assert store.has_due(JOB_ID)
    assert not store.has_due(JobId("another"))
    store.mark_sent([item.item_id])
    assert not store.has_due(JOB_ID)
