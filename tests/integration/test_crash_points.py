"""Killed at every step of a job's life, on both stores: the next process finds what it needs and ends it right."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from redis import Redis

from adapters.results.redis_stream import RedisStreamReader
from adapters.stores.open import Store, open_store
from domain.item import DECIDED_STATES, ItemState, Out
from tasks.submit_job import job_id_for
from tests.support import crash_driver
from tests.support.crash_driver import CANCELLED, ENDS, MEMBERS, MODEL, Order
from worker.crash_points import POINTS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def _both_sides(*steps: str) -> tuple[str, ...]:
    return tuple(f"{side}.{step}" for step in steps for side in ("before", "after"))


# In the order of a job's life, so that a process that takes over still has each step before it.
CHAINS = {
    "opening": _both_sides(
        *("prepare", "put_members", "insert_job", "ack", "swap_note", "freeze_inputs", "insert_items"),
        *("start_job", "send", "tell", "mark_told", "set_parallelism"),
    ),
    "cancel, healing": _both_sides("stop_job", "sweep_items", "expire_items", "wake_items", "note_healing"),
    "outage": (
        *_both_sides("give_back", "wait_job", "probed_job"),
        "before.resume_job",  # after it nothing is left to probe for
    ),
    "one portfolio": (
        "after.resume_job",
        *_both_sides("claim", "solve", "finish_and_claim", "finish", "publish", "mark_sent"),
    ),
    "failure, lost queue, retry": _both_sides(
        *(
            "fail_attempt",
            "note_rebalanced",
            "close_job",
            "retry_job",
            "tell_again",
            "due_again",
            "reopen_items",
        ),
        *("reopened_job", "reaccept_job"),
    ),
}

# The first time of a process notes the queue it finds, the second the one that came in its place.
NEW_QUEUE_NOTED = tuple(f"{point}:2" for point in _both_sides("swap_note"))


class Driver:
    """The process that forks the ones to be killed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", crash_driver.__name__],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def kill_at(self, point: str, order: Order) -> None:
        # A slice of one finishes, a longer one claims the next in the same write.
        alone = point.partition(":")[0].endswith(".finish")
        ended = self._run(replace(order, crash_at=point, slice_portfolios=1 if alone else 2))
        assert ended["signal"] == SIGKILL, f"{point} was never reached\n{self._words()}"

    def live_to_the_end(self, order: Order) -> None:
        ended = self._run(order)
        assert (ended["signal"], ended["status"]) == (0, 0), self._words()

    def _run(self, order: Order) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def _words(self) -> str:
        return self._log.read_text()[-3000:]

    def close(self) -> None:
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with closing(Driver(tmp_path_factory.mktemp("driver") / "log")) as driver:
        yield driver


@contextmanager
def begun(store_url: str, redis_url: str, *, lease_seconds: float) -> Iterator[Order]:
    """A model in the store, a request on the stream; and in the end, the promises."""
    order = Order(store_url=store_url, redis_url=redis_url, lease_seconds=lease_seconds)
    with (
        closing(open_store(store_url, synchronous="off")) as store,
        closing(Redis.from_url(redis_url)) as client,
    ):
        store.prepare()
        store.create_model(MODEL)
        client.xadd("trimtab.requests", {"data": crash_driver.request_of_life()})
    yield order
    promises_held(order)


def promises_held(order: Order) -> None:
    """The end state of docs/reliability.md, read from the store and the queue alone."""
    with closing(open_store(order.store_url)) as store, closing(Redis.from_url(order.redis_url)) as client:
        entries = [(entry.order_set_id, entry.body) for entry in RedisStreamReader(client).entries()]
        assert client.xpending("trimtab.requests", "trimtab")["pending"] == 0
        due = [set_ for key in ENDS for set_ in _order_sets(store, key)]
        told_to_the_end(client)
    assert len(dict(entries)) == len(entries), "an id stands on the queue twice"
    assert sorted(entries) == sorted(due)


def told_to_the_end(client: Redis) -> None:
    """Each event of each job stands on its stream once, in order, the last one with the job's end."""
    entries = RedisStreamReader(client, crash_driver.EVENTS).entries()
    events = [json.loads(entry.body) for entry in entries]
    for key, end in ENDS.items():
        of_job = [event for event in events if event["key"] == key]
        assert [event["sequence"] for event in of_job] == list(range(1, len(of_job) + 1))
        assert [of_job[0]["event"], of_job[-1]["event"]] == ["accepted", "finished"]
        assert of_job[-1]["state"] == end
        assert sum(of_job[-1]["counts"].values()) == len(MEMBERS[key])


def _order_sets(store: Store, key: str) -> list[tuple[str, bytes]]:
    """What a job has to publish, once its counts were checked."""
    job = store.get_job(job_id_for(key))
    items = store.list_items(job.job_id, bodies=True, limit=100)
    states = Counter(item.state for item in items)
    assert job.state is ENDS[key]
    assert {state: count for state, count in job.counts.items() if count} == states
    assert [item.portfolio_id for item in items] == list(MEMBERS[key])
    assert sum(states.values()) == job.n == len(items)
    decided = [item for item in items if item.state in DECIDED_STATES]
    assert {item.out for item in decided} <= {Out.SENT}
    undecided = states[ItemState.CANCELLED] + states[ItemState.FAILED]
    assert len(decided) + undecided == job.n
    assert undecided == 0 or key == CANCELLED
    assert all(item.result for item in decided)
    return [(item.item_id, item.order_set or b"") for item in decided]


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_killed_at_every_step_of_its_life_in_turn_one_job_still_ends_complete_and_once_on_mongodb(
    driver: Driver, mongo_url: str, redis_url: str, chain: Sequence[str]
) -> None:
    with begun(mongo_url, redis_url, lease_seconds=0.3) as order:
        for point in chain:
            driver.kill_at(point, order)
        driver.live_to_the_end(order)


@pytest.mark.parametrize("point", [*POINTS, *NEW_QUEUE_NOTED])
def test_killed_at_any_step_of_a_jobs_life_the_next_process_ends_it_complete_and_once(
    driver: Driver, tmp_path: Path, redis_url: str, point: str
) -> None:
    with begun(f"sqlite:///{tmp_path / 'store.db'}", redis_url, lease_seconds=0.1) as order:
        driver.kill_at(point, order)
        driver.live_to_the_end(order)


def test_the_chains_hold_every_point() -> None:
    assert sorted(point for chain in CHAINS.values() for point in chain) == sorted(POINTS)
