"""How much is open, in MongoDB."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING

from adapters.stores.mongo.connection import Collections, Document
from adapters.stores.rules import DUE_COUNTED
from domain.item import OPEN_STATES, ItemState, Out
from domain.job import OPEN, JobState
from domain.ports import Survey

# A retried job is as old as its first run, which says nothing about the queue.
_BY_STATE: Mapping[str, object] = {
    "_id": "$state",
    "jobs": {"$push": "$_id"},
    "oldest": {"$min": {"$cond": [{"$eq": ["$gen", 0]}, "$created_at", None]}},
}


def read_survey(db: Collections, limit: int) -> Survey:
    """See `JobStore.survey`."""
    still_open = {"state": {"$in": sorted(OPEN)}}
    groups: list[Document] = list(
        db.jobs.aggregate([{"$match": still_open}, {"$limit": limit}, {"$group": _BY_STATE}])
    )
    job_ids = [job_id for group in groups for job_id in group["jobs"]]
    due = {"out": Out.DUE.value}
    oldest_due = db.items.find_one(due, {"touched": 1}, sort=[("touched", ASCENDING)])
    now = db.now()
    return Survey(
        jobs={JobState(group["_id"]): len(group["jobs"]) for group in groups},
        oldest_jobs={JobState(group["_id"]): _seconds(group["oldest"], now) for group in groups},
        portfolios={state: _count(db, job_ids, state, limit) for state in sorted(OPEN_STATES)},
        due=0 if oldest_due is None else _matching(db, due, min(limit, DUE_COUNTED)),
        oldest_due=0.0 if oldest_due is None else _seconds(oldest_due["touched"], now),
    )


def _count(db: Collections, job_ids: Sequence[str], state: ItemState, limit: int) -> int:
    """By job, so that the index (job, state, seq) answers alone and no item is read."""
    return _matching(db, {"job_id": {"$in": job_ids}, "state": state.value}, limit) if job_ids else 0


def _matching(db: Collections, wanted: Mapping[str, Any], limit: int) -> int:
    pipeline: list[Document] = [
        {"$match": wanted},
        {"$limit": limit},
        {"$group": {"_id": None, "n": {"$sum": 1}}},
    ]
    found = next(iter(db.items.aggregate(pipeline)), None)
    return 0 if found is None else int(found["n"])


def _seconds(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max((now - since).total_seconds(), 0.0)
