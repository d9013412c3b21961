"""How far a portfolio is from its model, and what it would take to get there."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from domain import money
from domain.errors import Invalid
from domain.ids import SecurityId
from domain.model import ModelPosition


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionDrift:
    """One security that is held, modelled or both. Outside the model target and bounds are 0.

    ``quantity`` is what is held (0 where nothing is), ``market_value`` that of the whole portfolio. What is
    derived from these is exact money, but for the weights, which are rounded to 4 decimals.
    """

    security_id: SecurityId
    price: Decimal
    quantity: Decimal
    market_value: Decimal
    target: Decimal = Decimal(0)
    low_drift: Decimal = Decimal(0)
    high_drift: Decimal = Decimal(0)

    @property
    def value(self) -> Decimal:
        """Price x quantity."""
        return money.multiply(self.price, self.quantity)

    @property
    def excess(self) -> Decimal:
        """Value less market value x target: above 0 is too much of it, below 0 too little."""
        return money.subtract(self.value, money.multiply(self.market_value, self.target))

    @property
    def actual(self) -> Decimal:
        """The weight held."""
        return money.weight4(self.value, self.market_value)

    @property
    def drift(self) -> Decimal:
        """Actual weight less target, signed."""
        return money.weight4(self.excess, self.market_value)

    @property
    def percent(self) -> str:
        """The drift for people: ``2.5%``, ``-0.3%``."""
        return money.percent(self.excess, self.market_value)

    @property
    def outside_bounds(self) -> bool:
        """Whether the value lies below market value x (target - low) or above market value x (target + high)."""
        low = money.multiply(self.market_value, self.low_drift)
        high = money.multiply(self.market_value, self.high_drift)
        return not low.copy_negate() <= self.excess <= high

    @property
    def trade(self) -> int:
        """Whole shares to buy (above 0) or sell (below 0) to come as near to target as whole shares can.

        A tie goes to the smaller trade. No more is sold than is held, and a short is bought back at least.
        The bounds and the cash of the whole portfolio are not looked at: this is what drift alone asks for.
        """
        whole, _ = money.split_whole(self.quantity)
        return max(money.nearest_multiple(self.excess.copy_negate(), self.price), -whole)

    @property
    def notional(self) -> Decimal:
        """Price x shares of that trade."""
        return money.multiply(self.price, abs(self.trade))


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    r"""The drift of a portfolio at given prices; positions in order of security id.

    ``total`` is the sum of \|market value x target - price x quantity\| in money, ``total_weight`` the same as a
    weight of market value (4 decimals), ``outside_bounds`` the securities outside their bounds.
    ``trades_required`` counts the securities that would be traded to come as near to target as whole shares
    can (`PositionDrift.trade`); ``estimated_cost`` = commission rate x the sum of those trades' notionals.
    """

    market_value: Decimal
    positions: tuple[PositionDrift, ...]
    total: Decimal
    total_weight: Decimal
    outside_bounds: tuple[SecurityId, ...]
    trades_required: int
    estimated_cost: Decimal

    @property
    def percent(self) -> str:
        """The total drift for people: ``15.0%`` of market value."""
        return money.percent(self.total, self.market_value)


def measure_drift(
    *,
    market_value: Decimal,
    quantities: Mapping[SecurityId, Decimal],
    targets: Mapping[SecurityId, ModelPosition],
    prices: Mapping[SecurityId, Decimal],
    commission_rate: Decimal = Decimal(0),
) -> DriftReport:
    """Measure what is held against the targets, exactly. ``commission_rate`` is a fraction of the notional.

    Raises:
        Invalid: the market value is not above 0 (weights of it mean nothing), or the rate not from 0 to 1.
        KeyError: a held or modelled security has no price.
    """
    if not (market_value.is_finite() and market_value > 0):
        raise Invalid(f"drift is measured against a market value above 0, not {market_value}")
    if not (money.fits(commission_rate) and 0 <= commission_rate <= 1):
        raise Invalid(f"the commission rate {commission_rate} is not a fraction from 0 to 1")
    positions = tuple(
        _position_drift(security_id, market_value, quantities, targets.get(security_id), prices[security_id])
        for security_id in sorted(quantities.keys() | targets.keys())
    )
    total = money.total(position.excess.copy_abs() for position in positions)
    turnover = money.total(position.notional for position in positions)
    return DriftReport(
        market_value=market_value,
        positions=positions,
        total=total,
        total_weight=money.weight4(total, market_value),
        outside_bounds=tuple(position.security_id for position in positions if position.outside_bounds),
        trades_required=sum(1 for position in positions if position.trade),
        estimated_cost=money.multiply(turnover, commission_rate),
    )


def _position_drift(
    security_id: SecurityId,
    market_value: Decimal,
    quantities: Mapping[SecurityId, Decimal],
    target: ModelPosition | None,
    price: Decimal,
) -> PositionDrift:
    quantity = quantities.get(security_id, Decimal(0))
    if target is None:
        return PositionDrift(
            security_id=security_id, price=price, quantity=quantity, market_value=market_value
        )
    return PositionDrift(
        security_id=security_id,
        price=price,
        quantity=quantity,
        market_value=market_value,
        target=target.target,
        low_drift=target.low_drift,
        high_drift=target.high_drift,
    )
