"""The solver for processes that may never solve: CVXPY costs a second and 70 MB, paid at the first solve."""

from functools import cached_property

from domain.ports import Solver
from domain.problem import Problem, SolverAnswer


class DeferredSolver:
    """As `CvxpySolver`, imported when it is first asked for anything."""

    def __init__(self, time_limit_seconds: float = 30.0) -> None:
        self._time_limit_seconds = time_limit_seconds

    @property
    def name(self) -> str:
        return self._solver.name

    def solve(self, problem: Problem) -> SolverAnswer:
        return self._solver.solve(problem)

    @cached_property
    def _solver(self) -> Solver:
        from adapters.solver.cvxpy_solver import CvxpySolver  # noqa: PLC0415 - the very point of this class

        return CvxpySolver(time_limit_seconds=self._time_limit_seconds)
