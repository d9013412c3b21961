"""A small sample of `python -m tests.fuzz`, and that its judge sees what is wrong."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.answer import Outcome, Proof, Rebalance
from domain.errors import SolverFailed, SolverTimeout
from domain.rebalance import rebalance
from tests.fuzz.__main__ import main
from tests.fuzz.judge import BAD, DIFFERENCE, EXCEPTION, TIMEOUT, TRIED, UNEXPLAINED, VIOLATION, judge
from tests.support.fuzz_books import FuzzCase, fuzz_case
from tests.support.policy_books import FEATURES

SAMPLE = 60


@pytest.fixture(scope="module")
def solver() -> CvxpySolver:
    return CvxpySolver(time_limit_seconds=1)


def test_a_sample_of_random_portfolios_over_all_policies_has_nothing_wrong(solver: CvxpySolver) -> None:
    seen: Counter[str] = Counter()
    for number in range(SAMPLE):
        for finding in judge(fuzz_case(1, number), solver):
            assert finding.what not in BAD, (number, finding)
            seen[finding.what] += 1
    assert seen[TRIED] > SAMPLE // 4
    assert seen["traded"] > SAMPLE // 4
    assert seen["infeasible"] > SAMPLE // 20


def test_a_case_is_drawn_again_by_its_seed_and_number() -> None:
    assert fuzz_case(1, 7) == fuzz_case(1, 7)
    assert fuzz_case(1, 7) != fuzz_case(2, 7)


def test_every_feature_is_drawn() -> None:
    assert {name for number in range(200) for name in fuzz_case(1, number).features} == set(FEATURES)


# ------------------------------------------------------------------------------------------------ the judge itself


def _cheaper(proof: Proof | None) -> Any:
    assert proof is not None
    return replace(proof, objective=proof.objective - 1, lower_bound=proof.lower_bound - 1)


WRONG: dict[str, tuple[Callable[[Rebalance], Rebalance], str]] = {
    "an_order_left_out": (lambda it: replace(it, orders=it.orders[1:]), VIOLATION),
    "an_order_twice": (lambda it: replace(it, orders=(*it.orders, it.orders[-1])), VIOLATION),
    "orders_the_other_way_round": (lambda it: replace(it, orders=it.orders[::-1]), VIOLATION),
    "half_a_share": (
        lambda it: replace(
            it, orders=(it.orders[0]._replace(notional=it.orders[0].notional / 2), *it.orders[1:])
        ),
        VIOLATION,
    ),
    "cash_that_is_not_there": (
        lambda it: replace(it, cash_after=(it.cash_after or Decimal(0)) + 1),
        VIOLATION,
    ),
    "no_drift": (lambda it: replace(it, drift_after=None), VIOLATION),
    "an_objective_that_is_not_reached": (lambda it: replace(it, proof=_cheaper(it.proof)), VIOLATION),
    "an_answer_called_infeasible": (
        lambda it: replace(it, outcome=Outcome.INFEASIBLE, orders=(), conflicts=()),
        UNEXPLAINED,
    ),
    "an_answer_without_proof": (lambda it: replace(it, proof=None), DIFFERENCE),
}


def _traded(solver: CvxpySolver) -> FuzzCase:
    for number in range(200):
        case = fuzz_case(1, number)
        found = [each.what for each in judge(case, solver)]
        book = case.book
        answer = rebalance(
            book.portfolio.portfolio_id, book.portfolio, book.model, book.prices, book.policy, solver
        )
        if case.tiny and found[:1] == ["traded"] and TRIED in found and len(answer.orders) > 1:
            return case
    raise AssertionError("no such case")


@pytest.mark.parametrize(("spoil", "what"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_seen(
    solver: CvxpySolver,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Rebalance], Rebalance],
    what: str,
) -> None:
    case = _traded(solver)
    monkeypatch.setattr("tests.fuzz.judge.rebalance", lambda *given: spoil(rebalance(*given)))
    assert what in {each.what for each in judge(case, solver)}


@pytest.mark.parametrize(
    ("error", "what"),
    [(ZeroDivisionError(), EXCEPTION), (SolverFailed("no"), EXCEPTION), (SolverTimeout("1 s"), TIMEOUT)],
)
def test_an_exception_is_counted_and_does_not_end_the_run(
    solver: CvxpySolver, monkeypatch: pytest.MonkeyPatch, error: Exception, what: str
) -> None:
    def fail(*_: object) -> Any:
        raise error

    monkeypatch.setattr("tests.fuzz.judge.rebalance", fail)
    assert [each.what for each in judge(fuzz_case(1, 0), solver)] == [what]


def test_the_command_counts_and_its_status_says_whether_anything_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--count", "6", "--seed", "1"]) == 0
    assert "6 portfolios of seed 1" in capsys.readouterr().out

    def fail(*_: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("tests.fuzz.judge.rebalance", fail)
    assert main(["--count", "2", "--first", "40"]) == 1
    told = capsys.readouterr().out
    assert "--seed 1 --first 40 --count 1: uncaught exception" in told
    assert "       2  uncaught exception" in told


@pytest.mark.timeout(120)
def test_two_processes_share_the_cases_of_the_command() -> None:
    command = [sys.executable, "-m", "tests.fuzz", *("--count", "60", "--seed", "1", "--processes", "2")]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100, check=False
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert "60 portfolios of seed 1" in run.stdout
