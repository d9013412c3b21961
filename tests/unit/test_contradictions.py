"""Each contradiction by name: what is refused, under which key, and the nearest thing that is not."""

from decimal import Decimal
from typing import Any

import pytest

from domain.contradictions import Contradictions, ModelWeights
from domain.policy import (
    Bounds,
    FractionalHolding,
    Group,
    MissingPrice,
    NegativeCash,
    Policy,
    RunType,
    ShortHolding,
)
from tests.support import builders

ONE, TWO, THREE, NINE = (builders.security_id(number) for number in (1, 2, 3, 9))
D = Decimal

# 1: 0.40 to 0.60, 2: 0.20 to 0.30, and 3 with no lower bound.
MODEL = builders.model(
    {1: ("0.50", "0.10", "0.10"), 2: ("0.25", "0.05", "0.05"), 3: ("0.10", "0.20", "0.20")}
)


def group(*securities: int, name: str = "g", low: str = "0", high: str = "1") -> Group:
    return Group(
        name=name, security_ids=tuple(map(builders.security_id, securities)), min=D(low), max=D(high)
    )


def found(policy: Policy, portfolio: Any = None) -> dict[str, str]:
    contradictions = Contradictions(ModelWeights(MODEL.positions), policy)
    told = (*contradictions.of_every_portfolio, *(contradictions.of(portfolio) if portfolio else ()))
    return {each.rule: each.message for each in told}


# ------------------------------------------------------------------------------------------------ whatever is held

GENERAL: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "lower_bounds_and_the_cash_floor": (
        {"cash_floor": D("0.41")},
        {"cash_floor": D("0.40")},
        "cash_floor",
        "the lower bounds demand 60.00% of market value, and the cash floor keeps 41.00%",
    ),
    "lower_bounds_of_the_target": (
        {"bounds": Bounds.RELATIVE, "cash_floor": D("0.24")},
        {"bounds": Bounds.RELATIVE, "cash_floor": D("0.20")},
        "cash_floor",
        "76.75%",
    ),
    "groups_that_share_nothing": (
        {"groups": (group(1, low="0.55", name="a"), group(2, 3, low="0.46", name="b"))},
        {"groups": (group(1, low="0.55", name="a"), group(2, 3, low="0.45", name="b"))},
        "groups",
        "the least of group 'b' and the least of group 'a' demand 101.00%",
    ),
    "a_group_below_its_members": (
        {"groups": (group(1, 2, high="0.59"),)},
        {"groups": (group(1, 2, high="0.60"),)},
        "groups",
        "lower bounds demand 60.00% of market value, its max is 59.00%",
    ),
    "a_group_above_its_members": (
        {"groups": (group(2, 9, low="0.31"),)},
        {"groups": (group(2, 9, low="0.30"),)},
        "groups",
        "upper bounds allow 30.00% of market value, its min is 31.00%",
    ),
    "a_group_inside_another": (
        {"groups": (group(2, 3, low="0.45", name="inner"), group(2, 3, 9, high="0.44", name="outer"))},
        {"groups": (group(2, 3, low="0.45", name="inner"), group(2, 3, 9, high="0.45", name="outer"))},
        "groups",
        "group 'inner' demands at least 45.00% of market value of what it shares with group 'outer'",
    ),
    "no_order_to_raise_cash_by": (
        {"raise_cash": D(5), "max_orders": 0},
        {"raise_cash": D(5), "max_orders": 1},
        "max_orders",
        "5.00 is to be raised by selling, and max_orders 0 allows no order",
    ),
    "no_turnover_to_raise_cash_by": (
        {"raise_cash": D(5), "max_turnover": D(0), "run_type": RunType.RAISE_CASH},
        {"raise_cash": D(5), "max_turnover": D("0.01"), "run_type": RunType.RAISE_CASH},
        "max_turnover",
        "max_turnover 0 allows no order",
    ),
    "costs_take_all_that_is_sold": (
        {"raise_cash": D(5), "cost_rate": D(1)},
        {"raise_cash": D(5), "cost_rate": D("0.99")},
        "cost_rate",
        "takes all that an order brings",
    ),
}


@pytest.mark.parametrize(("refused", "allowed", "rule", "message"), GENERAL.values(), ids=GENERAL)
def test_what_no_portfolio_can_satisfy(
    refused: dict[str, Any], allowed: dict[str, Any], rule: str, message: str
) -> None:
    told = found(Policy(**refused))
    assert list(told) == [rule]
    assert message in told[rule]
    assert found(Policy(**allowed)) == {}


@pytest.mark.parametrize("run_type", [RunType.INVEST_CASH, RunType.RAISE_CASH])
def test_a_run_type_that_does_not_enforce_bounds_is_not_held_to_them(run_type: RunType) -> None:
    raising = D(5) if run_type is RunType.RAISE_CASH else D(0)
    groups = (group(1, 2, high="0.1"), group(9, low="0.5", name="h"))
    assert found(Policy(run_type=run_type, raise_cash=raising, groups=groups, cash_floor=D("0.9"))) == {}


def test_a_security_without_a_price_may_be_left_out_so_its_lower_bound_proves_nothing() -> None:
    assert found(Policy(cash_floor=D("0.9"), missing_price=MissingPrice.EXCLUDE)) == {}
    assert "groups" in found(Policy(groups=(group(9, low="0.1"),), missing_price=MissingPrice.EXCLUDE))


@pytest.mark.parametrize(
    "changes", [{"no_sell": (NINE,)}, {"fractional_holding": FractionalHolding.KEEP_FRACTION}]
)
def test_what_may_be_kept_outside_the_model_may_fill_a_group(changes: dict[str, Any]) -> None:
    groups = (group(9, low="0.3", name="kept"), group(2, 9, high="0.7", name="both"))
    assert found(Policy(groups=groups, **changes)) == {}


# ------------------------------------------------------------------------------------------------ of these holdings

PARTICULAR: dict[str, tuple[dict[str, Any], Any, Any, str, str]] = {
    "not_to_be_bought_and_not_there": (
        {"no_buy": (ONE,)},
        builders.portfolio(100, {2: 1}),
        builders.portfolio(100, {1: 1, 2: 1}),
        "no_buy",
        "must not be bought, none is held, and its lower bound is 40.00%",
    ),
    "not_to_be_traded_and_not_there": (
        {"no_trade": (TWO,)},
        builders.portfolio(100, {1: 1}),
        builders.portfolio(100, {1: 1, 2: 1}),
        "no_trade",
        "lower bound is 20.00%",
    ),
    "a_short_not_to_be_bought": (
        {"no_buy": (THREE,), "short_holding": ShortHolding.COVER},
        builders.portfolio(100, {1: 1, 2: 1, 3: -1}),
        builders.portfolio(100, {1: 1, 2: -1, 3: 1}),
        "no_buy",
        "must not be bought, it is short",
    ),
    "a_short_where_only_sales_are": (
        {"run_type": RunType.RAISE_CASH, "raise_cash": D(5), "short_holding": ShortHolding.COVER},
        builders.portfolio(100, {1: 1, 2: -1}),
        builders.portfolio(100, {1: 1}),
        "run_type",
        "raise_cash buys nothing",
    ),
    "what_stays_in_a_group_of_nothing": (
        {"no_sell": (THREE,), "groups": (group(3, high="0"),)},
        builders.portfolio(100, {3: 1}),
        builders.portfolio(100, {1: 1}),
        "no_sell",
        "stays, and group 'g' has a max of 0",
    ),
    "a_part_of_a_share_in_a_group_of_nothing": (
        {"groups": (group(3, high="0"),), "fractional_holding": FractionalHolding.KEEP_FRACTION},
        builders.portfolio(100, {3: "0.5"}),
        builders.portfolio(100, {3: 1}),
        "groups",
        "stays",
    ),
    "cash_to_raise_and_nothing_to_sell": (
        {"raise_cash": D(5), "no_sell": (ONE,)},
        builders.portfolio(100, {1: 1}),
        builders.portfolio(100, {1: 1, 2: 1}),
        "raise_cash",
        "5.00 is to be raised, and nothing that is held may be sold for it",
    ),
    "cash_below_its_floor_and_nothing_to_sell": (
        {"cash_floor_amount": D(101)},
        builders.portfolio(100),
        builders.portfolio(100, {1: 1}),
        "cash_floor_amount",
        "cash of 100.00 is below the floor of 101.00",
    ),
    "overdrawn_where_only_purchases_are": (
        {"run_type": RunType.INVEST_CASH, "negative_cash": NegativeCash.RAISE},
        builders.portfolio("-0.5", {1: 1}),
        builders.portfolio("0.5", {1: 1}),
        "negative_cash",
        "cash is overdrawn by 0.50",
    ),
    "all_in_cash_and_a_floor_in_money": (
        {"cash_floor_amount": D(41)},
        builders.portfolio(100),
        builders.portfolio(103),
        "cash_floor_amount",
        "the lower bounds demand 60.00% of the 100.00 that are all there is",
    ),
    "all_in_cash_and_fees": (
        {"cash_floor_amount": D(39), "cost_per_order": D(1)},
        builders.portfolio(100),
        builders.portfolio(103),
        "cash_floor_amount",
        "all there is",
    ),
    "too_few_orders": (
        {"max_orders": 2},
        builders.portfolio(100, {9: 1}),
        builders.portfolio(100, {1: 1, 9: 1}),
        "max_orders",
        f"3 orders are needed at least: sell {NINE}, buy {ONE}, {TWO}; max_orders is 2",
    ),
    "too_few_orders_for_the_cash": (
        {"max_orders": 1, "raise_cash": D(1)},
        builders.portfolio(100, {2: 1}),
        builders.portfolio(100, {1: 1, 2: 1}),
        "max_orders",
        "sell something for the cash, buy",
    ),
    "no_turnover_at_all": (
        {"max_turnover": D(0)},
        builders.portfolio(100, {1: 1, 2: 1, 9: 1}),
        builders.portfolio(100, {1: 1, 2: 1}),
        "max_turnover",
        "max_turnover is 0",
    ),
    "too_little_turnover_to_buy_what_is_missing": (
        {"max_turnover": D("0.59")},
        builders.portfolio(100, {3: 1}),
        builders.portfolio(100, {1: 1}),
        "max_turnover",
        "purchases of 60.00% of market value; max_turnover is 59.00%",
    ),
    "a_group_out_of_reach": (
        {"groups": (group(2, 3, low="0.31"),), "no_buy": (THREE,)},
        builders.portfolio(100, {2: 1}),
        builders.portfolio(100, {2: 1, 3: 1}),
        "groups",
        "at most 30.00% of market value, its min is 31.00%",
    ),
}


@pytest.mark.parametrize(
    ("policy", "refused", "allowed", "rule", "message"), PARTICULAR.values(), ids=PARTICULAR
)
def test_what_these_holdings_cannot_satisfy(
    policy: dict[str, Any], refused: Any, allowed: Any, rule: str, message: str
) -> None:
    told = found(Policy(**policy), refused)
    assert list(told) == [rule]
    assert message in told[rule]
    assert found(Policy(**policy), allowed) == {}


@pytest.mark.parametrize(
    "portfolio",
    [
        builders.portfolio(0),
        builders.portfolio(-5, {1: 1}),
        builders.portfolio(5, {1: -1}),
        builders.portfolio(5, {1: "1.5"}),
    ],
    ids=["nothing_there", "overdrawn", "short", "fractional"],
)
def test_a_portfolio_that_is_not_rebalanced_contradicts_nothing(portfolio: Any) -> None:
    assert found(Policy(max_orders=0, raise_cash=D(0), cash_floor_amount=D(900)), portfolio) == {}


def test_kept_holdings_outside_the_model_may_fill_a_group_that_is_known_to_have_them() -> None:
    policy = Policy(groups=(group(9, low="0.2"),), no_sell=(NINE,))
    assert found(policy, builders.portfolio(5, {9: 1})) == {}
    assert "at most 0.00%" in found(policy, builders.portfolio(5, {1: 1, 2: 1}))["groups"]


def test_many_securities_are_counted() -> None:
    model = builders.model(dict.fromkeys(range(1, 9), ("0.05", "0.01", "0.01")))
    (told,) = Contradictions(ModelWeights(model.positions), Policy(max_orders=7)).of(builders.portfolio(100))
    assert f"buy {ONE}, {TWO}, {THREE} and 5 more; max_orders is 7" in told.message
