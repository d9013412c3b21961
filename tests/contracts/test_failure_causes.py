"""What failed in a job, counted by cause: bounded, and the same in every store."""

import pytest

from adapters.stores.open import Store
from domain.errors import Invalid
from domain.item import ItemState
from domain.ports import CauseCount
from tests.support.lives import JOB_ID, claimed, expanded, finish_of

REASONS = (
    "upstream_fault: accounting gave an answer that cannot be used: b",
    "upstream_fault: accounting gave an answer that cannot be used: a",
    "solver_timeout",
    "poison: attempt 3, the last",
)
FAILED = (ItemState.FAILED,)


def failures(store: Store) -> None:
    expanded(store, n=6, parallelism=1)
    for reason in REASONS:
        item = claimed(store)
        store.fail_attempt(item.item_id, item.fence, reason, max_attempts=1, delay_seconds=0)
    store.finish(finish_of(claimed(store), state=ItemState.REJECTED))


def test_failures_are_counted_by_what_stands_before_the_colon(store: Store) -> None:
    failures(store)
    counted = store.count_causes(JOB_ID, FAILED, limit=100)
    assert [(each.state, each.cause, each.portfolios) for each in counted] == [
        (ItemState.FAILED, "upstream_fault", 2),
        (ItemState.FAILED, "poison", 1),
        (ItemState.FAILED, "solver_timeout", 1),
    ]
    assert counted[0].example == REASONS[1]


def test_each_state_has_causes_of_its_own(store: Store) -> None:
    failures(store)
    counted = store.count_causes(JOB_ID, [ItemState.REJECTED, ItemState.FAILED], limit=100)
    assert sum(each.portfolios for each in counted) == 5
    (rejected,) = (each for each in counted if each.state is ItemState.REJECTED)
    assert rejected == CauseCount(
        state=ItemState.REJECTED, cause=rejected.cause, portfolios=1, example=rejected.example
    )


def test_an_item_without_a_reason_has_the_empty_cause(store: Store) -> None:
    expanded(store, n=2, parallelism=1)
    assert store.count_causes(JOB_ID, [ItemState.PENDING], limit=100) == [
        CauseCount(state=ItemState.PENDING, cause="", portfolios=2, example="")
    ]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_no_more_items_are_looked_at_than_asked(store: Store, limit: int) -> None:
    failures(store)
    assert sum(each.portfolios for each in store.count_causes(JOB_ID, FAILED, limit=limit)) == limit


def test_no_states_and_unknown_jobs_have_no_causes(store: Store) -> None:
    failures(store)
    assert store.count_causes(JOB_ID, [], limit=10) == []
    assert store.count_causes(JOB_ID, [ItemState.CANCELLED], limit=10) == []
    with pytest.raises(Invalid):
        store.count_causes(JOB_ID, FAILED, limit=-1)
