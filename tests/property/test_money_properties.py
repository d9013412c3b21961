import math
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from domain import money
from tests.support.decimals import decimals, hostile_context

bounded = decimals(low="-999999999999999999", high="999999999999999999", places=16)
weights = decimals(low="0", high="1", places=8)


@given(bounded)
def test_a_number_survives_printing_and_reading(value: Decimal) -> None:
    assert money.parse_decimal(money.plain(value)) == value
    assert money.parse_decimal(str(value)) == value
    assert money.parse_decimal(value) == value


@given(bounded)
def test_plain_is_digits_and_a_point(value: Decimal) -> None:
    assert set(money.plain(value)) <= set("-.0123456789")


@given(bounded)
def test_units_at_the_needed_places_are_exact_and_come_back(value: Decimal) -> None:
    needed = money.places(value)
    units = money.to_units(value, needed)

    assert Fraction(units, 10**needed) == Fraction(value)
    assert money.from_units(units, needed) == value
    assert needed == 0 or units % 10 != 0, "no place too many"


@given(st.integers(-(10**40), 10**40), st.integers(0, 30))
def test_any_integer_of_units_comes_back(units: int, places: int) -> None:
    amount = money.from_units(units, places)

    assert Fraction(amount) == Fraction(units, 10**places)
    assert money.to_units(amount, places + 2) == units * 100
    assert len(money.plain(amount).partition(".")[2]) >= 2


@given(bounded)
def test_tidy_is_one_form_for_one_value(value: Decimal) -> None:
    tidied = money.tidy(value)

    assert tidied == value
    assert str(money.tidy(tidied)) == str(tidied)
    assert str(money.tidy(Decimal(f"{value:f}{'000' if '.' in f'{value:f}' else '.000'}"))) == str(tidied)


@given(bounded, bounded, bounded)
def test_arithmetic_agrees_with_fractions_in_any_context(
    left: Decimal, right: Decimal, start: Decimal
) -> None:
    with hostile_context():
        added = money.add(left, right)
        subtracted = money.subtract(left, right)
        multiplied = money.multiply(left, right)
        summed = money.add_products(start, [(left, right), (right, right)])
        totalled = money.total([left, right, start])

    exact_left, exact_right, exact_start = Fraction(left), Fraction(right), Fraction(start)
    assert Fraction(added) == exact_left + exact_right
    assert Fraction(subtracted) == exact_left - exact_right
    assert Fraction(multiplied) == exact_left * exact_right
    assert Fraction(summed) == exact_start + exact_left * exact_right + exact_right * exact_right
    assert Fraction(totalled) == exact_left + exact_right + exact_start


@given(bounded)
def test_a_split_quantity_adds_up(quantity: Decimal) -> None:
    whole, rest = money.split_whole(quantity)

    assert whole == math.floor(Fraction(quantity))
    assert Fraction(whole) + Fraction(rest) == Fraction(quantity)
    assert 0 <= rest < 1


@given(bounded, decimals(low="0", high="500000").filter(bool))
def test_no_other_multiple_is_nearer(amount: Decimal, step: Decimal) -> None:
    count = money.nearest_multiple(amount, step)

    def distance(multiple: int) -> Fraction:
        return abs(Fraction(amount) - multiple * Fraction(step))

    assert distance(count) <= min(distance(count - 1), distance(count + 1))
    toward_zero = count - 1 if count > 0 else count + 1
    assert count == 0 or distance(toward_zero) > distance(count), "a tie goes to the smaller"


@given(bounded, bounded.filter(bool))
def test_a_weight_is_the_exact_ratio_rounded_once_half_to_even(part: Decimal, whole: Decimal) -> None:
    with hostile_context():
        weight = money.weight4(part, whole)

    assert Fraction(weight) == round(Fraction(part) / Fraction(whole), 4)


@given(weights)
def test_a_percentage_is_within_half_a_tenth(weight: Decimal) -> None:
    with hostile_context():
        printed = money.percent(weight)

    assert printed.endswith("%")
    assert abs(Fraction(printed.removesuffix("%")) - Fraction(weight) * 100) <= Fraction(1, 20)
