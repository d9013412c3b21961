"""A schedule submits one job a business date, however many schedulers fire, and however often."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from celery.beat import ScheduleEntry, Scheduler
from structlog.testing import capture_logs

from adapters.stores.open import open_store
from adapters.system_clock import SystemClock
from config.settings import load_settings
from domain.errors import KeyReused, NotFound
from domain.ids import ModelId
from tasks.start_scheduled import StartScheduled, start_scheduled
from tests.support.world import World
from worker.celery_app import create_sending_app
from worker.process import WorkerProcess

MONDAY = date(2026, 11, 23)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path)
    yield world
    world.store.close()


def nightly(**changes: object) -> StartScheduled:
    given = {"name": "nightly", "model_id": ModelId("MODEL1"), "business_date": MONDAY} | changes
    return StartScheduled(**given)  # type: ignore[arg-type]  # a test's shorthand


def test_two_schedulers_start_one_job(world: World) -> None:
    world.book(2)

    first, second = start_scheduled(nightly(), world.services), start_scheduled(nightly(), world.services)

    assert first.job_id == second.job_id
    assert first.key == "schedule:nightly:2026-11-23"
    assert dict(world.finish(first).counts) == {"traded": 2}


def test_the_next_business_date_is_another_job(world: World) -> None:
    world.book(1)

    monday = start_scheduled(nightly(), world.services)
    tuesday = start_scheduled(nightly(business_date=date(2026, 11, 24)), world.services)

    assert monday.job_id != tuesday.job_id


def test_a_schedule_changed_after_its_run_began_is_refused_not_run_twice(world: World) -> None:
    world.book(1)
    start_scheduled(nightly(), world.services)

    with pytest.raises(KeyReused):
        start_scheduled(nightly(parallelism=2), world.services)


def test_a_schedule_of_an_unknown_model_is_told(world: World) -> None:
    with pytest.raises(NotFound):
        start_scheduled(nightly(), world.services)


def test_a_schedules_policy_and_parallelism_are_the_jobs(world: World) -> None:
    world.book(1)

    job = start_scheduled(nightly(parallelism=2, policy={"cash_floor": "0.02"}), world.services)

    assert job.parallelism == 2
    assert str(job.policy.cash_floor) == "0.02"


def test_the_scheduler_knows_every_schedule_by_its_cron_line() -> None:
    settings = load_settings(schedules=[{"name": "nightly", "model_id": "m", "cron": "30 22 * * mon-fri"}])

    entry = create_sending_app(settings).conf.beat_schedule["nightly"]

    assert entry["task"] == "trimtab.start_scheduled"
    assert entry["kwargs"]["name"] == "nightly"
    assert entry["schedule"].minute == {30}
    assert entry["schedule"].hour == {22}
    assert entry["schedule"].day_of_week == {1, 2, 3, 4, 5}


def test_the_business_date_is_that_of_the_moment_a_schedule_fires_not_of_the_worker_that_is_late() -> None:
    schedule = {"name": "nightly", "model_id": "m", "cron": "30 22 * * *"}
    app = create_sending_app(load_settings(broker_url="memory://", schedules=[schedule]))
    entry = ScheduleEntry(name="nightly", app=app, **app.conf.beat_schedule["nightly"])
    earliest = SystemClock().now().date()

    Scheduler(app, lazy=True).apply_async(entry)

    with app.connection_for_read() as connection, closing(connection.SimpleQueue("trimtab.run")) as queue:
        _args, kwargs, _embed = queue.get_nowait().payload
    assert kwargs["name"] == "nightly"
    assert earliest <= date.fromisoformat(kwargs["business_date"]) <= SystemClock().now().date()


def test_a_scheduled_job_that_cannot_start_is_an_error_in_the_log(tmp_path: Path) -> None:
    schedule = {"name": "nightly", "model_id": "no-such-model", "cron": "30 22 * * *"}
    settings = load_settings(state_dir=tmp_path, broker_url="memory://", schedules=[schedule])
    with closing(open_store(settings.effective_store_url)) as store:
        store.prepare()
    process = WorkerProcess(settings, create_sending_app(settings))

    with closing(process), capture_logs() as logs, pytest.raises(NotFound):
        process.start_scheduled("nightly", MONDAY)

    assert [(entry["event"], entry["log_level"], entry["code"]) for entry in logs] == [
        ("schedule.not_started", "error", "model_not_found")
    ]
