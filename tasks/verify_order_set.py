"""Hold a published order set against the stored result: is it executable, and does it keep every rule of the policy?

Works on the two JSON documents alone, as a consumer in any language could: from the positions and cash before,
the orders must lead to whole shares inside every bound and to the stated cash, exactly.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from domain.checks import CheckedPortfolio
from domain.explain.infeasible import unaccounted
from domain.explain.told import Relaxed
from domain.ids import PortfolioId, SecurityId
from domain.model import ModelPosition
from domain.money import add_products, parse_decimal, split_whole
from domain.policy import Policy
from domain.rebalance import Order, Side
from domain.rules import broken_rules, misstated
from domain.verify import Violation, verify_orders, verify_quantities

_ANSWERED = frozenset({"traded", "no_trade"})
_SAME = (
    "id",
    "outcome",
    "reason",
    "cash_before",
    "cash_after",
    "drift_before",
    "drift_after",
    "snapshot_sha256",
    "proof",
    "cost",
    "turnover",
    "relaxed",
)


def verify_order_set(
    order_set: Mapping[str, Any], result: Mapping[str, Any], policy: Policy
) -> tuple[str, ...]:
    """Every fault as a sentence; none when the order set is right.

    ``order_set`` and ``result`` are decoded ``trimtab.order-set.v1`` and ``trimtab.result.v1`` documents.
    """
    differing = [name for name in _SAME if order_set.get(name) != result.get(name)]
    if differing:
        return (
            f"{order_set.get('id')}: the order set and the stored result differ in {', '.join(differing)}",
        )
    if order_set["outcome"] not in _ANSWERED or order_set["reason"] == "empty":
        return (
            ()
            if not order_set["orders"]
            else (f"{order_set['id']}: {order_set['outcome']}, yet it has orders",)
        )
    return tuple(f"{order_set['id']}: {fault}" for fault in _order_faults(order_set, result, policy))


def _order_faults(order_set: Mapping[str, Any], result: Mapping[str, Any], policy: Policy) -> list[str]:
    orders = [_order(order) for order in order_set["orders"]]
    before = {
        SecurityId(p["security_id"]): parse_decimal(p["original_quantity"]) for p in result["positions"]
    }
    after = dict(before)
    for order in orders:
        sign = 1 if order.side is Side.BUY else -1
        after[order.security_id] = after.get(order.security_id, Decimal(0)) + sign * order.quantity
    checked = _checked(result, before)
    whole = {security_id: split_whole(quantity)[0] for security_id, quantity in after.items()}
    cost = Decimal(order_set.get("cost", "0"))
    relaxed = [_relaxed(each) for each in order_set.get("relaxed", ())]
    turnover = Decimal(order_set.get("turnover", "0"))
    violations = _broken(checked, policy, whole, relaxed, cost=cost, turnover=turnover)
    violations += verify_orders(
        cash_before=parse_decimal(order_set["cash_before"]),
        cash_after=Decimal(order_set["cash_after"]),
        before=before,
        after={
            SecurityId(p["security_id"]): parse_decimal(p["adjusted_quantity"]) for p in result["positions"]
        },
        prices=checked.prices,
        orders=orders,
        cost=cost,
    )
    return [violation.message for violation in violations]


def _broken(
    checked: CheckedPortfolio,
    policy: Policy,
    whole: Mapping[SecurityId, int],
    relaxed: Sequence[Relaxed],
    *,
    cost: Decimal,
    turnover: Decimal,
) -> tuple[Violation, ...]:
    """What is wrong with these shares; a rule may give way as ``relaxed`` states it, by that and no other amount."""
    if policy.is_plain and not relaxed:
        return verify_quantities(checked, policy, whole)
    broken = unaccounted(broken_rules(checked, policy, whole), relaxed)
    return broken or misstated(checked, policy, whole, cost=cost, turnover=turnover)


def _relaxed(relaxed: Mapping[str, Any]) -> Relaxed:
    return Relaxed(**{**relaxed, "amount": Decimal(relaxed["amount"])})


def _order(order: Mapping[str, Any]) -> Order:
    return Order(
        side=Side(order["side"]),
        security_id=SecurityId(order["security_id"]),
        quantity=order["quantity"],
        price=parse_decimal(order["price"]),
        notional=parse_decimal(order["notional"]),
        reason=order["reason"],
    )


def _checked(result: Mapping[str, Any], before: Mapping[SecurityId, Decimal]) -> CheckedPortfolio:
    """The portfolio as the result states it; its market value is added up anew."""
    prices = {SecurityId(p["security_id"]): parse_decimal(p["price"]) for p in result["positions"]}
    cash = parse_decimal(result["cash_before"])
    parts = {security_id: split_whole(quantity) for security_id, quantity in before.items()}
    return CheckedPortfolio(
        portfolio_id=PortfolioId(result["portfolio_id"]),
        cash=cash,
        market_value=add_products(
            cash, ((prices[security_id], quantity) for security_id, quantity in before.items())
        ),
        shares={security_id: whole for security_id, (whole, _) in parts.items()},
        fractions={security_id: fraction for security_id, (_, fraction) in parts.items() if fraction},
        targets={
            SecurityId(p["security_id"]): ModelPosition(
                security_id=SecurityId(p["security_id"]),
                target=parse_decimal(p["target"]),
                low_drift=parse_decimal(p["low_drift"]),
                high_drift=parse_decimal(p["high_drift"]),
            )
            for p in result["positions"]
            if any(parse_decimal(p[name]) for name in ("target", "low_drift", "high_drift"))
        },
        prices=prices,
    )
