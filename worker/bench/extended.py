"""Portfolios under hard rules, a second each: how good the answers are, and HiGHS alone in the same second.

HiGHS alone is given the same program as our last rung, whole, without a start, for a second of its own; its answer
counts if it keeps the rules exactly. The families are those of `worker.bench.hard`; ``n`` is the number of securities.
"""

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.extended import Extended
from domain.extended_program import build_program
from domain.ladder import EXACT, Best, best_answer
from domain.ports import Solver
from domain.problem import Problem, SolverAnswer
from domain.program import Program, ProgramAnswer
from domain.rules import broken_rules, build_extended
from worker.bench.hard import FAMILIES, Family, draw
from worker.bench.rows import Better, Row

SUITE = "extended"
SIZES = (100, 200)

_SECONDS = 1.0
_GAP = 1e-3
_NOISE = 1e-6  # a cent or two: which of many near-equal answers a search stops at is chance
_NO_ANSWER = 1.0  # the gap of no answer at all


class WithinASecond:
    """A solver that has what is left of a second since it was made, so that our own rungs count too."""

    def __init__(self, solver: Solver, seconds: float = _SECONDS) -> None:
        self.name = solver.name
        self._solver = solver
        self.time_limit_seconds = seconds
        self._until = time.perf_counter() + seconds

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        return self._solver.solve(problem, time_limit)

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        left = max(0.001, self._until - time.perf_counter())
        return self._solver.solve_program(
            program, start, left if time_limit is None else min(left, time_limit)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One portfolio: our gap, whether the bound is proved in integers, our time, and the gap of HiGHS alone.

    ``behind`` is by how much our answer is worse than that of HiGHS alone, as a part of the objective; below 0: better.
    """

    gap: float
    exact: bool
    seconds: float
    alone: float
    behind: float


def rows(
    rounds: int = 3, *, sizes: Sequence[int] = SIZES, families: Sequence[Family] = FAMILIES
) -> Iterator[Row]:
    """The suite; under two minutes. ``rounds``: portfolios of each family and size."""
    solver = CvxpySolver(time_limit_seconds=_SECONDS)
    everything: list[Measured] = []
    for family in families:
        for count in sizes:
            measured = list(_measured(family, count, solver, rounds))
            everything += measured
            if measured:
                yield from _rows_of(f"{family.name}, n = {count}", measured)
    close = statistics.mean(each.gap <= _GAP for each in everything)
    yield _row("all: part with a gap of at most 0.001", close, "part", better=Better.HIGHER, goal=0.95)
    for what, least, goal in (("by more than a millionth", _NOISE, 0), ("at all", 0.0, None)):
        worse = sum(each.behind > least for each in everything)
        yield _row(f"all: worse than HiGHS alone {what}", worse, "portfolios", goal=goal)
    better = sum(each.behind < -_NOISE for each in everything)
    yield _row(
        "all: better than HiGHS alone by more than a millionth", better, "portfolios", better=Better.HIGHER
    )
    exact = statistics.mean(each.exact for each in everything)
    yield _row("all: part whose bound is proved in integers", exact, "part", better=Better.HIGHER)


def _rows_of(where: str, measured: Sequence[Measured]) -> Iterator[Row]:
    yield _row(f"{where}: greatest gap", max(each.gap for each in measured), "of the objective")
    yield _row(
        f"{where}: greatest gap of HiGHS alone", max(each.alone for each in measured), "of the objective"
    )
    yield _row(
        f"{where}: time", statistics.median(each.seconds for each in measured) * 1000, "ms a portfolio"
    )


def _row(
    name: str, value: float, unit: str, *, better: Better = Better.LOWER, goal: float | None = None
) -> Row:
    return Row(suite=SUITE, name=name, value=value, unit=unit, better=better, goal=goal)


def _measured(family: Family, count: int, solver: Solver, portfolios: int) -> Iterator[Measured]:
    """The first so many portfolios that have an answer."""
    for checked, policy in islice(draw(family, count), 4 * portfolios):
        if not portfolios:
            return
        extended = build_extended(checked, policy)
        begun = time.perf_counter()
        best = best_answer(extended, WithinASecond(solver))
        seconds = time.perf_counter() - begun
        if not isinstance(best, Best):
            continue
        shares = dict(zip(extended.security_ids, best.quantity, strict=True))
        broken = broken_rules(checked, policy, shares)
        if broken:
            raise AssertionError(f"an answer that was measured is wrong: {broken[0].message}")
        portfolios -= 1
        objective, gap = _highs_alone(extended, solver)
        yield Measured(
            gap=_gap(best.objective, best.lower_bound),
            exact=best.bound_by == EXACT,
            seconds=seconds,
            alone=gap,
            behind=-math.inf if objective is None else _gap(best.objective, objective),
        )


def _highs_alone(extended: Extended, solver: Solver) -> tuple[int | None, float]:
    """The objective of its answer if that keeps the rules, and its gap by its own bound."""
    formulation = build_program(extended)
    answer = solver.solve_program(formulation.program)
    if answer.values is None:
        return None, _NO_ANSWER
    quantity = formulation.quantity(answer.values)
    if not extended.allows(quantity):
        return None, _NO_ANSWER
    objective = extended.value(quantity)
    bound = answer.lower_bound * extended.unit + formulation.constant
    return objective, max(0.0, min(_NO_ANSWER, (objective - bound) / objective if objective else 0.0))


def _gap(objective: int, bound: int) -> float:
    return (objective - bound) / objective if objective else 0.0
