from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.policy import Policy
from domain.rebalance import Order, Side
from domain.verify import verify_orders, verify_quantities
from tests.support.builders import model_position, portfolio_id, prices, security_id

ONE, TWO, THREE = security_id(1), security_id(2), security_id(3)

# 1000 in all: 1 is to be worth 300 to 400, 2 is to be worth 200 exactly, 3 is outside the model.
CHECKED = CheckedPortfolio(
    portfolio_id=portfolio_id(1),
    cash=Decimal(440),
    market_value=Decimal(1000),
    shares={ONE: 10, TWO: 1, THREE: 2},
    fractions={},
    targets={ONE: model_position(1, "0.35", "0.05", "0.05"), TWO: model_position(2, "0.2", 0, 0)},
    prices=prices({1: 20, 2: 200, 3: 80}),
)
FLOOR = Policy(cash_floor=Decimal("0.4"))
RIGHT = {ONE: 20, TWO: 1, THREE: 0}


def rules(
    quantities: dict[SecurityId, Any], policy: Policy = FLOOR, checked: CheckedPortfolio = CHECKED
) -> list[str]:
    return [each.rule for each in verify_quantities(checked, policy, quantities)]


@pytest.mark.parametrize("shares", [15, 16, 19, 20])
def test_shares_inside_their_bounds_and_the_cash_are_right(shares: int) -> None:
    assert rules({**RIGHT, ONE: shares}) == []


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        pytest.param({ONE: 14}, ["bounds"], id="a_share_below_the_lower_bound"),
        pytest.param({ONE: 21}, ["bounds", "cash_floor"], id="a_share_above_the_upper_bound_and_the_cash"),
        pytest.param({TWO: 0}, ["bounds"], id="off_a_bound_without_width"),
        pytest.param({THREE: 1}, ["bounds", "cash_floor"], id="a_share_left_outside_the_model"),
        pytest.param({ONE: -1}, ["whole_shares"], id="short"),
        pytest.param({ONE: 15.0}, ["whole_shares"], id="a_float"),
        pytest.param({ONE: Decimal("15.5")}, ["whole_shares"], id="half_a_share"),
        pytest.param({ONE: True}, ["whole_shares"], id="a_truth_value"),
        pytest.param({security_id(4): 0}, ["securities"], id="a_security_nobody_asked_for"),
    ],
)
def test_each_broken_promise_is_named(changes: dict[SecurityId, Any], broken: list[str]) -> None:
    assert rules({**RIGHT, **changes}) == broken


def test_a_security_that_is_missing_is_named() -> None:
    (violation,) = verify_quantities(CHECKED, FLOOR, {ONE: 20, TWO: 1})
    assert (violation.rule, violation.security_id) == ("securities", THREE)


@pytest.mark.parametrize(
    ("policy", "broken"),
    [
        pytest.param(Policy(), [], id="no_floor"),
        pytest.param(Policy(cash_floor=Decimal("0.4")), [], id="a_weight_met_exactly"),
        pytest.param(
            Policy(cash_floor=Decimal("0.4000000001")), ["cash_floor"], id="a_weight_missed_by_a_hair"
        ),
        pytest.param(Policy(cash_floor_amount=Decimal(400)), [], id="an_amount_met_exactly"),
        pytest.param(
            Policy(cash_floor_amount=Decimal("400.01")), ["cash_floor"], id="an_amount_missed_by_a_cent"
        ),
    ],
)
def test_the_cash_floor_holds_to_the_last_digit(policy: Policy, broken: list[str]) -> None:
    assert rules(RIGHT, policy) == broken


def test_fractions_that_stay_count_with_their_shares() -> None:
    checked = replace(CHECKED, fractions={ONE: Decimal("0.5")}, market_value=Decimal(1010))  # 303 to 404
    assert rules({**RIGHT, ONE: 19}, Policy(), checked) == ["bounds"]  # 2 is off: 202 is not 200
    assert rules({**RIGHT, ONE: 20}, Policy(), checked) == ["bounds", "bounds"]


def test_a_fraction_outside_the_model_may_stay() -> None:
    checked = replace(CHECKED, fractions={THREE: Decimal("0.5")})
    assert rules(RIGHT, Policy(), checked) == []


# ------------------------------------------------------------------------------------------------ orders


def order(side: Side, security: SecurityId, quantity: int, price: int) -> Order:
    return Order(
        side=side,
        security_id=security,
        quantity=quantity,
        price=Decimal(price),
        notional=Decimal(price * quantity),
        reason="test",
    )


SELL = order(Side.SELL, THREE, 2, 80)
BUY = order(Side.BUY, ONE, 10, 20)


def order_rules(*orders: Order, cash_after: str = "400", after_one: int = 20) -> list[str]:
    violations = verify_orders(
        cash_before=Decimal(440),
        cash_after=Decimal(cash_after),
        before={ONE: Decimal(10), TWO: Decimal(1), THREE: Decimal(2)},
        after={ONE: Decimal(after_one), TWO: Decimal(1)},
        prices=CHECKED.prices,
        orders=orders,
    )
    return [each.rule for each in violations]


def test_orders_that_turn_before_into_after_are_right() -> None:
    assert order_rules(SELL, BUY) == []


@pytest.mark.parametrize(
    ("mutate", "broken"),
    [
        pytest.param(lambda it: it._replace(quantity=9), {"notional", "quantities"}, id="another_quantity"),
        pytest.param(lambda it: it._replace(side=Side.SELL), {"quantities", "cash"}, id="the_other_side"),
        pytest.param(lambda it: it._replace(price=Decimal(21)), {"price", "notional"}, id="another_price"),
        pytest.param(
            lambda it: it._replace(notional=Decimal(199)), {"notional", "cash"}, id="another_notional"
        ),
        pytest.param(lambda it: it._replace(security_id=TWO), {"price", "quantities"}, id="another_security"),
        pytest.param(
            lambda it: it._replace(quantity=0), {"whole_shares", "quantities"}, id="an_order_of_nothing"
        ),
        pytest.param(
            lambda it: it._replace(quantity=-10), {"whole_shares", "quantities"}, id="a_negative_order"
        ),
    ],
)
def test_a_mutated_order_is_caught(mutate: Callable[[Order], Order], broken: set[str]) -> None:
    assert set(order_rules(SELL, mutate(BUY))) == broken


def test_orders_that_do_not_lead_to_the_cash_are_caught_to_the_cent() -> None:
    assert order_rules(SELL, BUY, cash_after="400.01") == ["cash"]


def test_orders_that_do_not_lead_to_the_holding_are_caught() -> None:
    assert order_rules(SELL, BUY, after_one=21) == ["quantities"]
    assert set(order_rules(BUY)) == {"cash", "quantities"}


def test_buying_before_selling_is_caught() -> None:
    assert order_rules(BUY, SELL) == ["sells_first"]


def test_a_second_order_for_a_security_is_caught() -> None:
    assert "one_order" in order_rules(SELL, BUY, BUY)
