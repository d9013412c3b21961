"""The table of crash points: complete, told in full to who misspells one, and of no cost to who names none."""

import inspect
from pathlib import Path

import pytest

from config.settings import load_settings
from domain.errors import Invalid
from domain.ports import JobStore
from tasks.run_token import answered
from tests.support.world import World
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.crash_points import (
    POINTS,
    STEPS,
    CrashPoint,
    marker_of,
    watch_requests,
    watch_services,
    watch_work,
)

READS = {
    "ping",
    "now",
    "members",
    "get_job",
    "list_jobs",
    "open_work",
    "survey",
    "get_note",
    "get_inputs",
    "due_items",
    "busy_seats",
    "next_pending",
    "has_items",
    "has_due",
    "get_item",
    "list_items",
    "count_items",
    "count_causes",
    "untold",
}


# Done to a job whose life is over. That its repeat finishes it is tried in test_http_rebalances.py.
AFTERWARDS = {"delete_job", "delete_items"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.create(tmp_path)


def test_every_write_of_the_job_store_is_a_step_and_nothing_else_of_it_is() -> None:
    methods = {name for name, _ in inspect.getmembers(JobStore, inspect.isfunction) if name[0] != "_"}

    assert {step.method for step in STEPS.values() if step.port == "jobs"} == methods - READS - AFTERWARDS


def test_each_step_has_a_point_before_and_one_after_it() -> None:
    assert sorted(POINTS) == sorted(f"{side}.{step}" for step in STEPS for side in ("before", "after"))


@pytest.mark.parametrize(
    "text", ["nowhere", "before.nothing", "finish", "before.", "before.finish:0", "after.solve:x"]
)
def test_a_point_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        CrashPoint.parse(text)


def test_an_unknown_point_stops_the_start_with_the_list_of_all_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CRASH_AT", "before.lunch")
    settings = load_settings(broker_url="memory://")

    with (
        pytest.raises(Invalid, match=r"before\.lunch") as refused,
        build_services(settings, create_sending_app(settings)),
    ):
        pass

    assert all(point in str(refused.value) for point in POINTS)


def test_without_the_setting_nothing_is_wrapped(world: World) -> None:
    client = object()

    assert watch_services(world.services, None) is world.services
    assert watch_requests(client, None) is client
    assert watch_work(answered, None) is answered
    assert watch_work(answered, CrashPoint.parse("before.finish")) is answered


def test_only_the_port_of_the_point_is_wrapped(world: World) -> None:
    watched = watch_services(world.services, CrashPoint.parse("before.finish"))

    assert watched.jobs is not world.services.jobs
    assert watched.models is world.services.models
    assert watch_services(world.services, CrashPoint.parse("before.ack")) is world.services
    assert watch_requests(world, CrashPoint.parse("before.finish")) is world


def test_a_wrapped_port_answers_as_before_until_its_turn_comes(world: World) -> None:
    world.book(1)
    job = world.submit()
    watched = watch_services(world.services, CrashPoint.parse("after.start_job:3"))

    assert watched.jobs.get_job(job.job_id) == world.job(job)
    assert watched.jobs.start_job(job.job_id) is True
    assert watched.jobs.start_job(job.job_id) is False


def test_where_somebody_died_already_nobody_dies_again(world: World, tmp_path: Path) -> None:
    marker = tmp_path / "crashed"
    marker.touch()
    watched = watch_services(world.services, CrashPoint.parse("before.wake_items", marker))

    assert watched.jobs.wake_items() == {}


def test_the_marker_is_of_the_stack_and_of_the_point(tmp_path: Path) -> None:
    settings = load_settings(state_dir=tmp_path, crash_at="after.publish:3", crash_once=True)

    assert marker_of(settings) == tmp_path / "crashed-at.after.publish.3"


def test_the_acknowledgements_of_the_request_stream_go_through_the_watch() -> None:
    class Pipeline:
        def execute(self) -> str:
            return "acknowledged"

    class Client:
        name = "a client"

        def pipeline(self, *, transaction: bool) -> Pipeline:
            assert transaction
            return Pipeline()

    watched = watch_requests(Client(), CrashPoint.parse("after.ack:3"))

    assert watched.name == "a client"
    assert [watched.pipeline(transaction=True).execute() for _ in range(2)] == ["acknowledged"] * 2
