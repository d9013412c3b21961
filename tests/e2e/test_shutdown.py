"""SIGTERM, as deploys send it: what is in hand is finished or handed back, in time, and nothing needs healing."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from tests.support.parts import catches_sigterm, events, part, start_part, store_locked, terminated
from tests.support.processes import children_of
from tests.support.servers import free_port
from tests.support.stacks import Api, short_stack
from tests.support.waiting import eventually
from worker.children import Child
from worker.redis_client import redis_client
from worker.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

# Celery's children take a second to leave; the rest is room for a busy machine. Far below any lease or time-out.
IN_TIME = 15.0
OTHERS = ("sandbox", "beat", "flower")
# Nothing here is repaired by time: what a process leaves undone stays undone for minutes. The lost token is no loss.
SLOW_HEALING = {
    "task_time_limit_seconds": "200",
    "lease_seconds": "300",
    "due_after_seconds": "200",
    "lost_token_seconds": "1",
    "upstream_read": "60",
    "shutdown_grace_seconds": "1",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Without a worker: each test that needs some starts its own."""
    state_dir = tmp_path_factory.mktemp("stack")
    with short_stack(state_dir, portfolios=40, workers=0, settings=SLOW_HEALING) as stack:
        with closing(Api(stack)) as api:
            api.create_model()
        yield stack


@pytest.fixture
def api(api: Api) -> Iterator[Api]:
    yield api
    api.faults()
    api.cancel_all()  # so that a worker finds the work of its own test and no other


@pytest.fixture
def workers(stack: Stack) -> Iterator[Callable[..., Child]]:
    """Starts workers, and stops those that are left."""
    mine: list[Child] = []

    def start(name: str, **settings: str) -> Child:
        mine.append(start_part(stack, "worker", log_name=name, **settings))
        return mine[-1]

    yield start
    for child in mine:
        child.stop(20)
        if child in stack.children:
            stack.children.remove(child)


def started(*workers: Child) -> None:
    eventually(lambda: all("worker.started" in events(one) for one in workers), bool, seconds=60)


def gives_signs_of_life(file: Path) -> None:
    """Not only at its start: the file is taken away, and comes back."""
    eventually(file.exists, bool, seconds=30)
    file.unlink()
    eventually(file.exists, bool, seconds=15)


def quiet(child: Child) -> None:
    assert "Traceback" not in child.log.read_text(errors="replace"), child.last_words(40)


def test_a_worker_finishes_what_is_in_hand_and_another_goes_on(
    stack: Stack, api: Api, workers: Callable[..., Child], tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    going = workers("going", shutdown_grace_seconds="10", alive_file=str(alive))
    staying = workers("staying", shutdown_grace_seconds="10")
    started(going, staying)
    gives_signs_of_life(alive)
    api.faults(accounting={"latency_ms": 60})
    job_id = api.submit("deploy", parallelism=4)["job_id"]
    api.until(job_id, lambda job: job["finished"] >= 8)

    assert terminated(stack, going, within=IN_TIME) == 0

    assert "worker.stopping" in events(going)
    assert "item.handed_back" not in events(going)
    quiet(going)
    job = api.finished(job_id)
    assert job["state"] == "done"
    assert job["healing"].keys() <= {"resent"}  # a token it had fetched and not begun
    assert {item["attempts"] for item in api.items(job_id)} == {1}


@pytest.mark.parametrize("group", [False, True], ids=["the-process", "its-whole-group"])
def test_what_a_worker_cannot_finish_in_time_is_handed_back_and_burns_no_attempt(
    stack: Stack, api: Api, workers: Callable[..., Child], *, group: bool
) -> None:
    api.faults(accounting={"hang": True})
    job_id = api.submit(f"hanging-{group}", parallelism=2)["job_id"]
    worker = workers(f"hanging-{group}")
    api.until(job_id, lambda job: (job["counts"] or {}).get("running") == 2)
    if group:
        for pid in children_of(worker.process.pid):
            os.kill(pid, signal.SIGTERM)

    assert terminated(stack, worker, within=IN_TIME) == 0

    quiet(worker)
    assert events(worker).count("item.handed_back") >= 2
    items = api.items(job_id)
    assert {item["outcome"] for item in items} <= {"pending", "delayed"}
    assert {item["attempts"] for item in items} == {0}
    api.faults()
    workers(f"next-{group}")
    job = api.finished(job_id)
    assert job["state"] == "done"
    assert job["healing"].keys() <= {"resent"}
    assert {item["attempts"] for item in api.items(job_id)} == {1}


def test_the_api_answers_what_it_has_begun(stack: Stack, api: Api) -> None:
    port = free_port()
    front = start_part(stack, "api", log_name="api-alone", api_port=str(port))
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as caller:
        eventually(lambda: gets(f"http://127.0.0.1:{port}/health/live"), bool, seconds=60)
        with store_locked(stack):
            headers = {"Content-Type": "application/json", "Idempotency-Key": "in-flight"}
            caller.request("POST", "/api/v1/jobs", json.dumps({"model_id": "m1"}), headers)
            # It came before this one, which no lock holds up: so it is in work when this one is answered.
            assert gets(f"http://127.0.0.1:{port}/health/live")
            front.process.send_signal(signal.SIGTERM)
        assert caller.getresponse().status == 202
    assert [job["key"] for job in api.jobs() if not job["finished_at"]] == ["in-flight"]
    assert terminated(stack, front, within=IN_TIME) == 0
    quiet(front)


def gets(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_steward_ends_in_time_even_while_a_job_waits_for_an_upstream_that_hangs(
    stack: Stack, api: Api, tmp_path: Path
) -> None:
    api.faults(pricing={"hang": True})
    before = api.calls()
    job_id = api.submit("opening")["job_id"]
    eventually(api.calls, lambda calls: calls > before)
    steward = part(stack, "steward")

    assert terminated(stack, steward, within=IN_TIME) == 0

    quiet(steward)
    assert "steward.left_undone" in events(steward)
    api.faults()
    start_part(stack, "steward", log_name="steward-next", alive_file=str(tmp_path / "alive"))
    api.until(job_id, lambda job: job["state"] == "running")
    gives_signs_of_life(tmp_path / "alive")


def test_the_request_consumer_finishes_its_entry_and_the_next_one_takes_the_rest(
    stack: Stack, api: Api, tmp_path: Path
) -> None:
    consumer = part(stack, "requests")
    keys = {f"streamed-{number}" for number in range(5)}
    with closing(redis_client(stack.settings["broker_url"])) as client:
        with store_locked(stack):
            for key in sorted(keys):
                client.xadd("trimtab.requests", {"data": json.dumps({"key": key, "model_id": "m1"})})
            eventually(lambda: client.xinfo_groups("trimtab.requests")[0]["pending"], bool)
            consumer.process.send_signal(signal.SIGTERM)
        assert terminated(stack, consumer, within=IN_TIME) == 0
        quiet(consumer)
        start_part(stack, "requests", log_name="requests-next", alive_file=str(tmp_path / "alive"))
        eventually(lambda: {job["key"] for job in api.jobs()}, lambda found: keys <= found, seconds=30)
        eventually(lambda: client.xlen("trimtab.requests"), lambda left: left == 0)
        assert client.exists("trimtab.requests.dead") == 0
    gives_signs_of_life(tmp_path / "alive")


def test_the_other_processes_end_at_once_and_in_peace_when_they_are_told_to(
    stack: Stack, tmp_path: Path
) -> None:
    settings = {"sandbox_port": "0", "flower_port": "0", "alive_file": str(tmp_path / "alive")}
    children = [start_part(stack, name, log_name=f"{name}-alone", **settings) for name in OTHERS]
    eventually(lambda: all(map(catches_sigterm, children)), bool, seconds=60)
    gives_signs_of_life(tmp_path / "alive")  # the sandbox, as every web server; the others give none

    for child in children:
        assert terminated(stack, child, within=IN_TIME) == 0
        quiet(child)
