"""Prices for a book: invented, or the latest date of a file in the pricing service's own format."""

import csv
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from random import Random
from string import ascii_uppercase

_LEAST_PRICE, _GREATEST_PRICE = 5.0, 600.0
_CENT = Decimal("0.01")
_MOST_PLACES = 8


@dataclass(frozen=True, slots=True)
class Quote:
    """``std`` is the standard deviation the pricing service draws around ``price`` with."""

    ticker: str
    price: Decimal
    std: Decimal


def invented_quotes(random: Random, count: int) -> list[Quote]:
    """Tickers of four letters at $5 to $600, evenly over the orders of magnitude."""
    quotes = []
    for number in range(count):
        price = _LEAST_PRICE * (_GREATEST_PRICE / _LEAST_PRICE) ** random.random()
        quotes.append(Quote(_ticker(number), _cents(price), _cents(price * 0.015)))
    return quotes


def read_latest_quotes(path: Path) -> list[Quote]:
    """Every ticker of the latest date in a file ``price_date,ticker,price,price_std``, sorted by ticker.

    Raises:
        ValueError: the file cannot be read or a line is wrong; file and line are named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            dated = [_dated_quote(path, reader.line_num, row) for row in reader]
    except (OSError, csv.Error) as exc:
        raise ValueError(f"{path}: {exc}") from exc
    latest = max((day for day, _ in dated), default=None)
    quotes = {quote.ticker: quote for day, quote in dated if day == latest}
    return [quotes[ticker] for ticker in sorted(quotes)]


def _dated_quote(path: Path, line: int, row: dict[str, str]) -> tuple[date, Quote]:
    try:
        day = date.fromisoformat(row["price_date"])
        quote = Quote(row["ticker"], Decimal(row["price"]), Decimal(row["price_std"]))
    except (ValueError, KeyError, TypeError, InvalidOperation) as exc:
        raise ValueError(f"{path}:{line}: price_date,ticker,price,price_std wanted: {exc!r}") from exc
    usable = quote.price.is_finite() and quote.std.is_finite() and quote.price > 0 and quote.std >= 0
    if not usable or quote.price != round(quote.price, _MOST_PLACES):
        raise ValueError(
            f"{path}:{line}: price is above 0 with at most {_MOST_PLACES} decimals, price_std is at least 0"
        )
    return day, quote


def _ticker(number: int) -> str:
    letters = []
    for _ in range(4):
        number, place = divmod(number, 26)
        letters.append(ascii_uppercase[place])
    return "".join(reversed(letters))


def _cents(amount: float) -> Decimal:
    return Decimal(amount).quantize(_CENT)
