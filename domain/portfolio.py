"""A portfolio as its source states it: cash may be negative, holdings fractional or short."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from domain import money
from domain.faults import Faults
from domain.ids import PORTFOLIO_ID_RULE, PortfolioId, SecurityId, is_portfolio_id


class Position(NamedTuple):
    """A quantity of one security. Negative is short; a fraction is possible at the source.

    A tuple: they are made by the hundred for every portfolio, at a third of the cost of a frozen dataclass.
    """

    security_id: SecurityId
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Cash and positions of one portfolio at one moment.

    ``stated_market_value`` is what the source itself says the portfolio is worth, where it says so.

    Raises:
        Invalid: a security twice, a number that is not finite or out of bounds, a malformed portfolio id;
            ``details`` names every fault.
    """

    portfolio_id: PortfolioId
    cash: Decimal
    positions: tuple[Position, ...] = ()
    stated_market_value: Decimal | None = None

    def __post_init__(self) -> None:
        faults = Faults()
        if not is_portfolio_id(self.portfolio_id):
            faults.add("portfolio_id", f"{self.portfolio_id!r}: {PORTFOLIO_ID_RULE}")
        if not money.fits(self.cash):
            faults.add("cash", f"cash {money.shown(self.cash)} is not a number within bounds")
        if self.stated_market_value is not None and not money.fits(self.stated_market_value):
            faults.add(
                "stated_market_value",
                f"stated market value {money.shown(self.stated_market_value)} is not a number within bounds",
            )
        if not self._has_usable_positions():
            self._check_positions(faults)
        faults.refuse_if_any(f"portfolio {self.portfolio_id!r} cannot be used")

    def _has_usable_positions(self) -> bool:
        """What `_check_positions` would find nothing wrong with, nearly always: told at once, without names."""
        security_ids = {security_id for security_id, _ in self.positions}
        return len(security_ids) == len(self.positions) and money.all_fit(
            [each for _, each in self.positions]
        )

    def _check_positions(self, faults: Faults) -> None:
        seen: set[SecurityId] = set()
        for index, position in enumerate(self.positions):
            if position.security_id in seen:
                faults.add(
                    f"positions[{index}].security_id",
                    f"security {position.security_id} is listed twice: give one position a security",
                )
            seen.add(position.security_id)
            if not money.fits(position.quantity):
                faults.add(
                    f"positions[{index}].quantity",
                    f"quantity {money.shown(position.quantity)} of security {position.security_id} is not a number within bounds",
                )

    def held(self) -> dict[SecurityId, Decimal]:
        """Quantity by security, without those sold out (sources keep rows of quantity 0)."""
        return {security_id: quantity for security_id, quantity in self.positions if quantity}

    def market_value(self, prices: Mapping[SecurityId, Decimal]) -> Decimal:
        """Cash plus price times quantity over every position, exact (no rounding, no float).

        A sold-out position needs no price.

        Raises:
            KeyError: a held security has no price.
        """
        return money.add_products(
            self.cash,
            ((prices[security_id], quantity) for security_id, quantity in self.held().items()),
        )
