"""Sources that read files (CSV or JSON, see tables.py) instead of asking a service. Faults name file and line.

========== =====================================================================================
file       columns
========== =====================================================================================
prices     ``ticker`` and/or ``security_id``, ``price`` [, ``price_date`` (YYYY-MM-DD)]
securities ``security_id``, ``ticker``
positions  ``portfolio_id``, ``security_id`` (empty: cash), ``quantity`` [, ``market_value``]
names      ``portfolio_id``, ``name``
========== =====================================================================================
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

from adapters.upstream.pricing import read_price
from adapters.upstream.tables import FileSource, Record, Table, fault
from domain.errors import Invalid
from domain.ids import PortfolioId, SecurityId
from domain.money import total
from domain.portfolio import Portfolio, Position
from domain.ports import SecurityMaster

# ------------------------------------------------------------------------------------------------ prices


@dataclass(frozen=True, slots=True)
class _Quote:
    line: int
    ticker: str
    security_id: str
    price: Decimal


class FilePrices:
    """`PriceSource` over a file, and `SecurityMaster` where the file names security ids.

    With ``price_date`` only the latest date in the whole file counts: one market of one day. A ticker that is
    not priced on that day has no price, rather than an old one.

    Where a row has an id but no ticker, ``names`` tells the ticker; failing that the id is its own ticker.
    """

    def __init__(self, path: Path, names: SecurityMaster | None = None) -> None:
        self._path = path
        self._names = names
        self._source = FileSource("prices", path, _parse_quotes)

    def prices(self) -> Mapping[str, Decimal]:
        quotes = self._source.get()
        nameless = [SecurityId(quote.security_id) for quote in quotes if not quote.ticker]
        known = self._names.tickers(nameless) if self._names is not None and nameless else {}
        prices: dict[str, Decimal] = {}
        for quote in quotes:
            ticker = quote.ticker or known.get(SecurityId(quote.security_id), quote.security_id)
            if ticker in prices:
                raise fault("prices", self._path, quote.line, f"a second price for ticker {ticker}")
            prices[ticker] = quote.price
        return prices

    def tickers(self, wanted: Iterable[SecurityId]) -> Mapping[SecurityId, str]:  # noqa: ARG002  # the port's signature: everything is known at once
        return {
            SecurityId(quote.security_id): quote.ticker or quote.security_id
            for quote in self._source.get()
            if quote.security_id
        }


def _parse_quotes(table: Table) -> tuple[_Quote, ...]:
    latest = _latest_date(table)
    quotes: list[_Quote] = []
    lines: dict[str, int] = {}

    def take(record: Record) -> None:
        if latest is not None and _date(record) != latest:
            return
        ticker, security_id = record.text("ticker"), record.text("security_id")
        keys = [key for key in (ticker, security_id) if key]
        if not keys:
            raise Invalid("ticker and security_id are both missing")
        for key in keys:
            if lines.setdefault(key, record.line) != record.line:
                raise Invalid(f"a second price for {key}: the first is on line {lines[key]}")
        try:
            price = read_price(record.number("price"))
        except Invalid as exc:
            raise Invalid(f"{keys[0]}: {exc}") from exc
        quotes.append(_Quote(record.line, ticker, security_id, price))

    table.read(take)
    if not quotes:
        raise fault(table.service, table.path, 1, "there is no price at all")
    return tuple(quotes)


def _latest_date(table: Table) -> date | None:
    dates: list[date] = []
    table.read(lambda record: dates.append(_date(record)) if "price_date" in record.fields else None)
    if dates and len(dates) != len(table.records):
        raise fault(table.service, table.path, 1, "some records have a price_date and some have none")
    return max(dates, default=None)


def _date(record: Record) -> date:
    text = record.required("price_date")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(f"price_date {text!r} is not a date (YYYY-MM-DD)") from None


# ------------------------------------------------------------------------------------------------ securities


class FileSecurities:
    """`SecurityMaster` over a file."""

    def __init__(self, path: Path) -> None:
        self._source = FileSource("securities", path, _parse_securities)

    def tickers(self, wanted: Iterable[SecurityId]) -> Mapping[SecurityId, str]:  # noqa: ARG002  # the port's signature: everything is known at once
        return self._source.get()


def _parse_securities(table: Table) -> Mapping[SecurityId, str]:
    tickers: dict[SecurityId, str] = {}

    def take(record: Record) -> None:
        security_id = SecurityId(record.required("security_id"))
        if security_id in tickers:
            raise Invalid(f"security {security_id} comes twice")
        tickers[security_id] = record.required("ticker")

    table.read(take)
    return tickers


# ------------------------------------------------------------------------------------------------ positions


@dataclass(slots=True)
class _Holdings:
    """What the lines of one portfolio have said so far."""

    line: int
    cash: Decimal | None = None
    quantities: dict[SecurityId, Decimal] = field(default_factory=dict)
    values: dict[SecurityId, Decimal] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        security_id = SecurityId(record.text("security_id"))
        quantity = record.number("quantity")
        if not security_id:
            if self.cash is not None:
                raise Invalid("a second cash line for this portfolio")
            self.cash = quantity
            return
        if security_id in self.quantities:
            raise Invalid(f"security {security_id} comes twice in this portfolio")
        self.quantities[security_id] = quantity
        if record.has("market_value"):
            self.values[security_id] = record.number("market_value")

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio:
        held = {security_id: quantity for security_id, quantity in self.quantities.items() if quantity}
        cash = self.cash or Decimal(0)
        return Portfolio(
            portfolio_id=portfolio_id,
            cash=cash,
            positions=tuple(Position(security_id=key, quantity=quantity) for key, quantity in held.items()),
            stated_market_value=self._stated(held, cash),
        )

    def _stated(self, held: Mapping[SecurityId, Decimal], cash: Decimal) -> Decimal | None:
        if not self.values:
            return None
        unvalued = sorted(held.keys() - self.values.keys())
        if unvalued:
            raise Invalid(f"market_value is given for some positions, but not for {unvalued[0]}")
        return total([cash, *self.values.values()])


class FilePortfolios:
    """`PortfolioAccounting` over a file, and `PortfolioDirectory`: a portfolio in the file is known by its id.

    A portfolio's stated market value is its cash plus the ``market_value`` of every position, where those are
    given (all of a portfolio's positions or none).
    """

    def __init__(self, path: Path) -> None:
        self._source = FileSource("accounting", path, _parse_portfolios)

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        return self._source.get().get(portfolio_id)

    def name(self, portfolio_id: PortfolioId) -> str | None:
        return portfolio_id if portfolio_id in self._source.get() else None


def _parse_portfolios(table: Table) -> Mapping[PortfolioId, Portfolio]:
    holdings: dict[PortfolioId, _Holdings] = {}

    def take(record: Record) -> None:
        portfolio_id = PortfolioId(record.required("portfolio_id"))
        holdings.setdefault(portfolio_id, _Holdings(record.line)).take(record)

    table.read(take)
    portfolios: dict[PortfolioId, Portfolio] = {}
    for portfolio_id, held in holdings.items():
        try:
            portfolios[portfolio_id] = held.portfolio(portfolio_id)
        except Invalid as exc:
            raise fault(table.service, table.path, held.line, f"portfolio {portfolio_id}: {exc}") from exc
    return portfolios


# ------------------------------------------------------------------------------------------------ names


class FileDirectory:
    """`PortfolioDirectory` over a file."""

    def __init__(self, path: Path) -> None:
        self._source = FileSource("directory", path, _parse_names)

    def name(self, portfolio_id: PortfolioId) -> str | None:
        return self._source.get().get(portfolio_id)


def _parse_names(table: Table) -> Mapping[PortfolioId, str]:
    names: dict[PortfolioId, str] = {}

    def take(record: Record) -> None:
        portfolio_id = PortfolioId(record.required("portfolio_id"))
        if portfolio_id in names:
            raise Invalid(f"portfolio {portfolio_id} comes twice")
        names[portfolio_id] = record.required("name")

    table.read(take)
    return names
