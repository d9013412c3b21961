"""Is this answer right? Recomputed from the inputs in exact numbers, by code that shares nothing with a solver.

Nothing here knows of `domain.problem`: not its scales, not its windows, not its arithmetic. There everything is
decimal places and arrays, here it is rational numbers and plain integers over denominators of their own (`Limits`);
orders and cash are added up in decimals. An error in one of the two is not repeated by the other.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from fractions import Fraction
from typing import TypeAlias

from domain.answer import Order, Shares, Side
from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.model import ModelPosition
from domain.policy import Policy

# Wide enough for every product of bounded inputs; if it ever were not, Inexact is raised and nothing is published.
_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_ZERO = Decimal(0)

_ORDER_RULES = ("whole_shares", "price", "notional", "one_order", "sells_first")


# Numerator and denominator of a number in lowest terms.
_Ratio: TypeAlias = tuple[int, int]
_ratio = Decimal.as_integer_ratio
# Price, and which band of weights.
_Row: TypeAlias = tuple[int, int]
# The least and the greatest, both included.
_Band: TypeAlias = tuple[int, int]
_OUTSIDE_BAND: _Band = (0, 0)  # of a security outside the model: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One promise that does not hold. ``rule`` is a stable word; ``security_id`` None: the portfolio as a whole.

    ``amount`` is by how much, where that can be said: in money, or in orders where the rule counts them.
    """

    rule: str
    message: str
    security_id: SecurityId | None = None
    group: str | None = None
    amount: Fraction | None = None


def verify_quantities(
    checked: CheckedPortfolio,
    policy: Policy,
    quantities: Mapping[SecurityId, int],
    limits: "Limits | None" = None,
) -> tuple[Violation, ...]:
    """What is wrong with holding these whole shares (beside the fractions that stay); empty if nothing is.

    Every held or modelled security must be there, none else; whole shares, none short; the value of each
    position within its bounds; and what they cost together must leave the cash floor. A holding outside the
    model must be gone, but for a fraction that cannot be traded.

    Args:
        checked: the portfolio.
        policy: for the cash floor.
        quantities: whole shares by security.
        limits: those of ``checked``'s own targets, if a whole job keeps them; made anew otherwise.
    """
    expected = checked.shares.keys() | checked.targets.keys()
    if expected != quantities.keys():
        return tuple(
            Violation(
                rule="securities", message=f"{security_id} is not what was asked for", security_id=security_id
            )
            for security_id in sorted(expected ^ quantities.keys())
        )
    limits = limits or Limits(checked.targets, checked.prices)
    part, rows, kept = limits.in_one_part(checked)
    value, value_part = _ratio(checked.market_value)
    bounds = limits.bounds(value * part, value_part)
    violations: list[Violation] = []
    cost = 0
    for security_id, quantity in quantities.items():
        if type(quantity) is not int or quantity < 0:
            violations.append(_not_whole(security_id, quantity))
            continue
        price, band = rows[security_id]
        held = quantity * price
        if kept:
            held += kept.get(security_id, 0)
        cost += held
        least, most = bounds[band]
        if not least <= held <= most:
            only_a_fraction = quantity == 0 and security_id not in limits.rows
            if not only_a_fraction:
                violations.append(_outside(checked, security_id, _shown(held, part)))
    left, whole = value * part - cost * value_part, value_part * part
    weight, weight_part = _ratio(policy.cash_floor)
    floor, floor_part = _larger((weight * value, weight_part * value_part), _ratio(policy.cash_floor_amount))
    if left * floor_part < floor * whole:
        message = f"cash {_shown(left, whole)} is below the floor of {_shown(floor, floor_part)}"
        violations.append(Violation(rule="cash_floor", message=message))
    return tuple(violations)


def _larger(one: _Ratio, other: _Ratio) -> _Ratio:
    return one if one[0] * other[1] >= other[0] * one[1] else other


class Limits:
    """The prices and bounds of a model's securities as rational numbers of common denominators.

    ``rows`` hold a price / ``price_part`` and the place in ``bands`` of each security; a band is a least and a greatest
    weight / ``weight_part``, and securities share one. Made of the inputs alone, once for every portfolio they hold
    for.
    """

    __slots__ = ("bands", "price_part", "rows", "weight_part")

    def __init__(
        self, targets: Mapping[SecurityId, ModelPosition], prices: Mapping[SecurityId, Decimal]
    ) -> None:
        weights = {
            security_id: (_ratio(each.target), _ratio(each.low_drift), _ratio(each.high_drift))
            for security_id, each in targets.items()
        }
        exact = {security_id: _ratio(prices[security_id]) for security_id in targets}
        self.weight_part = math.lcm(*(part for each in weights.values() for _, part in each))
        self.price_part = math.lcm(*(part for _, part in exact.values()))
        places = {_OUTSIDE_BAND: 0}
        self.rows = {
            security_id: (
                count * (self.price_part // part),
                places.setdefault(self._least_and_greatest(weights[security_id]), len(places)),
            )
            for security_id, (count, part) in exact.items()
        }
        self.bands = tuple(places)

    def _least_and_greatest(self, weights: tuple[_Ratio, _Ratio, _Ratio]) -> _Band:
        target, low, high = (count * (self.weight_part // part) for count, part in weights)
        return target - low, target + high

    def bounds(self, value: int, value_part: int) -> Sequence[_Band]:
        """Of each band, the least and the greatest whole number within it of ``value`` / ``value_part`` (> 0)."""
        part = value_part * self.weight_part
        return [(-(-low * value // part), high * value // part) for low, high in self.bands]

    def in_one_part(
        self, checked: CheckedPortfolio
    ) -> tuple[int, Mapping[SecurityId, _Row], Mapping[SecurityId, int]]:
        """A denominator for all that ``checked`` holds; over it, the rows and what the kept fractions are worth.

        A security outside the model is to be worth 0.
        """
        outside = {
            security_id: Fraction(checked.prices[security_id])
            for security_id in checked.shares
            if security_id not in self.rows
        }
        kept = {
            security_id: Fraction(checked.prices[security_id]) * Fraction(fraction)
            for security_id, fraction in checked.fractions.items()
        }
        if not (outside or kept):
            return self.price_part, self.rows, {}
        finer = (each.denominator for each in (*outside.values(), *kept.values()))
        part = math.lcm(self.price_part, *finer)
        times = part // self.price_part
        rows = {security_id: (price * times, band) for security_id, (price, band) in self.rows.items()}
        rows.update({security_id: (int(price * part), 0) for security_id, price in outside.items()})
        return part, rows, {security_id: int(worth * part) for security_id, worth in kept.items()}


def _not_whole(security_id: SecurityId, quantity: object) -> Violation:
    message = f"{quantity} of {security_id} is not a whole number of shares from 0 up"
    return Violation(rule="whole_shares", message=message, security_id=security_id)


def _outside(checked: CheckedPortfolio, security_id: SecurityId, held: Decimal) -> Violation:
    low = high = _ZERO
    position = checked.targets.get(security_id)
    if position is not None:
        low = _EXACT.multiply(checked.market_value, _EXACT.subtract(position.target, position.low_drift))
        high = _EXACT.multiply(checked.market_value, _EXACT.add(position.target, position.high_drift))
    message = f"{security_id} is worth {held}, outside {low} to {high}"
    return Violation(rule="bounds", message=message, security_id=security_id)


def _shown(count: int, part: int) -> Decimal:
    """Exact: a denominator here has no other factors than those of ten."""
    return _EXACT.divide(Decimal(count), Decimal(part))


def verify_orders(
    *,
    cash_before: Decimal,
    cash_after: Decimal,
    before: Mapping[SecurityId, Shares],
    after: Mapping[SecurityId, Shares],
    prices: Mapping[SecurityId, Decimal],
    orders: Iterable[Order],
    cost: Decimal = _ZERO,
) -> tuple[Violation, ...]:
    """What is wrong with these orders; empty if they turn ``before`` into ``after`` and the cash agrees to the digit.

    Takes plain values, so that a published order set can be held against the source's own portfolio. Each order
    must be of at least one whole share at the given price, at most one for a security, the sells first.
    ``cost`` is what they cost together, paid from cash.
    """
    violations: list[Violation] = []
    add, subtract, multiply, buy = _EXACT.add, _EXACT.subtract, _EXACT.multiply, Side.BUY
    cash, reached = subtract(cash_before, cost), dict(before)
    traded: set[SecurityId] = set()
    last_side = Side.SELL
    for order in orders:
        side, security_id, quantity, price, notional, _ = order
        if (
            type(quantity) is not int
            or quantity <= 0
            or price != prices.get(security_id)
            or notional != multiply(price, quantity)
            or security_id in traded
            or (side is not last_side and side is not buy)
        ):
            violations.extend(
                Violation(rule=rule, message=f"order {order} breaks {rule}", security_id=security_id)
                for rule in _broken_rules(order, prices, traded, last_side)
            )
        last_side = side
        traded.add(security_id)
        there = reached.get(security_id, 0)
        change = quantity if side is buy else -quantity
        whole = type(there) is int and type(change) is int
        reached[security_id] = there + change if whole else add(Decimal(there), Decimal(change))
        cash = subtract(cash, notional) if side is buy else add(cash, notional)
    if reached != after:
        violations.extend(_quantity_violations(reached, after))
    if cash != cash_after:
        violations.append(Violation(rule="cash", message=f"the orders lead to cash {cash}, not {cash_after}"))
    return tuple(violations)


def _quantity_violations(
    reached: Mapping[SecurityId, Shares], after: Mapping[SecurityId, Shares]
) -> Iterator[Violation]:
    """A security that is not there is one of which nothing is held."""
    for security_id in sorted(reached.keys() | after.keys()):
        there, wanted = reached.get(security_id, _ZERO), after.get(security_id, _ZERO)
        if there != wanted:
            message = f"the orders lead to {there} of {security_id}, not {wanted}"
            yield Violation(rule="quantities", message=message, security_id=security_id)


def _broken_rules(
    order: Order,
    prices: Mapping[SecurityId, Decimal],
    traded: Collection[SecurityId],
    last_side: Side,
) -> Sequence[str]:
    side, security_id, quantity, price, notional, _ = order
    whole = type(quantity) is int and quantity > 0
    broken = (
        not whole,
        price != prices.get(security_id),
        whole and notional != _EXACT.multiply(price, quantity),
        security_id in traded,
        side is not last_side and side is Side.SELL,
    )
    return [rule for rule, is_broken in zip(_ORDER_RULES, broken, strict=True) if is_broken]
