"""docs/optimisation.md: the example to follow with a pocket calculator, worked out by the product."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from domain.checks import CheckedPortfolio, Market, StatedValueRange, check_portfolio
from domain.execution import TradingCosts, cash_path
from domain.lagrangian import Board, Priced, chosen_at
from domain.policy import OnInfeasible, Policy
from domain.rebalance import Outcome, Rebalance, rebalance
from domain.rules import build_extended
from tests.support.builders import model, portfolio, portfolio_id, prices, security_id
from tests.support.problems import OutOfTime

PAGE = (Path(__file__).parents[2] / "docs/optimisation.md").read_text(encoding="utf-8")
A, B, C = map(security_id, (1, 2, 3))
HELD = portfolio(2000, {1: 30, 2: 20})
MODEL = model({1: ("0.5", "0.05", "0.05"), 2: ("0.3", "0.05", "0.05"), 3: ("0.15", "0.05", "0.05")})
PRICES = prices({1: 100, 2: 250, 3: 70})
RATE, PER_ORDER = Decimal("0.001"), Decimal(1)


def answered(policy: Policy) -> Rebalance:
    return rebalance(
        portfolio_id(1),
        HELD,
        MODEL,
        PRICES,
        policy,
        OutOfTime(),
    )


def trades(answer: Rebalance) -> list[tuple[str, str, int]]:
    return [(order.side, order.security_id, order.quantity) for order in answer.orders]


def says(*values: Decimal | None) -> bool:
    """Whether the page has each of these amounts, as a person writes them."""
    return all(value is not None and f"{value:,.2f}" in PAGE for value in values)


def test_the_closed_form_of_the_example() -> None:
    policy = Policy(cash_floor=Decimal("0.05"), cost_rate=RATE, cost_per_order=PER_ORDER)
    answer = answered(policy)
    assert trades(answer) == [("SELL", B, 8), ("BUY", A, 20), ("BUY", C, 21)]
    proof, told = answer.proof, answer.explanation
    assert proof is not None
    assert told is not None
    assert (proof.method, proof.gap, proof.bound_by) == ("closed_form", Decimal(0), "exact")
    assert (answer.drift_after, answer.cost, proof.objective) == (
        Decimal(30),
        Decimal("8.47"),
        Decimal("38.47"),
    )
    path = list(
        cash_path(
            answer.orders,
            Decimal(2000),
            TradingCosts(rate=RATE, per_order=PER_ORDER),
        )
    )
    assert path == [Decimal("3997.00"), Decimal("1994.00"), Decimal("521.53")]
    assert (told.lowest_cash, told.slip_covered) == (Decimal("521.53"), Decimal("0.0039"))
    assert says(*path, answer.cost, proof.objective, answer.drift_after)
    assert "s = 0.0039" in PAGE


def test_the_cash_row_of_the_example_binds() -> None:
    answer = answered(Policy(cash_floor=Decimal("0.055"), cost_rate=RATE, cost_per_order=PER_ORDER))
    assert trades(answer) == [("SELL", B, 8), ("BUY", A, 20), ("BUY", C, 20)]
    proof = answer.proof
    assert proof is not None
    assert (proof.objective, proof.gap, proof.bound_by) == (Decimal("108.40"), Decimal(0), "exact")
    assert (answer.cash_after, answer.drift_after, answer.cost) == (
        Decimal("591.60"),
        Decimal(100),
        Decimal("8.40"),
    )
    assert says(answer.cash_after, answer.cost, proof.objective)


@pytest.mark.parametrize(
    ("price", "bound", "shares"), [(0.998, "66.88", (50, 12, 21)), (1.0, "65.10", (45, 12, 15))]
)
def test_the_bounds_of_the_example_are_those_of_its_prices_on_cash(
    price: float, bound: str, shares: tuple[int, ...]
) -> None:
    policy = Policy(cash_floor=Decimal("0.055"), cost_rate=RATE, cost_per_order=PER_ORDER)
    market = Market(MODEL, PRICES, policy.bounds)
    checked = check_portfolio(HELD, market, policy, StatedValueRange())
    assert isinstance(checked, CheckedPortfolio)
    extended = build_extended(checked, policy)
    board = Board(extended)
    priced = Priced.at(board, np.array([price]))
    assert f"{priced.bound / extended.unit:.2f}" == bound
    assert tuple(chosen_at(board, priced).tolist()) == shares
    assert f"L({price:g}) = " in PAGE
    assert f"= {bound}" in PAGE


def test_the_example_without_an_answer_and_its_least_relaxation() -> None:
    floor = Decimal("0.25")
    report = answered(Policy(cash_floor=floor))
    assert (report.outcome, [(each.rule, each.amount) for each in report.conflicts]) == (
        Outcome.INFEASIBLE,
        [("cash_floor", Decimal(550))],
    )
    # A turnover of all there is asks for nothing, but for the longer report.
    told = answered(Policy(cash_floor=floor, max_turnover=Decimal(2))).explanation
    assert told is not None
    (conflict,) = told.conflicts
    assert [(rule.rule, rule.security_id) for rule in conflict.rules] == [
        ("cash_floor", None),
        ("lower_bound", A),
        ("lower_bound", B),
        ("lower_bound", C),
    ]
    answer = answered(Policy(cash_floor=floor, on_infeasible=OnInfeasible.RELAX))
    assert answer.reason == "relaxed"
    amounts = {(each.rule, each.security_id): each.amount for each in answer.relaxed}
    assert amounts == {("cash_floor", None): 480, ("lower_bound", C): 20}
    after = {each.security_id: each.adjusted_quantity for each in answer.positions}
    assert after == {A: 45, B: 10, C: 14}
    assert (answer.cash_after, answer.drift_after) == (Decimal(2020), Decimal(1520))
    assert says(
        *amounts.values(), sum(amounts.values(), start=Decimal(0)), answer.cash_after, answer.drift_after
    )
