"""What the upstreams send, in their own words, and how it is read without losing a digit."""

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import msgspec

# ------------------------------------------------------------------------------------------------ plain JSON


def exact_decoder(constant: Callable[[str], object] | None = None) -> json.JSONDecoder:
    """Reads plain Python objects with every number as it stands: Decimal, or int where there is no point.

    Args:
        constant: what becomes of ``NaN`` and ``Infinity``, which JSON does not know; by default they are refused.

    The decoder raises ValueError: not JSON, or a number beyond all proportion.
    """
    return json.JSONDecoder(parse_float=_decimal, parse_constant=constant or _refuse)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:40]} is beyond all proportion") from None


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


# ------------------------------------------------------------------------------------------------ accounting


class SummaryRow(msgspec.Struct, rename="camel", frozen=True, gc=False):
    security_id: str
    quantity_long: Decimal
    quantity_short: Decimal


class Summary(msgspec.Struct, rename="camel", frozen=True):
    """``GET /api/v1/portfolios/{id}/summary``. ``lastUpdated`` is left out: it is always the present moment.

    The service is written in Go, which tells an empty list as ``null`` where nobody took care.
    """

    portfolio_id: str
    cash_balance: Decimal
    security_count: int
    securities: tuple[SummaryRow, ...] | None

    @property
    def rows(self) -> tuple[SummaryRow, ...]:
        return self.securities or ()


class BalanceRow(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """A row without a security is the portfolio's cash."""

    portfolio_id: str
    quantity_long: Decimal
    quantity_short: Decimal
    security_id: str | None = None


class BalancesPagination(msgspec.Struct, frozen=True, gc=False):
    total: int


class Balances(msgspec.Struct, frozen=True):
    """``GET /api/v1/balances``."""

    balances: tuple[BalanceRow, ...] | None
    pagination: BalancesPagination

    @property
    def rows(self) -> tuple[BalanceRow, ...]:
        return self.balances or ()


decode_summary = msgspec.json.Decoder(Summary).decode
decode_balances = msgspec.json.Decoder(Balances).decode


# ------------------------------------------------------------------------------------------------ pricing


class PriceRow(msgspec.Struct, frozen=True):
    """``close`` is read later, so that a bad one can be named by its ticker."""

    ticker: str
    close: object


def decode_prices(body: bytes) -> tuple[PriceRow, ...]:
    """``GET /api/v1/prices``. Read without msgspec's own JSON, so that a bare ``NaN`` gets as far as its ticker."""
    return msgspec.convert(_WITH_NAN.decode(body.decode("utf-8-sig")), tuple[PriceRow, ...])


_WITH_NAN = exact_decoder(constant=Decimal)


# ------------------------------------------------------------------------------------------------ securities


class SecurityRow(msgspec.Struct, rename="camel", frozen=True, gc=False):
    security_id: str
    ticker: str


class SecurityPagination(msgspec.Struct, rename="camel", frozen=True, gc=False):
    total_elements: int


class SecurityPage(msgspec.Struct, frozen=True):
    """``GET /api/v2/securities``. ``hasNext`` is left out: it is wrong at some offsets."""

    securities: tuple[SecurityRow, ...]
    pagination: SecurityPagination


decode_security = msgspec.json.Decoder(SecurityRow).decode
decode_securities = msgspec.json.Decoder(tuple[SecurityRow, ...]).decode
decode_security_page = msgspec.json.Decoder(SecurityPage).decode


# ------------------------------------------------------------------------------------------------ portfolios


class PortfolioRow(msgspec.Struct, rename="camel", frozen=True, gc=False):
    portfolio_id: str
    name: str


decode_portfolio = msgspec.json.Decoder(PortfolioRow).decode
