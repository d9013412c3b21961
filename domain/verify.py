"""Is this answer right? Recomputed from the inputs in exact decimals, by code that shares nothing with a solver.

Nothing here knows of `domain.problem`: not its integers, not its windows, not its arithmetic. An error in one of
the two is not repeated by the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

from domain.answer import Order, Side
from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.policy import Policy

# Wide enough for every product of bounded inputs; if it ever were not, Inexact is raised and nothing is published.
_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One promise that does not hold. ``rule`` is a stable word; ``security_id`` None: the portfolio as a whole."""

    rule: str
    message: str
    security_id: SecurityId | None = None


def verify_quantities(
    checked: CheckedPortfolio, policy: Policy, quantities: Mapping[SecurityId, int]
) -> tuple[Violation, ...]:
    """What is wrong with holding these whole shares (beside the fractions that stay); empty if nothing is.

    Every held or modelled security must be there, none else; whole shares, none short; the value of each
    position within its bounds; and what they cost together must leave the cash floor. A holding outside the
    model must be gone, but for a fraction that cannot be traded.
    """
    expected = checked.shares.keys() | checked.targets.keys()
    violations = [
        Violation(
            rule="securities", message=f"{security_id} is not what was asked for", security_id=security_id
        )
        for security_id in sorted(expected ^ quantities.keys())
    ]
    if violations:
        return tuple(violations)
    add, multiply, value = _EXACT.add, _EXACT.multiply, checked.market_value
    cost = _ZERO
    for security_id, quantity in quantities.items():
        if type(quantity) is not int or quantity < 0:
            violations.append(_not_whole(security_id, quantity))
            continue
        price = checked.prices[security_id]
        held = multiply(price, add(checked.fractions.get(security_id, _ZERO), quantity))
        cost = add(cost, held)
        position = checked.targets.get(security_id)
        if position is None:
            if quantity:
                violations.append(_outside(security_id, held, _ZERO, _ZERO))
            continue
        low = multiply(value, _EXACT.subtract(position.target, position.low_drift))
        high = multiply(value, add(position.target, position.high_drift))
        if not low <= held <= high:
            violations.append(_outside(security_id, held, low, high))
    cash = _EXACT.subtract(value, cost)
    floor = max(multiply(value, policy.cash_floor), policy.cash_floor_amount)
    if cash < floor:
        violations.append(Violation(rule="cash_floor", message=f"cash {cash} is below the floor of {floor}"))
    return tuple(violations)


def _not_whole(security_id: SecurityId, quantity: object) -> Violation:
    message = f"{quantity} of {security_id} is not a whole number of shares from 0 up"
    return Violation(rule="whole_shares", message=message, security_id=security_id)


def _outside(security_id: SecurityId, held: Decimal, low: Decimal, high: Decimal) -> Violation:
    message = f"{security_id} is worth {held}, outside {low} to {high}"
    return Violation(rule="bounds", message=message, security_id=security_id)


def verify_orders(
    *,
    cash_before: Decimal,
    cash_after: Decimal,
    before: Mapping[SecurityId, Decimal],
    after: Mapping[SecurityId, Decimal],
    prices: Mapping[SecurityId, Decimal],
    orders: Iterable[Order],
) -> tuple[Violation, ...]:
    """What is wrong with these orders; empty if they turn ``before`` into ``after`` and the cash agrees to the digit.

    Takes plain values, so that a published order set can be held against the source's own portfolio. Each order
    must be of at least one whole share at the given price, at most one for a security, the sells first.
    """
    violations: list[Violation] = []
    cash = cash_before
    traded: dict[SecurityId, Decimal] = {}
    last_side = Side.SELL
    for order in orders:
        violations.extend(_order_violations(order, prices, traded, last_side))
        last_side = order.side
        sign = 1 if order.side is Side.BUY else -1
        traded[order.security_id] = Decimal(sign * order.quantity)
        cash = _EXACT.subtract(cash, _EXACT.multiply(order.notional, sign))
    for security_id in sorted(before.keys() | after.keys() | traded.keys()):
        reached = _EXACT.add(before.get(security_id, _ZERO), traded.get(security_id, _ZERO))
        if reached != after.get(security_id, _ZERO):
            message = f"the orders lead to {reached} of {security_id}, not {after.get(security_id, _ZERO)}"
            violations.append(Violation(rule="quantities", message=message, security_id=security_id))
    if cash != cash_after:
        violations.append(Violation(rule="cash", message=f"the orders lead to cash {cash}, not {cash_after}"))
    return tuple(violations)


def _order_violations(
    order: Order,
    prices: Mapping[SecurityId, Decimal],
    traded: Mapping[SecurityId, Decimal],
    last_side: Side,
) -> list[Violation]:
    security_id, quantity = order.security_id, order.quantity
    whole = type(quantity) is int and quantity > 0
    broken = {
        "whole_shares": not whole,
        "price": order.price != prices.get(security_id),
        "notional": whole and order.notional != _EXACT.multiply(order.price, quantity),
        "one_order": security_id in traded,
        "sells_first": order.side is Side.SELL and last_side is Side.BUY,
    }
    return [
        Violation(rule=rule, message=f"order {order} breaks {rule}", security_id=security_id)
        for rule, is_broken in broken.items()
        if is_broken
    ]
