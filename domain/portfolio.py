"""A portfolio as its source states it: cash may be negative, holdings fractional or short."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from domain.ids import PortfolioId, SecurityId


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A quantity of one security. Negative is short; a fraction is possible at the source."""

    security_id: SecurityId
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Cash and positions of one portfolio at one moment.

    ``stated_market_value`` is what the source itself says the portfolio is worth, where it says so.
    """

    portfolio_id: PortfolioId
    cash: Decimal
    positions: tuple[Position, ...] = ()
    stated_market_value: Decimal | None = None

    def market_value(self, prices: Mapping[SecurityId, Decimal]) -> Decimal:
        """Cash plus price times quantity over every position, exact (no rounding, no float).

        Raises:
            KeyError: a held security has no price.
        """
        raise NotImplementedError
