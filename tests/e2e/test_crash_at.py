"""CRASH_AT in the real processes: each part dies once at its point, is started again, and the job ends complete."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.support.stacks import SHORT, Api, short_stack
from tests.support.waiting import eventually
from worker.redis_client import redis_client
from worker.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

PORTFOLIOS = 12
HEALING_SECONDS = 5.0
# A worker's child is replaced by its pool; the others are started again by whoever watches them, here on a busy machine.
BOOT_SECONDS = {"worker-1": 0.0, "steward": 15.0, "api": 15.0, "requests": 15.0}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with short_stack(tmp_path_factory.mktemp("crash"), portfolios=PORTFOLIOS) as stack:
        with closing(Api(stack)) as api:
            api.create_model()
        yield stack


def supervised(stack: Stack, look: Callable[[], Any]) -> Any:
    """What `look` sees, after whatever died was started again. None: nobody answers at the moment."""
    for child in list(stack.children):
        if child.ended:
            assert child.process.returncode == -signal.SIGKILL, child.last_words()
            stack.restart(child.name)
    try:
        return look()
    except httpx.HTTPError:
        return None


def posted(stack: Stack, api: Api, key: str) -> str:
    job = eventually(lambda: supervised(stack, lambda: api.submit(key, parallelism=2)), bool, seconds=60)
    return str(job["job_id"])


def streamed(stack: Stack, api: Api, key: str) -> str:
    with closing(redis_client(stack.settings["broker_url"])) as client:
        client.xadd(
            "trimtab.requests", {"data": json.dumps({"key": key, "model_id": "m1", "parallelism": 2})}
        )
    jobs = eventually(
        lambda: supervised(stack, api.jobs),
        lambda jobs: jobs is not None and any(job["key"] == key for job in jobs),
        seconds=60,
    )
    return next(str(job["job_id"]) for job in jobs if job["key"] == key)


@pytest.mark.parametrize(
    ("part", "point", "asked"),
    [
        ("api", "after.insert_job", posted),
        ("requests", "before.ack", streamed),
        ("steward", "after.start_job", posted),
        ("worker-1", "after.claim:2", posted),
    ],
)
def test_a_part_that_dies_at_its_point_is_healed_by_the_others_and_its_next_life(
    stack: Stack,
    api: Api,
    part: str,
    point: str,
    asked: Callable[[Stack, Api, str], str],
    record_property: Callable[[str, object], None],
) -> None:
    os.killpg(stack.child(part).process.pid, signal.SIGKILL)
    stack.restart(part, crash_at=point, crash_once="true")

    job_id = asked(stack, api, point)
    job = eventually(
        lambda: supervised(stack, lambda: api.job(job_id)),
        lambda job: job is not None and job["finished_at"] is not None,
        seconds=60,
    )

    died_at = (stack.state_dir / f"crashed-at.{point.replace(':', '.')}").stat().st_mtime
    healed = datetime.fromisoformat(job["finished_at"]).timestamp() - died_at
    record_property(f"seconds from {point} to the end of the job", round(healed, 1))
    assert healed < float(SHORT["lease_seconds"]) + HEALING_SECONDS + BOOT_SECONDS[part]
    assert (job["state"], sum(job["counts"].values())) == ("done", PORTFOLIOS)
    ids = sorted(item["item_id"] for item in api.items(job_id))
    assert len(set(ids)) == PORTFOLIOS
    order_sets = eventually(stack.order_sets, lambda found: set(ids) <= found.keys(), seconds=20)
    assert sorted(each for each in order_sets if each.startswith(job_id)) == ids
