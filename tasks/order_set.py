"""What is stored and published for one portfolio. Written once, as bytes; published as those bytes."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from domain.ids import SecurityId, item_id
from domain.item import ItemState
from domain.job import Job
from domain.ports import Finish
from domain.prices import PriceSnapshot
from domain.rebalance import Outcome, Rebalance, Side
from tasks.documents import OrderRow, encode, rebalance_document

ORDER_SET_SCHEMA = "trimtab.order-set.v1"
RESULT_SCHEMA = "trimtab.result.v1"

# What both documents say about where the answer comes from. No run-time stamp is in them: the same inputs give
# the same bytes again.
_PUBLISHED = (
    "outcome",
    "reason",
    "conflicts",
    "notes",
    "market_value",
    "cash_before",
    "cash_after",
    "drift_before",
    "drift_after",
)

# Only where the policy asks for more than targets, bounds and the cash floors, or rules gave way.
_BEYOND = ("cost", "turnover", "relaxed")


def finish_of(job: Job, fence: int, rebalance: Rebalance, snapshot: PriceSnapshot) -> Finish:
    """The one write that ends an item: its state, its answer, and the order set that falls due with it."""
    document = rebalance_document(rebalance)
    head = _head(job, rebalance, snapshot)
    return Finish(
        item_id=item_id(job.job_id, rebalance.portfolio_id),
        fence=fence,
        state=_STATES[rebalance.outcome],
        reason=rebalance.reason,
        result=encode({"schema": RESULT_SCHEMA, **head, **document}),
        order_set=None if job.dry_run else encode(_order_set(head, document, snapshot)),
    )


_STATES = {
    Outcome.TRADED: ItemState.TRADED,
    Outcome.NO_TRADE: ItemState.NO_TRADE,
    Outcome.INFEASIBLE: ItemState.INFEASIBLE,
    Outcome.REJECTED: ItemState.REJECTED,
}


def _head(job: Job, rebalance: Rebalance, snapshot: PriceSnapshot) -> dict[str, Any]:
    return {
        "id": item_id(job.job_id, rebalance.portfolio_id),
        "job_id": job.job_id,
        "portfolio_id": rebalance.portfolio_id,
        "model_id": job.model.model_id,
        "model_version": job.model.version,
        "as_of": snapshot.as_of.isoformat().replace("+00:00", "Z"),
        "trade_date": snapshot.as_of.date().isoformat(),
        "snapshot_sha256": snapshot.sha256,
        "correlation_id": job.correlation_id,
    }


def _order_set(head: dict[str, Any], document: dict[str, Any], snapshot: PriceSnapshot) -> dict[str, Any]:
    return {
        "schema": ORDER_SET_SCHEMA,
        **head,
        **{name: document[name] for name in _PUBLISHED},
        "orders": _published(document["orders"], snapshot.tickers),
        "proof": document["proof"],
        **{name: document[name] for name in _BEYOND if name in document},
    }


def _published(rows: Iterable[OrderRow], tickers: Mapping[SecurityId, str]) -> list["PublishedOrder"]:
    ticker_of = tickers.get
    return [
        PublishedOrder(
            row.side,
            row.security_id,
            ticker_of(row.security_id),
            row.quantity,
            row.price,
            row.notional,
            row.reason,
        )
        for row in rows
    ]


class PublishedOrder(msgspec.Struct, gc=False):
    """An order of an order set, in the order its fields are written."""

    side: Side
    security_id: SecurityId
    ticker: str | None
    quantity: int
    price: str
    notional: str
    reason: str
