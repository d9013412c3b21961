"""Retry, parallelism, republish and the attempts of a job on the command line."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner, Result

from adapters.inbound.cli import create_cli
from adapters.inbound.cli.wiring import Wiring
from domain.ids import JobId
from domain.item import Out
from domain.job import Retry
from tasks.services import Services
from tests.support import builders
from tests.support.front_desk import MODEL_ID, FrontDesk

Run = Callable[..., Result]


@dataclass
class DeskWiring:
    """Only what these commands ask for."""

    desk: FrontDesk
    version: str = "9.9.9"

    @contextmanager
    def services(self) -> Iterator[Services]:
        yield self.desk.services


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def run(desk: FrontDesk) -> Run:
    wiring = cast("Wiring", DeskWiring(desk))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(create_cli(wiring), arguments, catch_exceptions=False)

    return invoke


@pytest.fixture
def open_job(run: Run) -> str:
    return str(json.loads(run("submit", "--model", MODEL_ID, "--json").stdout)["job_id"])


@pytest.fixture
def closed_job(desk: FrontDesk, open_job: str) -> str:
    """One traded and published, two failed."""
    desk.start(open_job)
    item = desk.finish_one(open_job, b"{}")
    desk.store.mark_sent([item.item_id])
    for _ in range(2):
        desk.fail_one(open_job)
    assert desk.store.close_job(JobId(open_job), 0)
    return open_job


def test_retry_brings_back_all_that_failed(desk: FrontDesk, run: Run, closed_job: str) -> None:
    result = run("retry", closed_job)
    assert (result.exit_code, result.stdout) == (
        0,
        f"job {closed_job} reopening: 3 portfolios, 4 at once\n",
    )
    assert f"trimtab watch {closed_job}" in result.stderr
    assert desk.store.get_job(JobId(closed_job)).retry == Retry()


def test_retry_takes_portfolios_a_cause_and_a_deadline(desk: FrontDesk, run: Run, closed_job: str) -> None:
    chosen = [builders.portfolio_id(number) for number in (2, 3)]
    options = ["--portfolio", chosen[0], "--portfolio", chosen[1], "--cause", "solver_timeout"]

    result = run("retry", closed_job, *options, "--deadline", "2999-01-02T03:04:05Z", "--json")

    assert json.loads(result.stdout)["deadline"] == "2999-01-02T03:04:05Z"
    retry = Retry(portfolio_ids=tuple(chosen), cause="solver_timeout")
    assert desk.store.get_job(JobId(closed_job)).retry == retry


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cause", "poison"], "no failed portfolio"),
        (["--portfolio", "nobody"], "no failed portfolio"),
        (["--portfolio", "a:b"], "portfolio_ids[0]"),
        (["--deadline", "tomorrow"], "deadline"),
    ],
)
def test_a_retry_that_cannot_be_is_told_in_one_line(
    run: Run, closed_job: str, options: list[str], words: str
) -> None:
    result = run("retry", closed_job, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_parallelism_changes_an_open_job(desk: FrontDesk, run: Run, open_job: str) -> None:
    result = run("parallelism", open_job, "7")
    assert result.stdout == f"job {open_job} accepted: 3 portfolios, 7 at once\n"
    assert desk.store.get_job(JobId(open_job)).parallelism == 7
    assert run("parallelism", open_job, "0").exit_code == 2


def test_republish_makes_one_job_or_the_recent_ones_due_again(
    desk: FrontDesk, run: Run, closed_job: str
) -> None:
    assert run("republish", closed_job).stdout == "1 order sets are due again\n"
    (published, *_) = desk.store.list_items(JobId(closed_job))
    assert published.out is Out.DUE
    desk.store.mark_sent([published.item_id])
    assert json.loads(run("republish", "--json").stdout) == {"order_sets": 1}
    assert run("republish", "nobody").exit_code == 2


def test_results_tell_the_attempts(desk: FrontDesk, run: Run, closed_job: str) -> None:
    table = run("results", closed_job, "--attempts").stdout.splitlines()
    assert table[0].split() == ["portfolio", "retry", "attempt", "started", "seconds", "ended", "by", "owner"]
    assert [line.split()[0] for line in table[1:]] == [builders.portfolio_id(number) for number in (1, 2, 3)]
    assert [line.split()[-2] for line in table[1:]] == ["traded", "solver_timeout", "solver_timeout"]
    assert "the first 1 are shown" in run("results", closed_job, "--attempts", "--limit", "1").stderr


def test_results_tell_an_attempt_in_work(desk: FrontDesk, run: Run, open_job: str) -> None:
    desk.start(open_job)
    desk.store.claim(JobId(open_job), 0, "worker-1")
    assert "in work" in run("results", open_job, "--attempts").stdout
