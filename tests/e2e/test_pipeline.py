"""The real processes, end to end: posted request in, order sets out, whatever happens in between."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.stores.open import open_store
from config.settings import Settings, load_settings
from domain.policy import Policy
from tasks.scheduler import Scheduler
from tasks.services import Rules, Services
from tasks.verify_order_set import verify_order_set
from tests.support.parts import events, start_part, terminated
from tests.support.processes import alive, children_of
from tests.support.schedules import StoreAt
from tests.support.stacks import Api, short_stack
from tests.support.waiting import eventually
from worker.redis_client import redis_client
from worker.schedules import build_schedules
from worker.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

WAITS = ("lease_seconds", "due_after_seconds", "lost_token_seconds", "task_time_limit_seconds")
FINAL = {"traded", "no_trade", "infeasible", "rejected"}


def promises_held(api: Api, stack: Stack, job: dict[str, Any]) -> None:
    """One outcome, one result and one order set for every portfolio, and every order set right."""
    items = api.items(job["job_id"])
    assert len(items) == job["portfolios"]
    assert sum(job["counts"].values()) == job["portfolios"]
    assert {item["outcome"] for item in items} <= FINAL
    order_sets = eventually(stack.order_sets, lambda found: len(found) >= len(items), seconds=20)
    mine = {key: value for key, value in order_sets.items() if key.startswith(job["job_id"])}
    assert sorted(mine) == sorted(item["item_id"] for item in items)
    for item in items:
        result = api.result(job["job_id"], item["portfolio_id"])
        assert verify_order_set(mine[item["item_id"]], result, Policy(cash_floor=api.cash_floor)) == ()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with short_stack(tmp_path_factory.mktemp("stack"), portfolios=30) as stack:
        with closing(Api(stack)) as api:
            api.create_model()
        yield stack


def test_a_calm_run_keeps_every_promise_and_repairs_nothing(stack: Stack, api: Api) -> None:
    job = api.finished(api.submit("calm", parallelism=3)["job_id"])

    assert job["state"] == "done"
    assert job["healing"] == {}
    promises_held(api, stack, job)


def test_an_undisturbed_run_of_1000_portfolios_repairs_nothing(tmp_path: Path) -> None:
    """With the waits a deployment has: no zombie, nothing expired, nothing published or sent a second time."""
    defaults = {name: str(Settings.model_fields[name].default) for name in WAITS}
    with short_stack(tmp_path, portfolios=1000, settings=defaults) as stack, closing(Api(stack)) as api:
        api.create_model()

        job = api.finished(api.submit("undisturbed", parallelism=4)["job_id"], seconds=180)

        assert (job["state"], sum(job["counts"].values())) == ("done", 1000)
        assert job["healing"] == {}
        eventually(stack.order_sets, lambda found: len(found) >= 1000, seconds=20)
        with closing(redis_client(stack.settings["broker_url"])) as client:
            assert client.xlen("trimtab.order-sets") == 1000


def test_schedulers_that_were_down_over_night_or_die_start_each_run_once_and_need_no_broker(
    stack: Stack, api: Api
) -> None:
    with closing(open_store(f"sqlite:///{stack.state_dir}/trimtab.db")) as store:
        now = store.now()
        nightly = {"model_id": "m1", "cron": f"0 {(now.hour + 12) % 24} * * *", "catch_up_seconds": 24 * 3600}
        settings = load_settings(schedules=[{"name": name, **nightly} for name in ("calm", "deadly")])
        yesterday = StoreAt(store, now - timedelta(days=1))
        known = SimpleNamespace(
            jobs=yesterday, models=store, rules=Rules(), schedules=lambda: build_schedules(settings)
        )
        Scheduler(cast(Services, known)).tick()  # one that ended then

    calm, deadly = [each.model_dump(mode="json") for each in settings.schedules]
    given = {"broker_url": "redis://127.0.0.1:1/0", "log_level": "debug"}
    crashing = {"schedules": json.dumps([deadly]), "crash_at": "after.insert_job"}
    dying = start_part(stack, "beat", log_name="beat-0", **given, **crashing)
    eventually(lambda: dying.ended, bool, seconds=30)
    stack.children.remove(dying)

    given["schedules"] = json.dumps([calm, deadly])
    beats = [start_part(stack, "beat", log_name=f"beat-{number}", **given) for number in (1, 2)]
    for beat in beats:
        eventually(lambda beat=beat: events(beat), lambda seen: seen.count("schedule.next") == 2, seconds=30)  # type: ignore[misc]  # mypy cannot tell what such a lambda gives

    jobs = [job for job in api.jobs() if job["key"].startswith("schedule:")]
    assert sorted(job["key"].split(":")[1] for job in jobs) == ["calm", "deadly"]
    assert all(job["key"] == job["correlation_id"] for job in jobs)
    assert [terminated(stack, beat, within=10) for beat in beats] == [0, 0]
    told = [event for beat in (dying, *beats) for event in events(beat)]
    assert (told.count("schedule.started"), told.count("schedule.missed")) == (2, 0)
    assert {api.finished(job["job_id"])["state"] for job in jobs} == {"done"}


def test_upstreams_see_two_calls_a_job_and_one_a_portfolio_but_for_empty_ones(stack: Stack, api: Api) -> None:
    before = api.calls()
    job = api.finished(api.submit("counted", parallelism=3)["job_id"])
    empty = sum(1 for item in api.items(job["job_id"]) if item["reason"] == "empty")

    # An empty portfolio costs two calls more: its balances decide, and its name tells it from an unknown one.
    assert api.calls() - before <= 2 + job["portfolios"] + 2 * empty


def test_a_request_on_the_stream_is_a_job_and_garbage_is_set_aside_with_its_reason(
    stack: Stack, api: Api
) -> None:
    with closing(redis_client(stack.settings["broker_url"])) as client:
        client.xadd("trimtab.requests", {"data": b"\xff not JSON"})
        client.xadd("trimtab.requests", {"data": json.dumps({"key": "bad", "model_id": "nobody"})})
        client.xadd("trimtab.requests", {"data": json.dumps({"key": "streamed", "model_id": "m1"})})

        job = eventually(api.jobs, lambda jobs: any(job["key"] == "streamed" for job in jobs), seconds=20)
        dead = eventually(lambda: client.xlen("trimtab.requests.dead"), lambda n: n == 2, seconds=20)

    assert dead == 2
    (streamed,) = (one for one in job if one["key"] == "streamed")
    promises_held(api, stack, api.finished(streamed["job_id"]))


def test_garbage_on_the_task_queue_harms_nobody(stack: Stack, api: Api) -> None:
    with closing(redis_client(stack.settings["broker_url"])) as client:
        for stray in (b"not json", b"[]", b"7", b'{"body": "%%%"}'):
            client.lpush("trimtab.run", stray)
        job = api.finished(api.submit("after-garbage")["job_id"])

        assert client.llen("trimtab.run.strays") == 4
    promises_held(api, stack, job)


def test_two_jobs_at_once_both_end_complete(stack: Stack, api: Api) -> None:
    jobs = [api.submit(f"both-{number}", parallelism=2)["job_id"] for number in range(2)]

    for job_id in jobs:
        promises_held(api, stack, api.finished(job_id))


def test_killing_one_of_two_workers_mid_job_still_ends_with_every_portfolio_done_once(tmp_path: Path) -> None:
    with short_stack(tmp_path, portfolios=60, workers=2) as stack, closing(Api(stack)) as api:
        api.create_model()
        api.faults(accounting={"latency_ms": 50})
        job_id = api.submit("killed", parallelism=4)["job_id"]
        api.until(job_id, lambda job: job["finished"] >= 10)
        victim = next(child for child in stack.children if child.name == "worker-1")
        stack.children.remove(victim)

        os.kill(victim.process.pid, signal.SIGKILL)
        victim.process.wait(10)
        job = api.finished(job_id, seconds=90)

        assert job["state"] == "done"
        promises_held(api, stack, job)


def test_an_outage_pauses_the_job_and_it_goes_on_by_itself(tmp_path: Path) -> None:
    with short_stack(tmp_path, portfolios=20) as stack, closing(Api(stack)) as api:
        api.create_model()
        api.faults(accounting={"down": True})
        job_id = api.submit("outage", parallelism=2)["job_id"]
        waiting = api.until(job_id, lambda job: job["state"] == "waiting")

        assert "accounting" in waiting["reason"]
        api.faults()
        job = api.finished(job_id)

        assert job["state"] == "done"
        promises_held(api, stack, job)


def test_the_whole_pipeline_on_mongodbs_wire_protocol(tmp_path: Path, mongo_url: str) -> None:
    with short_stack(tmp_path, portfolios=12, store_url=mongo_url) as stack, closing(Api(stack)) as api:
        api.create_model()

        job = api.finished(api.submit("on-mongo", parallelism=2)["job_id"], seconds=90)

        assert job["state"] == "done"
        promises_held(api, stack, job)


def test_everything_a_stack_started_is_gone_when_it_is_left(tmp_path: Path) -> None:
    with short_stack(tmp_path, portfolios=2) as stack:
        parts = [child.process.pid for child in stack.children]
        pool = eventually(lambda: children_of(parts[-1]), lambda pids: len(pids) >= 2, seconds=30)

    assert [pid for pid in (*parts, *pool) if alive(pid)] == []


def test_children_do_not_outlive_a_worker_that_is_killed(tmp_path: Path) -> None:
    """Each holds the others' pipes open, so that none would ever read the end of its own."""
    with short_stack(tmp_path, portfolios=4, workers=1) as stack:
        worker = stack.child("worker-1")
        children = eventually(
            lambda: children_of(worker.process.pid), lambda found: len(found) >= 2, seconds=30
        )

        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait(10)

        eventually(lambda: [pid for pid in children if alive(pid)], lambda left: not left, seconds=10)
