"""The answer of one portfolio as the document that is stored, printed and published."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import starmap
from typing import Annotated, Any

import msgspec

from domain import money
from domain.explain.told import ConflictTold, Explanation, OrderExplained, Relaxed
from domain.ids import SecurityId
from domain.rebalance import Conflict, Order, Proof, Rebalance, Side

# Keys stay in the order they are written in, so equal documents are equal bytes.
_ENCODER = msgspec.json.Encoder()

Number = Annotated[
    str, msgspec.Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="A decimal, digit for digit.")
]


class PositionRow(msgspec.Struct, gc=False):
    """`domain.answer.PositionOutcome`, field by field, as it is printed."""

    security_id: SecurityId
    price: str
    original_quantity: str
    adjusted_quantity: str
    target: str
    low_drift: str
    high_drift: str
    actual: str


class OrderRow(msgspec.Struct, gc=False):
    """`domain.answer.Order`, field by field, as it is printed."""

    side: Side
    security_id: SecurityId
    quantity: int
    price: str
    notional: str
    reason: str


class ConflictRow(msgspec.Struct, gc=False):
    """`domain.answer.Conflict`, field by field, as it is printed."""

    rule: Annotated[str, msgspec.Meta(description="A stable word.")]
    message: Annotated[str, msgspec.Meta(description="A sentence for people.")]
    security_id: SecurityId | None
    amount: Annotated[
        Number | None, msgspec.Meta(description="The least change, in money, that would mend it.")
    ]


class ProofRow(msgspec.Struct, gc=False):
    """`domain.answer.Proof`, field by field, as it is printed."""

    method: str
    objective: Number
    lower_bound: Number
    gap: Annotated[Number, msgspec.Meta(description="0: nothing is better.")]
    solver: str
    bound_by: str


class RelaxedRow(msgspec.Struct, gc=False):
    """`domain.answer.Relaxed`, field by field, as it is printed."""

    rule: Annotated[str, msgspec.Meta(description="A stable word.")]
    security_id: SecurityId | None
    group: str | None
    amount: Annotated[Number, msgspec.Meta(description="By how much it gave way.")]
    unit: Annotated[str, msgspec.Meta(description="money, or orders.")]
    message: Annotated[str, msgspec.Meta(description="A sentence for people.")]


def rebalance_document(rebalance: Rebalance) -> dict[str, Any]:
    """The output of ``trimtab solve``, for `encode`: decimals as plain strings, shares of an order as a number.

    ``notes`` say what a policy left out. Sums are null where the input did not allow them to be computed. ``cost``
    and ``turnover`` are there only where the policy asks for more than targets, bounds and the cash floors or where rules
    gave way, ``relaxed`` only where they did, and ``explanation`` only where there is one.
    """
    document: dict[str, Any] = {
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
        "positions": list(starmap(PositionRow, rebalance.positions.printed())),
        "orders": order_rows(rebalance.orders),
        "proof": None if rebalance.proof is None else _proof(rebalance.proof),
    }
    beyond = {"cost": rebalance.cost, "turnover": rebalance.turnover}
    document.update({name: money.plain(sum_) for name, sum_ in beyond.items() if sum_ is not None})
    if rebalance.relaxed:
        document["relaxed"] = [_relaxed(each) for each in rebalance.relaxed]
    if rebalance.explanation is not None:
        document["explanation"] = _explanation(rebalance.explanation)
    return document


def encode(document: dict[str, Any] | msgspec.Struct) -> bytes:
    """The document as JSON, the same bytes for the same document."""
    return _ENCODER.encode(document)


def order_rows(orders: Sequence[Order]) -> list[OrderRow]:
    """Orders as they are printed."""
    if not orders:
        return []
    sides, security_ids, quantities, prices, notionals, reasons = zip(*orders, strict=True)
    columns = (
        sides,
        security_ids,
        quantities,
        money.plain_each(prices),
        money.plain_each(notionals),
        reasons,
    )
    return list(map(OrderRow, *columns))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else money.plain(value)


def _conflict(conflict: Conflict) -> ConflictRow:
    return ConflictRow(
        rule=conflict.rule,
        message=conflict.message,
        security_id=conflict.security_id,
        amount=_text(conflict.amount),
    )


def _proof(proof: Proof) -> ProofRow:
    return ProofRow(
        method=proof.method,
        objective=money.plain(proof.objective),
        lower_bound=money.plain(proof.lower_bound),
        gap=money.plain(proof.gap),
        solver=proof.solver,
        bound_by=proof.bound_by,
    )


def _relaxed(relaxed: Relaxed) -> RelaxedRow:
    return RelaxedRow(
        rule=relaxed.rule,
        security_id=relaxed.security_id,
        group=relaxed.group,
        amount=money.plain(relaxed.amount),
        unit=relaxed.unit,
        message=relaxed.message,
    )


def _explanation(explanation: Explanation) -> dict[str, Any]:
    """Of an answer its orders and their cash, of none the conflicts and what would have to give way."""
    if explanation.lowest_cash is None:
        return {
            "conflicts": [_rules_in_conflict(each) for each in explanation.conflicts],
            "least_relaxation": [_relaxed(each) for each in explanation.least_relaxation],
            "relaxation_proved_by": explanation.relaxation_proved_by,
        }
    return {
        "orders": [_order_explained(each) for each in explanation.orders],
        "lowest_cash": money.plain(explanation.lowest_cash),
        "slip_covered": _text(explanation.slip_covered),
        "relaxation_proved_by": explanation.relaxation_proved_by,
    }


def _order_explained(order: OrderExplained) -> dict[str, Any]:
    return {
        "security_id": order.security_id,
        "reason": order.reason,
        "group": order.group,
        "drift_before": money.plain(order.drift_before),
        "drift_after": money.plain(order.drift_after),
        "message": order.message,
    }


def _rules_in_conflict(conflict: ConflictTold) -> dict[str, Any]:
    return {
        "rules": [
            {
                "rule": rule.rule,
                "security_id": rule.security_id,
                "group": rule.group,
                "message": rule.message,
            }
            for rule in conflict.rules
        ],
        "irreducible": conflict.irreducible,
        "proved_by": conflict.proved_by,
    }
