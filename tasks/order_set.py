"""What is stored and published for one portfolio. Written once, as bytes; published as those bytes."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from domain.ids import SecurityId, item_id
from domain.item import ItemState
from domain.job import Job
from domain.ports import Finish
from domain.prices import PriceSnapshot
from domain.rebalance import Outcome, Rebalance, Side
from tasks.documents import ConflictRow, Number, OrderRow, ProofRow, RelaxedRow, encode, rebalance_document

ORDER_SET_SCHEMA: Final = "trimtab.order-set.v1"
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


def _order_set(head: dict[str, Any], document: dict[str, Any], snapshot: PriceSnapshot) -> "OrderSet":
    return OrderSet(
        schema=ORDER_SET_SCHEMA,
        **head,
        **{name: document[name] for name in _PUBLISHED},
        orders=_published(document["orders"], snapshot.tickers),
        proof=document["proof"],
        **{name: document[name] for name in _BEYOND if name in document},
    )


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
    ticker: Annotated[str | None, msgspec.Meta(description="Null where the request brought its own prices.")]
    quantity: Annotated[int, msgspec.Meta(ge=1, description="Whole shares.")]
    price: Annotated[Number, msgspec.Meta(description="The job's frozen price.")]
    notional: Annotated[Number, msgspec.Meta(description="quantity x price.")]
    reason: Annotated[str, msgspec.Meta(description="Why it is there: a stable word.")]


class OrderSet(msgspec.Struct, kw_only=True, gc=False):
    """What is to be traded in one portfolio, or why nothing is. Its fields in the order they are written."""

    schema: Literal["trimtab.order-set.v1"]
    id: Annotated[str, msgspec.Meta(description="job:portfolio; drop what you have seen.")]
    job_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{24}$")]
    portfolio_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    model_id: str
    model_version: Annotated[int, msgspec.Meta(ge=1)]
    as_of: Annotated[
        str,
        msgspec.Meta(description="When the prices were frozen.", extra_json_schema={"format": "date-time"}),
    ]
    trade_date: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
    snapshot_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    correlation_id: str
    outcome: Literal["traded", "no_trade", "infeasible", "rejected"]
    reason: Annotated[str, msgspec.Meta(description="Why this outcome: a stable word.")]
    conflicts: Annotated[list[ConflictRow], msgspec.Meta(description="What stands in the way.")]
    notes: Annotated[list[str], msgspec.Meta(description="What a policy left out.")]
    market_value: Number | None
    cash_before: Number | None
    cash_after: Number | None
    drift_before: Number | None
    drift_after: Number | None
    orders: Annotated[list[PublishedOrder], msgspec.Meta(description="Sells first.")]
    proof: Annotated[ProofRow | None, msgspec.Meta(description="Null without an answer.")]
    cost: Annotated[
        Number | msgspec.UnsetType,
        msgspec.Meta(
            description="What the orders cost; where the policy asks for more than bounds and floors."
        ),
    ] = msgspec.UNSET
    turnover: Annotated[
        Number | msgspec.UnsetType, msgspec.Meta(description="What they buy and sell together; likewise.")
    ] = msgspec.UNSET
    relaxed: Annotated[
        list[RelaxedRow] | msgspec.UnsetType,
        msgspec.Meta(description="What gave way; only with the reason relaxed."),
    ] = msgspec.UNSET
