"""Indexes of the collections. An item's indexes and filters lead with its job: shard items by ``job_id``."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pymongo import ASCENDING, DESCENDING, IndexModel

from adapters.stores.mongo.connection import Collections
from domain.item import ItemState, Out

INDEXES: Mapping[str, Sequence[IndexModel]] = MappingProxyType(
    {
        "models": (
            IndexModel("name", unique=True, name="name"),
            IndexModel("portfolios", name="portfolios"),
            IndexModel("positions.security_id", name="securities"),
            IndexModel([("last_rebalance_date", ASCENDING), ("_id", ASCENDING)], name="rebalanced"),
        ),
        "jobs": (
            IndexModel([("created_at", DESCENDING), ("_id", DESCENDING)], name="newest"),
            IndexModel([("state", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="state"),
            IndexModel(
                [("model_id", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="model"
            ),
            IndexModel("finished_at", name="finished"),
            IndexModel("created_at", name="untold", partialFilterExpression={"untold": True}),
        ),
        "members": (IndexModel([("sha256", ASCENDING), ("first", ASCENDING)], name="list"),),
        "items": (
            # The bound: at most one running item on each seat of a job.
            IndexModel(
                [("job_id", ASCENDING), ("seat", ASCENDING)],
                name="seat",
                unique=True,
                partialFilterExpression={"seat": {"$exists": True}},
            ),
            IndexModel([("job_id", ASCENDING), ("state", ASCENDING), ("seq", ASCENDING)], name="state"),
            IndexModel(
                [("job_id", ASCENDING), ("given_back", ASCENDING), ("seq", ASCENDING)],
                name="to_claim",
                partialFilterExpression={"state": ItemState.PENDING.value},
            ),
            IndexModel([("job_id", ASCENDING), ("seq", ASCENDING)], name="seq"),
            # For people who ask what became of a portfolio: the one query over all jobs.
            IndexModel([("portfolio_id", ASCENDING), ("job_id", ASCENDING)], name="portfolio"),
            IndexModel("touched", name="in_work", partialFilterExpression={"state": ItemState.RUNNING.value}),
            IndexModel(
                "not_before", name="delayed", partialFilterExpression={"state": ItemState.DELAYED.value}
            ),
            IndexModel("touched", name="due", partialFilterExpression={"out": Out.DUE.value}),
        ),
    }
)


def create_indexes(collections: Collections) -> None:
    for name, indexes in INDEXES.items():
        collections.database[name].create_indexes(list(indexes))
