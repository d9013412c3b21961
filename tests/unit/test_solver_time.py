"""One time limit for all that a solver is asked about a portfolio."""

import math
from collections.abc import Sequence
from decimal import Decimal

import pytest

from domain import rebalance as ladder
from domain.answer import Outcome
from domain.cash_bound import Certificate
from domain.errors import SolverFailed, SolverTimeout
from domain.policy import Group, OnInfeasible, Policy
from domain.problem import IntArray, Problem, SolverAnswer
from domain.program import TIME_LIMIT, Program, ProgramAnswer
from domain.rebalance import rebalance
from domain.solver_time import OnePortfolio
from tests.support.builders import model, portfolio, portfolio_id, prices, security_id
from tests.support.problems import problem

PROGRAM = Program()


class Slow:
    """Takes a ``part`` of the time that it is given, and remembers both; or it fails.

    Of the base problem it proposes more than the cash allows, of a program nothing.
    """

    name = "slow 1.0"

    def __init__(
        self, part: float = 1.0, fault: SolverFailed | None = None, *, time_limit_seconds: float = 30.0
    ) -> None:
        self.time_limit_seconds = time_limit_seconds
        self._part = part
        self._fault = fault
        self.given: list[float] = []

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        seconds = self._take(time_limit)
        return SolverAnswer(
            quantity=problem.max_quantity, lower_bound=0.0, status=TIME_LIMIT, seconds=seconds
        )

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        seconds = self._take(time_limit)
        return ProgramAnswer(values=None, lower_bound=-math.inf, status=TIME_LIMIT, seconds=seconds)

    def _take(self, time_limit: float | None) -> float:
        assert time_limit is not None, "a question without an end"
        self.given.append(time_limit)
        if self._fault is not None:
            raise self._fault
        return self._part * time_limit


def test_each_question_is_given_what_the_ones_before_it_left() -> None:
    slow = Slow(part=0.5)
    solver = OnePortfolio(slow)
    solver.solve(problem([(1, 1, 0, 2)]))
    solver.solve_program(PROGRAM, None, 2.0)
    solver.solve_program(PROGRAM)
    assert slow.given == [30.0, 2.0, 14.0]
    assert (solver.name, solver.time_limit_seconds) == ("slow 1.0", 30.0)


def test_when_nothing_is_left_the_solver_is_not_asked() -> None:
    slow = Slow()
    solver = OnePortfolio(slow)
    solver.solve_program(PROGRAM)
    with pytest.raises(SolverTimeout, match=r"slow 1\.0 has had its 30 s for this portfolio"):
        solver.solve_program(PROGRAM, None, 1.0)
    with pytest.raises(SolverTimeout):
        solver.solve(problem([(1, 1, 0, 2)]))
    assert slow.given == [30.0]


def test_a_question_that_ends_in_an_error_counts_as_all_it_was_given() -> None:
    slow = Slow(fault=SolverFailed("no idea"))
    solver = OnePortfolio(slow)
    for limit in (10.0, None):
        with pytest.raises(SolverFailed, match="no idea"):
            solver.solve_program(PROGRAM, None, limit)
    with pytest.raises(SolverTimeout):
        solver.solve_program(PROGRAM)
    assert slow.given == [10.0, 20.0]


def test_tightening_a_base_problem_again_and_again_takes_one_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search that proves nothing, and proposals that overdraw: what the search had stands when the time is over."""

    def certify(problem: Problem, incumbent: IntArray) -> Certificate:
        return Certificate(quantity=incumbent, objective=problem.drift(incumbent), lower_bound=0, nodes=0)

    monkeypatch.setattr(ladder, "certify", certify)
    slow = Slow()
    answer = rebalance(
        portfolio_id(1),
        portfolio(1000, {}),
        model({1: ("0.455", "0.3", "0.3"), 2: ("0.46", "0.3", "0.3")}),
        prices({1: 100, 2: 100}),
        Policy(cash_floor=Decimal("0.1")),
        slow,
    )
    assert answer.outcome is Outcome.TRADED
    assert answer.proof is not None
    assert (answer.proof.method, answer.proof.bound_by) == ("cash_bound", "exact")
    assert slow.given == [30.0]


@pytest.mark.parametrize("on_infeasible", OnInfeasible)
def test_what_becomes_of_rules_without_an_answer_takes_one_time_limit_in_all(
    on_infeasible: OnInfeasible,
) -> None:
    """Thirty securities in three parts; of any two half is asked for, which with the cash is more than there is."""
    parts = [tuple(security_id(number) for number in range(first, first + 10)) for first in (1, 11, 21)]
    least = Decimal("0.52")
    policy = Policy(
        groups=tuple(
            Group(name=f"without {left}", security_ids=sum(parts[:left] + parts[left + 1 :], ()), min=least)
            for left in range(3)
        ),
        cash_floor=Decimal("0.25"),
        on_infeasible=on_infeasible,
    )
    slow = Slow(time_limit_seconds=3.0)  # the relaxation alone would take five
    numbers = range(1, 31)
    answer = rebalance(
        portfolio_id(1),
        portfolio(1000, {}),
        model(dict.fromkeys(numbers, ("0.025", "0.025", "0.025"))),
        prices(dict.fromkeys(numbers, 10)),
        policy,
        slow,
    )
    assert slow.given == [3.0]
    assert answer.outcome is (Outcome.TRADED if answer.relaxed else Outcome.INFEASIBLE)
    assert bool(answer.relaxed) == (on_infeasible is OnInfeasible.RELAX)
    assert answer.explanation is not None
    assert answer.explanation.relaxation_proved_by is None
