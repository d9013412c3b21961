"""Among strangers: TLS everywhere, a Redis user for each role, secrets in files; and programs in other languages."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from adapters.inbound.api.rate import Rate, RedisLimiter
from adapters.inbound.cli.wiring import BookOptions
from adapters.results.redis_stream import RedisStreamReader
from config.settings import environment, load_settings
from tests.support.guarded_stack import ROLES, GuardedStack
from tests.support.messages import require_exactly
from tests.support.programs import program
from tests.support.stacks import SHORT, Api
from tests.support.waiting import eventually
from worker.celery_app import create_sending_app

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
PORTFOLIOS = 12


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedStack]:
    stack = GuardedStack(
        state_dir=tmp_path_factory.mktemp("guarded"),
        book=BookOptions(portfolios=PORTFOLIOS, securities=8, seed=3, prices=None),
        settings={**SHORT, "task_events": "true"},
    )
    with stack, closing(Api(stack)) as api:
        api.create_model()
        yield stack


@pytest.fixture
def admin(stack: GuardedStack) -> Iterator[Redis]:
    with closing(stack.client_of("admin")) as client:
        yield client


def post(stack: GuardedStack, key: str) -> None:
    with closing(stack.client_of("poster")) as client:
        client.xadd("trimtab.requests", {"data": json.dumps({"model_id": "m1", "key": key})})


def read(stack: GuardedStack, stream: str) -> list[dict[str, object]]:
    with closing(stack.client_of("reader")) as client:
        return [json.loads(entry.body) for entry in RedisStreamReader(client, stream).entries()]


def of_key(stack: GuardedStack, key: str) -> list[dict[str, object]]:
    return [event for event in read(stack, "trimtab.job-events") if event["key"] == key]


# ------------------------------------------------------------------------------------------------ each role its work


def test_a_job_goes_from_one_stream_to_the_other_and_every_message_is_what_its_schema_says(
    stack: GuardedStack, admin: Redis
) -> None:
    admin.acl_log_reset()
    post(stack, "by-stream")
    events = eventually(lambda: of_key(stack, "by-stream"), lambda events: len(events) >= 3, seconds=40)
    assert [event["event"] for event in events] == ["accepted", "started", "finished"]

    job_id = events[0]["job_id"]
    order_sets = eventually(
        lambda: [each for each in read(stack, "trimtab.order-sets") if each["job_id"] == job_id],
        lambda found: len(found) == PORTFOLIOS,
    )
    assert sum(dict(events[-1]["counts"]).values()) == PORTFOLIOS  # type: ignore[call-overload]  # JSON
    for event in events:
        require_exactly("trimtab.job-event.v1", event)
    for order_set in order_sets:
        require_exactly("trimtab.order-set.v1", order_set)
    assert admin.acl_log() == []


def test_a_request_that_cannot_be_used_becomes_a_letter_of_its_schema(
    stack: GuardedStack, admin: Redis
) -> None:
    admin.xadd("trimtab.requests", {"data": "{}", "from": "desk-7"})

    letters: Any = eventually(lambda: admin.xrange("trimtab.requests.dead"), bool, seconds=20)
    letter = {name.decode(): value.decode() for name, value in letters[0][1].items()}
    assert (letter.pop("data"), letter.pop("original.from")) == ("{}", "desk-7")
    require_exactly("trimtab.dead-letter.v1", letter)
    assert letter["code"] == "invalid"


def test_the_api_sees_every_part_and_may_count_calls(stack: GuardedStack, api: Api, admin: Redis) -> None:
    admin.acl_log_reset()
    job = api.submit("wider", parallelism=1)
    api._client.post(f"/jobs/{job['job_id']}/parallelism", json={"parallelism": 4})
    assert api.finished(job["job_id"])["state"] == "done"  # so the workers are there
    health = httpx.get(f"{stack.api_url}/health", timeout=20).json()
    assert {part["name"]: part["status"] for part in health["parts"] if part["status"] != "up"} == {}

    with closing(stack.client_of("api")) as client:
        limiter = RedisLimiter(client, Rate(per_second=1, burst=1), monotonic)
        assert limiter.wait("somebody") == 0
        assert limiter.wait("somebody") > 0
    assert admin.acl_log() == []


def test_doctor_and_flower_do_what_they_are_for(stack: GuardedStack, admin: Redis) -> None:
    admin.acl_log_reset()
    looked = subprocess.run(
        [sys.executable, "-m", "worker", "doctor"],
        env=environment({**stack.settings, "broker_url_file": stack.url_file("doctor")}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "hunter2" not in looked.stdout + looked.stderr

    flower = create_sending_app(load_settings(broker_url=stack.url_of("flower")))
    assert flower.control.broadcast("ping", reply=True, limit=1, timeout=5)
    heard: list[str] = []
    with flower.connection_for_read() as connection:
        receiver = flower.events.Receiver(connection)

        def hear(event: Mapping[str, str]) -> None:
            heard.append(event["type"])
            receiver.should_stop = True

        receiver.handlers = {"*": hear}
        receiver.capture(limit=None, timeout=20)
    assert heard

    assert admin.acl_log() == []
    flower.close()


# ------------------------------------------------------------------------------------------------ and nothing more

FORBIDDEN: Mapping[str, tuple[str, ...]] = {
    "api": ("XADD trimtab.order-sets * data x", "XRANGE trimtab.requests - +", "KEYS *", "DEL trimtab.run"),
    "worker": (
        "XRANGE trimtab.order-sets - +",
        "XADD trimtab.job-events * data x",
        "XADD trimtab.requests * data x",
    ),
    "steward": ("XRANGE trimtab.order-sets - +", "XADD trimtab.requests * data x", "BRPOP trimtab.run 1"),
    "requests": ("XADD trimtab.order-sets * data x", "LPUSH trimtab.run x", "DEL trimtab.requests"),
    "flower": ("LPUSH trimtab.run x", "BRPOP trimtab.run 1", "XRANGE trimtab.order-sets - +"),
    "poster": (
        "XRANGE trimtab.requests - +",
        "XADD trimtab.order-sets * data x",
        "XDEL trimtab.requests 1-1",
    ),
    "reader": (
        "XADD trimtab.order-sets * data x",
        "XTRIM trimtab.order-sets MAXLEN 0",
        "XRANGE trimtab.requests - +",
    ),
    "doctor": ("LPUSH trimtab.run x", "XRANGE trimtab.order-sets - +", "BRPOP trimtab.run 1"),
}
NOBODY_MAY = (
    "FLUSHALL",
    "CONFIG GET *",
    "ACL LIST",
    "MONITOR",
    "SHUTDOWN NOSAVE",
    "SCRIPT FLUSH",
    "KEYS *",
    "GET x",
)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_nothing_else(stack: GuardedStack, role: str) -> None:
    client: Any
    with closing(stack.client_of(role)) as client:
        for command in (*FORBIDDEN[role], *NOBODY_MAY):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split())


def test_without_a_password_nobody_gets_in(stack: GuardedStack) -> None:
    with (
        closing(Redis(port=stack.redis_port, protocol=2, retry=Retry(NoBackoff(), 0))) as client,
        pytest.raises(AuthenticationError),
    ):
        client.ping()


# ------------------------------------------------------------------------------------------------ other languages


def run_example(stack: GuardedStack, *command: str, **settings: str) -> str:
    """What an example printed. It must end well."""
    given = {"API": stack.api_url, "REDIS_URL": stack.url_of("reader"), "MODEL": "m1", **settings}
    ended = subprocess.run(
        command, env={**os.environ, **given}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_python_example_posts_a_job_and_books_each_order_set_once(
    stack: GuardedStack, tmp_path: Path
) -> None:
    settings = {
        "KEY": "python-1",
        "BOOKS": str(tmp_path / "books.db"),
        "REQUESTS_REDIS_URL": stack.url_of("poster"),
    }
    example = (sys.executable, str(EXAMPLES / "post_and_read.py"))

    first = run_example(stack, *example, **settings)
    again = run_example(stack, *example, **settings)

    assert [line for line in first.splitlines() if line.startswith("event:")] == [
        "event: accepted accepted ",
        "event: started running ",
        "event: finished done ",
    ]
    assert json.loads(first.splitlines()[-1])["order_sets"] == PORTFOLIOS
    assert any(line.startswith(("BUY ", "SELL ")) for line in first.splitlines())
    assert json.loads(again.splitlines()[-1]) == json.loads(first.splitlines()[-1])
    assert not any(line.startswith(("BUY ", "SELL ")) for line in again.splitlines())


def test_the_shell_example_posts_a_job_and_reads_its_order_sets(stack: GuardedStack) -> None:
    cli = program("redis-cli", "valkey-cli")
    program("curl")

    with closing(stack.client_of("admin")) as client:
        client.delete("trimtab.order-sets")
    printed = run_example(
        stack,
        *(program("bash"), str(EXAMPLES / "post_and_read.sh")),
        KEY="bash-1",
        REDIS_CLI=f"{cli} -p {stack.redis_port} --user trimtab-reader",
        REDISCLI_AUTH="hunter2-of-reader",
    ).splitlines()

    job_id = printed[0].removeprefix("job: ")
    order_sets = [json.loads(line) for line in printed[1:]]
    assert [order_set["job_id"] for order_set in order_sets].count(job_id) == PORTFOLIOS
    for order_set in order_sets:
        require_exactly("trimtab.order-set.v1", order_set)


def test_the_node_example_posts_a_job_and_reads_its_order_sets(stack: GuardedStack) -> None:
    printed = run_example(
        stack, program("node"), str(EXAMPLES / "post_and_read.mjs"), KEY="node-1"
    ).splitlines()

    assert [line.split()[1] for line in printed if line.startswith("event:")] == [
        "accepted",
        "started",
        "finished",
    ]
    assert json.loads(printed[-1])["order_sets"] == PORTFOLIOS
    assert any(line.startswith(("BUY ", "SELL ")) for line in printed)


# ------------------------------------------------------------------------------------------------ secrets


def test_no_log_of_any_process_holds_a_secret(stack: GuardedStack, api: Api) -> None:
    assert api.finished(api.submit("logged")["job_id"])["state"] == "done"
    logs = {path.name: path.read_text() for path in stack.state_dir.glob("*.log")}

    assert {"api.log", "steward.log", "requests.log", "worker-1.log", "broker.log"} <= logs.keys()
    assert [name for name, text in logs.items() if "hunter2" in text or "PRIVATE KEY" in text] == []
