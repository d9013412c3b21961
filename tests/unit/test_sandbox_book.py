from decimal import Decimal
from pathlib import Path

import pytest

from adapters.sandbox.book import Book, BookPortfolio, Kind


def value(book: Book, portfolio: BookPortfolio) -> Decimal:
    prices = {security.security_id: security.price or Decimal(0) for security in book.securities}
    cash = portfolio.cash or Decimal(0)
    return cash + sum(prices[holding.security_id] * holding.quantity for holding in portfolio.holdings)


def in_bounds(book: Book, total: Decimal) -> bool:
    """Whether every modelled security has a whole number of shares inside its bounds."""
    prices = {security.security_id: security.price for security in book.securities}
    for row in book.model().positions:
        price = prices[row.security_id]
        assert price is not None
        least = max(Decimal(0), total * (row.target - row.low_drift) / price).to_integral_value(
            "ROUND_CEILING"
        )
        if least * price > total * (row.target + row.high_drift):
            return False
    return True


@pytest.mark.parametrize("securities", [1, 2, 7, 30, 50, 99, 100])
def test_targets_are_multiples_of_half_a_percent_that_add_up_to_95_percent(securities: int) -> None:
    positions = Book.generate(3, securities, seed=securities).model().positions

    assert len({row.security_id for row in positions}) == securities
    assert sum(row.target for row in positions) == Decimal("0.95")
    assert all(row.target >= Decimal("0.005") and row.target % Decimal("0.005") == 0 for row in positions)
    assert all(Decimal("0.01") <= row.low_drift == row.high_drift <= 1 for row in positions)


def test_the_same_seed_gives_the_same_book_and_another_seed_another() -> None:
    first, again, other = (Book.generate(30, 20, seed=seed) for seed in (7, 7, 8))

    assert [first.portfolio(place) for place in range(30)] == [again.portfolio(place) for place in range(30)]
    assert first.model() == again.model()
    assert first.model() != other.model()


def test_ids_are_24_characters_and_unique() -> None:
    book = Book.generate(200, 50)
    ids = [*book.portfolio_ids, *(security.security_id for security in book.securities)]

    assert len(set(ids)) == len(ids)
    assert all(len(each) == 24 and each.isalnum() and each.isascii() for each in ids)


def test_ordinary_portfolios_hold_whole_shares_between_50_thousand_and_5_million_and_can_be_rebalanced() -> (
    None
):
    book = Book.generate(200, 30, odd=False)

    for place in range(200):
        portfolio = book.portfolio(place)
        total = value(book, portfolio)
        assert portfolio.kind is Kind.DRIFTED
        assert portfolio.cash is not None
        assert 0 <= portfolio.cash < total / 5
        assert Decimal(49_999) < total <= Decimal(5_000_000)
        assert all(holding.quantity == int(holding.quantity) >= 0 for holding in portfolio.holdings)
        assert in_bounds(book, total)


def test_some_portfolios_hold_what_is_not_in_the_model() -> None:
    book = Book.generate(100, 20)
    modelled = {row.security_id for row in book.model().positions}
    outside = [place for place in range(100) if book.kind(place) is Kind.OUTSIDE]

    assert len(outside) == 10
    for place in outside:
        strangers = [
            holding for holding in book.portfolio(place).holdings if holding.security_id not in modelled
        ]
        assert [holding.quantity > 0 for holding in strangers][:2] == [True, True]


def test_there_is_one_of_each_odd_portfolio_and_they_are_what_they_say() -> None:
    book = Book.generate(40, 30)
    by_kind = {book.kind(place): book.portfolio(place) for place in range(40)}
    prices = {security.security_id: security.price for security in book.securities}

    assert set(by_kind) == set(Kind)
    assert by_kind[Kind.EMPTY].empty
    assert by_kind[Kind.EMPTY].holdings == ()
    assert [
        holding.security_id
        for holding in by_kind[Kind.UNPRICED].holdings
        if prices[holding.security_id] is None
    ]
    assert not in_bounds(book, value(book, by_kind[Kind.TINY]))
    assert [holding for holding in by_kind[Kind.FRACTIONAL].holdings if holding.quantity % 1]
    balanced = {holding.security_id: holding.quantity for holding in by_kind[Kind.BALANCED].holdings}
    total = value(book, by_kind[Kind.BALANCED])
    for row in book.model().positions:
        price = prices[row.security_id]
        assert price is not None
        assert abs(balanced[row.security_id] * price - total * row.target) <= price / 2


def test_some_portfolios_keep_a_row_of_what_was_sold_out() -> None:
    book = Book.generate(40, 30)

    assert any(holding.quantity == 0 for holding in book.portfolio(2).holdings)


def test_a_price_file_gives_the_prices_of_its_latest_date(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    lines = [f"2026-01-0{day},T{number},{number + day}.1234,0.5" for day in (1, 2) for number in range(10)]
    path.write_text("\n".join(["price_date,ticker,price,price_std", *lines, "2025-12-31,OLD,1,1"]) + "\n")

    book = Book.generate(5, 6, prices=path)

    priced = {security.ticker: security.price for security in book.securities if security.price is not None}
    assert len(priced) == 9
    assert all(price == int(ticker[1:]) + 2 + Decimal("0.1234") for ticker, price in priced.items())
    assert "OLD" not in priced


def test_a_million_portfolios_cost_nothing_to_open() -> None:
    book = Book.generate(1_000_000, 50)

    assert book.portfolios == 1_000_000
    assert "portfolio_ids" not in vars(book)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "price_date,ticker,price,price_std\n2026-01-01,A,1,1\n",
            "1 tickers on the latest date, 5 are needed",
        ),
        ("price_date,ticker,price,price_std\n2026-01-01,A,x,1\n", r"prices\.csv:2"),
        ("price_date,ticker,price,price_std\n2026-01-01,A,-1,1\n", r"prices\.csv:2: price is above 0"),
        ("price_date,ticker,price,price_std\n2026-01-01,A,NaN,1\n", r"prices\.csv:2: price is above 0"),
        ("price_date,ticker,price,price_std\n2026-01-01,A,0.0000000001,1\n", r"at most 8 decimals"),
        ("ticker,price\nA,1\n", r"prices\.csv:2: price_date,ticker"),
        (None, r"prices\.csv"),
    ],
)
def test_a_price_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "prices.csv"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ValueError, match=words):
        Book.generate(1, 1, prices=path)


@pytest.mark.parametrize(("portfolios", "securities"), [(-1, 5), (5, 0), (5, 101)])
def test_numbers_out_of_range_are_refused(portfolios: int, securities: int) -> None:
    with pytest.raises(ValueError, match="1 to 100 securities"):
        Book.generate(portfolios, securities)
