"""One frozen set of prices for a whole job, so that every portfolio sees the same market."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from domain import money
from domain.errors import Invalid
from domain.faults import Faults
from domain.ids import SecurityId

SCHEMA = "trimtab.price-snapshot.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSnapshot:
    """Prices and tickers by security, and the UTC moment they were taken.

    ``sha256`` is over the canonical bytes the snapshot is stored as: the same hash, the same market.
    """

    as_of: datetime
    prices: Mapping[SecurityId, Decimal]
    tickers: Mapping[SecurityId, str]
    sha256: str


def freeze(
    as_of: datetime, prices: Mapping[SecurityId, Decimal], tickers: Mapping[SecurityId, str]
) -> tuple[PriceSnapshot, bytes]:
    """The snapshot and the canonical bytes it is stored as: `thaw` gives the same snapshot again.

    Canonical: JSON in ASCII, sorted keys, no spaces, prices as plain decimals with at least 2 places and no
    needless zeros. So the bytes, and the hash, depend on the values alone. Tickers may name securities
    without a price, for messages.

    Raises:
        Invalid: a price that is not a number above 0, or ``as_of`` is not UTC; ``details`` names each security.
    """
    faults = Faults()
    if as_of.utcoffset() != timedelta(0):
        faults.add("as_of", f"{as_of} is not a moment in UTC")
    for security_id in sorted(prices):
        price = prices[security_id]
        if not (money.fits(price) and price > 0):
            faults.add(
                f"prices.{security_id}",
                f"price {money.shown(price)} of security {security_id} is not a number above 0",
            )
    faults.refuse_if_any("the prices cannot be used")
    canonical = json.dumps(
        {
            "as_of": as_of.isoformat(timespec="microseconds"),
            "prices": {security_id: money.plain(money.tidy(price)) for security_id, price in prices.items()},
            "schema": SCHEMA,
            "tickers": dict(tickers),
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode("ascii")
    return thaw(canonical), canonical


def thaw(canonical: bytes) -> PriceSnapshot:
    """The snapshot that `freeze` made these bytes of.

    Raises:
        Invalid: the bytes are damaged or of another schema.
    """
    try:
        body = json.loads(canonical)
        if body["schema"] != SCHEMA:
            raise Invalid(f"a price snapshot of schema {body['schema']!r}, not {SCHEMA}")
        return PriceSnapshot(
            as_of=datetime.fromisoformat(body["as_of"]),
            prices={SecurityId(key): money.parse_decimal(text) for key, text in body["prices"].items()},
            tickers={SecurityId(key): str(text) for key, text in body["tickers"].items()},
            sha256=hashlib.sha256(canonical).hexdigest(),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"the price snapshot is damaged: {error!r}") from error
