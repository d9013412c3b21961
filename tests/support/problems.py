"""Problems in plain integers, and solvers that do as they are told."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from domain.errors import SolverTimeout
from domain.problem import IntArray, Problem, SolverAnswer
from domain.program import Program, ProgramAnswer
from tests.support import builders


def problem(
    rows: Sequence[tuple[int, int, int, int]] | Sequence[tuple[int, int, int, int, int]],
    *,
    budget: int = 10**9,
    scale: int = 1,
    big: bool = False,
) -> Problem:
    """Rows of (price, target, lower, upper[, held]) in money units; ``big``: Python integers instead of int64."""
    dtype: type = object if big else np.int64

    def column(index: int, unit: int = 1) -> IntArray:
        return np.array([row[index] * unit if index < len(row) else 0 for row in rows], dtype=dtype)

    price, lower, upper = column(0), column(2, scale), column(3, scale)
    return Problem(
        security_ids=tuple(builders.security_id(number) for number in range(1, len(rows) + 1)),
        money_places=2,
        weight_scale=scale,
        market_value=10**9,
        budget=budget,
        price=price,
        target=column(1, scale),
        lower=lower,
        upper=upper,
        held=column(4),
        min_quantity=np.maximum(-(-lower // (price * scale)), 0),
        max_quantity=upper // (price * scale),
    )


def in_python_integers(given: Problem) -> Problem:
    """The same problem with arrays of Python integers."""
    arrays = ("price", "target", "lower", "upper", "held", "min_quantity", "max_quantity")
    return replace(given, **{name: getattr(given, name).astype(object) for name in arrays})


class NoPrograms:
    """For solvers of the base problem alone."""

    time_limit_seconds = 30.0

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        raise AssertionError("a program was to be solved")


class OutOfTime:
    """A solver that never has the time to answer anything."""

    name = "out of time"
    time_limit_seconds = 30.0

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        raise SolverTimeout(self.name)

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        raise SolverTimeout(self.name)


class NeverAsked(NoPrograms):
    """A solver for cases that must not need one."""

    name = "never asked"

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        raise AssertionError("the solver was asked")


class Scripted(NoPrograms):
    """Gives these answers in turn and remembers the budgets it was asked with. None: calls it infeasible."""

    name = "scripted 1.0"

    def __init__(self, *answers: Sequence[int] | None) -> None:
        self._answers = list(answers)
        self.budgets: list[int] = []

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        self.budgets.append(problem.budget)
        answer = self._answers.pop(0)
        quantity = None if answer is None else np.array(answer, dtype=problem.price.dtype)
        return SolverAnswer(quantity=quantity, lower_bound=0.0, status="scripted")
