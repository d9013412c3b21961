"""The answer of one portfolio as the document that is stored, printed and published."""

from decimal import Decimal
from typing import Any

import msgspec

from domain import money
from domain.rebalance import Conflict, Order, PositionOutcome, Proof, Rebalance

# Keys stay in the order they are written in, so equal documents are equal bytes.
_ENCODER = msgspec.json.Encoder()


def rebalance_document(rebalance: Rebalance) -> dict[str, Any]:
    """The output of ``trimtab solve``: decimals as plain strings, shares of an order as a number.

    ``notes`` say what a policy left out. Sums are null where the input did not allow them to be computed.
    """
    return {
        "portfolio_id": rebalance.portfolio_id,
        "outcome": rebalance.outcome.value,
        "reason": rebalance.reason,
        "conflicts": [_conflict(each) for each in rebalance.conflicts],
        "notes": list(rebalance.notes),
        "market_value": _text(rebalance.market_value),
        "cash_before": _text(rebalance.cash_before),
        "cash_after": _text(rebalance.cash_after),
        "drift_before": _text(rebalance.drift_before),
        "drift_after": _text(rebalance.drift_after),
        "positions": [_position(each) for each in rebalance.positions],
        "orders": [_order(each) for each in rebalance.orders],
        "proof": None if rebalance.proof is None else _proof(rebalance.proof),
    }


def encode(document: dict[str, Any]) -> bytes:
    """The document as JSON, the same bytes for the same document."""
    return _ENCODER.encode(document)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else money.plain(value)


def _conflict(conflict: Conflict) -> dict[str, Any]:
    return {
        "rule": conflict.rule,
        "message": conflict.message,
        "security_id": conflict.security_id,
        "amount": _text(conflict.amount),
    }


def _position(position: PositionOutcome) -> dict[str, Any]:
    return {
        "security_id": position.security_id,
        "price": money.plain(position.price),
        "original_quantity": money.plain(position.original_quantity),
        "adjusted_quantity": money.plain(position.adjusted_quantity),
        "target": money.plain(position.target),
        "low_drift": money.plain(position.low_drift),
        "high_drift": money.plain(position.high_drift),
        "actual": money.plain(position.actual),
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "side": order.side.value,
        "security_id": order.security_id,
        "quantity": order.quantity,
        "price": money.plain(order.price),
        "notional": money.plain(order.notional),
        "reason": order.reason,
    }


def _proof(proof: Proof) -> dict[str, Any]:
    return {
        "method": proof.method,
        "objective": money.plain(proof.objective),
        "lower_bound": money.plain(proof.lower_bound),
        "gap": money.plain(proof.gap),
        "solver": proof.solver,
        "bound_by": proof.bound_by,
    }
