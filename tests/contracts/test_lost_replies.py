"""A connection that breaks before or after a write: the write is repeated, and what stands is as if it had not broken."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, cast

import pytest

from adapters.stores.open import Store
from domain.errors import StoreUnavailable
from domain.item import Attempt, Item, ItemState
from domain.job import Inputs, Job, JobState
from domain.ports import JobStore
from tests.support.lives import (
    ALL_OLD,
    HOUR,
    JOB_ID,
    OWNER,
    claimed,
    expanded,
    finish_of,
    item_in,
    job,
    job_in,
    members,
)
from tests.support.lost_replies import READS, WRITES, BreakingStore, Moment

Write = Callable[[JobStore], object]
Arrange = Callable[[Store], Write]


def test_every_method_of_the_port_is_a_read_or_a_write_of_this_table() -> None:
    methods = {name for name, _ in inspect.getmembers(JobStore, inspect.isfunction) if name[0] != "_"}
    assert methods - {"prepare"} == WRITES | READS
    assert not WRITES & READS
    assert set(WRITE) == WRITES


def _to_job(state: JobState, write: Write, *, final: bool = False) -> Arrange:
    def arrange(store: Store) -> Write:
        job_in(store, state, final=final)
        return write

    return arrange


def _held(write: Callable[[JobStore, Item], object]) -> Arrange:
    def arrange(store: Store) -> Write:
        expanded(store, n=2)
        item = claimed(store)
        return lambda broken: write(broken, item)

    return arrange


def _fresh(write: Callable[[JobStore, Job], object]) -> Arrange:
    def arrange(store: Store) -> Write:
        stored = store.insert_job(job(n=2))
        return lambda broken: write(broken, stored)

    return arrange


def _probed(store: Store) -> Write:
    waiting = job_in(store, JobState.WAITING)
    return lambda broken: broken.probed_job(waiting, HOUR)


def _swept(store: Store) -> Write:
    stopping = job_in(store, JobState.STOPPING)
    return lambda broken: broken.sweep_items(stopping)


def _sent(store: Store) -> Write:
    item = item_in(store, ItemState.TRADED)
    return lambda broken: broken.mark_sent([item.item_id])


def _due(store: Store) -> Write:
    store.mark_sent([item_in(store, ItemState.TRADED).item_id])
    return lambda broken: broken.due_again(JOB_ID)


def _woken(store: Store) -> Write:
    expanded(store)
    item = claimed(store)
    store.give_back(item.item_id, item.fence, "out", delay_seconds=-1)
    return lambda broken: broken.wake_items()


def _told_once(store: Store) -> Write:
    store.mark_told(store.insert_job(job()).job_id, 1)
    return lambda broken: broken.tell_again(JOB_ID)


INPUTS = Inputs(job_id=JOB_ID, snapshot=b"{}", sha256="a" * 64)

# How each write is made, on what: the write itself is then broken, repeated, and compared with one that was not.
WRITE: Mapping[str, Arrange] = {
    "put_members": lambda _: lambda broken: broken.put_members("m" * 64, members(3)),
    "insert_job": lambda _: lambda broken: broken.insert_job(job()),
    "freeze_inputs": lambda _: lambda broken: broken.freeze_inputs(INPUTS),
    "insert_items": _fresh(lambda broken, stored: broken.insert_items(stored, 0, members(2))),
    "start_job": _to_job(JobState.ACCEPTED, lambda broken: broken.start_job(JOB_ID)),
    "wait_job": _to_job(JobState.RUNNING, lambda broken: broken.wait_job(JOB_ID, "out", HOUR)),
    "probed_job": _probed,
    "resume_job": _to_job(JobState.WAITING, lambda broken: broken.resume_job(JOB_ID)),
    "stop_job": _to_job(
        JobState.RUNNING, lambda broken: broken.stop_job(JOB_ID, ItemState.CANCELLED, "enough")
    ),
    "close_job": _to_job(JobState.RUNNING, lambda broken: broken.close_job(JOB_ID, 0), final=True),
    "retry_job": _to_job(JobState.DONE_WITH_ERRORS, lambda broken: broken.retry_job(JOB_ID, 0)),
    "reopen_items": _to_job(JobState.REOPENING, lambda broken: broken.reopen_items(JOB_ID, 1)),
    "reopened_job": _to_job(JobState.REOPENING, lambda broken: broken.reopened_job(JOB_ID, 1)),
    "reaccept_job": _to_job(JobState.REOPENING, lambda broken: broken.reaccept_job(JOB_ID, 1)),
    "delete_job": _to_job(JobState.DONE, lambda broken: broken.delete_job(JOB_ID, 0)),
    "delete_items": _to_job(JobState.DONE, lambda broken: broken.delete_items(JOB_ID)),
    "set_parallelism": _to_job(JobState.RUNNING, lambda broken: broken.set_parallelism(JOB_ID, 9)),
    "note_healing": _to_job(JobState.RUNNING, lambda broken: broken.note_healing(JOB_ID, "expired")),
    "claim": _to_job(JobState.RUNNING, lambda broken: broken.claim(JOB_ID, 0, OWNER)),
    "finish": _held(lambda broken, item: broken.finish(finish_of(item))),
    "finish_and_claim": _held(
        lambda broken, item: broken.finish_and_claim(finish_of(item), JOB_ID, item.seat or 0, OWNER)
    ),
    "fail_attempt": _held(
        lambda broken, item: broken.fail_attempt(
            item.item_id, item.fence, "boom", max_attempts=3, delay_seconds=HOUR
        )
    ),
    "give_back": _held(
        lambda broken, item: broken.give_back(item.item_id, item.fence, "out", delay_seconds=HOUR)
    ),
    "mark_sent": _sent,
    "expire_items": _held(lambda broken, _: broken.expire_items(ALL_OLD, max_attempts=3)),
    "wake_items": _woken,
    "due_again": _due,
    "sweep_items": _swept,
    "mark_told": _fresh(lambda broken, stored: broken.mark_told(stored.job_id, 1)),
    "tell_again": _told_once,
    "swap_note": lambda _: lambda broken: broken.swap_note("queue", None, "a"),
}


def picture(store: Store) -> dict[str, Any]:
    """All that is stored, but for when."""
    return {
        "jobs": [_timeless(found) for found in store.list_jobs()],
        "items": [_timeless(item) for item in store.list_items(JOB_ID, bodies=True)],
        "inputs": store.get_inputs(JOB_ID),
        "members": list(store.members("m" * 64, 0, 10)),
        "note": store.get_note("queue"),
        "untold": [[event.sequence for event in untold.events] for untold in store.untold()],
    }


def _timeless(found: Job | Item | Attempt) -> Any:
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    gone: dict[str, Any] = {name: "a moment" for name, value in values.items() if isinstance(value, datetime)}
    if isinstance(found, Item):
        gone["past_attempts"] = tuple(_timeless(attempt) for attempt in found.past_attempts)
    return replace(found, **gone)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", sorted(WRITES))
def test_a_write_that_is_repeated_after_a_broken_connection_leaves_what_one_write_leaves(
    store: Store, name: str, moment: Moment
) -> None:
    write = WRITE[name](store)
    breaking = BreakingStore(store)
    breaking.break_once(name, moment)
    untouched = picture(store)

    with pytest.raises(StoreUnavailable):
        write(cast("JobStore", breaking))

    broken = picture(store)
    if moment == "before":
        assert broken == untouched
    else:
        assert broken != untouched
    answer = write(cast("JobStore", breaking))
    repeated = picture(store)
    if moment == "after" and name == "note_healing":  # a count for people: it may be one too high
        assert store.get_job(JOB_ID).healing == {"expired": 2}
        return
    if moment == "after":
        assert repeated == broken
    assert repeated != untouched
    if name == "finish":
        assert answer is True  # recognised as one's own


def test_a_claim_whose_reply_was_lost_holds_the_seat_under_its_own_name(store: Store) -> None:
    expanded(store, n=2)
    breaking = BreakingStore(store)
    breaking.break_once("claim", "after")
    with pytest.raises(StoreUnavailable):
        breaking.claim(JOB_ID, 0, "worker-1:7")
    held = store.get_item(store.busy_seats(JOB_ID)[0])
    assert (held.owner, held.fence, held.attempt) == ("worker-1:7", 1, 1)
    assert store.finish(finish_of(held))
