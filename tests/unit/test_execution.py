"""Cash order by order, at the stated prices and with a slip."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.answer import Order, Side
from domain.execution import TradingCosts, cash_path, in_cash_safe_order, lowest_cash, slip_covered
from tests.support.builders import security_id

FREE = TradingCosts()
STEP = Fraction(1, 10_000)


def order(side: Side, number: int, notional: str) -> Order:
    return Order(
        side=side,
        security_id=security_id(number),
        quantity=1,
        price=Decimal(notional),
        notional=Decimal(notional),
        reason="below_target",
    )


def sell(number: int, notional: str) -> Order:
    return order(Side.SELL, number, notional)


def buy(number: int, notional: str) -> Order:
    return order(Side.BUY, number, notional)


def test_cash_is_told_after_each_order_with_what_the_order_costs() -> None:
    costs = TradingCosts(rate=Decimal("0.01"), per_order=Decimal(2))
    path = cash_path([sell(1, "300"), buy(2, "150")], Decimal(100), costs)
    assert list(path) == [Decimal(395), Decimal("241.5")]  # 100 + 300 - 3 - 2, then - 150 - 1.50 - 2


def test_a_slip_lowers_what_sells_bring_and_raises_what_buys_take() -> None:
    path = cash_path([sell(1, "300"), buy(2, "150")], Decimal(100), FREE, slip=Decimal("0.1"))
    assert list(path) == [Decimal(370), Decimal(205)]


def test_the_lowest_cash_may_be_that_before_the_first_order() -> None:
    assert lowest_cash([sell(1, "300"), buy(2, "50")], Decimal(100), FREE) == Decimal(100)
    assert lowest_cash([], Decimal(100), FREE) == Decimal(100)
    assert lowest_cash([buy(2, "50")], Decimal(100), FREE) == Decimal(50)


def test_sells_come_first_and_those_that_cost_more_than_they_bring_last_among_them() -> None:
    costs = TradingCosts(per_order=Decimal(10))
    orders = [buy(1, "50"), sell(2, "9"), sell(4, "20"), sell(3, "20")]
    assert [each.security_id for each in in_cash_safe_order(orders, costs)] == [
        security_id(number) for number in (3, 4, 2, 1)
    ]


@pytest.mark.parametrize(
    ("orders", "before", "floor", "covered"),
    [
        ([], "100", "0", None),
        ([buy(1, "80")], "100", "0", "0.2500"),  # 20 left of 80
        ([buy(1, "90")], "100", "0", "0.1111"),  # 1 / 9, rounded down
        ([buy(1, "100")], "100", "0", "0.0000"),
        ([sell(1, "100"), buy(2, "100")], "0", "0", "0.0000"),
        ([sell(1, "100"), buy(2, "50")], "50", "50", "0.3333"),  # 50 to spare of 150 traded
        ([sell(1, "100")], "50", "50", "1.0000"),
        ([sell(1, "100")], "-50", "0", "0.5000"),
        ([buy(1, "150")], "100", "0", "-0.3334"),  # overdrawn even at the stated price
    ],
)
def test_the_slip_that_is_covered_is_the_largest_of_four_decimals(
    orders: list[Order], before: str, floor: str, covered: str | None
) -> None:
    found = slip_covered(orders, Decimal(before), Decimal(floor), FREE)
    assert (None if found is None else str(found)) == covered


MONEY = st.integers(1, 10**7).map(lambda cents: Decimal(cents).scaleb(-2))
COSTS = st.builds(
    TradingCosts,
    rate=st.integers(0, 500).map(lambda units: Decimal(units).scaleb(-4)),
    per_order=st.integers(0, 3000).map(lambda cents: Decimal(cents).scaleb(-2)),
)


@st.composite
def order_lists(draw: st.DrawFn) -> list[Order]:
    sides = draw(st.lists(st.sampled_from(Side), max_size=8))
    return [order(side, number, str(draw(MONEY))) for number, side in enumerate(sides, start=1)]


@given(order_lists(), MONEY, COSTS)
def test_in_the_safe_order_cash_is_never_below_what_it_begins_and_ends_with(
    orders: list[Order], before: Decimal, costs: TradingCosts
) -> None:
    safe = in_cash_safe_order(orders, costs)
    path = [before, *cash_path(safe, before, costs)]
    assert lowest_cash(safe, before, costs) == min(path) == min(before, path[-1])
    sides = [each.side for each in safe]
    assert sides == sorted(sides, key=lambda side: side is Side.BUY)
    falls = [later < earlier for earlier, later in pairwise(path)]
    assert falls == sorted(falls)  # once it falls it rises no more


@given(order_lists(), MONEY, COSTS, st.integers(0, 100))
def test_cash_keeps_to_the_floor_up_to_the_slip_that_is_covered_and_not_a_step_further(
    orders: list[Order], before: Decimal, costs: TradingCosts, percent: int
) -> None:
    safe = in_cash_safe_order(orders, costs)
    after = ([before, *cash_path(safe, before, costs)])[-1]
    floor = after * percent / 100
    covered = slip_covered(safe, before, floor, costs)
    if covered is None:
        assert not orders
        return
    assert keeps_to(floor, safe, before, costs, covered) or covered < 0
    if 0 <= covered < 1:
        assert not keeps_to(floor, safe, before, costs, covered + Decimal("0.0001"))


def keeps_to(
    floor: Decimal, orders: tuple[Order, ...], before: Decimal, costs: TradingCosts, slip: Decimal
) -> bool:
    """At or above the floor once the sells are done, at or above the lower of floor and cash before until then."""
    path = list(cash_path(orders, before, costs, slip))
    sells = sum(each.side is Side.SELL for each in orders)
    during = path[: max(0, sells - 1)]
    return all(cash >= min(floor, before) for cash in during) and all(
        cash >= floor for cash in path[max(0, sells - 1) :]
    )
