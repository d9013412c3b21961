"""The answer of one portfolio as the document that is stored, printed and published."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from domain import money
from domain.ids import SecurityId
from domain.rebalance import Conflict, Proof, Rebalance, Side

# Keys stay in the order they are written in, so equal documents are equal bytes.
_ENCODER = msgspec.json.Encoder()


class PositionRow(msgspec.Struct, gc=False):
    """`domain.answer.PositionOutcome`, field by field."""

    security_id: SecurityId
    price: Decimal
    original_quantity: Decimal
    adjusted_quantity: Decimal
    target: Decimal
    low_drift: Decimal
    high_drift: Decimal
    actual: Decimal


class OrderRow(msgspec.Struct, gc=False):
    """`domain.answer.Order`, field by field."""

    side: Side
    security_id: SecurityId
    quantity: int
    price: Decimal
    notional: Decimal
    reason: str


def rebalance_document(rebalance: Rebalance) -> dict[str, Any]:
    """The output of ``trimtab solve``, for `encode`: decimals as plain strings, shares of an order as a number.

    Positions and orders are JSON already. ``notes`` say what a policy left out. Sums are null where the input did not allow them to be computed.
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
        "positions": rows(PositionRow, rebalance.positions),
        "orders": rows(OrderRow, rebalance.orders),
        "proof": None if rebalance.proof is None else _proof(rebalance.proof),
    }


def encode(document: dict[str, Any]) -> bytes:
    """The document as JSON, the same bytes for the same document."""
    return _ENCODER.encode(document)


def rows(row: Callable[..., msgspec.Struct], values: Iterable[tuple[Any, ...]]) -> msgspec.Raw:
    """A JSON list of ``row(*value)``, ready to stand in a document; decimals as plain strings.

    They are written as their own text, by msgspec: that costs a quarter of asking for each number's plain one. The
    two differ where there is an exponent or a negative zero, so never where no sign is found; otherwise each is
    asked for. (Numbers here are finite: they are prices, weights and shares of an answer that was computed.)
    """
    values = tuple(values)
    body = _ENCODER.encode([row(*each) for each in values])
    if b"-" in body or b"+" in body:
        body = _ENCODER.encode([row(*map(_plain, each)) for each in values])
    return msgspec.Raw(body)


def _plain(value: object) -> object:
    return money.plain(value) if isinstance(value, Decimal) else value


def _text(value: Decimal | None) -> str | None:
    return None if value is None else money.plain(value)


def _conflict(conflict: Conflict) -> dict[str, Any]:
    return {
        "rule": conflict.rule,
        "message": conflict.message,
        "security_id": conflict.security_id,
        "amount": _text(conflict.amount),
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
