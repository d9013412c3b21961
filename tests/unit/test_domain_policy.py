from decimal import Decimal
from typing import Any

import pytest

from domain.errors import Invalid
from domain.policy import FractionalHolding, MissingPrice, NegativeCash, Policy, ShortHolding
from tests.support.decimals import hostile_context

D = Decimal


def fields(refused: pytest.ExceptionInfo[Invalid]) -> list[str]:
    return [detail["field"] for detail in refused.value.details]


def test_by_default_doubts_reject_and_cash_must_not_end_below_zero() -> None:
    policy = Policy()

    assert (policy.cash_floor, policy.cash_floor_amount) == (D(0), D(0))
    assert {policy.missing_price, policy.fractional_holding, policy.short_holding, policy.negative_cash} == {
        "reject"
    }


@pytest.mark.parametrize("floor", ["-0.0001", "1.0001", "NaN", "Infinity"])
def test_a_cash_floor_is_a_weight_from_0_to_1(floor: str) -> None:
    with pytest.raises(Invalid, match=r"cash_floor .* is not a weight from 0 to 1") as refused:
        Policy(cash_floor=D(floor))
    assert fields(refused) == ["cash_floor"]


@pytest.mark.parametrize("amount", ["-0.01", "NaN", "Infinity", "1E+18"])
def test_a_cash_floor_amount_is_an_amount_from_0_up(amount: str) -> None:
    with pytest.raises(Invalid, match="cash_floor_amount") as refused:
        Policy(cash_floor_amount=D(amount))
    assert fields(refused) == ["cash_floor_amount"]


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        Policy(cash_floor=D(2), cash_floor_amount=D(-1), short_holding="cover")  # type: ignore[arg-type]  # untyped caller
    assert fields(refused) == ["cash_floor", "cash_floor_amount", "short_holding"]


def test_changes_are_read_from_text_and_the_rest_stays() -> None:
    policy = Policy(cash_floor_amount=D(100), negative_cash=NegativeCash.RAISE)

    assert policy.with_changes(
        {
            "cash_floor": "0.05",
            "missing_price": "exclude",
            "fractional_holding": FractionalHolding.KEEP_FRACTION,
            "short_holding": "cover",
        }
    ) == Policy(
        cash_floor=D("0.05"),
        cash_floor_amount=D(100),
        missing_price=MissingPrice.EXCLUDE,
        fractional_holding=FractionalHolding.KEEP_FRACTION,
        short_holding=ShortHolding.COVER,
        negative_cash=NegativeCash.RAISE,
    )


def test_no_changes_change_nothing() -> None:
    policy = Policy(cash_floor=D("0.02"))

    assert policy.with_changes({}) == policy


def test_changes_take_the_domains_own_types() -> None:
    changed = Policy().with_changes({"cash_floor_amount": D("12.5"), "cash_floor": 1})

    assert (changed.cash_floor_amount, changed.cash_floor) == (D("12.5"), D(1))


def test_an_unknown_key_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(
        Invalid, match=r"'cashfloor' is not a policy.*cash_floor, cash_floor_amount"
    ) as refused:
        Policy().with_changes({"cashfloor": "0.05", "cash_floor": "0.05"})
    assert fields(refused) == ["cashfloor"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cash_floor", "five percent"),
        ("cash_floor", 0.05),
        ("cash_floor", None),
        ("cash_floor", "2"),
        ("cash_floor_amount", "NaN"),
        ("cash_floor_amount", "-1"),
        ("missing_price", "ignore"),
        ("missing_price", "REJECT"),
        ("missing_price", None),
        ("missing_price", ["reject"]),
        ("negative_cash", ShortHolding.COVER),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_and_named(name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=name) as refused:
        Policy().with_changes({name: value})
    assert fields(refused) == [name]


def test_every_value_that_cannot_be_read_is_told_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        Policy().with_changes({"cash_floor": "x", "short_holding": "y", "z": 1})
    assert fields(refused) == ["cash_floor", "short_holding", "z"]


@pytest.mark.parametrize(
    ("floor", "amount", "money"),
    [("0.05", "10", "50.00"), ("0.05", "60", "60"), ("0", "0", "0"), ("1", "0", "1000")],
)
def test_the_larger_floor_counts(floor: str, amount: str, money: str) -> None:
    assert Policy(cash_floor=D(floor), cash_floor_amount=D(amount)).cash_floor_money(D(1000)) == D(money)


def test_the_cash_floor_is_exact_in_any_decimal_context() -> None:
    policy = Policy(cash_floor=D("0.01234567"))
    with hostile_context():
        assert str(policy.cash_floor_money(D("123456789012.12345678"))) == "1524156776.4033021966651426"
