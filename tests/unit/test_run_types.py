"""What each run type does to one and the same portfolio."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from domain.policy import Bounds, NegativeCash, Policy, RunType, ShortHolding
from domain.rebalance import Outcome, Rebalance, Side, rebalance
from tests.support.builders import Number, model, portfolio, portfolio_id, prices, security_id
from tests.support.problems import OutOfTime

D = Decimal


def decided(
    policy: Mapping[str, Any],
    *,
    cash: Number = 3000,
    held: Mapping[int, Number] | None = None,
    targets: Mapping[int, tuple[Number, Number, Number]] | None = None,
) -> Rebalance:
    """Worth 10,000: 45 of 1 at 100 (target 0.4), 30 of 2 at 50 (0.3), 10 of 3 at 100 (not modelled), cash 3,000."""
    return rebalance(
        portfolio_id(1),
        portfolio(cash, held or {1: 45, 2: 30, 3: 10}),
        model(targets or {1: ("0.4", "0.06", "0.06"), 2: ("0.3", "0.05", "0.05")}),
        prices({1: 100, 2: 50, 3: 100}),
        Policy(**policy),
        OutOfTime(),
    )


def traded(answer: Rebalance) -> dict[int, int]:
    """Shares bought (or, below 0, sold) by the security's number."""
    sign = {Side.BUY: 1, Side.SELL: -1}
    numbers = {security_id(number): number for number in range(1, 5)}
    return {numbers[each.security_id]: sign[each.side] * each.quantity for each in answer.orders}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    policy: Mapping[str, Any]
    trades: Mapping[int, int]
    objective: Number | None
    reason: str = "rebalanced"


INSIDE: Mapping[str, Any] = {"held": {1: 42, 2: 55}, "cash": 3050}
AMOUNT = {"run_type": RunType.RAISE_CASH, "raise_cash": D(250)}

CASES: Mapping[str, tuple[Case, Mapping[str, Any]]] = {
    "to_target trades to the targets": (
        Case(
            policy={"run_type": RunType.TO_TARGET, "min_trade": D(1)},
            trades={1: -5, 2: 30, 3: -10},
            objective=0,
        ),
        {},
    ),
    "to_target with costs stops where a trade mends less than it costs": (
        Case(policy={"cost_per_order": D(501)}, trades={2: 30, 3: -10}, objective=500 + 2 * 501),
        {},
    ),
    "to_band trades no more than brings everything inside": (
        Case(policy={"run_type": RunType.TO_BAND}, trades={2: 20, 3: -10}, objective=2000),
        {},
    ),
    "to_band leaves what is inside alone": (
        Case(policy={"run_type": RunType.TO_BAND}, trades={}, objective=0, reason="inside_bounds"),
        INSIDE,
    ),
    "if_outside goes to target where something is outside": (
        Case(policy={"run_type": RunType.IF_OUTSIDE}, trades={1: -5, 2: 30, 3: -10}, objective=0),
        {},
    ),
    "if_outside leaves what is inside alone": (
        Case(policy={"run_type": RunType.IF_OUTSIDE}, trades={}, objective=None, reason="inside_bounds"),
        INSIDE,
    ),
    "if_outside trades where cash is below its floor": (
        Case(
            policy={"run_type": RunType.IF_OUTSIDE, "cash_floor": D("0.31")},
            trades={1: -2, 2: 3},
            objective=100,
        ),
        INSIDE,
    ),
    "if_outside trades where cash is to be raised": (
        Case(
            policy={"run_type": RunType.IF_OUTSIDE, "raise_cash": D(10)}, trades={1: -2, 2: 3}, objective=100
        ),
        INSIDE,
    ),
    "invest_cash buys, and sells nothing": (
        Case(policy={"run_type": RunType.INVEST_CASH}, trades={2: 30}, objective=500 + 1000),
        {},
    ),
    "invest_cash buys for no more than there is": (
        Case(
            policy={"run_type": RunType.INVEST_CASH, "cash_floor": D("0.25")},
            trades={2: 10},
            objective=500 + 1000 + 1000,
        ),
        {},
    ),
    "raise_cash sells what is above its target first, and no more than it needs": (
        Case(policy=AMOUNT, trades={3: -3}, objective=1500 + 700 + 2 * 50),
        {"targets": {1: ("0.45", "0.06", "0.06"), 2: ("0.3", "0.05", "0.05")}},
    ),
    "raise_cash pays the costs as well": (
        Case(
            policy={
                **AMOUNT,
                "raise_cash": D(300),
                "cost_per_order": D(3),
                "no_sell": (security_id(1), security_id(2)),
            },
            trades={3: -4},
            objective=500 + 1500 + 600 + 3 + 2 * 100,
        ),
        {},
    ),
    "raise_cash does not take a second fee for a gain": (
        Case(
            policy={**AMOUNT, "raise_cash": D(300), "cost_per_order": D(3)},
            trades={3: -4},
            objective=500 + 1500 + 600 + 3 + 2 * 100,
        ),
        {},
    ),
}


@pytest.mark.parametrize(("case", "book"), CASES.values(), ids=list(CASES))
def test_a_run_type_trades_what_it_is_for(case: Case, book: Mapping[str, Any]) -> None:
    answer = decided(case.policy, **book)
    assert (traded(answer), answer.reason) == (dict(case.trades), case.reason)
    assert answer.outcome is (Outcome.TRADED if case.trades else Outcome.NO_TRADE)
    if case.objective is None:
        assert answer.proof is None
    else:
        assert answer.proof is not None
        assert (answer.proof.objective, answer.proof.gap) == (D(case.objective), D(0))
        assert answer.proof.bound_by == "exact"


def test_investing_covers_a_short_as_that_is_a_buy() -> None:
    answer = decided(
        {"run_type": RunType.INVEST_CASH, "short_holding": ShortHolding.COVER}, held={1: 45, 2: 30, 3: -10}
    )
    assert traded(answer)[3] == 10


def test_a_short_is_in_the_way_of_raising_cash() -> None:
    """Covering is a buy, and nothing is bought."""
    answer = decided({**AMOUNT, "short_holding": ShortHolding.COVER}, held={1: 45, 2: 30, 3: -1})
    assert answer.outcome is Outcome.INFEASIBLE
    assert [(each.rule, each.security_id) for each in answer.conflicts] == [("run_type", security_id(3))]


def test_an_overdraft_is_raised_whatever_else_the_policy_asks() -> None:
    answer = decided({"negative_cash": NegativeCash.RAISE, "max_orders": 3}, cash=-500)
    assert answer.cash_after is not None
    assert answer.cash_after >= 0
    assert len(answer.orders) == 3


def test_relative_bounds_are_told_as_the_weights_they_come_to() -> None:
    """A tenth of 0.4 and of 0.3."""
    answer = decided(
        {"bounds": Bounds.RELATIVE}, targets={1: ("0.4", "0.1", "0.2"), 2: ("0.3", "0.1", "0.1")}
    )
    assert [(each.low_drift, each.high_drift) for each in answer.positions[:2]] == [
        (D("0.04"), D("0.08")),
        (D("0.03"), D("0.03")),
    ]


def test_relative_bounds_finer_than_a_number_may_be_are_cut() -> None:
    fine = "0.3333333333333333"
    answer = decided({"bounds": Bounds.RELATIVE}, targets={1: ("0.4", fine, fine), 2: ("0.3", "0.5", "0.5")})
    assert answer.positions[0].low_drift == D("0.1333333333333333")


def test_costs_and_turnover_are_told_and_paid_from_cash() -> None:
    answer = decided({"cost_rate": D("0.001"), "cost_per_order": D(2)})
    assert (answer.turnover, answer.cost) == (D(3000), D(9))
    assert answer.cash_after == 3000 + 500 + 1000 - 1500 - 9
    assert (answer.drift_before, answer.drift_after) == (D(3000), D(0))


def test_a_plain_policy_tells_neither() -> None:
    answer = decided({})
    assert (answer.turnover, answer.cost, answer.relaxed) == (None, None, ())


@pytest.mark.parametrize(
    ("policy", "rule", "amount"),
    [
        ({"max_turnover": D("0.01")}, "max_turnover", D(1900)),
        ({"max_orders": 1}, "max_orders", None),
        ({"raise_cash": D(4800)}, "raise_cash", D(3700)),
    ],
)
def test_a_rule_that_cannot_be_kept_by_itself_is_told_with_what_it_lacks(
    policy: Mapping[str, Any], rule: str, amount: Decimal | None
) -> None:
    answer = decided(policy)
    assert (answer.outcome, answer.reason) == (Outcome.INFEASIBLE, rule)
    assert (answer.conflicts[0].rule, answer.conflicts[0].amount) == (rule, amount)
    assert answer.orders == ()
    assert answer.cash_after == answer.cash_before


def test_rules_that_can_be_kept_but_not_together_are_a_conflict() -> None:
    """Two orders could bring two of the three inside, and 0.3 of turnover all of them."""
    answer = decided({"no_sell": (security_id(1),), "cash_floor": D("0.34"), "max_turnover": D("0.2")})
    assert (answer.outcome, answer.orders) == (Outcome.INFEASIBLE, ())
    assert answer.conflicts
