from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pytest

from domain.checks import CheckedPortfolio, Market, StatedValueRange, check_portfolio
from domain.policy import FractionalHolding, Policy, ShortHolding
from domain.problem import IntArray, Problem, build_problem
from tests.support import builders
from tests.support.builders import Number


def built(
    cash: Number,
    held: Mapping[int, Number],
    targets: Mapping[int, tuple[Number, Number, Number]],
    prices: Mapping[int, Number],
    policy: Policy | None = None,
) -> Problem:
    policy = policy or Policy()
    checked = check_portfolio(
        builders.portfolio(cash, held),
        Market(builders.model(targets), builders.prices(prices)),
        policy,
        StatedValueRange(),
    )
    assert isinstance(checked, CheckedPortfolio)
    return build_problem(checked, policy)


def money(given: Problem, values: IntArray) -> list[Decimal]:
    return [Decimal(int(each)).scaleb(-given.fine_places) for each in values]


def test_held_and_modelled_securities_stand_once_each_in_order_of_id() -> None:
    given = built(100, {9: 1, 3: 2}, {5: ("0.5", "0.1", "0.1"), 3: ("0.1", "0", "0")}, {9: 10, 3: 20, 5: 30})
    assert given.security_ids == tuple(builders.security_id(number) for number in (3, 5, 9))
    assert list(given.held) == [2, 0, 1]


def test_target_and_bounds_are_exact_money() -> None:
    given = built("1000.01", {}, {1: ("0.335", "0.0125", "0.2")}, {1: "10.001"})
    assert money(given, given.target) == [Decimal("335.00335")]
    assert money(given, given.lower) == [Decimal("322.503225")]
    assert money(given, given.upper) == [Decimal("535.00535")]
    assert Decimal(int(given.price[0])).scaleb(-given.money_places) == Decimal("10.001")


def test_a_lower_bound_below_nothing_is_nothing() -> None:
    given = built(1000, {}, {1: ("0.1", "0.5", "0.1")}, {1: 10})
    assert money(given, given.lower) == [0]
    assert list(given.min_quantity) == [0]


@pytest.mark.parametrize(
    ("low", "high", "window"),
    [
        pytest.param("0.05", "0.05", (5, 7), id="on_whole_shares_they_belong_to_it"),
        pytest.param("0.049", "0.049", (6, 6), id="just_inside_they_do_not"),
        pytest.param("0.051", "0.051", (5, 7), id="between_shares_it_is_rounded_inwards"),
        pytest.param("0", "0", (6, 6), id="no_width_is_one_share_where_it_is_on_target"),
    ],
)
def test_the_window_is_the_whole_shares_inside_the_bounds(
    low: str, high: str, window: tuple[int, int]
) -> None:
    given = built(1000, {}, {1: ("0.3", low, high)}, {1: 50})
    assert (int(given.min_quantity[0]), int(given.max_quantity[0])) == window


def test_no_whole_share_inside_the_bounds_is_an_empty_window() -> None:
    given = built(1000, {}, {1: ("0.32", "0.01", "0.01")}, {1: 50})
    assert (int(given.min_quantity[0]), int(given.max_quantity[0])) == (7, 6)


def test_a_holding_outside_the_model_has_nothing_as_its_only_place() -> None:
    given = built(0, {1: 10}, {}, {1: 50})
    assert [int(each[0]) for each in (given.target, given.lower, given.upper, given.max_quantity)] == [0] * 4


@pytest.mark.parametrize(
    ("policy", "budget"),
    [
        pytest.param(Policy(), "1000.01", id="no_floor_is_never_to_overdraw"),
        pytest.param(
            Policy(cash_floor=Decimal("0.05")), "950.00", id="a_weight_is_rounded_up_to_whole_units"
        ),
        pytest.param(Policy(cash_floor_amount=Decimal("10.005")), "990.005", id="an_amount_is_exact"),
        pytest.param(
            Policy(cash_floor=Decimal("0.05"), cash_floor_amount=Decimal("60.00")),
            "940.01",
            id="the_larger_counts",
        ),
        pytest.param(Policy(cash_floor_amount=Decimal(2000)), "-999.99", id="it_may_be_out_of_reach"),
    ],
)
def test_the_budget_is_what_the_cash_floor_leaves(policy: Policy, budget: str) -> None:
    given = built("1000.01", {}, {1: ("0.5", "0.1", "0.1")}, {1: 10}, policy)
    assert Decimal(given.budget).scaleb(-given.money_places) == Decimal(budget)


KEEP = Policy(fractional_holding=FractionalHolding.KEEP_FRACTION)


def test_a_fraction_that_stays_is_taken_off_target_bounds_and_budget() -> None:
    given = built(1000, {1: "3.25"}, {1: ("0.2", "0.1", "0.1")}, {1: 100}, KEEP)  # 1325, of it 25 that stay
    assert list(given.held) == [3]
    assert money(given, given.target) == [265 - 25]
    assert money(given, given.lower) == [Decimal("132.5") - 25]
    assert money(given, given.upper) == [Decimal("397.5") - 25]
    assert given.budget == (1325 - 25) * 10**given.money_places
    assert (int(given.min_quantity[0]), int(given.max_quantity[0])) == (2, 3)


def test_a_fraction_outside_the_model_stays_and_all_whole_shares_go() -> None:
    given = built(1000, {1: "3.25"}, {}, {1: 100}, KEEP)
    assert (int(given.min_quantity[0]), int(given.max_quantity[0])) == (0, 0)
    assert money(given, given.target) == [-25]


def test_a_short_holding_may_end_at_nothing_at_the_least() -> None:
    given = built(
        1000, {1: -3}, {1: ("0.1", "0.1", "0.1")}, {1: 10}, Policy(short_holding=ShortHolding.COVER)
    )
    assert list(given.held) == [-3]
    assert int(given.min_quantity[0]) == 0


@pytest.mark.parametrize(
    ("cash", "price", "dtype"),
    [
        pytest.param("1000", "12.34", np.int64, id="ordinary"),
        pytest.param("100000000000.00", "500000.00", np.int64, id="a_hundred_billion_in_cents"),
        pytest.param("100000000000.00", "0.00000123", object, id="a_hundred_billion_in_millionths_of_a_cent"),
        pytest.param("999999999999999999.99", "0.0000000000000001", object, id="the_largest_in_the_smallest"),
    ],
)
def test_arrays_are_int64_only_while_nothing_can_overflow(cash: str, price: str, dtype: type) -> None:
    given = built(cash, {}, {1: ("0.5", "0.05", "0.05"), 2: ("0.1", "0.1", "0.1")}, {1: price, 2: "1.5"})
    assert given.price.dtype == given.target.dtype == given.held.dtype == given.max_quantity.dtype == dtype
    best = int(Decimal(cash) * Decimal("0.5") / Decimal(price))
    assert int(given.min_quantity[0]) <= best <= int(given.max_quantity[0])


def test_spend_drift_and_allows_speak_of_the_same_shares() -> None:
    given = built(1000, {1: 5}, {1: ("0.5", "0.1", "0.1"), 2: ("0.2", "0.1", "0.1")}, {1: 50, 2: 30})  # 1250
    shares = np.array([12, 9], dtype=given.price.dtype)
    assert given.spend(shares) == 870 * 10**given.money_places
    assert Decimal(given.drift(shares)).scaleb(-given.fine_places) == 25 + 20
    assert given.allows(shares)
    assert not given.allows(shares * 2)
    assert not given.allows(given.held)


def test_a_portfolio_of_cash_without_a_model_is_a_problem_without_securities() -> None:
    given = built(1000, {}, {}, {})
    assert given.security_ids == ()
    assert given.drift(given.held) == given.spend(given.held) == 0
