"""Settings: read once, wrong ones named, a running stack found."""

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.celery_settings import celery_settings
from config.settings import STACK_FILE, UnknownSetting, environment, load_settings
from worker.redis_client import is_redis, redis_client


def test_a_variable_that_names_no_setting_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_BROKER_ULR", "redis://elsewhere")

    with pytest.raises(UnknownSetting, match="TRIMTAB_BROKER_ULR"):
        load_settings()


def test_a_variable_for_the_tests_alone_is_no_setting_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_TEST_REDIS_URL", "redis://127.0.0.1")

    load_settings()


@pytest.mark.parametrize(
    ("solver", "task", "lease"), [(30, 20, 150), (30, 120, 100), (30, 30, 150), (200, 120, 150)]
)
def test_a_lease_that_does_not_outlive_the_work_is_refused(solver: int, task: int, lease: int) -> None:
    with pytest.raises(
        ValidationError, match="solver_time_limit_seconds < task_time_limit_seconds < lease_seconds"
    ):
        load_settings(solver_time_limit_seconds=solver, task_time_limit_seconds=task, lease_seconds=lease)


@pytest.mark.parametrize(
    "which",
    [{}, {"model_id": "m", "needing_rebalance": 7}, {"needing_rebalance": 0}, {"model_id": "m", "crom": ""}],
)
def test_a_schedule_is_of_one_model_or_of_all_that_need_a_rebalance(which: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="schedules"):
        load_settings(schedules=[{"name": "nightly", "cron": "0 22 * * *", **which}])


def test_two_schedules_of_one_name_are_refused_since_one_of_them_would_never_run() -> None:
    schedules = [{"name": "nightly", "model_id": model, "cron": "0 22 * * *"} for model in ("m1", "m2")]

    with pytest.raises(ValidationError, match="more than one schedule is named nightly"):
        load_settings(schedules=schedules)


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    settings = load_settings(
        store_url="mongodb://trimtab:hunter2@db/trimtab", broker_url="redis://:hunter2@mq"
    )

    assert "hunter2" not in repr(settings)
    assert "hunter2" in settings.effective_store_url


def test_results_and_requests_are_where_the_broker_is_unless_said_otherwise() -> None:
    settings = load_settings(broker_url="redis://mq/0")
    assert settings.effective_results_url == settings.effective_requests_url == "redis://mq/0"

    settings = load_settings(results_url="amqp://rabbit", requests_url="redis://other")
    assert settings.effective_results_url == "amqp://rabbit"
    assert settings.effective_requests_url == "redis://other"


def stack_file(folder: Path, pid: int, **more: str) -> None:
    settings = {"broker_url": "redis+socket:///tmp/x.sock", "state_dir": str(folder), **more}
    stack = {"pid": pid, "settings": settings}
    (folder / STACK_FILE).write_text(json.dumps(stack))


def test_a_stack_that_runs_here_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_STATE_DIR", str(tmp_path))
    stack_file(tmp_path, os.getpid())

    assert load_settings().broker_url.get_secret_value() == "redis+socket:///tmp/x.sock"


def test_the_schedules_of_a_stack_that_runs_here_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_STATE_DIR", str(tmp_path))
    schedules = [{"name": "nightly", "model_id": "m", "cron": "0 22 * * *"}]
    stack_file(tmp_path, os.getpid(), schedules=json.dumps(schedules))

    assert [each.name for each in load_settings().schedules] == ["nightly"]


def test_the_environment_stands_over_a_running_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TRIMTAB_BROKER_URL", "redis://mine")
    stack_file(tmp_path, os.getpid())

    assert load_settings().broker_url.get_secret_value() == "redis://mine"


def test_a_stack_whose_process_is_gone_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_STATE_DIR", str(tmp_path))
    stack_file(tmp_path, 2**22 + 1)  # above what Linux gives out by default

    assert load_settings().broker_url.get_secret_value() == "redis://127.0.0.1:6379/0"


def test_a_child_gets_settings_by_name_and_one_thread_for_its_arithmetic() -> None:
    given = environment({"broker_url": "redis://x"})

    assert given["TRIMTAB_BROKER_URL"] == "redis://x"
    assert given["OMP_NUM_THREADS"] == "1"
    assert given["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://mq/0", {"ack_emulation": False}),
        ("redis+socket:///tmp/mq.sock", {"ack_emulation": False}),
        ("memory://", {"polling_interval": 0.01}),
        ("amqp://rabbit//", {"write_timeout": 10}),
        ("sqs://", {}),
    ],
)
def test_the_broker_gets_the_options_of_its_kind(url: str, options: dict[str, object]) -> None:
    given = celery_settings(load_settings(broker_url=url))["broker_transport_options"]

    assert options.items() <= given.items()
    assert bool(given) is bool(options)


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("redis://mq", True),
        ("rediss://mq", True),
        ("unix:///tmp/mq.sock", True),
        ("redis+socket:///tmp/mq.sock?virtual_host=3", True),
        ("amqp://rabbit", False),
        ("kombu+redis://mq", False),
        ("memory://", False),
    ],
)
def test_what_counts_as_redis(url: str, is_one: bool) -> None:
    assert is_redis(url) is is_one


def test_kombus_socket_url_leads_to_the_same_socket_and_database() -> None:
    client = redis_client("redis+socket:///tmp/mq.sock?virtual_host=3")

    assert client.connection_pool.connection_kwargs["path"] == "/tmp/mq.sock"  # noqa: S108 - only a name
    assert client.connection_pool.connection_kwargs["db"] == 3


def test_a_slice_must_leave_its_last_portfolio_its_time() -> None:
    load_settings(slice_portfolios=8, slice_milliseconds=89_000.0)
    load_settings(slice_portfolios=1, slice_milliseconds=90_000.0)
    with pytest.raises(ValidationError, match="slice_milliseconds"):
        load_settings(slice_portfolios=8, slice_milliseconds=90_000.0)
