"""The solver for processes that may never solve: CVXPY costs a second and 70 MB, paid at the first solve."""

from collections.abc import Sequence
from functools import cached_property

from domain.ports import Solver
from domain.problem import Problem, SolverAnswer
from domain.program import Program, ProgramAnswer


class DeferredSolver:
    """As `CvxpySolver`, imported when it is first asked for anything."""

    def __init__(self, time_limit_seconds: float = 30.0) -> None:
        self._time_limit_seconds = time_limit_seconds

    @property
    def name(self) -> str:
        return self._solver.name

    @property
    def time_limit_seconds(self) -> float:
        return self._time_limit_seconds

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        return self._solver.solve(problem, time_limit)

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        return self._solver.solve_program(program, start, time_limit)

    @cached_property
    def _solver(self) -> Solver:
        from adapters.solver.cvxpy_solver import CvxpySolver  # noqa: PLC0415 - the very point of this class

        return CvxpySolver(time_limit_seconds=self._time_limit_seconds)
