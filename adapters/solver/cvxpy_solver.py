"""The mixed-integer solver behind the port: CVXPY for the model, HiGHS for the search."""

import math
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from time import monotonic
from typing import Any, Final

import cvxpy as cp

from adapters.solver.compiled import Coefficients, CompiledProblem, padded_size
from adapters.solver.native_output import native_stdout_silenced
from adapters.solver.programs import ProgramFailed, solve_with_highs
from domain.errors import SolverFailed, SolverTimeout
from domain.problem import Problem, SolverAnswer
from domain.program import Program, ProgramAnswer

# One thread: a second one starts a scheduler for the whole process, after which solves with one thread fail.
# No relative gap: the default calls answers optimal that are off by more, the richer the portfolio.
_OPTIONS: Final = {"threads": 1, "parallel": "off", "mip_rel_gap": 0.0}

_HAS_INCUMBENT: Final = 2  # HighsInfo.primal_solution_status: feasible

# CVXPY's statuses with which an incumbent may come, and what we call them. Any other is no answer.
_ANSWERED: Final = {cp.OPTIMAL: "optimal", cp.USER_LIMIT: "time_limit"}


class CvxpySolver:
    """Solves what the closed form cannot. One problem is compiled for each padded size and kept.

    Open one per process, after the fork: a compiled problem is state, and HiGHS was not made to be forked. Calls
    from several threads wait for each other.

    ``absolute_gap`` is the money by which an answer may be off its bound. Where windows are wide, HiGHS needs
    minutes for the last cent or does not find it at all, while `domain.cash_bound` goes that way in milliseconds
    and in integers; so it is spared that by default. With 0 it goes all the way by itself.
    """

    def __init__(self, time_limit_seconds: float = 30.0, *, absolute_gap: float = 0.01) -> None:
        self.name = f"cvxpy {version('cvxpy')} / HiGHS {version('highspy')}"
        self._time_limit_seconds = time_limit_seconds
        self._absolute_gap = absolute_gap
        self._compiled: dict[int, CompiledProblem] = {}
        self._lock = threading.Lock()

    @property
    def time_limit_seconds(self) -> float:
        return self._time_limit_seconds

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        """Solve the coupled problem in floating point; see `domain.ports.Solver`.

        A status alone is never believed: an answer needs an incumbent (a time limit can come with all zeros), and
        that there is no answer needs a proof in integers.

        Raises:
            SolverTimeout: the time limit passed without an incumbent.
            SolverFailed: any other end without an answer or a proof that there is none.
        """
        if _proved_infeasible(problem):
            return SolverAnswer(quantity=None, lower_bound=math.inf, status="infeasible")
        limit = self._time_limit_seconds if time_limit is None else time_limit
        with self._lock:
            begun = monotonic()  # not before: waiting for another thread is no search
            compiled = self._compiled_for(len(problem.security_ids))
            coefficients = Coefficients.of(problem, compiled.size)
            compiled.set(coefficients)
            end = self._run(compiled.program, limit)
            if end.has_incumbent:
                return SolverAnswer(
                    quantity=compiled.quantity(coefficients),
                    lower_bound=coefficients.constant + end.bound,
                    status=_ANSWERED[end.status],
                    seconds=monotonic() - begun,
                )
        if end.status == cp.USER_LIMIT:
            raise SolverTimeout(f"{self.name} found no answer within {limit:g} s")
        raise SolverFailed(f"{self.name} ended with status {end.status!r} and no answer")

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        """Hand the program to HiGHS as it is; see `domain.ports.Solver` and `adapters.solver.programs`.

        Raises:
            SolverFailed: an end without an answer, a claim that there is none, or the time limit.
        """
        limit = self._time_limit_seconds if time_limit is None else time_limit
        with self._lock:
            begun = monotonic()
            try:
                answer = solve_with_highs(program, start, time_limit_seconds=limit)
            except ProgramFailed as fault:
                raise SolverFailed(f"{self.name} failed: {fault}") from fault
            return replace(answer, seconds=monotonic() - begun)

    def _compiled_for(self, count: int) -> CompiledProblem:
        size = padded_size(count)
        compiled = self._compiled.get(size)
        if compiled is None:
            compiled = self._compiled[size] = CompiledProblem(size)
        return compiled

    def _run(self, program: cp.Problem, time_limit: float) -> "_End":
        try:
            with warnings.catch_warnings(), native_stdout_silenced():
                # We read the status ourselves, so its warning has no reader.
                warnings.filterwarnings("ignore", message="Solution may be inaccurate", category=UserWarning)
                program.solve(  # type: ignore[no-untyped-call]  # CVXPY leaves it unannotated
                    solver=cp.HIGHS,
                    enforce_dpp=True,
                    warm_start=False,  # no portfolio starts from another one's answer
                    time_limit=time_limit,
                    mip_abs_gap=self._absolute_gap,
                    **_OPTIONS,
                )
        except (cp.SolverError, cp.DPPError, ValueError, ArithmeticError) as fault:
            raise SolverFailed(f"{self.name} failed: {fault}") from fault
        return _End.of(program)


@dataclass(frozen=True, slots=True)
class _End:
    """How a run of HiGHS ended, by its own account. ``bound`` lacks the constant of the objective."""

    status: str
    has_incumbent: bool
    bound: float

    @classmethod
    def of(cls, program: cp.Problem) -> "_End":
        if program.status not in _ANSWERED:
            return cls(program.status, has_incumbent=False, bound=-math.inf)
        info: Any = program.solver_stats.extra_stats  # HighsInfo, whatever CVXPY's annotation says
        return cls(program.status, info.primal_solution_status == _HAS_INCUMBENT, info.mip_dual_bound)


def _proved_infeasible(problem: Problem) -> bool:
    """No whole share fits some window, or the least the windows demand costs more than the budget."""
    if (problem.min_quantity > problem.max_quantity).any():
        return True
    return problem.spend(problem.min_quantity) > problem.budget
