"""The time a solver has for one portfolio, whatever it is asked about it."""

from collections.abc import Sequence

from domain.errors import SolverTimeout
from domain.ports import Solver
from domain.problem import Problem, SolverAnswer
from domain.program import Program, ProgramAnswer


class OnePortfolio:
    """A solver whose time limit is one for all questions about a portfolio: the rungs, what follows, the explanation.

    Each question is given what is left at the most, and each answer says how much of that it took. A question that
    ends in an error counts as all that it was given: nobody says what it took. So the questions together are given
    no more than ``time_limit_seconds``, and a task knows how long its portfolio may take.
    """

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._left = solver.time_limit_seconds

    @property
    def name(self) -> str:
        """Asked late: some solvers load their library to tell it."""
        return self._solver.name

    @property
    def time_limit_seconds(self) -> float:
        return self._solver.time_limit_seconds

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        """Raises SolverTimeout: nothing is left; otherwise as the solver itself."""
        given = self._given(time_limit)
        answer = self._solver.solve(problem, given)
        self._left += given - answer.seconds
        return answer

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        """Raises SolverTimeout: nothing is left; otherwise as the solver itself."""
        given = self._given(time_limit)
        answer = self._solver.solve_program(program, start, given)
        self._left += given - answer.seconds
        return answer

    def _given(self, asked: float | None) -> float:
        """Taken before the question: what ends in an error never gives any of it back."""
        if self._left <= 0:
            raise SolverTimeout(f"{self.name} has had its {self.time_limit_seconds:g} s for this portfolio")
        given = self._left if asked is None else min(asked, self._left)
        self._left -= given
        return given
