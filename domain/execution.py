"""What executing an order set does to cash, order by order: sells before buys, each paying its cost as it executes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from domain import money
from domain.answer import Order, Side

_ZERO = Decimal(0)
_ONE = Decimal(1)
_STEP = 10**4  # a slip is told to 4 decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingCosts:
    """What an order costs: a fraction of the notional at which it executes, and an amount of money."""

    rate: Decimal = _ZERO
    per_order: Decimal = _ZERO

    def of(self, notional: Decimal) -> Decimal:
        return money.add(money.multiply(notional, self.rate), self.per_order)


def in_cash_safe_order(orders: Iterable[Order], costs: TradingCosts) -> tuple[Order, ...]:
    """Sells that bring in cash, sells that cost more than they bring in, buys; each by security id.

    So cash rises, then falls, and is never lower than before the first order or after the last one.
    """
    return tuple(sorted(orders, key=lambda order: (_phase(order, costs), order.security_id)))


def _phase(order: Order, costs: TradingCosts) -> int:
    if order.side is Side.BUY:
        return 2
    return int(costs.of(order.notional) > order.notional)


def cash_path(
    orders: Iterable[Order], cash_before: Decimal, costs: TradingCosts, slip: Decimal = _ZERO
) -> Iterator[Decimal]:
    """Cash after each order, exact. ``slip``: sells execute at price x (1 - slip), buys at price x (1 + slip)."""
    cash = cash_before
    for order in orders:
        buys = order.side is Side.BUY
        slipped = money.add(_ONE, slip if buys else slip.copy_negate())
        notional = money.multiply(order.notional, slipped)
        change = notional.copy_negate() if buys else notional
        cash = money.subtract(money.add(cash, change), costs.of(notional))
        yield cash


def lowest_cash(
    orders: Iterable[Order], cash_before: Decimal, costs: TradingCosts, slip: Decimal = _ZERO
) -> Decimal:
    """The least cash there ever is, before the first order included; see `cash_path`."""
    return min([cash_before, *cash_path(orders, cash_before, costs, slip)])


def slip_covered(
    orders: Sequence[Order], cash_before: Decimal, floor: Decimal, costs: TradingCosts
) -> Decimal | None:
    """The largest slip, rounded down to 4 decimals, at which cash keeps to ``floor``; None without orders.

    Keeps to it: once the sells are done cash is at ``floor`` or above, and before that at the lower of ``floor`` and
    cash before, or above. 1 at the most: then nothing is got for what is sold. Below 0 where even the stated prices
    do not suffice.

    After each order cash is a linear function of the slip s, cash(0) - s x slope, so each gives a largest s.
    """
    if not orders:
        return None
    least_during_sells = min(floor, cash_before)
    slope, most = Fraction(0), Fraction(1)
    last_sell = max((place for place, each in enumerate(orders) if each.side is Side.SELL), default=-1)
    for place, (order, cash) in enumerate(zip(orders, cash_path(orders, cash_before, costs), strict=True)):
        sign = 1 if order.side is Side.BUY else -1
        slope += Fraction(order.notional) * (1 + sign * Fraction(costs.rate))
        least = least_during_sells if place < last_sell else floor
        if slope > 0:
            most = min(most, (Fraction(cash) - Fraction(least)) / slope)
    return money.from_ten_thousandths(most * _STEP // 1)
