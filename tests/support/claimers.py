"""Processes that claim and finish at the same time, for the concurrency contracts. Importable by a spawned child."""

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from adapters.stores.open import open_store
from domain.ids import ItemId, JobId
from domain.item import Item
from domain.ports import ClaimMiss, JobStore
from tests.support.lives import finish_of

T = TypeVar("T")


def together(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run each in a thread of its own, all released at once."""
    barrier = threading.Barrier(len(tasks))

    def released(task: Callable[[], T]) -> T:
        barrier.wait(timeout=30)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(released, task) for task in tasks]]


def work_off(store: JobStore, job_id: str, seat: int, owner: str) -> list[ItemId]:
    """Claim on one seat and finish, until nothing is pending. What was finished."""
    done: list[ItemId] = []
    while True:
        item = store.claim(JobId(job_id), seat, owner)
        if item is ClaimMiss.NOTHING_PENDING:
            return done
        if isinstance(item, Item) and store.finish(finish_of(item)):
            done.append(item.item_id)


def claim_once(url: str, job_id: str, seat: int, owner: str) -> str:
    """The id of what was claimed, or the miss."""
    store = open_store(url)
    item = store.claim(JobId(job_id), seat, owner)
    store.close()
    return item.item_id if isinstance(item, Item) else item


def claim_in_forked_children(url: str, job_id: str, seats: Sequence[int]) -> list[str]:
    """In a process whose store is open and in use, fork a child per seat; each claims once with that very store."""
    store = open_store(url, synchronous="off")
    before = Counter(store.count_items(JobId(job_id)))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def child(seat: int) -> None:
        item = store.claim(JobId(job_id), seat, f"child-{seat}")
        answers.put(item.item_id if isinstance(item, Item) else str(item))

    children = [context.Process(target=child, args=(seat,)) for seat in seats]
    for process in children:
        process.start()
    got = [answers.get() for _ in children]
    for process in children:
        process.join(30)
        assert process.exitcode == 0
    assert Counter(store.count_items(JobId(job_id))) != before  # the parent's own store works on
    store.close()
    return got
