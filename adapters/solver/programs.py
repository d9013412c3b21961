"""A `domain.program.Program` given to HiGHS as the arrays it is made of.

CVXPY has no way to hand over a start (`Variable.value` is ignored), and its canonicalisation of a program that looks
different for every portfolio costs more than HiGHS often needs to solve it; so this goes past it, to the solver it
brings: see docs/decisions/0027.
"""

import math
from collections.abc import Sequence
from typing import Final

import highspy
import numpy as np

from adapters.solver.native_output import native_stdout_silenced
from domain.program import INFEASIBLE, OPTIMAL, TIME_LIMIT, Program, ProgramAnswer, Row

# One thread, as everywhere in this process (see `adapters.solver.cvxpy_solver`); no gap of any kind.
_OPTIONS: Final[dict[str, bool | float | int | str]] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 0.0,
}

_HAS_INCUMBENT: Final = 2  # HighsInfo.primal_solution_status: feasible

_Status = highspy.HighsModelStatus
_ENDS: Final = {
    _Status.kOptimal: OPTIMAL,
    _Status.kTimeLimit: TIME_LIMIT,
    _Status.kInfeasible: INFEASIBLE,
    # Every column has two ends, so nothing is unbounded.
    _Status.kUnboundedOrInfeasible: INFEASIBLE,
}


class ProgramFailed(Exception):
    """HiGHS ended in a way that is none of those a program can end in."""


def solve_with_highs(
    program: Program, start: Sequence[int] | None, *, time_limit_seconds: float
) -> ProgramAnswer:
    """Solve it anew, from ``start`` where there is one.

    Money is given in currency units, counts as they are; each number is rounded to a float once.

    Raises:
        ProgramFailed: any end but an optimum, the time limit, or the claim that there is no answer.
    """
    if not program.cost or any(low > high for low, high in zip(program.lower, program.upper, strict=True)):
        return _without_columns(program)
    with native_stdout_silenced():
        highs = highspy.Highs()  # type: ignore[no-untyped-call]  # highspy leaves it unannotated
        for name, value in _OPTIONS.items():
            highs.setOptionValue(name, value)
        highs.setOptionValue("time_limit", time_limit_seconds)
        highs.passModel(_model(program))
        if start is not None:
            given = highspy.HighsSolution()
            given.col_value = np.array(start, dtype=np.float64)
            highs.setSolution(given)
        highs.run()
        status, info = highs.getModelStatus(), highs.getInfo()
    end = _ENDS.get(status)
    if end is None:
        raise ProgramFailed(f"a program ended with status {highs.modelStatusToString(status)!r}")
    if end == INFEASIBLE:
        return ProgramAnswer(values=None, lower_bound=math.inf, status=end)
    values: tuple[int, ...] | None = None
    if info.primal_solution_status == _HAS_INCUMBENT:
        values = tuple(map(round, highs.getSolution().col_value))
    return ProgramAnswer(values=values, lower_bound=info.mip_dual_bound, status=end)


def _without_columns(program: Program) -> ProgramAnswer:
    """Nothing to decide: HiGHS need not be asked, and would not say the same in every version."""
    crossed = any(low > high for low, high in zip(program.lower, program.upper, strict=True))
    if crossed or not program.allows(()):
        return ProgramAnswer(values=None, lower_bound=math.inf, status=INFEASIBLE)
    return ProgramAnswer(values=(), lower_bound=0.0, status=OPTIMAL)


def _model(program: Program) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    count = len(program.cost)
    lp.num_col_, lp.num_row_ = count, len(program.rows)
    lp.col_cost_ = np.array([cost / program.unit for cost in program.cost])
    lp.col_lower_ = np.array(program.lower, dtype=np.float64)
    lp.col_upper_ = np.array(program.upper, dtype=np.float64)
    lp.integrality_ = [highspy.HighsVarType.kInteger] * count
    lp.row_lower_ = np.array([_end(row, row.least, -highspy.kHighsInf, program.unit) for row in program.rows])
    lp.row_upper_ = np.array([_end(row, row.most, highspy.kHighsInf, program.unit) for row in program.rows])
    entries = [[(column, weight) for column, weight in row.weights.items() if weight] for row in program.rows]
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.cumsum([0, *(len(each) for each in entries)])
    lp.a_matrix_.index_ = np.array([column for each in entries for column, _ in each], dtype=np.int32)
    lp.a_matrix_.value_ = np.array(
        [
            weight / _unit(row, program.unit)
            for row, each in zip(program.rows, entries, strict=True)
            for _, weight in each
        ]
    )
    return lp


def _unit(row: Row, unit: int) -> int:
    return unit if row.unit == "money" else 1


def _end(row: Row, end: int | None, infinite: float, unit: int) -> float:
    return infinite if end is None else end / _unit(row, unit)
