"""The callers of a chaos run: they know the API, the request stream and the sandbox, and repeat what had no answer."""

import base64
import json
import random
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

import httpx
from redis import Redis
from redis.exceptions import RedisError

from domain.ids import JobId
from tests.chaos.listeners import TASKS, impatient_client
from worker.stack import Stack

PATIENCE_SECONDS: Final = 60.0
MODEL_ID: Final = "chaos"
REQUESTS: Final = "trimtab.requests"


class Desk:
    def __init__(self, stack: Stack) -> None:
        self._broker_url = stack.settings["broker_url"]
        self._api = httpx.Client(base_url=f"{stack.api_url}/api/v1", timeout=10)
        self._sandbox = httpx.Client(base_url=stack.settings["pricing_url"], timeout=10)

    def close(self) -> None:
        self._api.close()
        self._sandbox.close()

    def create_model(self) -> None:
        book = self._sandbox.get("/sandbox/model").raise_for_status().json()
        model = {"model_id": MODEL_ID, "name": MODEL_ID, "policy": {"cash_floor": "0.05"}}
        model |= {"positions": book["positions"], "portfolios": book["portfolio_ids"]}
        self._api.post("/models", json=model).raise_for_status()

    def submit(self, key: str, parallelism: int) -> JobId:
        """Post it, and post it again where no answer came: the key makes that harmless."""
        body = json.dumps(_request(key, parallelism)).encode()
        answer = _until_answered(lambda: self._api.post("/jobs", content=body, headers=_JSON))
        return JobId(answer.raise_for_status().json()["job_id"])

    def submit_in_every_way(self, key: str, parallelism: int) -> JobId:
        """Twice on the stream and twice over HTTP."""
        with closing(impatient_client(self._broker_url)) as client:
            for _ in range(2):
                client.xadd(REQUESTS, {"data": json.dumps(_request(key, parallelism))})
        (job_id,) = {self.submit(key, parallelism) for _ in range(2)}
        return job_id

    def faults(self, **faults: object) -> None:
        self._sandbox.put("/sandbox/faults", json=faults).raise_for_status()

    # -------------------------------------------------------------------------------------------- garbage

    def throw_garbage(self, chance: random.Random) -> None:
        """On the task queue, on the request stream, at the API. Who does not answer at the moment is spared."""
        for throw in (self._at_the_queue, self._at_the_stream, self._at_the_api):
            try:
                throw(chance)
            except (RedisError, httpx.HTTPError):
                continue

    def _at_the_queue(self, chance: random.Random) -> None:
        with closing(impatient_client(self._broker_url)) as client:
            client.lpush(TASKS, chance.choice(STRAYS))

    def _at_the_stream(self, chance: random.Random) -> None:
        with closing(impatient_client(self._broker_url)) as client:
            client.xadd(REQUESTS, {chance.choice(("data", "nonsense")): chance.choice(BODIES)})

    def _at_the_api(self, chance: random.Random) -> None:
        answer = self._api.post("/jobs", content=chance.choice(BODIES), headers=_JSON, timeout=1)
        assert 400 <= answer.status_code < 500 or answer.status_code == 503, answer.text


_JSON: Final = {"content-type": "application/json"}


def _request(key: str, parallelism: int) -> dict[str, Any]:
    return {"key": key, "model_id": MODEL_ID, "parallelism": parallelism}


def _until_answered(ask: Callable[[], httpx.Response]) -> httpx.Response:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer = ask()
        except httpx.HTTPError:
            if time.monotonic() > give_up:
                raise
        else:
            if answer.status_code < 500:
                return answer
        assert time.monotonic() < give_up, "no answer"
        time.sleep(0.1)


def _message(task: str, **arguments: object) -> bytes:
    """A message as Celery sends it."""
    body = base64.b64encode(json.dumps([[], arguments, {}]).encode()).decode()
    task_id = str(uuid.UUID(int=len(body)))
    headers = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
    }
    properties = {
        "delivery_tag": task_id,
        "delivery_info": {"exchange": "", "routing_key": TASKS},
        "delivery_mode": 2,
        "priority": 0,
        "body_encoding": "base64",
        "correlation_id": task_id,
        "reply_to": task_id,
    }
    message = {"body": body, "content-encoding": "utf-8", "content-type": "application/json"}
    return json.dumps({**message, "headers": headers, "properties": properties}).encode()


STRAYS: Final = (
    b"not json",
    b"[]",
    b"7",
    b'{"body": "%%%"}',
    b"\xff\x00",
    _message("trimtab.run", job_id="nobody", seat=0),
    _message("trimtab.run", job_id=7, seat="x", nonsense=True),
    _message("trimtab.nothing"),
)
BODIES: Final = (
    b"",
    b"\xff not JSON",
    b"[]",
    b"{}",
    b'{"key": "bad", "model_id": "nobody"}',
    b'{"key": "chaos", "model_id": "nobody"}',
    b'{"key": "bad", "model_id": "chaos", "parallelism": -1}',
    b"[" * 5000,
)


def flush(client: Redis, stream: str) -> Any:
    """Everything the stream held, and the broker emptied, in one step."""
    pipeline = client.pipeline(transaction=True)
    pipeline.xrange(stream)
    pipeline.flushall()
    return pipeline.execute()[0]
