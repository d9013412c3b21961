"""A real worker that is stopped in the middle of a portfolio, loses its lease, and wakes: it changes nothing."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import children_of
from tests.support.stacks import Api, short_stack
from tests.support.waiting import eventually
from worker.redis_client import redis_client
from worker.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with short_stack(tmp_path, portfolios=12, workers=2, worker_concurrency="1") as stack:
        yield stack


def test_a_worker_that_wakes_after_its_lease_neither_overwrites_nor_publishes(stack: Stack) -> None:
    with closing(Api(stack)) as api, closing(redis_client(stack.settings["broker_url"])) as broker:
        api.create_model()
        api.faults(accounting={"latency_ms": 700})
        worker = next(child for child in stack.children if child.name == "worker-1").process.pid
        child = eventually(lambda: children_of(worker), bool, seconds=60)[0]
        job_id = api.submit("zombie", parallelism=2)["job_id"]
        held = eventually(lambda: in_work_by(child, api, job_id), bool, seconds=60)
        # Both, as when a machine is put to sleep: Celery would kill a child alone that is beyond its time.
        os.kill(worker, signal.SIGSTOP)
        os.kill(child, signal.SIGSTOP)
        try:
            done = eventually(lambda: api.item(job_id, held), done_again, seconds=60)
        finally:
            os.kill(child, signal.SIGCONT)
        api.until(job_id, lambda job: job["healing"].get("zombies", 0) > 0)
        os.kill(worker, signal.SIGCONT)
        api.faults()

        job = api.finished(job_id)

        assert job["state"] == "done"
        assert sum(job["counts"].values()) == job["portfolios"]
        assert api.item(job_id, held) == {**done, "published": True}
        assert [attempt["cause"] for attempt in done["history"]] == ["lost_worker", done["outcome"]]
        items = sorted(item["item_id"] for item in api.items(job_id))
        assert eventually(lambda: sorted(stack.order_sets()), lambda found: found == items) == items
        assert broker.xlen("trimtab.order-sets") == len(items)


def in_work_by(pid: int, api: Api, job_id: str) -> str:
    """A portfolio this process works on (the name of a claim has its pid), or nothing."""
    for item in api.items(job_id):
        if item["outcome"] == "running":
            told = api.item(job_id, item["portfolio_id"])
            if told["outcome"] == "running" and f":{pid}:" in told["history"][-1]["owner"]:
                return str(item["portfolio_id"])
    return ""


def done_again(item: dict[str, Any]) -> bool:
    """Its lease ended, and another worker brought it to its end."""
    return len(item["history"]) > 1 and item["result"] is not None
