"""Intake: how many jobs a second are accepted over HTTP and from the request stream.

Neither stewards nor workers run, so that the doors are measured and nothing else; each job asks for one portfolio
and stays open. Clients run on the same cores: one HTTP connection, several at once, and a stream that is full
before its consumer starts on it.
"""

import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from urllib.parse import urlsplit

from worker.bench.failed import BenchFailed
from worker.bench.rig import API, MODEL_ID, REQUESTS, Rig, open_rig
from worker.bench.rows import Better, Row, Sample, measured

SUITE = "intake"
CONNECTIONS = 8
ACCEPTED_SECONDS = 60.0
# Jobs stay open here; by default the door closes at 400 of them, and each look at what is open sees them all.
SETTINGS = {"max_open_jobs": "100000"}


def rows(rounds: int = 3, requests: int = 100) -> Iterator[Row]:
    """Measure. Each round brings so many requests through every door.

    Raises:
        BenchFailed, StackFailed: it could not be measured.
    """
    doors: dict[str, Callable[[Rig, int], float]] = {
        "HTTP, 1 connection": partial(_over_http, connections=1),
        f"HTTP, {CONNECTIONS} connections": partial(_over_http, connections=CONNECTIONS),
        "request stream, 1 consumer": _by_stream,
    }
    seconds: dict[str, list[float]] = {name: [] for name in doors}
    with open_rig(portfolios=1, workers=0, parts=(REQUESTS,), settings=SETTINGS) as rig:
        for door in doors.values():
            door(rig, CONNECTIONS)  # connections and caches
        for _ in range(rounds):
            for name, door in doors.items():
                seconds[name].append(door(rig, requests))
    for name, values in seconds.items():
        rate = Sample(tuple(requests / value for value in values))
        yield measured(SUITE, f"jobs accepted, {name}", rate, "jobs/s", Better.HIGHER)


def _over_http(rig: Rig, requests: int, *, connections: int) -> float:
    """Seconds until all have their answer."""
    share = [requests // connections] * connections
    share[0] += requests % connections
    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as threads:
        for _ in threads.map(partial(_post, rig), share):
            pass
    return time.perf_counter() - began


def _post(rig: Rig, requests: int) -> None:
    """On one kept connection, by the plainest client there is: it shares our cores."""
    address = urlsplit(rig.stack.api_url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)) as connection:
        for _ in range(requests):
            connection.request("POST", "/api/v1/jobs", _request(rig), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.client.ACCEPTED:
                raise BenchFailed(f"the {API} answered {answer.status}: {body[:200].decode()}")


def _by_stream(rig: Rig, requests: int) -> float:
    """Seconds from the last ``XADD`` (all in one step) until the consumer has accepted all."""
    stream = rig.settings.requests_stream
    pipeline = rig.redis.pipeline(transaction=True)
    for _ in range(requests):
        pipeline.xadd(stream, {"data": _request(rig)})
    pipeline.execute()
    began = time.perf_counter()
    while rig.redis.xlen(stream):  # what is accepted is deleted
        if time.perf_counter() > began + ACCEPTED_SECONDS:
            raise BenchFailed(f"the request stream was not read within {ACCEPTED_SECONDS:g} s")
        time.sleep(0.002)
    if dead := rig.redis.xlen(f"{stream}.dead"):
        raise BenchFailed(f"{dead} requests of the stream were refused")
    return time.perf_counter() - began


def _request(rig: Rig) -> str:
    return json.dumps({"key": uuid.uuid4().hex, "model_id": MODEL_ID, "portfolio_ids": rig.portfolio_ids[:1]})
