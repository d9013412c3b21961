"""The JobStore contract, one suite for every store. J and I numbers are those of docs/job-protocol.md."""

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from adapters.stores.open import Store, open_store
from domain.errors import Invalid, NotFound, StoreUnavailable
from domain.ids import ItemId, JobId, ModelId
from domain.item import DECIDED_STATES, ITEM_MOVES, Item, ItemState, Out
from domain.job import JOB_MOVES, Inputs, Job, JobState
from domain.ports import ClaimMiss, Member, OpenWork
from tests.support import builders
from tests.support.claimers import claim_in_forked_children, claim_once, together, work_off
from tests.support.lives import (
    ALL_OLD,
    HOUR,
    JOB_ID,
    MEMBERS_SHA,
    OWNER,
    claimed,
    expanded,
    failed,
    finish_of,
    item_in,
    job,
    job_in,
    members,
    stale,
    the_item_id,
    woken,
)

UNKNOWN = JobId("nobody-knows")


def seconds_from(store: Store, moment: datetime | None) -> float:
    assert moment is not None
    return (moment - store.now()).total_seconds()


# ------------------------------------------------------------------------------------------------ the store


def test_prepare_can_be_repeated_and_keeps_what_is_stored(store: Store) -> None:
    expanded(store)
    store.prepare()
    store.ping()
    assert store.get_job(JOB_ID).n == 1


def test_the_clock_is_utc_and_does_not_go_back(store: Store) -> None:
    first = store.now()
    second = store.now()
    assert first.utcoffset() == timedelta(0)
    assert first <= second
    assert abs(seconds_from(store, datetime.now(UTC))) < 60


def test_a_closed_store_opens_again_when_it_is_used(store: Store) -> None:
    expanded(store)
    store.close()
    assert store.get_job(JOB_ID).n == 1


# ------------------------------------------------------------------------------------------------ members and inputs


def test_25000_members_come_back_in_order_and_in_any_part(store: Store) -> None:
    put = members(25_000)
    store.put_members(MEMBERS_SHA, put)
    assert list(store.members(MEMBERS_SHA, 0, 25_000)) == put
    assert list(store.members(MEMBERS_SHA, 998, 5)) == put[998:1003]
    assert list(store.members(MEMBERS_SHA, 24_999, 10)) == put[24_999:]
    assert list(store.members(MEMBERS_SHA, 25_000, 10)) == []
    assert list(store.members(MEMBERS_SHA, 0, 0)) == []
    assert list(store.members("other", 0, 10)) == []


def test_members_put_again_are_the_same_members(store: Store) -> None:
    put = members(2_500)
    store.put_members(MEMBERS_SHA, put[:1_000])  # as a crash after the first chunk leaves them
    store.put_members(MEMBERS_SHA, put)
    store.put_members(MEMBERS_SHA, put)
    assert list(store.members(MEMBERS_SHA, 0, 10_000)) == put


def test_inline_members_larger_than_a_document_in_sum_are_kept(store: Store) -> None:
    put = [Member(portfolio_id=member.portfolio_id, inline=bytes(3_000_000)) for member in members(7)]
    store.put_members(MEMBERS_SHA, put)
    assert list(store.members(MEMBERS_SHA, 0, 3)) == put[:3]
    assert list(store.members(MEMBERS_SHA, 5, 5)) == put[5:]


def test_inputs_are_frozen_once_and_the_first_wins(store: Store) -> None:
    first = Inputs(job_id=JOB_ID, snapshot=b'{"prices":{}}', sha256="a" * 64)
    assert store.get_inputs(JOB_ID) is None
    assert store.freeze_inputs(first) == first
    assert store.freeze_inputs(replace(first, snapshot=b"{}", sha256="b" * 64)) == first
    assert store.get_inputs(JOB_ID) == first


# ------------------------------------------------------------------------------------------------ jobs


def test_a_job_comes_back_as_it_was_inserted_with_the_stores_stamp(store: Store) -> None:
    given = replace(
        job(),
        inline_prices={builders.security_id(1): Decimal("123456789012345678.1234567890123456")},
        dry_run=True,
        deadline=datetime(2027, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    )
    stored = store.insert_job(given)
    assert stored == replace(given, created_at=stored.created_at)
    assert -60 < seconds_from(store, stored.created_at) <= 0
    assert store.get_job(JOB_ID) == stored
    assert stored.deadline is not None
    assert stored.deadline.utcoffset() == timedelta(0)


def test_decimals_of_a_job_keep_every_digit(store: Store) -> None:
    price = Decimal("0.1000000000000001")
    model = builders.model({1: ("0.335", "0.0123456789012345", "1")})
    store.insert_job(replace(job(), model=model, inline_prices={builders.security_id(1): price}))
    stored = store.get_job(JOB_ID)
    assert stored.model.positions[0].low_drift == Decimal("0.0123456789012345")
    assert str(stored.inline_prices and stored.inline_prices[builders.security_id(1)]) == str(price)


def test_a_job_inserted_twice_is_the_one_that_was_first(store: Store) -> None:
    first = store.insert_job(job())
    assert store.insert_job(replace(job(), request_sha256="s" * 64, n=9)) == first
    assert store.get_job(JOB_ID) == first


def test_a_job_inserted_by_eight_at_once_is_one_job(store: Store) -> None:
    def insert(number: int) -> Callable[[], Job]:
        return lambda: store.insert_job(replace(job(), correlation_id=f"corr-{number}"))

    answers = together([insert(number) for number in range(8)])
    assert answers == [store.get_job(JOB_ID)] * 8


def test_an_unknown_job_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="nobody-knows"):
        store.get_job(UNKNOWN)


def test_jobs_are_listed_newest_first_by_state_and_model_and_in_pages(store: Store) -> None:
    ids = [f"job-{number}" for number in range(5)]
    for name in ids:
        store.insert_job(job(name))
    store.insert_job(replace(job("other"), model=replace(job().model, model_id=ModelId("MODEL2"))))
    store.start_job(JobId("job-3"))
    newest_first = sorted(
        store.list_jobs(), key=lambda found: (found.created_at or found.job_id, found.job_id), reverse=True
    )
    assert [found.job_id for found in store.list_jobs()] == [found.job_id for found in newest_first]
    assert {found.job_id for found in store.list_jobs(model_id=ModelId("MODEL1"))} == set(ids)
    assert [found.job_id for found in store.list_jobs(states=[JobState.RUNNING])] == ["job-3"]
    assert store.list_jobs(states=[JobState.RUNNING], model_id=ModelId("MODEL2")) == []
    assert {found.job_id for found in store.list_jobs(states=[JobState.RUNNING, JobState.ACCEPTED])} == {
        *ids,
        "other",
    }
    assert list(store.list_jobs(offset=2, limit=2)) == newest_first[2:4]
    assert store.list_jobs(limit=0) == []


# ------------------------------------------------------------------------------------------------ open work


def test_an_empty_store_has_no_open_work(store: Store) -> None:
    assert store.open_work(10) == OpenWork(jobs=0, portfolios=0, oldest_seconds=0.0)


@pytest.mark.parametrize("state", JobState)
def test_open_work_is_what_is_not_closed(store: Store, state: JobState) -> None:
    expected = 0 if state.closed else 1
    job_in(store, state)
    work = store.open_work(10)
    assert (work.jobs, work.portfolios) == (expected, expected)


def test_open_work_adds_up_portfolios_and_never_looks_at_more_jobs_than_asked(store: Store) -> None:
    for number in range(5):
        store.insert_job(job(f"job-{number}", n=1000))
    assert (store.open_work(10).jobs, store.open_work(10).portfolios) == (5, 5000)
    assert (store.open_work(3).jobs, store.open_work(3).portfolios) == (3, 3000)


def test_open_work_is_as_old_as_its_oldest_job_but_a_retry_makes_nothing_old(store: Store) -> None:
    retried = job_in(store, JobState.REOPENING)
    assert store.open_work(10).oldest_seconds == 0
    oldest = store.insert_job(job("job-first"))
    store.insert_job(job("job-second"))
    age = store.open_work(10).oldest_seconds
    assert 0 <= age <= -seconds_from(store, oldest.created_at)
    assert store.open_work(10).jobs == 3
    assert retried.gen == 1


@pytest.mark.parametrize("page", [{"limit": -1}, {"offset": -1}])
def test_a_page_before_the_first_is_refused(store: Store, page: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        store.list_jobs(**page)  # type: ignore[arg-type]  # mypy reads **page as any keyword
    with pytest.raises(Invalid):
        store.members(MEMBERS_SHA, page.get("offset", 0), page.get("limit", 1))


JOB_ACTIONS: Mapping[str, Callable[[Store, Job], object]] = {
    "start": lambda store, found: store.start_job(found.job_id),
    "wait": lambda store, found: store.wait_job(found.job_id, "pricing is out", HOUR),
    "resume": lambda store, found: store.resume_job(found.job_id),
    "stop": lambda store, found: store.stop_job(found.job_id, ItemState.FAILED, "deadline"),
    "close": lambda store, found: store.close_job(found.job_id, found.gen),
    "retry": lambda store, found: store.retry_job(found.job_id, found.gen),
    "reopened": lambda store, found: store.reopened_job(found.job_id, found.gen),
    "reaccept": lambda store, found: store.reaccept_job(found.job_id, found.gen),
}


def test_every_job_move_is_tested() -> None:
    assert JOB_ACTIONS.keys() == JOB_MOVES.keys()


@pytest.mark.parametrize("state", JobState)
def test_a_job_moves_from_the_states_of_the_table_and_from_no_other(store: Store, state: JobState) -> None:
    for number, (name, move) in enumerate(JOB_MOVES.items()):
        before = job_in(store, state, f"job-{number}", final=name == "close")
        moved = JOB_ACTIONS[name](store, before)
        after = store.get_job(before.job_id)
        if state in move.sources:
            assert moved, name
            assert after.state is (move.target or JobState.DONE), name
        elif (name, state) == ("wait", JobState.ACCEPTED):
            assert moved
            assert (after.state, after.reason) == (JobState.ACCEPTED, "pricing is out")
        else:
            assert not moved, name
            assert after == before, name


@pytest.mark.parametrize("name", JOB_ACTIONS)
def test_a_move_of_an_unknown_job_does_nothing(store: Store, name: str) -> None:
    assert not JOB_ACTIONS[name](store, job(UNKNOWN))


def test_a_job_tells_when_it_started_and_finished(store: Store) -> None:
    done = job_in(store, JobState.DONE)
    assert done.created_at is not None
    assert done.started_at is not None
    assert done.finished_at is not None
    assert done.created_at <= done.started_at <= done.finished_at
    assert done.counts == {"traded": 1}


def test_a_waiting_job_has_a_probe_time_and_why_until_it_runs_again(store: Store) -> None:
    waiting = job_in(store, JobState.WAITING)
    assert waiting.reason == "pricing is out"
    assert HOUR - 60 < seconds_from(store, waiting.probe_at) <= HOUR
    assert store.resume_job(JOB_ID)
    resumed = store.get_job(JOB_ID)
    assert (resumed.state, resumed.reason, resumed.probe_at) == (JobState.RUNNING, None, None)


def test_an_accepted_job_that_waited_starts_with_nothing_left_of_the_wait(store: Store) -> None:
    expanded(store)
    assert store.wait_job(JOB_ID, "pricing is out", HOUR)
    waiting = store.get_job(JOB_ID)
    assert store.probed_job(waiting, 2 * HOUR)
    assert store.get_job(JOB_ID).probes == 1
    assert store.start_job(JOB_ID)
    started = store.get_job(JOB_ID)
    assert (started.reason, started.probe_at, started.probes) == (None, None, 0)


def test_a_probe_is_counted_once_however_many_stewards_send_it(store: Store) -> None:
    waiting = job_in(store, JobState.WAITING)
    assert [store.probed_job(waiting, 2 * HOUR) for _ in range(3)] == [True, False, False]
    probed = store.get_job(JOB_ID)
    assert probed.probes == 1
    assert 2 * HOUR - 60 < seconds_from(store, probed.probe_at) <= 2 * HOUR
    assert not store.probed_job(job_in(store, JobState.RUNNING, "job-2"), HOUR)


def test_a_reason_that_looks_like_an_expression_is_text(store: Store) -> None:
    job_in(store, JobState.RUNNING)
    item = claimed(store)
    assert store.give_back(item.item_id, item.fence, "$state", delay_seconds=1)
    assert store.wait_job(JOB_ID, "$$NOW", HOUR)
    assert store.get_job(JOB_ID).reason == "$$NOW"
    assert store.get_item(item.item_id).reason == "$state"


def test_a_stopped_job_says_what_becomes_of_the_rest_and_why(store: Store) -> None:
    job_in(store, JobState.RUNNING)
    assert store.stop_job(JOB_ID, ItemState.FAILED, "deadline")
    stopping = store.get_job(JOB_ID)
    assert (stopping.stop_to, stopping.reason) == ("failed", "deadline")


def test_a_stop_decided_in_an_earlier_gen_stops_nothing(store: Store) -> None:
    found = store.insert_job(job())

    assert not store.stop_job(JOB_ID, ItemState.FAILED, "deadline", gen=found.gen + 1)
    assert store.get_job(JOB_ID).state is JobState.ACCEPTED
    assert store.stop_job(JOB_ID, ItemState.FAILED, "deadline", gen=found.gen)


def test_a_stop_to_a_state_that_is_no_end_is_a_mistake_in_the_code(store: Store) -> None:
    job_in(store, JobState.RUNNING)
    with pytest.raises(ValueError, match="sweep cannot end in traded"):
        store.stop_job(JOB_ID, ItemState.TRADED, "no")


@pytest.mark.parametrize(
    ("ends", "closed"),
    [
        (("traded", "no_trade", "infeasible", "rejected"), JobState.DONE),
        (("traded", "failed"), JobState.DONE_WITH_ERRORS),
        (("traded", "failed", "cancelled"), JobState.CANCELLED),
        (("cancelled",), JobState.CANCELLED),
    ],
)
def test_a_closed_job_has_exact_counts_and_the_state_they_make(
    store: Store, ends: tuple[str, ...], closed: JobState
) -> None:
    expanded(store, n=len(ends))
    store.start_job(JOB_ID)
    for end in ends:
        if end == "failed":
            failed(store, claimed(store))
        elif end in set(DECIDED_STATES):
            store.finish(finish_of(claimed(store), ItemState(end)))
    if "cancelled" in ends:
        store.stop_job(JOB_ID, ItemState.CANCELLED, "enough")
        assert store.sweep_items(store.get_job(JOB_ID)) == 1
    result = store.close_job(JOB_ID, 0)
    assert result is not None
    assert result.state is closed
    assert result.counts == dict.fromkeys(ends, 1)
    assert store.get_job(JOB_ID) == result


@pytest.mark.parametrize("state", [ItemState.PENDING, ItemState.RUNNING, ItemState.DELAYED])
def test_a_job_with_an_open_item_is_not_closed(store: Store, state: ItemState) -> None:
    item_in(store, state)
    store.start_job(JOB_ID)
    assert store.close_job(JOB_ID, 0) is None
    assert store.get_job(JOB_ID).state is JobState.RUNNING


def test_a_job_that_is_not_expanded_to_the_end_is_not_closed(store: Store) -> None:
    stored = store.insert_job(job(n=2))
    store.insert_items(stored, 0, members(1))
    store.start_job(JOB_ID)
    store.finish(finish_of(claimed(store)))
    assert store.close_job(JOB_ID, 0) is None


def test_a_job_is_closed_by_one_of_eight(store: Store) -> None:
    job_in(store, JobState.RUNNING, final=True)
    answers = together([lambda: store.close_job(JOB_ID, 0)] * 8)
    assert len([answer for answer in answers if answer is not None]) == 1


@pytest.mark.parametrize("name", ["close", "retry", "reopened", "reaccept"])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_job_as_a_whole_is_changed_only_at_its_generation(store: Store, name: str, off: int) -> None:
    move = JOB_MOVES[name]
    before = job_in(store, min(move.sources), final=True)
    assert not JOB_ACTIONS[name](store, replace(before, gen=before.gen + off))
    assert store.get_job(JOB_ID) == before


def test_a_retry_reopens_failed_items_at_the_next_generation_and_nothing_else(store: Store) -> None:
    expanded(store, n=3)
    store.start_job(JOB_ID)
    store.finish(finish_of(claimed(store)))
    for _ in range(2):
        failed(store, claimed(store))
    store.close_job(JOB_ID, 0)
    assert store.reopen_items(JOB_ID, 0) == 0  # no retry was asked for yet

    assert store.retry_job(JOB_ID, 0)
    reopening = store.get_job(JOB_ID)
    assert (reopening.gen, reopening.counts, reopening.finished_at) == (1, {}, None)
    decided, *others = store.list_items(JOB_ID)
    assert store.reopen_items(JOB_ID, 1) == 2
    assert store.reopen_items(JOB_ID, 1) == 0
    assert store.list_items(JOB_ID)[0] == decided
    for before, after in zip(others, store.list_items(JOB_ID)[1:], strict=True):
        assert (after.state, after.gen, after.attempt, after.reason) == (ItemState.PENDING, 1, 0, None)
        assert after.fence == before.fence == 1  # never reset
    assert store.reopened_job(JOB_ID, 1)
    assert claimed(store).fence == 2


def test_a_late_reopening_leaves_an_item_alone_that_failed_again(store: Store) -> None:
    job_in(store, JobState.REOPENING)
    assert store.reopen_items(JOB_ID, 1) == 1
    store.reopened_job(JOB_ID, 1)
    failed(store, claimed(store))
    assert store.reopen_items(JOB_ID, 1) == 0
    assert store.get_item(the_item_id()).state is ItemState.FAILED


def test_healing_is_counted_by_kind(store: Store) -> None:
    expanded(store)
    assert store.get_job(JOB_ID).healing == {}
    store.note_healing(JOB_ID, "expired")
    store.note_healing(JOB_ID, "expired", 2)
    store.note_healing(JOB_ID, "resent")
    store.note_healing(UNKNOWN, "resent")
    assert store.get_job(JOB_ID).healing == {"expired": 3, "resent": 1}


# ------------------------------------------------------------------------------------------------ items


def test_inserted_items_are_pending_in_the_order_of_the_request(store: Store) -> None:
    stored = store.insert_job(job(n=3))
    put = [replace(member, inline=b"{}") for member in members(3)]
    store.insert_items(stored, 0, put[:2])
    store.insert_items(stored, 2, put[2:])
    found = store.list_items(JOB_ID, bodies=True)
    assert [(item.seq, item.portfolio_id) for item in found] == [
        (place, member.portfolio_id) for place, member in enumerate(put)
    ]
    for item in found:
        stamp = item.touched
        assert -60 < seconds_from(store, stamp) <= 0
        assert item == Item(
            item_id=ItemId(f"{JOB_ID}:{item.portfolio_id}"),
            job_id=JOB_ID,
            portfolio_id=item.portfolio_id,
            seq=item.seq,
            touched=stamp,
            inline=b"{}",
        )


def test_items_inserted_again_stay_as_they_are(store: Store) -> None:
    stored = expanded(store, n=2)
    before = [claimed(store), store.list_items(JOB_ID)[1]]
    store.insert_items(stored, 0, [replace(member, inline=b"late") for member in members(2)])
    store.insert_items(stored, 0, members(3))  # an expansion that got further
    found = store.list_items(JOB_ID, bodies=True)
    assert list(found[:2]) == before
    assert found[2].state is ItemState.PENDING
    store.insert_items(stored, 3, [])
    assert len(store.list_items(JOB_ID)) == 3


def test_an_unknown_item_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="item"):
        store.get_item(ItemId("job:nobody"))


def test_a_claim_takes_the_lowest_pending_item_and_its_inline_data(store: Store) -> None:
    stored = store.insert_job(job(n=3, parallelism=1))
    put = [replace(member, inline=f"inline {member.portfolio_id}".encode()) for member in members(3)]
    store.insert_items(stored, 0, put)
    for place in range(3):
        item = claimed(store)
        assert (item.seq, item.inline) == (place, put[place].inline)
        assert (item.state, item.seat, item.owner) == (ItemState.RUNNING, 0, OWNER)
        assert (item.fence, item.attempt) == (1, 1)
        assert item == store.get_item(item.item_id)
        store.finish(finish_of(item))
    assert store.claim(JOB_ID, 0, OWNER) is ClaimMiss.NOTHING_PENDING


@pytest.mark.parametrize("seat", [0, 1])
def test_what_an_outage_gave_back_comes_after_all_others_and_least_often_first(
    store: Store, seat: int
) -> None:
    expanded(store, n=4, parallelism=1)

    def give_back_next() -> int:
        item = claimed(store, seat=seat)
        assert store.next_pending(JOB_ID) != item.item_id
        store.give_back(item.item_id, item.fence, "its record is out", delay_seconds=-1)
        assert woken(store) == 1
        return item.given_back

    assert [give_back_next() for _ in range(6)] == [0, 0, 0, 0, 1, 1]
    upcoming = store.next_pending(JOB_ID)
    last = [claimed(store, seat=other) for other in range(10, 14)]
    assert [item.given_back for item in last] == [1, 1, 2, 2]
    assert upcoming in {item.item_id for item in last[:2]}
    assert store.next_pending(JOB_ID) is None
    assert store.next_pending(UNKNOWN) is None


def test_one_item_that_is_always_given_back_does_not_stand_before_another_seats_items(store: Store) -> None:
    expanded(store, n=4, parallelism=2)
    bad = claimed(store, seat=0)
    store.give_back(bad.item_id, bad.fence, "its record is out", delay_seconds=-1)
    store.wake_items()
    taken = []
    for _ in range(3):
        item = claimed(store, seat=0)
        taken.append(item.item_id)
        store.finish(finish_of(item))
    assert bad.item_id not in taken
    assert store.next_pending(JOB_ID) == bad.item_id


def test_every_seat_finds_every_pending_item(store: Store) -> None:
    expanded(store, n=5, parallelism=4)
    assert {claimed(store, seat=seat).seq for seat in (3, 1, 0, 2)} <= set(range(5))
    assert claimed(store, seat=9).state is ItemState.RUNNING
    assert store.claim(JOB_ID, 5, OWNER) is ClaimMiss.NOTHING_PENDING


def test_a_claim_on_a_busy_seat_takes_nothing(store: Store) -> None:
    expanded(store, n=2)
    first = claimed(store, seat=3)
    assert store.claim(JOB_ID, 3, "worker-2") is ClaimMiss.SEAT_BUSY
    assert store.count_items(JOB_ID) == {"running": 1, "pending": 1}
    assert store.get_item(first.item_id) == first
    assert store.busy_seats(JOB_ID) == {3: first.item_id}


def test_the_same_seat_of_another_job_is_free(store: Store) -> None:
    expanded(store, "job-1")
    expanded(store, "job-2")
    assert claimed(store, "job-1").job_id == "job-1"
    assert claimed(store, "job-2").job_id == "job-2"


def test_nothing_pending_in_an_unknown_job(store: Store) -> None:
    assert store.claim(UNKNOWN, 0, OWNER) is ClaimMiss.NOTHING_PENDING


ItemAction = Callable[[Store, Item], object]


def _claim(store: Store, item: Item) -> bool:
    return isinstance(store.claim(item.job_id, 7, "worker-2"), Item)


def _finish(store: Store, item: Item) -> bool:
    return store.finish(finish_of(item, ItemState.NO_TRADE, tag="late"))


def _fail(store: Store, item: Item) -> ItemState | None:
    return store.fail_attempt(item.item_id, item.fence, "late", max_attempts=9, delay_seconds=HOUR)


def _expire(store: Store, item: Item) -> bool:
    return item.item_id in {expired.item_id for expired in store.expire_items(ALL_OLD, max_attempts=9)}


def _wake(store: Store, item: Item) -> bool:
    return woken(store) > 0 and store.get_item(item.item_id).state is not item.state


def _sweep(store: Store, item: Item) -> int:
    stopping = replace(
        store.get_job(item.job_id), state=JobState.STOPPING, stop_to=ItemState.CANCELLED, reason="r"
    )
    return store.sweep_items(stopping)


ITEM_ACTIONS: Mapping[str, ItemAction] = {
    "claim": _claim,
    "finish": _finish,
    "error": _fail,
    "give_back": lambda store, item: store.give_back(item.item_id, item.fence, "late", delay_seconds=HOUR),
    "expire": _expire,
    "wake": _wake,
    "sweep": _sweep,
    "reopen": lambda store, item: store.reopen_items(item.job_id, item.gen + 1),
}


def test_every_item_move_is_tested() -> None:
    assert ITEM_ACTIONS.keys() == ITEM_MOVES.keys()


def _delayed_no_longer(store: Store, job_id: str) -> Item:
    expanded(store, job_id)
    item = claimed(store, job_id)
    store.fail_attempt(item.item_id, item.fence, "transient", max_attempts=9, delay_seconds=-1)
    return store.get_item(item.item_id)


@pytest.mark.parametrize("state", ItemState)
def test_an_item_moves_from_the_states_of_the_table_and_from_no_other(store: Store, state: ItemState) -> None:
    for number, (name, move) in enumerate(ITEM_MOVES.items()):
        if (name, state) == ("wake", ItemState.DELAYED):
            before = _delayed_no_longer(store, f"job-{number}")
        else:
            before = item_in(store, state, f"job-{number}")
        moved = ITEM_ACTIONS[name](store, before)
        after = store.get_item(before.item_id)
        if state in move.sources:
            assert moved, name
            assert after.state in move.targets, name
            assert (after.seat is not None) == (after.state is ItemState.RUNNING), name
        else:
            assert not moved, name
            assert after == before, name


@pytest.mark.parametrize("state", sorted(DECIDED_STATES))
def test_a_finished_item_has_its_answer_and_an_order_set_that_is_due(store: Store, state: ItemState) -> None:
    item = item_in(store, state)
    finish = finish_of(item, state)
    assert (item.result, item.order_set, item.reason) == (finish.result, finish.order_set, finish.reason)
    assert item.out is Out.DUE
    assert item.seat is None
    assert store.busy_seats(JOB_ID) == {}


def test_a_finish_is_repeated_and_known_as_its_own(store: Store) -> None:
    expanded(store)
    finish = finish_of(claimed(store))
    assert store.finish(finish)
    before = store.get_item(finish.item_id)
    assert store.finish(finish)  # the first reply was lost
    assert store.get_item(finish.item_id) == before
    assert not store.finish(replace(finish, result=b"another answer"))
    assert not store.finish(replace(finish, state=ItemState.NO_TRADE))
    assert store.get_item(finish.item_id) == before


def test_a_dry_run_has_a_result_and_nothing_to_publish(store: Store) -> None:
    expanded(store)
    finish = replace(finish_of(claimed(store)), order_set=None)
    assert store.finish(finish)
    item = store.get_item(finish.item_id)
    assert (item.result, item.order_set, item.out) == (finish.result, None, None)
    assert store.due_items(ALL_OLD) == []


@pytest.mark.parametrize("state", sorted(frozenset(ItemState) - DECIDED_STATES))
def test_a_finish_without_a_decision_is_a_mistake_in_the_code(store: Store, state: ItemState) -> None:
    expanded(store)
    with pytest.raises(ValueError, match="finish cannot end in"):
        store.finish(finish_of(claimed(store), state))


def test_a_zombie_can_neither_finish_nor_fail_nor_give_back(store: Store) -> None:
    expanded(store)
    zombie = claimed(store)
    store.expire_items(ALL_OLD, max_attempts=9)
    store.wake_items()
    current = claimed(store, owner="worker-2")
    assert current.fence == zombie.fence + 1
    for name in ("finish", "error", "give_back"):
        assert not ITEM_ACTIONS[name](store, stale(current)), name
        assert store.get_item(current.item_id) == current, name


def test_a_failed_attempt_is_delayed_until_the_attempts_are_used_up(store: Store) -> None:
    expanded(store)
    for attempt in (1, 2):
        item = claimed(store)
        assert item.attempt == attempt
        state = store.fail_attempt(
            item.item_id, item.fence, f"boom {attempt}", max_attempts=3, delay_seconds=0
        )
        found = store.get_item(item.item_id)
        assert found.state is state is ItemState.DELAYED
        assert (found.reason, found.seat, found.out) == (f"boom {attempt}", None, None)
        assert woken(store) == 1
    last = claimed(store)
    state = store.fail_attempt(last.item_id, last.fence, "boom 3", max_attempts=3, delay_seconds=HOUR)
    found = store.get_item(last.item_id)
    assert found.state is state is ItemState.FAILED
    assert (found.reason, found.seat, found.not_before, found.out) == ("boom 3", None, None, None)


def test_a_delayed_item_sleeps_until_its_time_on_the_stores_clock(store: Store) -> None:
    item = item_in(store, ItemState.DELAYED)
    assert HOUR - 60 < seconds_from(store, item.not_before) <= HOUR
    assert woken(store) == 0
    assert store.claim(JOB_ID, 0, OWNER) is ClaimMiss.NOTHING_PENDING


def test_an_item_given_back_has_lost_no_attempt_and_waits(store: Store) -> None:
    expanded(store)
    for times in (1, 2):
        item = claimed(store)
        assert item.attempt == 1
        assert store.give_back(item.item_id, item.fence, "accounting is out", delay_seconds=0)
        found = store.get_item(item.item_id)
        assert (found.state, found.attempt, found.given_back) == (ItemState.DELAYED, 0, times)
        assert (found.reason, found.seat) == ("accounting is out", None)
        assert woken(store) == 1


def test_waking_stops_at_its_limit(store: Store) -> None:
    expanded(store, n=3)
    for seat in range(3):
        item = claimed(store, seat=seat)
        store.give_back(item.item_id, item.fence, "out", delay_seconds=-1)
    assert [woken(store, limit=2) for _ in range(3)] == [2, 1, 0]


def test_an_expired_item_wakes_at_once_and_a_used_up_one_fails(store: Store) -> None:
    expanded(store)
    first = claimed(store)
    assert store.expire_items(HOUR, max_attempts=2) == []
    (expired,) = store.expire_items(ALL_OLD, max_attempts=2)
    assert (expired.item_id, expired.job_id, expired.state) == (first.item_id, JOB_ID, ItemState.DELAYED)
    found = store.get_item(first.item_id)
    assert (found.reason, found.seat, found.attempt, found.fence) == ("lost_worker", None, 1, 1)
    assert store.expire_items(ALL_OLD, max_attempts=2) == []
    assert woken(store) == 1
    claimed(store)
    (expired,) = store.expire_items(ALL_OLD, max_attempts=2)
    assert expired.state is ItemState.FAILED
    found = store.get_item(first.item_id)
    assert (found.state, found.not_before) == (ItemState.FAILED, None)
    assert (found.reason or "").startswith("poison: attempt 2, the last,")


def test_an_item_that_expires_in_a_stopping_job_becomes_what_the_stop_says(store: Store) -> None:
    job_in(store, JobState.REOPENING)
    store.reopen_items(JOB_ID, 1)
    store.reopened_job(JOB_ID, 1)
    claimed(store)
    store.stop_job(JOB_ID, ItemState.CANCELLED, "enough")
    (expired,) = store.expire_items(ALL_OLD, max_attempts=9)
    assert expired.state is ItemState.CANCELLED
    found = store.get_item(expired.item_id)
    assert (found.state, found.gen, found.reason, found.seat) == (ItemState.CANCELLED, 1, "enough", None)
    closed = store.close_job(JOB_ID, 1)
    assert closed is not None
    assert closed.state is JobState.CANCELLED


def test_expiry_stops_at_its_limit_and_takes_the_oldest_first(store: Store) -> None:
    expanded(store, n=3)
    held = [claimed(store, seat=seat) for seat in range(3)]
    rounds = [store.expire_items(ALL_OLD, max_attempts=9, limit=2) for _ in range(2)]
    assert [len(expired) for expired in rounds] == [2, 1]
    assert {expired.item_id for part in rounds for expired in part} == {item.item_id for item in held}


def test_expiries_at_once_expire_each_item_once(store: Store) -> None:
    expanded(store, n=4)
    held = [claimed(store, seat=seat) for seat in range(4)]
    answers = together([lambda: store.expire_items(ALL_OLD, max_attempts=9)] * 4)
    assert sorted(expired.item_id for part in answers for expired in part) == sorted(i.item_id for i in held)


def test_due_order_sets_are_published_until_they_are_marked(store: Store) -> None:
    expanded(store, n=3)
    items = [claimed(store, seat=seat) for seat in range(3)]
    for item in items:
        store.finish(finish_of(item))
    assert store.due_items(HOUR) == []
    due = store.due_items(ALL_OLD)
    assert {item.item_id: item.order_set for item in due} == {
        item.item_id: finish_of(item).order_set for item in items
    }
    assert {item.state for item in due} == {ItemState.TRADED}
    assert len(store.due_items(ALL_OLD, limit=2)) == 2

    ids = [item.item_id for item in items]
    assert store.mark_sent(ids[:2]) == 2
    assert store.mark_sent(ids) == 1
    assert store.mark_sent(ids) == 0
    assert store.mark_sent([]) == 0
    assert store.due_items(ALL_OLD) == []
    assert store.get_item(ids[0]).out is Out.SENT
    assert store.get_item(ids[0]).order_set == finish_of(items[0]).order_set


def test_failed_and_cancelled_items_have_nothing_to_publish(store: Store) -> None:
    item_in(store, ItemState.FAILED, "job-1")
    item_in(store, ItemState.CANCELLED, "job-2")
    assert store.due_items(ALL_OLD) == []
    assert store.mark_sent([the_item_id("job-1"), the_item_id("job-2")]) == 0


def test_a_sweep_ends_what_is_not_in_work(store: Store) -> None:
    expanded(store, n=5)
    store.start_job(JOB_ID)
    store.finish(finish_of(claimed(store)))
    delayed = claimed(store)
    store.give_back(delayed.item_id, delayed.fence, "out", delay_seconds=HOUR)
    running = claimed(store)
    store.stop_job(JOB_ID, ItemState.FAILED, "deadline")
    stopping = store.get_job(JOB_ID)
    assert store.sweep_items(stopping) == 3
    assert store.sweep_items(stopping) == 0
    assert store.count_items(JOB_ID) == {"traded": 1, "running": 1, "failed": 3}
    swept = store.get_item(delayed.item_id)
    assert (swept.reason, swept.gen, swept.not_before) == ("deadline", 0, None)
    assert store.finish(finish_of(running))
    closed = store.close_job(JOB_ID, 0)
    assert closed is not None
    assert closed.counts == {"traded": 2, "failed": 3}


def test_a_sweep_of_an_earlier_generation_leaves_a_retry_alone(store: Store) -> None:
    expanded(store)
    store.start_job(JOB_ID)
    store.stop_job(JOB_ID, ItemState.FAILED, "deadline")
    late = store.get_job(JOB_ID)
    store.sweep_items(late)
    store.close_job(JOB_ID, 0)
    store.retry_job(JOB_ID, 0)
    assert store.get_job(JOB_ID).stop_to is None
    store.reopen_items(JOB_ID, 1)
    assert store.sweep_items(late) == 0
    assert store.get_item(the_item_id()).state is ItemState.PENDING


def test_a_sweep_of_a_job_that_was_not_stopped_is_a_mistake_in_the_code(store: Store) -> None:
    with pytest.raises(ValueError, match="sweep cannot end in None"):
        store.sweep_items(expanded(store))


def test_items_are_asked_for_by_state(store: Store) -> None:
    expanded(store, n=3)
    claimed(store)
    assert store.has_items(JOB_ID, [ItemState.RUNNING])
    assert store.has_items(JOB_ID, [ItemState.FAILED, ItemState.PENDING])
    assert not store.has_items(JOB_ID, [ItemState.FAILED, ItemState.DELAYED])
    assert not store.has_items(JOB_ID, [])
    assert not store.has_items(UNKNOWN, ItemState)


def test_items_are_listed_in_order_by_state_and_in_pages(store: Store) -> None:
    expanded(store, n=5, parallelism=1)
    store.finish(finish_of(claimed(store)))
    listed = store.list_items(JOB_ID)
    assert [item.seq for item in listed] == list(range(5))
    assert [item.seq for item in store.list_items(JOB_ID, states=[ItemState.PENDING], limit=2)] == [1, 2]
    assert [item.seq for item in store.list_items(JOB_ID, after_seq=2)] == [3, 4]
    both = [ItemState.PENDING, ItemState.TRADED]
    assert [item.seq for item in store.list_items(JOB_ID, states=both, after_seq=-1, limit=2)] == [0, 1]
    assert store.list_items(JOB_ID, limit=0) == []
    assert store.list_items(UNKNOWN) == []


def test_bodies_are_listed_only_when_asked_for(store: Store) -> None:
    stored = store.insert_job(job())
    store.insert_items(stored, 0, [replace(members(1)[0], inline=b"inline")])
    store.finish(finish_of(claimed(store)))
    (bare,) = store.list_items(JOB_ID)
    (full,) = store.list_items(JOB_ID, bodies=True)
    assert (bare.inline, bare.result, bare.order_set) == (None, None, None)
    assert full == store.get_item(bare.item_id)
    assert full == replace(bare, inline=b"inline", result=full.result, order_set=full.order_set)
    assert full.result == finish_of(full).result


def test_items_are_counted_by_state(store: Store) -> None:
    expanded(store, n=4)
    claimed(store)
    assert store.count_items(JOB_ID) == {"running": 1, "pending": 3}
    assert store.count_items(UNKNOWN) == {}


# ------------------------------------------------------------------------------------------------ at the same time


def test_eight_threads_on_one_seat_hold_one_item(store: Store) -> None:
    expanded(store, n=8)
    answers = together([lambda: store.claim(JOB_ID, 0, OWNER)] * 8)
    assert len([answer for answer in answers if isinstance(answer, Item)]) == 1
    assert answers.count(ClaimMiss.SEAT_BUSY) == 7
    assert store.count_items(JOB_ID) == {"running": 1, "pending": 7}


def test_eight_threads_on_eight_seats_hold_eight_items(store: Store) -> None:
    expanded(store, n=8, parallelism=8)

    def claim(seat: int) -> Callable[[], Item]:
        return lambda: claimed(store, seat=seat, owner=f"worker-{seat}")

    items = together([claim(seat) for seat in range(8)])
    assert len({item.item_id for item in items}) == 8
    assert store.busy_seats(JOB_ID) == {item.seat: item.item_id for item in items}
    assert store.count_items(JOB_ID) == {"running": 8}


def test_no_item_is_worked_on_twice_by_six_threads(store: Store) -> None:
    expanded(store, n=60, parallelism=6)
    store.start_job(JOB_ID)

    def work(seat: int) -> Callable[[], list[ItemId]]:
        return lambda: work_off(store, JOB_ID, seat, f"worker-{seat}")

    done = together([work(seat) for seat in range(6)])
    flat = [finished for part in done for finished in part]
    assert len(flat) == len(set(flat)) == 60
    assert {item.fence for item in store.list_items(JOB_ID)} == {1}
    closed = store.close_job(JOB_ID, 0)
    assert closed is not None
    assert closed.counts == {"traded": 60}


def test_four_processes_on_one_seat_hold_one_item(store: Store, store_url: str) -> None:
    expanded(store, n=4)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(claim_once, store_url, JOB_ID, 0, f"worker-{number}") for number in range(4)]
        answers = [future.result() for future in futures]
    assert answers.count(ClaimMiss.SEAT_BUSY) == 3
    assert store.count_items(JOB_ID) == {"running": 1, "pending": 3}


def test_a_store_in_use_works_on_in_forked_children_and_in_their_parent(store: Store, store_url: str) -> None:
    expanded(store, n=4)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        got = pool.submit(claim_in_forked_children, store_url, JOB_ID, range(4)).result()
    assert sorted(got) == sorted(item.item_id for item in store.list_items(JOB_ID))
    assert store.busy_seats(JOB_ID).keys() == set(range(4))


def test_two_stores_on_one_database_see_each_other(store: Store, store_url: str) -> None:
    expanded(store)
    other = open_store(store_url)
    item = claimed(other)
    assert store.busy_seats(JOB_ID) == {0: item.item_id}
    assert store.finish(finish_of(item))
    assert other.get_item(item.item_id).state is ItemState.TRADED
    other.close()


# ------------------------------------------------------------------------------------------------ out of reach


def test_a_database_out_of_reach_is_said_in_the_domains_words(unreachable: Store) -> None:
    for call in (
        unreachable.prepare,
        unreachable.ping,
        unreachable.now,
        lambda: unreachable.claim(JOB_ID, 0, OWNER),
        lambda: unreachable.get_job(JOB_ID),
        lambda: unreachable.insert_job(job()),
        lambda: unreachable.mark_sent([the_item_id()]),
    ):
        with pytest.raises(StoreUnavailable):
            call()
