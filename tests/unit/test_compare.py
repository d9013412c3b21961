"""Policies side by side: what a row says, what a frontier keeps, and how much may be asked at once."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.checks import StatedValueRange
from domain.errors import Invalid, NotFound, SolverTimeout, UpstreamUnavailable
from domain.ids import ModelId
from domain.policy import NegativeCash, OnInfeasible, Policy, RunType
from tasks.compare import AS_ASKED, DO_NOTHING, FAILED, SKIPPED, Book, Compared, Scenario, compare, frontier
from tasks.services import Services
from tasks.what_if import FrontierAsked, WhatIf, what_if, what_if_whole
from tests.support import builders
from tests.support.world import NoSolver, World

D = Decimal
WIDE = builders.model({1: ("0.50", "0.50", "0.50"), 2: ("0.45", "0.45", "0.50")})
PRICES = builders.prices({1: "61.37", 2: "310.20"})
ONE = builders.portfolio(5200, {1: 100})
SOLVER = CvxpySolver(time_limit_seconds=5)


def book(*portfolios: Any, policy: Policy | None = None, model: Any = WIDE) -> Book:
    return Book(
        model=model,
        policy=policy or Policy(),
        prices=PRICES,
        portfolios=portfolios or (ONE,),
        stated_value=StatedValueRange(),
    )


def rows(given: Book, *scenarios: Scenario, solver: Any = SOLVER) -> dict[str, Compared]:
    return {row.scenario: row for row in compare(given, scenarios, solver)}


class OutOfTime(NoSolver):
    """As a solver that never ends: for problems whose cash row binds."""

    def solve(self, problem: object, time_limit: float | None = None) -> Any:
        raise SolverTimeout("30 s")

    def solve_program(self, *args: object, **options: object) -> Any:
        raise SolverTimeout("30 s")


# ------------------------------------------------------------------------------------------------ rows


def test_doing_nothing_the_policy_and_each_scenario_stand_side_by_side() -> None:
    told = rows(
        book(),
        Scenario(name="costly", policy={"cost_rate": "0.01", "cost_per_order": "5"}),
        Scenario(name="still", policy={"max_orders": 0}),
    )
    assert list(told) == [DO_NOTHING, AS_ASKED, "costly", "still"]
    nothing, asked, costly, still = told.values()
    assert (nothing.outcome, nothing.orders, nothing.turnover, nothing.cost) == (DO_NOTHING, 0, D(0), D(0))
    assert nothing.drift_after == nothing.drift_before == asked.drift_before == D("5570.15")
    assert nothing.cash_after == nothing.cash_before == 5200
    assert (asked.outcome, asked.orders, asked.cost, asked.drift_after) == ("traded", 2, D(0), D("160.91"))
    assert asked.turnover == D("5454.16")
    assert asked.cash_after == D("727.76")
    assert costly.turnover is not None
    assert costly.cost == costly.turnover / 100 + 10
    assert costly.cash_after == D("727.76") - costly.cost
    assert costly.proof is not None
    assert (still.outcome, still.orders, still.drift_after) == ("no_trade", 0, D("5570.15"))


def test_a_scenario_stands_over_the_policy_key_by_key() -> None:
    told = rows(
        book(policy=Policy(max_orders=0, cost_per_order=D(7))),
        Scenario(name="one order", policy={"max_orders": 1}),
    )
    assert told[AS_ASKED].orders == 0
    assert (told["one order"].orders, told["one order"].cost) == (1, D(7))


def test_a_portfolio_that_is_rejected_is_told_so_in_every_row() -> None:
    told = rows(book(builders.portfolio(-5, {1: 1})), Scenario(name="other", policy={}))
    assert {(row.outcome, row.reason) for row in told.values()} == {
        (DO_NOTHING, None),
        ("rejected", "negative_cash"),
    }
    assert told[AS_ASKED].orders is None
    assert told[AS_ASKED].conflicts[0].rule == "negative_cash"


def test_a_portfolio_that_cannot_be_valued_has_no_row_of_doing_nothing_either() -> None:
    told = rows(book(builders.portfolio(5, {3: 1})))
    assert [(row.outcome, row.reason) for row in told.values()] == [("rejected", "missing_price")] * 2


def test_a_portfolio_the_solver_fails_on_does_not_hide_the_others() -> None:
    """With next to no cash left its cash row binds, and the first search may not prove it."""
    tight = book(ONE, policy=Policy(max_turnover=D("0.2"), cost_rate=D("0.01")))
    found = list(compare(tight, [], OutOfTime()))
    assert len(found) == 2
    assert found[1].outcome in {"traded", FAILED}


class BrokenOnce(NoSolver):
    """A bug that the first answer meets, and none after it."""

    met = False

    @property
    def time_limit_seconds(self) -> float:  # type: ignore[override]  # it is read once an answer
        if not self.met:
            self.met = True
            raise ZeroDivisionError("by nought")
        return 5.0


def test_a_bug_that_one_answer_meets_is_told_in_its_place_and_the_others_are_there() -> None:
    with capture_logs() as log:
        found = list(compare(book(ONE, ONE), [], BrokenOnce()))
    assert [(row.scenario, row.outcome, row.reason) for row in found] == [
        (DO_NOTHING, FAILED, "internal_error"),
        (AS_ASKED, FAILED, "internal_error"),
        (DO_NOTHING, DO_NOTHING, None),
        (AS_ASKED, "traded", "rebalanced"),
    ]
    assert [(each["event"], each["portfolio_id"]) for each in log] == [
        ("what_if.answer_failed", ONE.portfolio_id)
    ]


def test_a_scenario_that_breaks_a_rule_is_told_by_its_place() -> None:
    wrong = Scenario(name="wrong", policy={"run_type": "raise_cash"})
    with pytest.raises(Invalid) as caught:
        list(compare(book(), [Scenario(name="right", policy={}), wrong], SOLVER))
    assert [detail["field"] for detail in caught.value.details] == ["scenarios[1].policy.raise_cash"]


# ------------------------------------------------------------------------------------------------ the frontier


def test_a_frontier_trades_drift_for_turnover_and_no_point_beats_another() -> None:
    found = frontier(book(), ONE, 6, SOLVER)
    assert (found.spent, found.infeasible, found.unfinished) == ("turnover", 0, 0)
    turnovers = [row.turnover for _, row in found.points]
    drifts = [row.drift_after for _, row in found.points]
    assert len(turnovers) + found.dominated == 6
    assert turnovers == sorted(set(turnovers), key=lambda each: each or D(0))
    assert drifts == sorted(set(drifts), key=lambda each: each or D(0), reverse=True)
    assert drifts[0] == found.present.drift_after == D("5570.15")
    assert drifts[-1] == D("160.91")
    for limit, row in found.points[:-1]:
        assert limit is not None
        assert row.turnover is not None
        assert row.turnover <= limit * D("11337.00")
    assert found.points[-1][0] is None


def test_where_orders_cost_something_the_frontier_spends_cost() -> None:
    found = frontier(book(policy=Policy(cost_per_order=D(5), cost_rate=D("0.01"))), ONE, 4, SOLVER)
    assert found.spent == "cost"
    costs = [row.cost or D(0) for _, row in found.points]
    assert costs == sorted(set(costs))


def test_limits_that_leave_no_answer_are_counted() -> None:
    narrow = builders.model({1: ("0.50", "0.02", "0.02"), 2: ("0.45", "0.04", "0.04")})
    found = frontier(book(model=narrow), ONE, 5, SOLVER)
    assert found.infeasible >= 3
    assert found.points


def test_a_portfolio_without_anything_to_do_has_a_frontier_of_one_point() -> None:
    at_target = builders.portfolio("727.76", {1: 92, 2: 16})
    found = frontier(book(at_target), at_target, 5, SOLVER)
    assert [(row.orders, limit) for limit, row in found.points] == [(0, None)]


@pytest.mark.parametrize("run_type", [RunType.TO_BAND, RunType.IF_OUTSIDE])
def test_a_frontier_is_of_least_drift_and_of_rules_that_hold(run_type: RunType) -> None:
    policy = Policy(run_type=run_type, on_infeasible=OnInfeasible.RELAX)
    assert [row.drift_after for _, row in frontier(book(policy=policy), ONE, 3, SOLVER).points] == [
        row.drift_after for _, row in frontier(book(), ONE, 3, SOLVER).points
    ]


def test_a_portfolio_deep_in_debt_turns_over_more_than_any_limit() -> None:
    """It is worth 600 and sells 5,500: limits stop at twice its worth."""
    policy = Policy(negative_cash=NegativeCash.RAISE)
    owing = builders.portfolio("-5537", {1: 100})
    found = frontier(book(owing, policy=policy), owing, 5, SOLVER)
    assert found.points[-1][1].turnover is not None
    assert found.points[-1][1].turnover > 5_000
    assert found.infeasible >= 1


# ------------------------------------------------------------------------------------------------ the question


@pytest.fixture
def services(tmp_path: Path) -> Any:
    world = World.create(tmp_path)
    world.book(3)
    yield world.services
    world.store.close()


def question(**changes: Any) -> WhatIf:
    return replace(
        WhatIf(
            model_id=ModelId("MODEL1"),
            model=None,
            portfolio_ids=(builders.portfolio_id(1),),
            portfolios=(),
            prices=None,
            policy={},
            scenarios=(),
            frontier=None,
        ),
        **changes,
    )


def test_what_is_not_sent_along_is_fetched(services: Services) -> None:
    found = what_if(question(), services, seconds=60)
    assert [(row.scenario, row.outcome) for row in found.rows] == [
        (DO_NOTHING, DO_NOTHING),
        (AS_ASKED, "traded"),
    ]
    assert found.frontier is None


def test_what_is_sent_along_is_not_fetched(services: Services) -> None:
    accounting = services.accounting
    accounting.out = True  # type: ignore[attr-defined]  # the world's fake
    whole = question(
        model_id=None,
        model=WIDE,
        portfolio_ids=(),
        portfolios=(ONE,),
        prices=PRICES,
        policy={"max_orders": 1},
    )
    found = what_if(whole, services, seconds=60)
    assert found.rows[1].orders == 1
    assert found == what_if_whole(whole, SOLVER)
    assert whole.is_whole
    assert not question().is_whole
    with pytest.raises(UpstreamUnavailable):
        what_if(question(), services, seconds=60)


def test_a_portfolio_that_nobody_knows_is_told(services: Services) -> None:
    with pytest.raises(NotFound, match="PORTFOLIO000000000000009"):
        what_if(question(portfolio_ids=(builders.portfolio_id(9),)), services, seconds=60)


def test_a_known_portfolio_without_a_balance_is_empty(services: Services) -> None:
    services.directory.known.add(builders.portfolio_id(9))  # type: ignore[attr-defined]  # the world's fake
    (_, asked) = what_if(question(portfolio_ids=(builders.portfolio_id(9),)), services, seconds=60).rows
    assert (asked.outcome, asked.reason) == ("no_trade", "empty")


def test_the_frontier_of_a_portfolio_that_is_not_compared_is_refused(services: Services) -> None:
    asked = FrontierAsked(portfolio_id=builders.portfolio_id(2), points=3)
    with pytest.raises(Invalid, match="none of those compared") as caught:
        what_if(question(frontier=asked), services, seconds=60)
    assert caught.value.details[0]["field"] == "frontier.portfolio_id"


def test_more_answers_than_anybody_can_wait_for_are_refused(services: Services) -> None:
    many = question(
        portfolio_ids=tuple(map(builders.portfolio_id, range(50))),
        scenarios=tuple(Scenario(name=str(number), policy={}) for number in range(4)),
    )
    with pytest.raises(Invalid, match="250 answers are asked for at once") as caught:
        what_if(many, services, seconds=60)
    assert caught.value.code == "too_much_asked"


def test_what_is_not_begun_in_time_is_skipped_and_says_so(services: Services) -> None:
    class Hurrying:
        """Each look at it takes ten seconds."""

        def __init__(self) -> None:
            self.time = services.clock.now()

        def now(self) -> Any:
            self.time += timedelta(seconds=10)
            return self.time

    asked = question(
        portfolio_ids=tuple(map(builders.portfolio_id, (1, 2, 3))),
        frontier=FrontierAsked(portfolio_id=builders.portfolio_id(1), points=3),
    )
    found = what_if(asked, replace(services, clock=Hurrying()), seconds=25)
    assert [row.outcome for row in found.rows] == [
        DO_NOTHING,
        "traded",
        DO_NOTHING,
        "traded",
        SKIPPED,
        SKIPPED,
    ]
    assert found.rows[-1].reason == "time_is_up"
    assert found.frontier is not None
    assert (found.frontier.points, found.frontier.unfinished) == ((), 1)


def test_a_solver_is_not_given_half_a_minute_while_somebody_waits(services: Services) -> None:
    asked: list[float | None] = []

    class Slow(NoSolver):
        def solve_program(self, program: Any, start: Any = None, time_limit: float | None = None) -> Any:
            asked.append(time_limit)
            return SOLVER.solve_program(program, start, time_limit)

    # Thirty securities, and an order of each costs something: more than can be listed.
    many = builders.model(dict.fromkeys(range(1, 31), ("0.03", "0.01", "0.01")))
    prices = builders.prices({number: f"{number * 7}.13" for number in range(1, 31)})
    portfolio = builders.portfolio(90_000, dict.fromkeys(range(1, 31), 40))
    whole = question(
        model_id=None,
        model=many,
        portfolio_ids=(),
        portfolios=(portfolio,),
        prices=prices,
        policy={"max_orders": 12, "max_turnover": "0.2", "cost_per_order": "3"},
    )
    (_, found) = what_if(whole, replace(services, solver=Slow()), seconds=60).rows
    assert found.outcome in {"traded", "infeasible"}
    assert all(limit is not None and limit <= 2 for limit in asked)
    assert asked


def test_a_model_without_targets_is_refused(services: Services) -> None:
    empty = builders.model({})
    with pytest.raises(Invalid, match="no target"):
        what_if(question(model_id=None, model=empty), services, seconds=60)
