"""The commands of the quick start, run as they stand on the page, in a folder of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from config.settings import environment
from tests.support.pages import ROOT, shell_blocks
from tests.support.processes import children_of
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

PAGE = ROOT / "docs/quick-start.md"
# Waits and ports that are not what the page is about.
FAST = {"api_port": "0", "worker_concurrency": "1", "retry_delay_seconds": "0.1", "log_format": "json"}


def page() -> Mapping[str, str]:
    """The blocks of the page, named by what they are for."""
    names = ["path", "files", "up", "rebalance", "http", "spoil", "look", "mend", "nightly", "schedules"]
    names += ["sandbox", "outage", "back"]  # over a sandbox: test_command.py
    return dict(zip(names, shell_blocks(PAGE), strict=True))


def bash(script: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**environment({}), **more},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The reader's folder, with the three files in it and the stack of the page up."""
    root = tmp_path_factory.mktemp("quick-start")
    binary = root / ".venv/bin/trimtab"
    binary.parent.mkdir(parents=True)
    binary.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m worker "$@"\n')
    binary.chmod(0o755)
    blocks = page()
    made = bash(blocks["path"] + blocks["files"], root)
    assert made.returncode == 0, made.stderr
    folder = root / "my-book"
    with subprocess.Popen(
        [
            "bash",
            "-c",
            blocks["path"]
            + blocks["up"].replace("trimtab up --no-sandbox", "exec trimtab up --no-sandbox 2> up.txt"),
        ],
        cwd=root,
        env=environment(FAST),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as stack:
        try:
            eventually((folder / ".trimtab/stack.json").exists, bool, seconds=60)
            yield folder
        finally:
            stack.send_signal(signal.SIGINT)
            stack.wait(60)


def test_the_quick_start_does_what_it_says(book: Path) -> None:
    blocks = page()
    api = json.loads((book / ".trimtab/stack.json").read_text())["api_url"]
    path = {"PATH": f"{book.parent}/.venv/bin:{os.environ['PATH']}"}

    first = bash(blocks["rebalance"], book, **path)
    assert first.returncode == 0, first.stderr
    assert "everything needed is in order" in first.stdout
    assert "done" in first.stdout
    assert {"BUY", "SELL"} <= set(first.stdout.split())

    over_http = bash(blocks["http"].replace("http://127.0.0.1:8080", api), book, **path)
    assert '"model_id":"growth-60"' in over_http.stdout
    assert '"key":"second-try"' in over_http.stdout

    second = bash(
        "\n".join([blocks["spoil"], blocks["look"], blocks["mend"], 'echo "JOB=$JOB"']), book, **path
    )
    assert second.returncode == 0, second.stderr
    assert "not everything was decided" in second.stdout
    assert "upstream_fault" in second.stdout
    assert "portfolios.csv:5" in second.stdout
    assert " done: traded 3" in second.stdout.splitlines()[-2]
    assert not (book / "portfolios.good").exists()

    job = second.stdout.splitlines()[-1].partition("=")[2]
    solve_again = next(
        block for block in shell_blocks(ROOT / "docs/how-to-debug-a-portfolio.md") if "solve" in block
    )
    again = bash(solve_again, book, JOB=job, **path)
    assert again.returncode == 0, again.stderr
    stored = map(json.loads, (book / "results.jsonl").read_text().splitlines())
    (result,) = (item["result"] for item in stored if item["portfolio_id"] == "P-1")
    answer = json.loads(again.stdout)
    assert answer["orders"] == result["orders"] != []
    assert answer["positions"] == result["positions"]

    parts_that_are_killed_are_started_again(book, path)


def parts_that_are_killed_are_started_again(book: Path, path: Mapping[str, str]) -> None:
    """As the page says; a job asked for meanwhile ends well."""
    up = json.loads((book / ".trimtab/stack.json").read_text())["pid"]
    for pid in children_of(up):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        if any(part in command for part in (b"-m worker worker", b"-m worker steward", b"valkey-server")):
            os.kill(pid, signal.SIGKILL)

    third = bash("trimtab submit --model growth-60 --key fourth-try --watch", book, **path)

    assert third.returncode == 0, third.stderr
    told = (book / "up.txt").read_text()
    for name in ("broker", "steward", "worker-1"):
        assert f"{name} was killed by signal 9; it is started again" in told
