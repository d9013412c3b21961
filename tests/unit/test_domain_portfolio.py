from decimal import Decimal

import pytest

from domain.errors import Invalid
from domain.ids import JobId, PortfolioId, is_portfolio_id, is_security_id, item_id
from domain.portfolio import Portfolio
from tests.support.builders import portfolio, portfolio_id, position, prices, security_id
from tests.support.decimals import hostile_context

D = Decimal


def fields(refused: Invalid) -> list[str]:
    return [detail["field"] for detail in refused.details]


def test_market_value_is_cash_plus_price_times_quantity() -> None:
    book = portfolio("1000.50", {1: 20, 2: "3.5", 3: -4})

    assert book.market_value(prices({1: "10.25", 2: 40, 3: "0.01"})) == D("1345.46")


def test_cash_may_be_negative() -> None:
    assert portfolio("-10.01").market_value({}) == D("-10.01")


def test_market_value_is_exact_in_any_decimal_context() -> None:
    book = portfolio("123456789012345678.12345678", {1: "999999999.12345678", 2: "0.00000001"})
    market = prices({1: "500000.12345678", 2: "0.00000001"})

    with hostile_context():
        assert str(book.market_value(market)) == "123956789135364186.4052415765279685"


def test_a_sold_out_position_needs_no_price() -> None:
    book = portfolio(5, {1: 0, 2: "0.000", 3: 1})

    assert book.held() == {security_id(3): D(1)}
    assert book.market_value(prices({3: 7})) == D(12)


def test_a_held_security_without_a_price_has_no_market_value() -> None:
    with pytest.raises(KeyError, match=security_id(1)):
        portfolio(5, {1: 1}).market_value({})


def test_a_security_twice_is_refused_and_named() -> None:
    with pytest.raises(Invalid, match=security_id(7)) as refused:
        Portfolio(
            portfolio_id=portfolio_id(1),
            cash=D(0),
            positions=(position(7, 1), position(8, 1), position(7, 0)),
        )
    assert fields(refused.value) == ["positions[2].security_id"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1E+18", "1E-17"])
def test_a_number_that_is_not_finite_or_out_of_bounds_is_refused_wherever_it_stands(number: str) -> None:
    with pytest.raises(Invalid) as refused:
        portfolio(number, {1: 1, 2: number}, stated_market_value=number)
    assert fields(refused.value) == ["cash", "stated_market_value", "positions[1].quantity"]
    assert security_id(2) in str(refused.value)


def test_a_float_is_refused() -> None:
    with pytest.raises(Invalid, match=r"1\.5 \(float\)"):
        Portfolio(portfolio_id=portfolio_id(1), cash=1.5)  # type: ignore[arg-type]  # what an untyped caller may do


def test_every_fault_stands_in_the_details_and_the_message_stays_short() -> None:
    with pytest.raises(Invalid) as refused:
        portfolio(0, dict.fromkeys(range(100), "NaN"))
    assert len(refused.value.details) == 100
    assert "and 97 more" in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("text", ["A", "64f0c0ffee64f0c0ffee0001", "a-b_c.d/e~!", "x" * 64])
def test_a_portfolio_id_is_printable_ascii(text: str) -> None:
    assert is_portfolio_id(text)
    assert Portfolio(portfolio_id=PortfolioId(text), cash=D(0)).portfolio_id == text


@pytest.mark.parametrize(
    "text",
    ["", "a:b", ":", "a b", " a", "a\n", "a\t", "\x00", "\x7f", "\u00e9", "\u0661", "x" * 65],
    ids=ascii,
)
def test_a_portfolio_id_with_a_colon_a_space_or_none_at_all_is_refused(text: str) -> None:
    assert not is_portfolio_id(text)
    with pytest.raises(Invalid) as refused:
        Portfolio(portfolio_id=PortfolioId(text), cash=D(0))
    assert fields(refused.value) == ["portfolio_id"]


@pytest.mark.parametrize("text", ["a" * 24, "0123456789abcdefABCDEFxy"])
def test_a_security_id_is_24_letters_and_digits(text: str) -> None:
    assert is_security_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "a" * 23, "a" * 25, "a" * 23 + "-", "a" * 23 + "\n", "a" * 24 + "\n", "\u0661" * 24],
    ids=ascii,
)
def test_anything_else_is_no_security_id(text: str) -> None:
    assert not is_security_id(text)


def test_an_item_id_splits_at_its_only_last_colon() -> None:
    joined = item_id(JobId("job"), portfolio_id(3))

    assert joined.rpartition(":") == ("job", ":", portfolio_id(3))
