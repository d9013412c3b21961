"""One frozen set of prices for a whole job, so that every portfolio sees the same market."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.ids import SecurityId


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSnapshot:
    """Prices and tickers by security, and the UTC moment they were taken.

    ``sha256`` is over the canonical bytes the snapshot is stored as: the same hash, the same market.
    """

    as_of: datetime
    prices: Mapping[SecurityId, Decimal]
    tickers: Mapping[SecurityId, str]
    sha256: str
