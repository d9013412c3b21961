"""A batch of cases, in a module that every process can import: what is named in `__main__` the others never find."""

from adapters.solver.cvxpy_solver import CvxpySolver
from tests.fuzz.judge import Finding, judge
from tests.support.fuzz_books import fuzz_case

_SOLVER_SECONDS = 1.0


def findings(asked: tuple[int, range]) -> list[tuple[int, Finding]]:
    """Everything that is found of these cases of a seed, with the number of each."""
    seed, numbers = asked
    solver = CvxpySolver(time_limit_seconds=_SOLVER_SECONDS)
    return [(number, finding) for number in numbers for finding in judge(fuzz_case(seed, number), solver)]
