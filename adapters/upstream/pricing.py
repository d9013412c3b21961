"""Prices from the pricing service: all of them, in one call.

The service draws its prices anew at every call, so whoever asks must ask once a job and freeze the answer. Its
``date`` is a random historical day and says nothing about age.

A price that is not a number, not finite, zero or negative, and a ticker that comes twice, make the whole answer
unusable (UpstreamFault, the ticker named): a list that is wrong in one place is not trusted in the others, and
leaving the ticker out would pass a fault on as a missing price.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from adapters.upstream.http import HttpService
from adapters.upstream.payloads import PriceRow, decode_prices
from domain.errors import Invalid, UpstreamFault
from domain.money import parse_decimal

_PATH = "/api/v1/prices"


class PricingClient:
    """`PriceSource` over HTTP. The price is ``close`` (open, high and low are the same number)."""

    def __init__(self, service: HttpService) -> None:
        self._service = service

    def prices(self) -> Mapping[str, Decimal]:
        rows = self._service.get_json(_PATH, decode_prices)
        try:
            return _by_ticker(rows)
        except Invalid as exc:
            raise UpstreamFault(self._service.name, f"GET {_PATH}: {exc}") from exc


def read_price(value: object) -> Decimal:
    """A price: an exact number above zero.

    Raises:
        Invalid: it is not.
    """
    price = parse_decimal(value)
    if price <= 0:
        raise Invalid(f"the price {price} is not above zero", code="invalid_price")
    return price


def _by_ticker(rows: Iterable[PriceRow]) -> dict[str, Decimal]:
    prices: dict[str, Decimal] = {}
    for row in rows:
        if row.ticker in prices:
            raise Invalid(f"ticker {row.ticker!r} comes twice")
        try:
            prices[row.ticker] = read_price(row.close)
        except Invalid as exc:
            raise Invalid(f"ticker {row.ticker!r}: {exc}") from exc
    if not prices:
        raise Invalid("there is no price at all")
    return prices
