"""Jobs and items led into any state of their lives, through the port's own methods."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from domain.ids import ItemId, JobId, item_id
from domain.item import DECIDED_STATES, Item, ItemState
from domain.job import Job, JobState
from domain.policy import Policy
from domain.ports import Finish, JobStore, Member
from tests.support import builders

OWNER = "worker-1"
HOUR = 3600.0
ALL_OLD = -1.0  # a lease or age that everything exceeds, whatever the clock's precision
MEMBERS_SHA = "m" * 64
JOB_ID = JobId("job-1")


def job(job_id: str = JOB_ID, *, n: int = 1, parallelism: int = 4) -> Job:
    return Job(
        job_id=JobId(job_id),
        key=f"key of {job_id}",
        request_sha256="r" * 64,
        model=builders.model({1: "0.5", 2: ("0.3", "0.01", "0.05")}),
        policy=Policy(cash_floor=Decimal("0.01")),
        parallelism=parallelism,
        n=n,
        members_sha256=MEMBERS_SHA,
        correlation_id="corr-1",
    )


def members(n: int) -> list[Member]:
    return [Member(portfolio_id=builders.portfolio_id(number)) for number in range(n)]


def expanded(store: JobStore, job_id: str = JOB_ID, *, n: int = 1, parallelism: int = 4) -> Job:
    """An accepted job with all of its items pending."""
    stored = store.insert_job(job(job_id, n=n, parallelism=parallelism))
    store.insert_items(stored, 0, members(n))
    return stored


def claimed(store: JobStore, job_id: str = JOB_ID, seat: int = 0, owner: str = OWNER) -> Item:
    item = store.claim(JobId(job_id), seat, owner)
    assert isinstance(item, Item), item
    return item


def finish_of(item: Item, state: ItemState = ItemState.TRADED, *, tag: str = "") -> Finish:
    return Finish(
        item_id=item.item_id,
        fence=item.fence,
        state=state,
        reason=f"why {state}",
        result=f"result {item.item_id} {tag}".encode(),
        order_set=f"orders {item.item_id} {tag}".encode(),
    )


def failed(store: JobStore, item: Item) -> None:
    """Use up the attempts of a running item."""
    moved = store.fail_attempt(item.item_id, item.fence, "boom", max_attempts=1, delay_seconds=0)
    assert moved is ItemState.FAILED


# ------------------------------------------------------------------------------------------------ any state


def item_in(store: JobStore, state: ItemState, job_id: str = JOB_ID) -> Item:
    """The one item of a new job, brought into a state. Where it is cancelled, its job is stopping."""
    expanded(store, job_id)
    _ITEM_LIVES[state](store, job_id)
    item = store.get_item(the_item_id(job_id))
    assert item.state is state
    return item


def the_item_id(job_id: str = JOB_ID) -> ItemId:
    return item_id(JobId(job_id), members(1)[0].portfolio_id)


def _leave(store: JobStore, job_id: str) -> None:
    """Inserted is all it takes."""


def _delay(store: JobStore, job_id: str) -> None:
    item = claimed(store, job_id)
    store.fail_attempt(item.item_id, item.fence, "transient", max_attempts=9, delay_seconds=HOUR)


def _cancel(store: JobStore, job_id: str) -> None:
    store.stop_job(JobId(job_id), ItemState.CANCELLED, "enough")
    store.sweep_items(store.get_job(JobId(job_id)))


def _decide(state: ItemState) -> Callable[[JobStore, str], None]:
    def decide(store: JobStore, job_id: str) -> None:
        assert store.finish(finish_of(claimed(store, job_id), state))

    return decide


_ITEM_LIVES: Mapping[ItemState, Callable[[JobStore, str], object]] = {
    ItemState.PENDING: _leave,
    ItemState.RUNNING: claimed,
    ItemState.DELAYED: _delay,
    ItemState.FAILED: lambda store, job_id: failed(store, claimed(store, job_id)),
    ItemState.CANCELLED: _cancel,
    **{state: _decide(state) for state in DECIDED_STATES},
}


def job_in(store: JobStore, state: JobState, job_id: str = JOB_ID, *, final: bool = False) -> Job:
    """A job of one item, brought into a state. ``final``: its item is over already, where the state lets it be."""
    expanded(store, job_id)
    if final and state in {JobState.ACCEPTED, JobState.RUNNING, JobState.WAITING, JobState.STOPPING}:
        assert store.finish(finish_of(claimed(store, job_id)))
    _JOB_LIVES[state](store, JobId(job_id))
    found = store.get_job(JobId(job_id))
    assert found.state is state
    return found


def _run(store: JobStore, job_id: JobId) -> None:
    assert store.start_job(job_id)


def _wait(store: JobStore, job_id: JobId) -> None:
    _run(store, job_id)
    assert store.wait_job(job_id, "pricing is out", HOUR)


def _stop(store: JobStore, job_id: JobId) -> None:
    _run(store, job_id)
    assert store.stop_job(job_id, ItemState.CANCELLED, "enough")


def _do(store: JobStore, job_id: JobId) -> None:
    _run(store, job_id)
    assert store.finish(finish_of(claimed(store, job_id)))
    assert store.close_job(job_id, 0)


def _do_with_errors(store: JobStore, job_id: JobId) -> None:
    _run(store, job_id)
    failed(store, claimed(store, job_id))
    assert store.close_job(job_id, 0)


def _end_cancelled(store: JobStore, job_id: JobId) -> None:
    _run(store, job_id)
    _cancel(store, job_id)
    assert store.close_job(job_id, 0)


def _reopen(store: JobStore, job_id: JobId) -> None:
    _do_with_errors(store, job_id)
    assert store.retry_job(job_id, 0)


_JOB_LIVES: Mapping[JobState, Callable[[JobStore, JobId], object]] = {
    JobState.ACCEPTED: _leave,
    JobState.RUNNING: _run,
    JobState.WAITING: _wait,
    JobState.STOPPING: _stop,
    JobState.DONE: _do,
    JobState.DONE_WITH_ERRORS: _do_with_errors,
    JobState.CANCELLED: _end_cancelled,
    JobState.REOPENING: _reopen,
}


def stale(item: Item) -> Item:
    """The item as a worker holds it that lost its lease long ago."""
    return replace(item, fence=item.fence - 1)


def woken(store: JobStore, limit: int = 1000) -> int:
    """How many items of all jobs woke."""
    return sum(store.wake_items(limit=limit).values())
