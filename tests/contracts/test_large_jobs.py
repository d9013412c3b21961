"""Jobs of more portfolios than one write may hold: nothing of them is left over, and nobody is told so too early."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from adapters.stores.open import Store, open_store
from domain.item import ItemState, Out
from domain.job import Job, JobState, Retry
from tests.support.lives import JOB_ID, MEMBERS_SHA, claimed, finish_of, job, members

PORTFOLIOS = 50_000
DECIDED = 5_200  # more than one part of what falls due again
# The surrogate for MongoDB needs milliseconds for each. So many make two parts of every change there; the one test that
# runs on it takes them through all of them.
PORTFOLIOS_ON_MONGODB = 510
AT_ONCE = 1_000


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'store.db'}", synchronous="off")) as store:
        store.prepare()
        yield store


@pytest.fixture
def stewards(store_url: str) -> Iterator[Sequence[Store]]:
    """Two, each with connections of its own."""
    with ExitStack() as held:
        yield [held.enter_context(closing(open_store(store_url, synchronous="off"))) for _ in range(2)]


def expand(store: Store, given: Job) -> None:
    """As a steward does it: from the stored list, a page at a time."""
    for offset in range(0, given.n, AT_ONCE):
        store.insert_items(given, offset, store.members(MEMBERS_SHA, offset, AT_ONCE))


def accepted(store: Store, n: int) -> Job:
    store.put_members(MEMBERS_SHA, members(n))
    return store.insert_job(job(n=n))


def failed_as_a_whole(store: Store, n: int) -> Job:
    """Past its deadline before anything was done."""
    expand(store, accepted(store, n))
    store.start_job(JOB_ID)
    store.stop_job(JOB_ID, ItemState.FAILED, "deadline_passed")
    assert store.sweep_items(store.get_job(JOB_ID)) == n
    closed = store.close_job(JOB_ID, 0)
    assert closed is not None
    return closed


def both(stewards: Sequence[Store], act: Callable[[Store], tuple[int, bool]]) -> tuple[int, list[bool]]:
    """What they changed together, and what each still found when it was done."""
    with ThreadPoolExecutor(len(stewards)) as pool:
        done = list(pool.map(act, stewards))
    return sum(changed for changed, _ in done), [left for _, left in done]


def counts(store: Store) -> dict[str, int]:
    return {state: count for state, count in store.count_items(JOB_ID).items() if count}


@pytest.mark.timeout(120)
def test_fifty_thousand_portfolios_are_expanded_stopped_retried_worked_on_and_cancelled_and_all_are_counted(
    sqlite: Store,
) -> None:
    store, n, decided = sqlite, PORTFOLIOS, DECIDED
    closed = failed_as_a_whole(store, n)
    assert (closed.state, dict(closed.counts)) == (JobState.DONE_WITH_ERRORS, {"failed": n})

    store.retry_job(JOB_ID, 0)
    assert store.reopen_items(JOB_ID, 1) == n
    assert store.reopen_items(JOB_ID, 1) == 0
    assert store.reopened_job(JOB_ID, 1)
    sent = []
    for _ in range(decided):
        item = claimed(store)
        assert store.finish(finish_of(item))
        sent.append(item.item_id)
    assert store.mark_sent(sent) == decided

    assert store.due_again(JOB_ID) == decided  # a queue that forgot
    assert store.due_again(JOB_ID) == 0
    assert len(store.due_items(-1, limit=decided + 1)) == decided
    assert store.mark_sent(sent) == decided

    store.stop_job(JOB_ID, ItemState.CANCELLED, "enough")
    assert store.close_job(JOB_ID, 1) is None
    assert store.sweep_items(store.get_job(JOB_ID)) == n - decided
    cancelled = store.close_job(JOB_ID, 1)
    assert cancelled is not None
    assert (cancelled.state, dict(cancelled.counts)) == (
        JobState.CANCELLED,
        {"traded": decided, "cancelled": n - decided},
    )
    assert {store.get_item(item_id).out for item_id in sent[:: decided // 7]} == {Out.SENT}


@pytest.mark.timeout(120)
def test_an_expansion_that_is_repeated_half_way_leaves_one_item_for_each_portfolio_in_its_place(
    sqlite: Store,
) -> None:
    store, n = sqlite, PORTFOLIOS
    given = accepted(store, n)
    for offset in range(0, n // 2, AT_ONCE):
        store.insert_items(given, offset, store.members(MEMBERS_SHA, offset, AT_ONCE))
    expand(store, given)

    assert counts(store) == {"pending": n}
    wanted = [member.portfolio_id for member in members(n)]
    tail = store.list_items(JOB_ID, after_seq=n - 101, limit=1000)
    assert [(item.seq, item.portfolio_id) for item in tail] == list(enumerate(wanted))[-100:]


@pytest.mark.timeout(120)
def test_of_two_stewards_that_put_the_same_portfolios_back_the_first_to_be_done_finds_all_of_them_back(
    store: Store, store_url: str, stewards: Sequence[Store]
) -> None:
    """Else it would start the job, or sweep and close it, while the other still puts portfolios back."""
    n = PORTFOLIOS_ON_MONGODB if store_url.startswith("mongodb") else PORTFOLIOS
    failed_as_a_whole(store, n)
    store.retry_job(JOB_ID, 0)

    def put_back(mine: Store) -> tuple[int, bool]:
        return mine.reopen_items(JOB_ID, 1, Retry()), mine.has_items(JOB_ID, {ItemState.FAILED})

    assert both(stewards, put_back) == (n, [False, False])
    assert counts(store) == {"pending": n}
