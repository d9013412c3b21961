"""Items and the outbox inside them in MongoDB. I1..I11 are the transitions of docs/job-protocol.md."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from adapters.stores.codecs import attempts_from
from adapters.stores.mongo.candidates import CLAIMABLE, Candidate
from adapters.stores.mongo.connection import Collections, Document, Mongo, from_now, insert_missing
from adapters.stores.mongo.errors import check_bulk
from adapters.stores.rules import LOST_WORKER, check_page, check_target, expired_reason, expired_state
from domain.errors import NotFound
from domain.ids import ItemId, JobId, PortfolioId, item_id
from domain.item import ATTEMPTS_KEPT, ITEM_MOVES, Item, ItemState, Out
from domain.job import ALL_FAILED, Job, JobState, Retry
from domain.ports import CauseCount, ClaimMiss, Expired, Finish, Folded, Member

_DOCUMENTS_A_WRITE = 5_000
BOTH: Final = 2  # of the two updates of a fold
_CHANGES_A_WRITE = 500  # of one job's documents: far from the limit of time of one call, on a slow server too
_BODIES = ("inline", "result", "order_set")
_NO_BODIES = MappingProxyType(dict.fromkeys(_BODIES, 0))
_STAMP = MappingProxyType({"touched": True})


class MongoItems:
    """The JobStore port as far as it is about single portfolios."""

    _mongo: Mongo

    # -- expansion

    def insert_items(self, job: Job, seq: int, members: Sequence[Member]) -> None:
        with self._mongo.open() as db:
            now = db.now()
            documents = [
                {
                    "_id": item_id(job.job_id, member.portfolio_id),
                    "job_id": job.job_id,
                    "portfolio_id": member.portfolio_id,
                    "seq": place,
                    "state": ItemState.PENDING,
                    "fence": 0,
                    "attempt": 0,
                    "gen": job.gen,
                    "given_back": 0,
                    "touched": now,
                    **({} if member.inline is None else {"inline": member.inline, "inlined": True}),
                }
                for place, member in enumerate(members, start=seq)
            ]
            for start in range(0, len(documents), _DOCUMENTS_A_WRITE):
                insert_missing(db.items, documents[start : start + _DOCUMENTS_A_WRITE])

    # -- workers

    def claim(self, job_id: JobId, seat: int, owner: str) -> Item | ClaimMiss:
        with self._mongo.open() as db:
            return _claim(db, _Place(job_id, seat, owner), db.candidates.take(job_id, seat))

    def finish(self, finish: Finish) -> bool:
        with self._mongo.open() as db:
            return _finish(db, finish)

    def finish_and_claim(self, finish: Finish, job_id: JobId, seat: int, owner: str) -> Folded:
        """One ordered command of two updates. It tells how many it matched, not which: unless both, we look.

        An update answers with nothing of the document, so this is for candidates whose page said it all. For the
        others, which are few or came with data of their own, the claim is a second round trip.
        """
        place = _Place(job_id, seat, owner)
        with self._mongo.open() as db:
            candidate = db.candidates.take(job_id, seat)
            if candidate is None or not candidate.is_known:
                return Folded(stored=_finish(db, finish), claimed=_claim(db, place, candidate))
            try:
                written = db.items.bulk_write(
                    [UpdateOne(*_finishing(finish)), UpdateOne(*_claiming(place, candidate))], ordered=True
                )
            except BulkWriteError as error:
                check_bulk(error)  # a duplicate key can only be that of the seat
                db.candidates.put_back(job_id, seat, candidate)
                finished = error.details["nMatched"] == 1 or _finished_before(db, finish)
                return Folded(stored=finished, claimed=ClaimMiss.SEAT_BUSY)
            if written.matched_count == BOTH:
                return Folded(stored=True, claimed=_taken(place, candidate))
            finished = _finished_before(db, finish)
            return Folded(stored=finished, claimed=_own(db, place, candidate) or _claim_next(db, place))

    def fail_attempt(
        self, item_id: ItemId, fence: int, reason: str, *, max_attempts: int, delay_seconds: float
    ) -> ItemState | None:
        again = {"$lt": ["$attempt", max_attempts]}
        change = {
            "state": {"$cond": [again, ItemState.DELAYED, ItemState.FAILED]},
            "not_before": {"$cond": [again, from_now(delay_seconds), None]},
            "reason": _text(reason),
        }
        with self._mongo.open() as db:
            failed = db.items.find_one_and_update(
                _held(item_id, fence, "error"),
                _left_running(change, cause=reason),
                projection={"state": 1},
                return_document=ReturnDocument.AFTER,
            )
        return None if failed is None else ItemState(failed["state"])

    def give_back(self, item_id: ItemId, fence: int, reason: str, *, delay_seconds: float) -> bool:
        change = {
            "state": ItemState.DELAYED,
            "not_before": from_now(delay_seconds),
            "attempt": {"$add": ["$attempt", -1]},
            "given_back": {"$add": ["$given_back", 1]},
            "reason": _text(reason),
        }
        with self._mongo.open() as db:
            given = db.items.update_one(
                _held(item_id, fence, "give_back"), _left_running(change, cause=reason)
            )
        return given.matched_count == 1

    def mark_sent(self, item_ids: Sequence[ItemId]) -> int:
        if not item_ids:
            return 0
        jobs = sorted({_key(sent)["job_id"] for sent in item_ids})
        due = {"_id": {"$in": list(item_ids)}, "job_id": {"$in": jobs}, "out": Out.DUE}
        with self._mongo.open() as db:
            return db.items.update_many(due, {"$set": {"out": Out.SENT}}).modified_count

    # -- the steward

    def expire_items(
        self, lease_seconds: float, *, max_attempts: int, limit: int = 1000
    ) -> Sequence[Expired]:
        expired = []
        with self._mongo.open() as db:
            now = db.now()
            lapsed = {"state": ItemState.RUNNING, "touched": {"$lt": now - timedelta(seconds=lease_seconds)}}
            found = list(db.items.find(lapsed, _NO_BODIES).sort("touched", ASCENDING).limit(limit))
            stopping = _stopping_jobs(db, {item["job_id"] for item in found})
            for item in found:
                job = stopping.get(item["job_id"])
                state = expired_state(item["attempt"], max_attempts, None if job is None else job["stop_to"])
                change = {
                    "state": state,
                    "not_before": now if state is ItemState.DELAYED else None,
                    **(
                        {"reason": expired_reason(item["attempt"], state)}
                        if job is None
                        else {"reason": _text(job["reason"]), "gen": job["gen"]}
                    ),
                }
                moved = db.items.update_one(
                    _held(item["_id"], item["fence"], "expire"), _left_running(change, cause=LOST_WORKER)
                )
                if moved.matched_count:
                    expired.append(Expired(item_id=item["_id"], job_id=item["job_id"], state=state))
        return expired

    def wake_items(self, limit: int = 1000) -> Mapping[JobId, int]:
        with self._mongo.open() as db:
            due = {"state": ItemState.DELAYED, "not_before": {"$lte": db.now()}}
            change = {"$set": {"state": ItemState.PENDING, "not_before": None}, "$currentDate": _STAMP}
            return _change_some(db, due, change, limit, order="not_before")

    def due_items(self, older_than_seconds: float, limit: int = 1000) -> Sequence[Item]:
        with self._mongo.open() as db:
            old = db.now() - timedelta(seconds=older_than_seconds)
            found = db.items.find({"out": Out.DUE, "touched": {"$lt": old}}, {"inline": 0, "result": 0})
            return [_item(document) for document in found.sort("touched", ASCENDING).limit(limit)]

    def sweep_items(self, job: Job) -> int:
        stop_to = check_target("sweep", job.stop_to)
        left = {"job_id": job.job_id, "state": _sources("sweep"), "gen": {"$lte": job.gen}}
        change = {"state": stop_to, "gen": job.gen, "reason": job.reason, "not_before": None}
        return self._change_all(left, {"$set": change, "$currentDate": _STAMP})

    def reopen_items(self, job_id: JobId, gen: int, retry: Retry = ALL_FAILED) -> int:
        left: Document = {"job_id": job_id, "state": _sources("reopen"), "gen": {"$lt": gen}}
        if retry.portfolio_ids is not None:
            left["portfolio_id"] = {"$in": list(retry.portfolio_ids)}
        if retry.cause is not None:
            left["reason"] = _beginning(retry.cause)
        change = {"state": ItemState.PENDING, "attempt": 0, "gen": gen, "reason": None}
        return self._change_all(left, {"$set": change, "$currentDate": _STAMP})

    def due_again(self, job_id: JobId, *, since: datetime | None = None) -> int:
        sent: Document = {"job_id": job_id, "out": Out.SENT}
        if since is not None:
            sent["touched"] = {"$gte": since}
        total, after = 0, -1
        with self._mongo.open() as db:
            while part := _next_part(db, sent, after):
                after = part["seq"]["$lte"]
                total += db.items.update_many({**sent, **part}, {"$set": {"out": Out.DUE}}).modified_count
        return total

    def busy_seats(self, job_id: JobId) -> Mapping[int, ItemId]:
        with self._mongo.open() as db:
            seated = db.items.find({"job_id": job_id, "seat": {"$exists": True}}, {"seat": 1})
            return {item["seat"]: ItemId(item["_id"]) for item in seated}

    def next_pending(self, job_id: JobId) -> ItemId | None:
        with self._mongo.open() as db:
            first = db.candidates.first(job_id)
        return None if first is None else ItemId(first.item_id)

    def has_items(self, job_id: JobId, states: Iterable[ItemState]) -> bool:
        with self._mongo.open() as db:
            return (
                db.items.find_one({"job_id": job_id, "state": {"$in": list(states)}}, {"_id": 1}) is not None
            )

    def has_due(self, job_id: JobId) -> bool:
        with self._mongo.open() as db:
            return db.items.find_one({"job_id": job_id, "out": Out.DUE}, {"_id": 1}) is not None

    def delete_items(self, job_id: JobId) -> int:
        total = 0
        with self._mongo.open() as db:
            db.inputs.delete_one({"_id": job_id})
            while found := list(db.items.find({"job_id": job_id}, {"_id": 1}).limit(_DOCUMENTS_A_WRITE)):
                chosen = {"_id": {"$in": [item["_id"] for item in found]}, "job_id": job_id}
                total += db.items.delete_many(chosen).deleted_count
        return total

    # -- people

    def get_item(self, item_id: ItemId) -> Item:
        with self._mongo.open() as db:
            document = db.items.find_one(_key(item_id))
        if document is None:
            raise NotFound("item", item_id)
        return _item(document)

    def list_items(
        self,
        job_id: JobId,
        *,
        states: Iterable[ItemState] = (),
        after_seq: int = -1,
        cause: str | None = None,
        limit: int = 100,
        bodies: bool = False,
    ) -> Sequence[Item]:
        check_page(0, limit)
        if not limit:  # MongoDB reads 0 as no limit
            return []
        wanted = list(states)
        matching = {
            "job_id": job_id,
            "seq": {"$gt": after_seq},
            **({"state": {"$in": wanted}} if wanted else {}),
            **({} if cause is None else {"reason": _beginning(cause)}),
        }
        with self._mongo.open() as db:
            found = (
                db.items.find(matching, None if bodies else _NO_BODIES).sort("seq", ASCENDING).limit(limit)
            )
            return [_item(document) for document in found]

    def count_items(self, job_id: JobId) -> Mapping[str, int]:
        with self._mongo.open() as db:
            return db.count_by_state(job_id)

    def count_causes(self, job_id: JobId, states: Iterable[ItemState], *, limit: int) -> Sequence[CauseCount]:
        check_page(0, limit)
        if not limit:  # MongoDB refuses it
            return []
        reason = {"$ifNull": ["$reason", ""]}
        pipeline: list[Document] = [
            {"$match": {"job_id": job_id, "state": {"$in": list(states)}}},
            {"$limit": limit},
            {
                "$project": {
                    "state": 1,
                    "reason": reason,
                    "cause": {"$arrayElemAt": [{"$split": [reason, ":"]}, 0]},
                }
            },
            {
                "$group": {
                    "_id": {"state": "$state", "cause": "$cause"},
                    "portfolios": {"$sum": 1},
                    "example": {"$min": "$reason"},
                }
            },
            {"$sort": {"portfolios": DESCENDING, "_id.state": ASCENDING, "_id.cause": ASCENDING}},
        ]
        with self._mongo.open() as db:
            return [
                CauseCount(
                    state=ItemState(group["_id"]["state"]),
                    cause=group["_id"]["cause"],
                    portfolios=group["portfolios"],
                    example=group["example"],
                )
                for group in db.items.aggregate(pipeline)
            ]

    def _change_all(self, left: Document, change: Document) -> int:
        """Repeat a change that empties its own selection, a part at a time, until nothing is left of it.

        What somebody else changed meanwhile does not count, and does not end it either: of two who do this at once
        neither is done before all of it is.
        """
        total = 0
        with self._mongo.open() as db:
            while part := _next_part(db, left):
                total += db.items.update_many({**left, **part}, change).modified_count
        return total


class _Place(NamedTuple):
    """Where a claim is to sit, and under whose name."""

    job_id: JobId
    seat: int
    owner: str


def _finish(db: Collections, finish: Finish) -> bool:
    # The reply to an earlier try may have been lost.
    return db.items.update_one(*_finishing(finish)).matched_count == 1 or _finished_before(db, finish)


def _finishing(finish: Finish) -> tuple[Document, list[Document]]:
    state = check_target("finish", finish.state)
    outbox = {} if finish.order_set is None else {"order_set": finish.order_set, "out": Out.DUE}
    change = {"state": state, "reason": _text(finish.reason), "result": finish.result, **outbox}
    return _held(finish.item_id, finish.fence, "finish"), _left_running(change, cause=state)


def _finished_before(db: Collections, finish: Finish) -> bool:
    """Only the claim at this fence could write this answer."""
    mine = {"fence": finish.fence, "state": finish.state, "result": finish.result}
    return db.items.find_one({**_key(finish.item_id), **mine}, {"_id": 1}) is not None


def _claim(db: Collections, place: _Place, candidate: Candidate | None) -> Item | ClaimMiss:
    while candidate is not None:
        try:
            claimed = db.items.find_one_and_update(
                *_claiming(place, candidate), return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:  # of the seat index: the id is not written here
            db.candidates.put_back(place.job_id, place.seat, candidate)
            return ClaimMiss.SEAT_BUSY
        if claimed is not None:
            return _item(claimed)
        db.candidates.forget(place.job_id, place.seat)  # somebody else was there: read again
        candidate = db.candidates.take(place.job_id, place.seat)
    return ClaimMiss.NOTHING_PENDING


def _claim_next(db: Collections, place: _Place) -> Item | ClaimMiss:
    """After a miss: the page is stale."""
    db.candidates.forget(place.job_id, place.seat)
    return _claim(db, place, db.candidates.take(place.job_id, place.seat))


def _claiming(place: _Place, candidate: Candidate) -> tuple[Document, Document]:
    pending = {
        "_id": candidate.item_id,
        "job_id": place.job_id,
        "state": CLAIMABLE,
        "fence": candidate.fence,
        "gen": candidate.gen,
    }
    running = {"state": ItemState.RUNNING, "seat": place.seat, "owner": place.owner, "not_before": None}
    return pending, {"$set": running, "$inc": {"fence": 1, "attempt": 1}, "$currentDate": _STAMP}


def _taken(place: _Place, candidate: Candidate) -> Item:
    """A candidate whose page said it all, as it stands after its claim."""
    return Item(
        item_id=ItemId(candidate.item_id),
        job_id=place.job_id,
        portfolio_id=PortfolioId(candidate.item_id.rpartition(":")[2]),
        seq=candidate.seq,
        state=ItemState.RUNNING,
        fence=candidate.fence + 1,
        attempt=1,
        gen=candidate.gen,
        given_back=candidate.given_back,
        owner=place.owner,
        seat=place.seat,
    )


def _own(db: Collections, place: _Place, candidate: Candidate) -> Item | None:
    """The candidate, if it was claimed after all."""
    mine = {"fence": candidate.fence + 1, "owner": place.owner, "state": ItemState.RUNNING}
    found = db.items.find_one({**_key(candidate.item_id), **mine})
    return None if found is None else _item(found)


def _next_part(db: Collections, left: Document, after: int = -1) -> Document:
    """Which items of a job to change next: a filter by their places. Empty: none are left."""
    behind = {**left, "seq": {"$gt": after}}
    found = list(db.items.find(behind, {"seq": 1}).sort("seq", ASCENDING).limit(_CHANGES_A_WRITE))
    return {"seq": {"$gte": found[0]["seq"], "$lte": found[-1]["seq"]}} if found else {}


def _change_some(
    db: Collections, left: Document, change: Document, limit: int, *, order: str
) -> Mapping[JobId, int]:
    """Change at most ``limit`` of those that match, each by its own compare-and-set. How many of which job."""
    found = db.items.find(left, {"job_id": 1}).sort(order, ASCENDING).limit(limit)
    chosen: dict[JobId, list[str]] = {}
    for item in found:
        chosen.setdefault(JobId(item["job_id"]), []).append(item["_id"])
    changed = {
        job_id: db.items.update_many(
            {"$and": [{"_id": {"$in": ids}, "job_id": job_id}, left]}, change
        ).modified_count
        for job_id, ids in chosen.items()
    }
    return {job_id: count for job_id, count in changed.items() if count}


def _stopping_jobs(db: Collections, job_ids: Iterable[str]) -> dict[str, Document]:
    stopping = {"_id": {"$in": sorted(job_ids)}, "state": JobState.STOPPING}
    return {job["_id"]: job for job in db.jobs.find(stopping, {"stop_to": 1, "gen": 1, "reason": 1})}


def _key(item_id: str) -> Document:
    """An item by its id, and by its job, which is what items are sharded by. No portfolio id has a colon."""
    return {"_id": item_id, "job_id": item_id.rpartition(":")[0]}


def _held(item_id: str, fence: int, move: str) -> Document:
    """An item in a state that the move starts from, at the fence the caller knows."""
    return {**_key(item_id), "fence": fence, "state": _sources(move)}


def _left_running(change: Document, *, cause: str) -> list[Document]:
    """An update that takes an item out of work: ``change``, the stamp, the seat freed, and the attempt told.

    A field's old value is read and its new one written in the same stage: ``touched`` is still when it was claimed.
    """
    attempt = {
        "gen": "$gen",
        "number": "$attempt",
        "owner": "$owner",
        "started": "$touched",
        "ended": "$$NOW",
        "cause": _text(cause),
    }
    past = {"$concatArrays": [{"$ifNull": ["$past_attempts", []]}, [attempt]]}
    told = {"past_attempts": {"$slice": [past, -ATTEMPTS_KEPT]}, "touched": "$$NOW"}
    return [{"$set": {**change, **told}}, {"$unset": "seat"}]


def _beginning(text: str) -> Document:
    """Matches what begins with this text, whatever it looks like."""
    return {"$regex": f"^{re.escape(text)}"}


def _text(text: str) -> Document:
    """Text in an update by pipeline, whatever it looks like."""
    return {"$literal": text}


def _sources(move: str) -> Document:
    return {"$in": sorted(ITEM_MOVES[move].sources)}


def _item(document: Mapping[str, Any]) -> Item:
    fields = dict(document)
    fields.pop("inlined", None)  # for those who read candidates
    return Item(
        item_id=ItemId(fields.pop("_id")),
        **{
            **fields,
            "job_id": JobId(fields["job_id"]),
            "portfolio_id": PortfolioId(fields["portfolio_id"]),
            "state": ItemState(fields["state"]),
            "out": Out(fields["out"]) if "out" in fields else None,
            "past_attempts": attempts_from(fields.get("past_attempts", ())),
        },
    )
