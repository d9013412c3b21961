"""The solver itself, not a fake of it: CVXPY and HiGHS are libraries in this process."""

import ctypes
import os
import random
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from adapters.solver.compiled import Coefficients, CompiledProblem, padded_size
from adapters.solver.cvxpy_solver import CvxpySolver, _End
from adapters.solver.native_output import native_stdout_silenced
from domain.cash_bound import certify
from domain.closed_form import nearest_quantities
from domain.errors import SolverFailed, SolverTimeout
from domain.problem import IntArray, Problem
from tests.support.problems import in_python_integers, problem

ROOT = Path(__file__).parents[2]


def book(seed: int, count: int = 20, *, spare: int = 0) -> Problem:
    """A problem whose cash row binds; ``spare`` securities that can only be at zero stand behind it."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        price = int(100 * 10 ** rng.uniform(0.7, 2.8))
        target = rng.randint(3 * price, 300 * price)
        rows.append((price, target, target - 3 * price, target + 3 * price))
    given = problem(rows + [(1000, 0, 0, 0)] * spare, scale=1000)
    return replace(given, budget=given.spend(nearest_quantities(given)) - rng.randint(1, 100_000))


def shares(solver: CvxpySolver, given: Problem) -> IntArray:
    quantity = solver.solve(given).quantity
    assert quantity is not None
    return quantity


@pytest.fixture(scope="module")
def solver() -> CvxpySolver:
    return CvxpySolver(absolute_gap=0.0)


def test_its_name_tells_library_and_version_of_both(solver: CvxpySolver) -> None:
    assert solver.name == f"cvxpy {version('cvxpy')} / HiGHS {version('highspy')}"


@pytest.mark.parametrize("seed", range(8))
def test_its_answer_is_the_proved_optimum(seed: int, solver: CvxpySolver) -> None:
    given = book(seed)
    answer = solver.solve(given)
    assert answer.quantity is not None
    assert answer.status == "optimal"
    assert given.allows(answer.quantity)
    least = certify(given, given.min_quantity)
    assert least.optimal
    assert given.drift(answer.quantity) == least.objective
    assert answer.lower_bound == pytest.approx(least.objective / 10**given.fine_places)


@pytest.mark.parametrize("seed", range(8))
def test_by_default_it_is_at_most_a_cent_off(seed: int) -> None:
    given = book(seed)
    least = certify(given, given.min_quantity).objective
    assert least <= given.drift(shares(CvxpySolver(), given)) <= least + 10**given.fine_places // 100


def test_where_the_cash_suffices_it_finds_the_separable_optimum(solver: CvxpySolver) -> None:
    given = replace(book(1), budget=10**12)
    assert given.drift(shares(solver, given)) == given.drift(nearest_quantities(given))


def test_python_integers_get_the_same_answer(solver: CvxpySolver) -> None:
    given = book(2)
    big = shares(solver, in_python_integers(given))
    assert big.dtype == object
    assert list(big) == list(shares(solver, given))


@pytest.mark.parametrize(
    ("target", "lower", "upper", "expected"),
    [
        pytest.param(310, 450, 900, 5, id="above_the_share_after_the_target"),
        pytest.param(990, 100, 420, 4, id="below_the_share_before_the_target"),
        pytest.param(-40, -40, 0, 0, id="a_target_below_nothing"),
    ],
)
def test_windows_away_from_the_target_are_kept(
    target: int, lower: int, upper: int, expected: int, solver: CvxpySolver
) -> None:
    assert list(shares(solver, problem([(100, target, lower, upper)]))) == [expected]


@pytest.mark.parametrize(
    ("count", "size"), [(0, 32), (32, 32), (33, 128), (128, 128), (129, 512), (513, 1024), (1025, 2048)]
)
def test_sizes_are_few_so_that_few_problems_are_compiled(count: int, size: int) -> None:
    assert padded_size(count) == size


def test_a_compiled_problem_is_kept_and_no_numbers_are_compiled_into_it(solver: CvxpySolver) -> None:
    compiled = CompiledProblem(32)
    assert compiled.program.is_dpp()
    solver.solve(book(1, 20))
    kept = dict(solver._compiled)
    solver.solve(book(2, 31))
    assert solver._compiled == kept


def test_padding_changes_nothing() -> None:
    for seed in range(3):
        given = book(seed, 20)
        least = certify(given, given.min_quantity).objective
        for spare in (12, 13, 109):  # padded to 32, 128 and 512
            wider = replace(book(seed, 20, spare=spare), budget=given.budget)
            quantity = shares(CvxpySolver(absolute_gap=0.0), wider)
            assert not quantity[20:].any()
            assert wider.drift(quantity) == least


def test_the_same_problem_gets_the_same_answer_fresh_and_after_others() -> None:
    used = CvxpySolver()
    first = [list(shares(used, book(seed))) for seed in range(5)]
    again = [list(shares(used, book(seed))) for seed in reversed(range(5))][::-1]
    fresh = [list(shares(CvxpySolver(), book(seed))) for seed in range(5)]
    assert first == again == fresh


# ------------------------------------------------------------------------------------------------ statuses


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(problem([(100, 350, 200, 900)], budget=199), id="the_cash_is_short"),
        pytest.param(problem([(100, 350, 320, 390)]), id="a_window_is_empty"),
    ],
)
def test_infeasible_is_answered_where_integers_prove_it(given: Problem, solver: CvxpySolver) -> None:
    answer = solver.solve(given)
    assert answer.quantity is None
    assert answer.status == "infeasible"


def test_no_answer_within_the_time_limit_is_a_timeout() -> None:
    with pytest.raises(SolverTimeout, match="within 1e-09 s"):
        CvxpySolver(time_limit_seconds=1e-9).solve(book(1, 100))


def test_after_a_timeout_it_still_solves() -> None:
    solver = CvxpySolver(time_limit_seconds=30.0)
    with pytest.raises(SolverTimeout, match="within 1e-09 s"):
        solver.solve(book(1), 1e-9)
    assert book(1).allows(shares(solver, book(1)))


def test_an_answer_says_how_long_it_took() -> None:
    solver = CvxpySolver()
    answer = solver.solve(book(1))
    assert 0 < answer.seconds < solver.time_limit_seconds


def test_an_option_highs_refuses_is_a_failure_of_the_solver() -> None:
    with pytest.raises(SolverFailed, match="time_limit"):
        CvxpySolver(time_limit_seconds=-1.0).solve(book(1))


class EndsAs(CvxpySolver):
    """Solves, then reports another end than the one it came to."""

    def __init__(self, end: _End) -> None:
        super().__init__()
        self._end = end

    def _run(self, program: cp.Problem, time_limit: float) -> _End:
        super()._run(program, time_limit)
        return self._end


def test_an_incumbent_at_the_time_limit_is_returned_and_called_so() -> None:
    answer = EndsAs(_End(cp.USER_LIMIT, has_incumbent=True, bound=0.0)).solve(book(1))
    assert answer.status == "time_limit"
    assert answer.quantity is not None


@pytest.mark.parametrize(
    "status", [cp.INFEASIBLE, cp.UNBOUNDED, cp.SOLVER_ERROR, cp.OPTIMAL, "something_new"]
)
def test_an_end_without_an_incumbent_is_a_failure_whatever_it_is_called(status: str) -> None:
    with pytest.raises(SolverFailed, match=status) as caught:
        EndsAs(_End(status, has_incumbent=False, bound=0.0)).solve(book(1))
    assert not isinstance(caught.value, SolverTimeout)


@pytest.mark.parametrize(
    ("status", "primal", "has_incumbent"),
    [
        pytest.param(cp.OPTIMAL, 2, True, id="optimal_and_feasible"),
        pytest.param(cp.OPTIMAL, 1, False, id="optimal_but_not_feasible"),
        pytest.param(cp.USER_LIMIT, 2, True, id="a_limit_with_an_incumbent"),
        pytest.param(cp.USER_LIMIT, 0, False, id="a_limit_with_all_zeros"),
        pytest.param(cp.INFEASIBLE, 2, False, id="infeasible_has_none_whatever_it_says"),
        pytest.param(cp.OPTIMAL_INACCURATE, 2, False, id="inaccurate_is_not_on_the_list"),
    ],
)
def test_an_incumbent_needs_a_listed_status_and_the_flag(
    status: str, primal: int, *, has_incumbent: bool
) -> None:
    info = SimpleNamespace(primal_solution_status=primal, mip_dual_bound=1.5)
    program: Any = SimpleNamespace(status=status, solver_stats=SimpleNamespace(extra_stats=info))
    assert _End.of(program).has_incumbent is has_incumbent


# ------------------------------------------------------------------------------------------------ numbers


def test_coefficients_are_currency_and_shares_padded_with_zeros() -> None:
    given = problem(
        [(1250, 4000, 1000, 9000)], budget=5000, scale=1000
    )  # 12.50, 40.00, 10.00 to 90.00; 50.00
    numbers = Coefficients.of(given, 32)
    assert list(numbers.anchor) == [3]
    assert numbers.constant == 2.5
    assert numbers.budget == 12.5
    first = {name: getattr(numbers, name)[0] for name in ("price", "step_cost", "less_max", "more_max")}
    assert first == {"price": 12.5, "step_cost": 7.5, "less_max": 2.0, "more_max": 3.0}
    assert not np.any(numbers.price[1:])


# ------------------------------------------------------------------------------------------------ output


def test_what_native_code_prints_does_not_reach_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    libc.printf(b"before ")
    with native_stdout_silenced():
        libc.printf(b"buffered ")
        os.write(1, b"direct ")
    libc.printf(b"after")
    libc.fflush(None)
    assert capfd.readouterr().out == "before after"


def test_standard_output_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), native_stdout_silenced():
        raise RuntimeError
    os.write(1, b"here")
    assert capfd.readouterr().out == "here"


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_first_solve_of_a_process_prints_nothing() -> None:
    """HiGHS greets on standard output; here JSON is spoken."""
    done = run_python(
        "from adapters.solver.cvxpy_solver import CvxpySolver\n"
        "from tests.support.problems import problem\n"
        "answer = CvxpySolver().solve(problem([(100, 370, 0, 900)], budget=300))\n"
        "print(list(map(int, answer.quantity)))"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("[3]\n", "", 0)


def test_a_closed_standard_output_is_no_obstacle() -> None:
    done = run_python(
        "import os\n"
        "from adapters.solver.native_output import native_stdout_silenced\n"
        "os.close(1)\n"
        "with native_stdout_silenced():\n"
        "    os.write(2, b'inside')"
    )
    assert done.stderr == "inside"
