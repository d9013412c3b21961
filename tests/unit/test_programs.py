"""The extended problem as a program, and HiGHS on programs: what is proposed means what the columns say."""

import ctypes
import itertools
import math
import random
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from adapters.solver import programs
from adapters.solver.cvxpy_solver import CvxpySolver
from adapters.solver.deferred import DeferredSolver
from domain.errors import SolverFailed
from domain.extended import Choices, Coupling, Extended, Objective, Window
from domain.extended_program import build_program
from domain.program import INFEASIBLE, OPTIMAL, TIME_LIMIT, Column, Program, Row, RuleName
from tests.support.builders import security_id

UNIT = 100


def extended(
    *windows: Window, couplings: tuple[Coupling, ...] = (), per_order: int = 0, drift: int = 1, rate: int = 0
) -> Extended:
    objective = Objective(drift=drift, traded=(rate,) * len(windows), per_order=per_order, constant=7)
    return Extended(
        security_ids=tuple(security_id(number) for number in range(len(windows))),
        places=2,
        windows=windows,
        choices=tuple(map(Choices.of, windows)),
        objective=objective,
        couplings=couplings,
        market_value=10_000,
        costs=Objective(drift=0, traded=(rate,) * len(windows), per_order=per_order),
    )


def window(held: int, target: int, lower: int, upper: int, *, lot: int = 1, min_trade: int = 0) -> Window:
    return Window(held=held, price=100, target=target, lower=lower, upper=upper, lot=lot, min_trade=min_trade)


# Held, target, bounds (money), lot, smallest trade: each side, both, neither, closing, covering.
WINDOWS = {
    "both sides": window(5, 720, 0, 1200),
    "only to buy": window(2, 720, 300, 1200),
    "only to sell": window(9, 720, 300, 800),
    "nothing but what is held": window(7, 720, 700, 799),
    "lots": window(5, 720, 100, 1500, lot=3),
    "closing what is no lot": window(5, 0, 0, 1500, lot=3),
    "smallest trade": window(5, 720, 0, 1200, min_trade=350),
    "closing for less than the smallest trade": window(2, 720, 0, 1200, min_trade=350),
    "a short to cover": window(-3, 720, 0, 1200, lot=4),
    "beyond the target already": window(9, 250, 0, 1200),
    "none at all": window(0, 720, 0, 1200, lot=2, min_trade=500),
}


@pytest.mark.parametrize("per_order", [0, 30])
@pytest.mark.parametrize("drift", [0, 1])
@pytest.mark.parametrize("name", WINDOWS)
def test_every_choice_has_columns_that_cost_what_it_does(name: str, drift: int, per_order: int) -> None:
    count = Coupling(
        rule=RuleName(rule="max_orders"), most=1, unit="count", shares=(0,), traded=(0,), per_order=1
    )
    cash = Coupling(rule=RuleName(rule="cash_floor"), most=10**6, shares=(100,), traded=(1,), per_order=5)
    given = extended(
        WINDOWS[name], couplings=(cash, count)[: 1 + per_order // 30], drift=drift, per_order=per_order
    )
    given = replace(given, couplings=given.couplings if per_order else (replace(cash, per_order=0),))
    formulation = build_program(given)
    for shares in given.choices[0]:
        x = formulation.columns([shares])
        assert formulation.program.allows(x)
        assert formulation.quantity(x) == [shares]
        assert formulation.program.objective(x) + formulation.constant == given.value([shares])
        for coupling, row in zip(
            given.couplings, formulation.program.rows[-len(given.couplings) :], strict=True
        ):
            assert row.most is not None
            assert row.value(x) - row.most == coupling.of(0, shares, given.held[0]) - coupling.most


@pytest.mark.parametrize("per_order", [0, 30])
@pytest.mark.parametrize("name", WINDOWS)
def test_whatever_the_columns_allow_is_a_choice_and_costs_no_less(name: str, per_order: int) -> None:
    given = extended(WINDOWS[name], per_order=per_order)
    formulation = build_program(given)
    program = formulation.program
    ranges = [range(low, high + 1) for low, high in zip(program.lower, program.upper, strict=True)]
    reached = set()
    for x in itertools.product(*ranges):
        if program.allows(x):
            (shares,) = formulation.quantity(x)
            assert shares in given.choices[0]
            assert program.objective(x) + formulation.constant >= given.value([shares])
            reached.add(shares)
    assert reached == set(given.choices[0])


def test_windows_as_rows_name_their_rule_and_leave_the_columns_free() -> None:
    no_buy = RuleName(rule="no_buy", security_id=security_id(1))
    no_sell = RuleName(rule="no_sell", security_id=security_id(0))
    tight = replace(window(5, 720, 600, 650), no_sell=no_sell)
    given = extended(tight, replace(window(5, 720, 0, 1200), no_buy=no_buy))
    formulation = build_program(given, windows_as_rows=True)
    rows = {row.rule: row for row in formulation.program.rows if row.rule is not None}
    bounds = [RuleName(rule="bounds", security_id=security_id(number)) for number in (0, 1)]
    assert set(rows) == {no_buy, no_sell, *bounds}
    for one, other in itertools.product(range(12), range(12)):
        x = formulation.columns([one, other])
        missed = {name: row.missed_by(x) for name, row in rows.items()}
        assert missed[bounds[0]] == max(0, 600 - one * 100, one * 100 - 650)
        assert missed[no_sell] == max(0, 500 - one * 100)
        assert missed[no_buy] == max(0, other * 100 - 500)


def test_windows_as_rows_leave_lots_and_smallest_trades_as_they_are() -> None:
    given = extended(replace(WINDOWS["lots"], lower=None), WINDOWS["smallest trade"], per_order=30)
    formulation = build_program(given, windows_as_rows=True)
    (free,) = (
        row
        for row in formulation.program.rows
        if row.rule is not None and row.rule.security_id == security_id(0)
    )
    assert free.least is None
    for lots, count in itertools.product((5, 8, 2, 0), (5, 1, 9, 0)):
        x = formulation.columns([lots, count])
        assert formulation.quantity(x) == [lots, count]
        assert formulation.program.objective(x) + formulation.constant == given.value([lots, count])


# ------------------------------------------------------------------------------------------------ the solver


def knapsack(seed: int, count: int = 12) -> Program:
    """Take what is worth most within a weight: costs below 0, one row."""
    rng = random.Random(seed)
    program = Program(unit=UNIT)
    columns = [program.column(0, rng.randint(1, 3), -rng.randint(100, 9_999)) for _ in range(count)]
    weights = {column: rng.randint(100, 9_999) for column in columns}
    program.rows.append(Row(weights=weights, most=sum(weights.values()) // 2, rule=RuleName(rule="weight")))
    program.rows.append(Row(weights=dict.fromkeys(columns, 1), least=1, most=count // 2, unit="count"))
    return program


def through_cvxpy(program: Program) -> float:
    """The same arrays through CVXPY, without a start."""
    x = cp.Variable(len(program.cost), integer=True)
    rows = np.array(
        [[row.weights.get(Column(column), 0) for column in range(len(program.cost))] for row in program.rows]
    )
    least = np.array([-1e9 if row.least is None else row.least for row in program.rows])
    most = np.array([1e9 if row.most is None else row.most for row in program.rows])
    rows_at: cp.Expression = cp.Constant(rows) @ x
    problem = cp.Problem(
        cp.Minimize(np.array(program.cost) @ x),
        [rows_at <= most, rows_at >= least, x >= np.array(program.lower), x <= np.array(program.upper)],
    )
    problem.solve(solver=cp.HIGHS, mip_rel_gap=0.0, mip_abs_gap=0.0)  # type: ignore[no-untyped-call]  # unannotated
    return float(problem.value)


@pytest.mark.parametrize("seed", range(5))
def test_highs_solves_a_program_as_cvxpy_would(seed: int) -> None:
    program = knapsack(seed)
    answer = CvxpySolver().solve_program(program)
    assert answer.values is not None
    assert program.allows(answer.values)
    assert answer.status == OPTIMAL
    assert program.objective(answer.values) == pytest.approx(through_cvxpy(program))
    assert answer.lower_bound == pytest.approx(program.objective(answer.values) / UNIT)


def test_a_start_is_taken_where_there_is_no_time_to_find_one() -> None:
    program = knapsack(1, 200)
    start = [0] * 199 + [1]
    answer = CvxpySolver().solve_program(program, start, 1e-6)
    assert answer.status in {TIME_LIMIT, OPTIMAL}
    assert answer.values is not None
    assert program.objective(answer.values) <= program.objective(start)


def test_no_time_and_no_start_is_no_answer() -> None:
    answer = CvxpySolver(time_limit_seconds=0.0).solve_program(knapsack(2, 400))
    assert (answer.values, answer.status, answer.infeasible) == (None, TIME_LIMIT, False)


def test_a_program_without_an_answer_is_told_as_such() -> None:
    program = Program(unit=UNIT)
    column = program.column(0, 1)
    program.rows.append(Row(weights={column: 2}, least=1, most=1, unit="count"))
    answer = CvxpySolver().solve_program(program)
    assert (answer.values, answer.status, answer.lower_bound) == (None, INFEASIBLE, math.inf)
    assert answer.infeasible


def test_bounds_that_cross_leave_no_answer() -> None:
    program = Program(unit=UNIT)
    program.column(2, 1)
    assert CvxpySolver().solve_program(program).infeasible


@pytest.mark.parametrize(("most", "values"), [(0, ()), (-1, None)])
def test_a_program_without_columns_is_judged_by_its_rows(most: int, values: tuple[int, ...] | None) -> None:
    program = Program(unit=UNIT, rows=[Row(weights={}, most=most)])
    assert CvxpySolver().solve_program(program).values == values


def test_columns_that_cannot_move_have_one_answer() -> None:
    program = Program(unit=UNIT)
    program.column(3, 3, 250)
    answer = CvxpySolver().solve_program(program)
    assert answer.values == (3,)
    assert answer.lower_bound == pytest.approx(7.5)


def test_an_end_that_is_none_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_ENDS", {})
    with pytest.raises(SolverFailed, match="ended with status 'Optimal'"):
        CvxpySolver().solve_program(knapsack(1))


def test_a_program_is_solved_without_a_word_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    CvxpySolver().solve_program(knapsack(3, 60))
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == ""


def test_the_deferred_solver_solves_programs_too() -> None:
    program = knapsack(4)
    assert DeferredSolver().solve_program(program) == CvxpySolver().solve_program(program)
