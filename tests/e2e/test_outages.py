"""Something is away for a while: work pauses, nobody spins, nothing is burned, and all goes on by itself."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from pymongo.errors import PyMongoError

from tests.support import servers
from tests.support.parts import Effort, killed, logged, started_again, store_locked
from tests.support.stacks import Api, short_stack
from tests.support.waiting import eventually
from worker.children import Child, start_child
from worker.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

AWAY_SECONDS = 4.0
# Long enough that a lease never runs out in an outage: what heals here is no lost worker.
# Longer than anything is away here: a mark that waits for the store is no order set that was not published.
LEASES = {"task_time_limit_seconds": "40", "lease_seconds": "60", "due_after_seconds": "20"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with short_stack(tmp_path_factory.mktemp("stack"), portfolios=40, settings=LEASES) as stack:
        with closing(Api(stack)) as api:
            api.create_model()
            # A part that is still starting spends the CPU that only one that spins should.
            api.finished(api.submit("warm-up", parallelism=4)["job_id"])
        yield stack


def ready(stack: Stack) -> int:
    try:
        return httpx.get(f"{stack.api_url}/health/ready", timeout=10).status_code
    except httpx.HTTPError:
        return 0


@contextmanager
def nobody_spins(stack: Stack) -> Iterator[None]:
    """An outage: what the processes do meanwhile is little, and all of them live through it."""
    pids = {child.name: child.process.pid for child in stack.children if child.name != "broker"}
    before, began = Effort.of(stack), time.monotonic()
    yield
    threading.Event().wait(max(began + AWAY_SECONDS - time.monotonic(), 0))  # the outage itself
    before.stays_small(Effort.of(stack), time.monotonic() - began)
    assert {child.name for child in stack.children if child.ended} <= {"broker"}
    assert pids == {child.name: child.process.pid for child in stack.children if child.name != "broker"}


def no_storm(stack: Stack) -> None:
    """No traceback of ours, whatever was out."""
    for child in stack.children:
        errors = [entry for entry in logged(child) if "exception" in entry]
        assert errors == [], child.name


def complete(api: Api, stack: Stack, job_id: str) -> dict[str, Any]:
    """The job ends with every portfolio tried once and published."""
    job = api.finished(job_id, seconds=90)
    assert job["state"] == "done"
    items = api.items(job_id)
    assert {item["attempts"] for item in items} == {1}
    wanted = {item["item_id"] for item in items}
    eventually(lambda: wanted - stack.order_sets().keys(), lambda missing: not missing, seconds=30)
    return job


def test_a_broker_that_is_killed_and_comes_back(stack: Stack, api: Api) -> None:
    api.faults(accounting={"latency_ms": 60})
    job_id = api.submit("broker", parallelism=2)["job_id"]
    api.until(job_id, lambda job: job["finished"] >= 4)

    broker = killed(stack, "broker")
    with nobody_spins(stack):
        eventually(lambda: ready(stack), lambda status: status == 503, seconds=20)
        assert api.submit("while-away", parallelism=2)["state"] in {"accepted", "running"}
        assert "broker" in api.until(job_id, lambda job: job["reason"] is not None, seconds=20)["reason"]
    started_again(stack, broker)

    eventually(lambda: ready(stack), lambda status: status == 200, seconds=20)
    for each in (job_id, api.submit("while-away", parallelism=2)["job_id"]):
        job = complete(api, stack, each)
        assert job["healing"].keys() <= {"resent", "republished"}
    no_storm(stack)


def test_a_store_that_is_locked_for_a_while(stack: Stack, api: Api) -> None:
    api.faults(accounting={"latency_ms": 60})
    job_id = api.submit("locked", parallelism=2)["job_id"]
    api.until(job_id, lambda job: job["finished"] >= 4)

    with store_locked(stack), nobody_spins(stack):
        held = api.job(job_id)["finished"]
        assert held < 40
    job = complete(api, stack, job_id)

    assert job["healing"] == {}
    no_storm(stack)


def test_what_an_outage_held_up_to_the_deadline_is_failed_with_the_cause(stack: Stack, api: Api) -> None:
    api.faults(accounting={"down": True})
    deadline = datetime.now(UTC) + timedelta(seconds=AWAY_SECONDS)
    job_id = api.submit("late", parallelism=2, deadline=deadline.isoformat())["job_id"]
    with nobody_spins(stack):
        waiting = api.until(job_id, lambda job: job["state"] == "waiting")
        assert "accounting" in waiting["reason"]
        assert waiting["probe_at"]
        assert ready(stack) == 200  # it can take requests, whatever becomes of them
    job = api.finished(job_id)

    assert (job["state"], job["counts"]) == ("done_with_errors", {"failed": 40})
    items = api.items(job_id)
    assert all(item["reason"].startswith("upstream_unavailable") for item in items)
    assert {item["attempts"] for item in items} == {0}


# ------------------------------------------------------------------------------------------------ MongoDB


@dataclass(slots=True)
class OwnMongo:
    """A server of this test's own, that can be taken away and brought back with its data."""

    folder: Path
    port: int
    child: Child | None = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/trimtab?directConnection=true"

    def start(self) -> None:
        options = ("--port", str(self.port), "--sync-on-commit", "--log-level", "WARNING")
        command = [sys.executable, "-m", "secantus", *options, "--storage-path", str(self.folder / "data")]
        self.child = start_child("mongo", command, log=self.folder / "mongo.log", environment={})
        eventually(self._answers, bool, seconds=30)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop(10)

    def _answers(self) -> bool:
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
            self.url, serverSelectionTimeoutMS=500
        )
        try:
            return bool(client.admin.command("ping"))
        except PyMongoError:
            return False
        finally:
            client.close()


@pytest.fixture
def own_mongo(tmp_path: Path) -> Iterator[OwnMongo]:
    candidate = servers.mongo_candidate()
    if candidate is None or "SURROGATE" not in candidate.description:
        pytest.skip("the surrogate is not what the tests run on: its server is not ours to stop")
    mongo = OwnMongo(tmp_path, servers.free_port())
    mongo.start()
    yield mongo
    mongo.stop()


def test_a_mongodb_that_is_stopped_and_comes_back(own_mongo: OwnMongo, tmp_path: Path) -> None:
    settings = {**LEASES, "store_url": own_mongo.url}
    with (
        short_stack(tmp_path / "stack", portfolios=30, settings=settings) as stack,
        closing(Api(stack)) as api,
    ):
        api.create_model()
        api.faults(accounting={"latency_ms": 60})
        job_id = api.submit("store", parallelism=2)["job_id"]
        api.until(job_id, lambda job: job["finished"] >= 4)

        own_mongo.stop()
        with nobody_spins(stack):
            assert ready(stack) == 503
            assert httpx.get(f"{stack.api_url}/health/live", timeout=2).status_code == 200
        own_mongo.start()

        eventually(lambda: ready(stack), lambda status: status == 200, seconds=30)
        job = complete(api, stack, job_id)
        assert job["healing"].keys() <= {"resent", "republished"}
        no_storm(stack)
