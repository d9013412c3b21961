"""I3 and the next I2 in one write, on every store: each as it would be alone, and the bound as ever."""

from dataclasses import replace

import pytest

from adapters.stores.open import Store, open_store
from domain.item import Item, ItemState, Out
from domain.ports import ClaimMiss, Member
from tests.support.lives import (
    ALL_OLD,
    HOUR,
    JOB_ID,
    OWNER,
    claimed,
    expanded,
    finish_of,
    job,
    members,
    stale,
    woken,
)

NEXT = f"{OWNER}:next"


def test_the_finished_item_is_as_after_a_finish_and_the_next_as_after_a_claim(store: Store) -> None:
    expanded(store, n=2, parallelism=1)
    first = claimed(store)

    folded = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert folded.stored is True
    assert isinstance(folded.claimed, Item)
    done, running = store.list_items(JOB_ID, bodies=True)
    assert (done.item_id, done.state, done.out, done.seat) == (first.item_id, ItemState.TRADED, Out.DUE, None)
    assert (done.result, done.order_set) == (finish_of(first).result, finish_of(first).order_set)
    assert [attempt.cause for attempt in done.attempts] == ["traded"]
    assert (running.state, running.seat, running.owner, running.fence, running.attempt) == (
        *(ItemState.RUNNING, 0, NEXT),
        *(1, 1),
    )
    assert replace(folded.claimed, touched=running.touched) == running
    assert running.touched is not None
    assert store.finish(finish_of(folded.claimed))


def test_with_nothing_left_the_finish_stands_and_the_seat_is_free(store: Store) -> None:
    expanded(store)

    folded = store.finish_and_claim(finish_of(claimed(store)), JOB_ID, 0, NEXT)

    assert (folded.stored, folded.claimed) == (True, ClaimMiss.NOTHING_PENDING)
    assert store.count_items(JOB_ID) == {"traded": 1}
    assert store.busy_seats(JOB_ID) == {}


def test_a_whole_stripe_is_worked_in_one_slice_each_item_once(store: Store) -> None:
    expanded(store, n=150, parallelism=1)  # more than two pages of candidates
    item: Item | ClaimMiss = claimed(store)
    seen = []
    while isinstance(item, Item):
        seen.append(item.seq)
        folded = store.finish_and_claim(finish_of(item), JOB_ID, 0, NEXT)
        assert folded.stored
        item = folded.claimed

    assert seen == list(range(150))
    assert store.count_items(JOB_ID) == {"traded": 150}


def test_repeated_after_a_lost_reply_it_says_stored_and_claims_no_second_item(store: Store) -> None:
    expanded(store, n=3)
    first = claimed(store)
    store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    again = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert (again.stored, again.claimed) == (True, ClaimMiss.SEAT_BUSY)
    assert store.count_items(JOB_ID) == {"traded": 1, "running": 1, "pending": 1}
    assert store.get_item(store.busy_seats(JOB_ID)[0]).owner == NEXT


def test_repeated_when_the_lost_reply_took_the_last_item_it_says_stored_and_claims_nothing(
    store: Store,
) -> None:
    expanded(store, n=2)
    first = claimed(store)
    store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    again = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert again.stored is True
    assert isinstance(again.claimed, ClaimMiss)
    assert store.count_items(JOB_ID) == {"traded": 1, "running": 1}


def test_a_zombie_overwrites_nothing_and_may_claim_on_a_seat_that_is_free(store: Store) -> None:
    expanded(store, n=3)
    first = claimed(store)
    store.expire_items(ALL_OLD, max_attempts=3)

    folded = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert folded.stored is False
    assert isinstance(folded.claimed, Item)
    assert folded.claimed.item_id != first.item_id
    assert store.get_item(first.item_id).state is ItemState.DELAYED
    assert store.get_item(first.item_id).result is None


def test_a_zombie_whose_seat_is_taken_neither_stores_nor_claims(store: Store) -> None:
    expanded(store, n=3)
    first = claimed(store)
    store.expire_items(ALL_OLD, max_attempts=3)
    other = claimed(store, owner="another")

    folded = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert (folded.stored, folded.claimed) == (False, ClaimMiss.SEAT_BUSY)
    assert store.busy_seats(JOB_ID) == {0: other.item_id}


def test_a_stale_fence_stores_nothing_though_the_item_runs(store: Store) -> None:
    expanded(store, n=2)
    item = claimed(store)

    folded = store.finish_and_claim(finish_of(stale(item)), JOB_ID, 0, NEXT)

    assert (folded.stored, folded.claimed) == (False, ClaimMiss.SEAT_BUSY)
    assert store.get_item(item.item_id).state is ItemState.RUNNING


def test_a_finish_that_was_stored_before_is_recognised_where_another_sits_now(store: Store) -> None:
    expanded(store, n=3)
    first = claimed(store)
    store.finish(finish_of(first))
    claimed(store, owner="another")

    folded = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert (folded.stored, folded.claimed) == (True, ClaimMiss.SEAT_BUSY)


def test_an_item_that_was_worked_on_before_comes_with_its_history(store: Store) -> None:
    expanded(store, n=2, parallelism=1)
    given = claimed(store)
    store.give_back(given.item_id, given.fence, "accounting is out", delay_seconds=-1)
    first = claimed(store)
    assert woken(store) == 1

    folded = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert folded.stored
    assert isinstance(folded.claimed, Item)
    assert (folded.claimed.item_id, folded.claimed.fence, folded.claimed.given_back) == (given.item_id, 2, 1)
    assert [attempt.cause for attempt in folded.claimed.past_attempts] == ["accounting is out"]


def test_an_item_with_data_of_its_own_brings_them(store: Store) -> None:
    stored = store.insert_job(job(n=3, parallelism=1))
    store.insert_items(
        stored, 0, [Member(portfolio_id=one.portfolio_id, inline=b'{"cash":1}') for one in members(3)]
    )
    first = claimed(store)

    folded = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert isinstance(folded.claimed, Item)
    assert folded.claimed.inline == first.inline == b'{"cash":1}'


def test_a_page_of_candidates_that_went_stale_costs_a_look_and_nothing_more(
    store: Store, store_url: str
) -> None:
    expanded(store, n=6, parallelism=1)
    first = claimed(store)  # and, where there are pages, a page of the other five
    other = open_store(store_url, synchronous="off")
    taken = {claimed(other, seat=seat).item_id for seat in (1, 2)}
    other.close()

    folded = store.finish_and_claim(finish_of(first), JOB_ID, 0, NEXT)

    assert folded.stored
    assert isinstance(folded.claimed, Item)
    assert folded.claimed.item_id not in {first.item_id, *taken}
    assert store.count_items(JOB_ID) == {"traded": 1, "running": 3, "pending": 2}


def test_a_dry_run_leaves_nothing_due(store: Store) -> None:
    expanded(store, n=2)
    finish = replace(finish_of(claimed(store)), order_set=None)

    assert store.finish_and_claim(finish, JOB_ID, 0, NEXT).stored

    assert store.get_item(finish.item_id).out is None
    assert list(store.due_items(ALL_OLD)) == []


def test_a_fold_cannot_end_in_a_state_that_is_not_decided(store: Store) -> None:
    expanded(store, n=2)
    finish = replace(finish_of(claimed(store)), state=ItemState.FAILED)

    with pytest.raises(ValueError, match="finish cannot end in failed"):
        store.finish_and_claim(finish, JOB_ID, 0, NEXT)

    assert store.count_items(JOB_ID) == {"running": 1, "pending": 1}
    assert store.expire_items(HOUR, max_attempts=3) == []
