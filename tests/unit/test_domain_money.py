import time
from decimal import Decimal

import pytest

from domain import money
from domain.errors import Invalid
from tests.support.decimals import hostile_context

D = Decimal


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("12.50", "12.50"),
        ("-0.3", "-0.3"),
        ("+7", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1E+3", "1000.00"),
        ("1e-5", "0.00001"),
        ("007", "7"),
        (42, "42"),
        (-42, "-42"),
        (D("43.2500"), "43.2500"),
        (D("1E+5"), "100000.00"),
        ("999999999999999999.9999999999999999", "999999999999999999.9999999999999999"),
    ],
)
def test_a_plain_number_is_read_exactly(given: object, read: str) -> None:
    assert money.plain(money.parse_decimal(given)) == read
    assert money.parse_decimal(given) == D(read)


@pytest.mark.parametrize(
    "given", ["0", "-0", "-0.00", "0E-99", "0E+99", 0, D("-0"), D("0E-1000000"), D("0E+1000000")], ids=repr
)
def test_every_zero_is_read_as_a_positive_zero_that_prints_short(given: object) -> None:
    number = money.parse_decimal(given)

    assert number == 0
    assert not number.is_signed()
    assert len(money.plain(number)) <= 4


@pytest.mark.parametrize(
    "given",
    [
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "",
        " 1",
        "1 ",
        "1\n",
        "1_000",
        "1,000",
        "0x10",
        "--1",
        "1e",
        "e5",
        ".",
        "\u0661\u0662",
        "\uff11",
        "1E+10000",
        D("NaN"),
        D("sNaN"),
        D("Infinity"),
        1.5,
        1.0,
        float("nan"),
        True,
        None,
        b"1",
        pytest.param([10**5000], id="a list"),
    ],
    ids=repr,
)
def test_what_is_not_a_plain_number_is_refused(given: object) -> None:
    with pytest.raises(Invalid, match="is not a number") as refused:
        money.parse_decimal(given)
    assert refused.value.code == "invalid_number"


@pytest.mark.parametrize(
    "given",
    [
        "1E+18",
        "1000000000000000000",
        "0.00000000000000001",
        "1E-17",
        "1E+9999",
        "1E-9999",
        pytest.param(10**18, id="the first integer too large"),
        pytest.param(-(10**18), id="the first integer too small"),
        pytest.param(10**5000, id="an integer too long to print"),
        pytest.param(D("1E+1000000"), id="a Decimal of a million digits"),
        pytest.param(D("-1E-1000000"), id="a Decimal of a million places"),
    ],
)
def test_a_number_out_of_bounds_is_refused(given: object) -> None:
    with pytest.raises(Invalid, match="out of bounds") as refused:
        money.parse_decimal(given)
    assert refused.value.code == "invalid_number"
    assert len(str(refused.value)) < 200


def test_over_long_text_is_refused_and_not_repeated_in_the_message() -> None:
    with pytest.raises(Invalid) as refused:
        money.parse_decimal("1" * 1_000_000)
    assert len(str(refused.value)) < 200


def test_numbers_of_a_million_digits_are_told_at_once() -> None:
    began = time.perf_counter()

    assert not money.fits(D("1E+1000000"))
    assert not money.fits(D("1E-1000000"))
    for hopeless in (D("1E+1000000"), D("-1E+999999"), "9" * 1_000_000, 10**100_000):
        with pytest.raises(Invalid):
            money.parse_decimal(hopeless)
    with pytest.raises(Invalid):
        money.to_units(D("1E+1000000"), 2)

    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "given", [1, 1.0, "1", None, D("NaN"), D("sNaN"), D("-Infinity"), D("1E+18"), D("1E-17")], ids=repr
)
def test_only_finite_decimals_within_bounds_fit(given: object) -> None:
    assert not money.fits(given)


@pytest.mark.parametrize(
    "given", ["0", "-1.5", "999999999999999999", "0.0000000000000001", "1.000000000000000000000"]
)
def test_finite_decimals_within_bounds_fit(given: str) -> None:
    assert money.fits(D(given))


# ---------------------------------------------------------------- arithmetic


def test_arithmetic_is_exact_beyond_the_usual_28_digits() -> None:
    finest = D("0.0000000000000001")
    widest = D("999999999999999999.9999999999999999")

    assert money.to_units(money.multiply(widest, widest), 32) == (10**34 - 1) ** 2
    assert money.subtract(money.add(widest, finest), widest) == finest


def test_a_result_that_cannot_be_exact_raises_instead_of_losing_a_digit() -> None:
    with pytest.raises(ArithmeticError):
        money.add(D("1E+150"), D("1E-150"))


def test_the_total_of_nothing_is_zero() -> None:
    assert money.total([]) == 0
    assert money.add_products(D("3"), []) == D("3")


@pytest.mark.parametrize(
    "value",
    ["0", "-7.5", "1E+17", "1E+18", "1E-16", "1E-17", "Infinity", "NaN", "sNaN", "1E+999999"],
)
def test_many_numbers_fit_exactly_if_each_of_them_does(value: str) -> None:
    assert money.all_fit([D(1), D(value), D(2)]) is money.fits(D(value))


def test_what_is_no_decimal_does_not_fit_among_many() -> None:
    assert money.all_fit([])
    assert not money.all_fit([D(1), 1])
    assert not money.all_fit(["1"])


@pytest.mark.parametrize("value", ["1.50", "1E+2", "1E-9", "-3", "-0", "0"])
def test_many_numbers_are_printed_as_each_of_them_is(value: str) -> None:
    numbers = [D(1), D(value), D("2.5000")]
    assert money.plain_each(numbers) == [money.plain(each) for each in numbers]


def test_a_number_that_cannot_be_printed_is_refused_among_many() -> None:
    with pytest.raises(Invalid):
        money.plain_each([D(1), D("Infinity")])


@pytest.mark.parametrize(
    ("quantity", "whole", "rest"),
    [
        ("10", 10, "0"),
        ("10.7", 10, "0.7"),
        ("0.2", 0, "0.2"),
        ("-10.7", -11, "0.3"),
        ("-3", -3, "0"),
        ("4.000", 4, "0"),
    ],
)
def test_a_quantity_splits_into_whole_shares_and_a_rest_that_is_never_negative(
    quantity: str, whole: int, rest: str
) -> None:
    assert money.split_whole(D(quantity)) == (whole, D(rest))


@pytest.mark.parametrize(
    ("amount", "step", "count"),
    [
        ("100", "40", 2),
        ("100", "30", 3),
        ("20", "40", 0),
        ("20.01", "40", 1),
        ("60", "40", 1),
        ("-60", "40", -1),
        ("-60.01", "40", -2),
        ("0", "40", 0),
    ],
)
def test_the_nearest_multiple_goes_to_the_smaller_one_on_a_tie(amount: str, step: str, count: int) -> None:
    assert money.nearest_multiple(D(amount), D(step)) == count


def test_a_multiple_of_the_step_is_told_from_what_is_none() -> None:
    assert money.is_multiple(D("0.015"), D("0.005"))
    assert money.is_multiple(D(0), D("0.005"))
    assert not money.is_multiple(D("0.0151"), D("0.005"))


# ---------------------------------------------------------------- scaling


@pytest.mark.parametrize(
    ("value", "needed"),
    [("1.2500", 2), ("100", 0), ("1E+5", 0), ("0.000", 0), ("0.00000001", 8), ("-1.1", 1)],
)
def test_places_counts_what_the_value_needs(value: str, needed: int) -> None:
    assert money.places(D(value)) == needed


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_what_is_not_finite_has_no_places_no_units_and_no_print(value: str) -> None:
    for use in (money.places, lambda number: money.to_units(number, 2), money.plain):
        with pytest.raises(Invalid):
            use(D(value))


def test_units_are_exact() -> None:
    assert money.to_units(D("12.5"), 2) == 1250
    assert money.to_units(D("-0.00000001"), 8) == -1
    assert money.to_units(D("999999999999999999.99"), 16) == 99999999999999999999 * 10**14


def test_a_value_finer_than_the_unit_raises() -> None:
    with pytest.raises(Invalid, match=r"12\.345"):
        money.to_units(D("12.345"), 2)


@pytest.mark.parametrize(
    ("units", "places", "printed"),
    [
        (0, 7, "0.00"),
        (0, 0, "0.00"),
        (1250, 2, "12.50"),
        (1250, 0, "1250.00"),
        (123456, 4, "12.3456"),
        (120000, 4, "12.00"),
        (-1, 7, "-0.0000001"),
        (10**40, 2, "1" + "0" * 38 + ".00"),
    ],
)
def test_units_come_back_as_a_plain_amount_with_two_decimals_at_least(
    units: int, places: int, printed: str
) -> None:
    assert money.plain(money.from_units(units, places)) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("1", "1.00"),
        ("1.1000", "1.10"),
        ("1.125", "1.125"),
        ("1E+3", "1000.00"),
        ("-0", "0.00"),
        ("-2.50", "-2.50"),
    ],
)
def test_tidy_gives_one_value_one_form(value: str, printed: str) -> None:
    assert str(money.tidy(D(value))) == printed


# ---------------------------------------------------------------- rounding and printing


@pytest.mark.parametrize(
    ("numerator", "denominator", "weight"),
    [
        ("1", "3", "0.3333"),
        ("2", "3", "0.6667"),
        ("1", "8", "0.1250"),
        ("0.00005", "1", "0.0000"),
        ("0.00015", "1", "0.0002"),
        ("0.00025", "1", "0.0002"),
        ("0.000250000001", "1", "0.0003"),
        ("-0.00015", "1", "-0.0002"),
        ("0", "7", "0.0000"),
        ("1", "-8", "-0.1250"),
    ],
)
def test_a_weight_has_four_decimals_half_to_even(numerator: str, denominator: str, weight: str) -> None:
    assert str(money.weight4(D(numerator), D(denominator))) == weight


def test_a_weight_of_nothing_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        money.weight4(1, 0)


@pytest.mark.parametrize(
    ("weight", "printed"),
    [
        ("0.15", "15.0%"),
        ("0", "0.0%"),
        ("0.125", "12.5%"),
        ("-0.025", "-2.5%"),
        ("1", "100.0%"),
        ("-0.0001", "0.0%"),
        ("0.0005", "0.0%"),
        ("0.0015", "0.2%"),
        ("0.0025", "0.2%"),
        ("12.3456", "1234.6%"),
    ],
)
def test_percentages_print_with_one_decimal(weight: str, printed: str) -> None:
    assert money.percent(D(weight)) == printed


def test_a_percentage_of_a_whole_is_rounded_once() -> None:
    # To 4 decimals first it would be 0.1235, and then 12.4%.
    assert money.percent(D("12.346"), D("100")) == "12.3%"
    assert money.percent(1, 3) == "33.3%"


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("0E-7", "0.0000000"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("1E+5", "100000"),
        ("1E-9", "0.000000001"),
        ("12.50", "12.50"),
        ("-3.1", "-3.1"),
    ],
)
def test_plain_never_writes_an_exponent_or_a_negative_zero(value: str, printed: str) -> None:
    assert money.plain(D(value)) == printed


@pytest.mark.parametrize("value", ["1E+1000000", "1E-1000000", "sNaN"])
def test_what_would_print_for_ever_is_refused(value: str) -> None:
    with pytest.raises(Invalid, match="cannot be printed"):
        money.plain(D(value))


def test_a_hostile_decimal_context_changes_nothing() -> None:
    with hostile_context():
        assert money.parse_decimal("123456.789").compare(D("123456.789")) == 0
        assert str(money.add(D("123.45"), D("678.9"))) == "802.35"
        assert str(money.subtract(D("123.45"), D("678.9"))) == "-555.45"
        assert str(money.multiply(D("123.45"), D("678.9"))) == "83810.205"
        assert str(money.total([D("123.45"), D("678.9")])) == "802.35"
        assert str(money.add_products(D("0.001"), [(D("123.45"), D("678.9"))])) == "83810.206"
        assert money.split_whole(D("-123.75")) == (-124, D("0.25"))
        assert money.nearest_multiple(D("12345.67"), D("0.05")) == 246913
        assert money.is_multiple(D("123.455"), D("0.005"))
        assert money.places(D("123.4500")) == 2
        assert money.to_units(D("123.45"), 4) == 1234500
        assert str(money.from_units(12345678, 4)) == "1234.5678"
        assert str(money.tidy(D("1234.5000"))) == "1234.50"
        assert str(money.weight4(D("123.45"), D("678.9"))) == "0.1818"
        assert money.percent(D("123.45"), D("678.9")) == "18.2%"
        assert money.plain(D("-1.2345E+7")) == "-12345000"
        with pytest.raises(Invalid):
            money.parse_decimal("1E-17")
        with pytest.raises(Invalid):
            money.to_units(D("123.456"), 2)


def test_many_weights_of_one_whole_are_each_rounded_as_one_is() -> None:
    numerators = [0, 1, 5, 15, 25, 49_999, 50_000, 50_001, 100_000, 130_005, -5, -15, -99_995]
    counts = money.ten_thousandths(numerators, 100_000)
    weights = [money.weight4(each, 100_000) for each in numerators]
    assert [money.from_ten_thousandths(each) for each in counts] == weights
    assert [money.ten_thousandths_text(each) for each in counts] == [str(each) for each in weights]
    assert [str(money.weight4(each, 100_000)) for each in (5, 15, -5)] == ["0.0000", "0.0002", "0.0000"]
