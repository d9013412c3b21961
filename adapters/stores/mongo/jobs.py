"""Jobs, members and frozen inputs in MongoDB. J1..J12 are the transitions of docs/job-protocol.md."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import pymongo
from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.stores.codecs import (
    encode_retry,
    encode_spec,
    job_from,
    pack_members,
    retry_from,
    unpack_members,
    untold_from,
)
from adapters.stores.mongo.connection import (
    Document,
    Mongo,
    from_now,
    insert_missing,
    insert_once,
)
from adapters.stores.mongo.schema import create_indexes
from adapters.stores.mongo.survey import read_survey
from adapters.stores.rules import check_page, check_target, closed_state
from domain.errors import NotFound
from domain.ids import JobId, ModelId, PortfolioId
from domain.item import ItemState
from domain.job import (
    ALL_FAILED,
    CLOSED,
    EVENTS_KEPT,
    JOB_MOVES,
    OPEN,
    EventKind,
    Inputs,
    Job,
    JobState,
    Retry,
    Untold,
)
from domain.ports import Member, OpenWork, Survey

_CHUNKS_A_WRITE = 4
_PING_SECONDS = 3.0  # whoever asks wants to know whether it answers now
_NOT_WAITING = {"reason": None, "probe_at": None, "probes": 0}
_ACCEPTED: Mapping[str, object] = {
    "sequence": 1,
    "kind": EventKind.ACCEPTED.value,
    "gen": 0,
    "state": JobState.ACCEPTED.value,
    "reason": None,
    "counts": None,
}
_BORN: Mapping[str, object] = {
    "state": JobState.ACCEPTED.value,
    "gen": 0,
    "deadline": None,
    "retry": None,
    "stop_to": None,
    "counts": {},
    "healing": {},
    "started_at": None,
    "finished_at": None,
    "deleted_at": None,
    "told": 0,
    "untold": True,
    **_NOT_WAITING,
}
# A retried job is as old as its first run, which says nothing about the queue.
_OPEN_WORK: Mapping[str, object] = {
    "_id": None,
    "jobs": {"$sum": 1},
    "portfolios": {"$sum": "$n"},
    "oldest": {"$min": {"$cond": [{"$eq": ["$gen", 0]}, "$created_at", None]}},
}


class MongoJobs:
    """The JobStore port as far as it is about whole jobs."""

    _mongo: Mongo

    def prepare(self) -> None:
        with self._mongo.open() as db:
            create_indexes(db)

    def ping(self) -> None:
        with self._mongo.open() as db, pymongo.timeout(_PING_SECONDS):
            db.database.command("ping")

    def now(self) -> datetime:
        with self._mongo.open() as db:
            return db.now()

    def put_members(self, members_sha256: str, members: Iterable[Member]) -> None:
        chunks = pack_members(members)
        while batch := list(islice(chunks, _CHUNKS_A_WRITE)):
            with self._mongo.open() as db:
                insert_missing(
                    db.members,
                    [
                        {
                            "_id": f"{members_sha256}:{chunk.first}",
                            "sha256": members_sha256,
                            **chunk._asdict(),
                        }
                        for chunk in batch
                    ],
                )

    def members(self, members_sha256: str, offset: int, limit: int) -> Sequence[Member]:
        check_page(offset, limit)
        with self._mongo.open() as db:
            found = list(
                db.members.find(
                    {"sha256": members_sha256, "first": {"$lt": offset + limit}, "last": {"$gte": offset}}
                ).sort("first")
            )
        return unpack_members(((chunk["first"], chunk["body"]) for chunk in found), offset, limit)

    def insert_job(self, job: Job) -> Job:
        with self._mongo.open() as db:
            born = db.now()
            document = {
                "_id": job.job_id,
                "model_id": job.model.model_id,
                "parallelism": job.parallelism,
                "n": job.n,
                "spec": encode_spec(job),
                "created_at": born,
                "happened": 1,
                "events": [{**_ACCEPTED, "at": born}],
                **({"dry_run": True} if job.dry_run else {}),  # for those who list
                **_BORN,
            }
            return _job(insert_once(db.jobs, document))

    def get_job(self, job_id: JobId) -> Job:
        with self._mongo.open() as db:
            document = db.jobs.find_one({"_id": job_id})
        if document is None:
            raise NotFound("job", job_id)
        return _job(document)

    def list_jobs(
        self,
        *,
        states: Iterable[JobState] = (),
        model_id: ModelId | None = None,
        finished_since: datetime | None = None,
        portfolio_ids: Sequence[PortfolioId] = (),
        deleted: bool = True,
        dry_run: bool | None = None,
        offset: int = 0,
        limit: int = 50,
    ) -> Sequence[Job]:
        check_page(offset, limit)
        wanted = list(states)
        matching: Document = {
            **({"state": {"$in": wanted}} if wanted else {}),
            **({"model_id": model_id} if model_id else {}),
            **({"finished_at": {"$gte": finished_since}} if finished_since else {}),
            **({} if deleted else {"deleted_at": None}),
            **({} if dry_run is None else {"dry_run": True if dry_run else {"$ne": True}}),
        }
        if not limit:  # MongoDB reads 0 as no limit
            return []
        newest = [("created_at", DESCENDING), ("_id", DESCENDING)]
        with self._mongo.open() as db:
            if portfolio_ids:
                of_these = {"portfolio_id": {"$in": list(portfolio_ids)}}
                matching["_id"] = {"$in": db.items.distinct("job_id", of_these)}
            found = list(db.jobs.find(matching).sort(newest).skip(offset).limit(limit))
        return [_job(document) for document in found]

    def open_work(self, limit: int) -> OpenWork:
        pipeline: list[Document] = [
            {"$match": {"state": {"$in": sorted(OPEN)}}},
            {"$limit": limit},
            {"$group": _OPEN_WORK},
        ]
        with self._mongo.open() as db:
            found = next(iter(db.jobs.aggregate(pipeline)), None)
            if found is None:
                return OpenWork()
            oldest = found.pop("oldest")
            age = 0.0 if oldest is None else (db.now() - oldest).total_seconds()
        return OpenWork(jobs=found["jobs"], portfolios=found["portfolios"], oldest_seconds=max(age, 0.0))

    def survey(self, limit: int) -> Survey:
        with self._mongo.open() as db:
            return read_survey(db, limit)

    def freeze_inputs(self, inputs: Inputs) -> Inputs:
        document = {"_id": inputs.job_id, "snapshot": inputs.snapshot, "sha256": inputs.sha256}
        with self._mongo.open() as db:
            return _inputs(insert_once(db.inputs, document))

    def get_inputs(self, job_id: JobId) -> Inputs | None:
        with self._mongo.open() as db:
            document = db.inputs.find_one({"_id": job_id})
        return None if document is None else _inputs(document)

    def start_job(self, job_id: JobId) -> bool:
        change = {**_NOT_WAITING, "started_at": "$$NOW", **_happens(EventKind.STARTED, JobState.RUNNING)}
        return self._move("start", job_id, change)

    def wait_job(self, job_id: JobId, reason: str, probe_seconds: float) -> bool:
        waits = {"$in": ["$state", _sources("wait")]}
        state = {"$cond": [waits, JOB_MOVES["wait"].target, "$state"]}
        why = {"$literal": reason}
        # A job that cannot be opened is tried again every few seconds: that it waits is told once.
        news = {"$or": [waits, {"$eq": ["$reason", None]}]}
        change = {
            "state": state,
            "reason": why,
            "probe_at": from_now(probe_seconds),
            "probes": 0,
            **_happens(EventKind.WAITING, state, reason=why, when=news),
        }
        either = {"$in": [*_sources("wait"), *_sources("start")]}
        with self._mongo.open() as db:
            return db.jobs.update_one({"_id": job_id, "state": either}, [{"$set": change}]).matched_count == 1

    def probed_job(self, job: Job, probe_seconds: float) -> bool:
        either = {"$in": [*_sources("resume"), *_sources("start")]}
        change = {"probes": {"$add": ["$probes", 1]}, "probe_at": from_now(probe_seconds)}
        with self._mongo.open() as db:
            probed = db.jobs.update_one(
                {"_id": job.job_id, "state": either, "probes": job.probes}, [{"$set": change}]
            )
        return probed.matched_count == 1

    def resume_job(self, job_id: JobId) -> bool:
        return self._move("resume", job_id, {**_NOT_WAITING, **_happens(EventKind.RESUMED, JobState.RUNNING)})

    def stop_job(self, job_id: JobId, stop_to: ItemState, reason: str, *, gen: int | None = None) -> bool:
        change = {
            **_NOT_WAITING,
            "stop_to": check_target("sweep", stop_to).value,
            "reason": {"$literal": reason},
        }
        guard = {} if gen is None else {"gen": gen}
        return self._move("stop", job_id, change, **guard)

    def close_job(self, job_id: JobId, gen: int) -> Job | None:
        closable = {"_id": job_id, "gen": gen, "state": {"$in": _sources("close")}}
        with self._mongo.open() as db:
            found = db.jobs.find_one(closable, {"n": 1})
            if found is None:
                return None
            counts = db.count_by_state(job_id)
            state = closed_state(counts, found["n"])
            if state is None:
                return None
            change = {
                "state": state.value,
                "counts": {"$literal": counts},
                "probe_at": None,
                "probes": 0,
                "finished_at": "$$NOW",
                **_happens(EventKind.FINISHED, state, reason="$reason", counts={"$literal": counts}),
            }
            closed = db.jobs.find_one_and_update(
                closable, [{"$set": change}], return_document=ReturnDocument.AFTER
            )
        return None if closed is None else _job(closed)

    def retry_job(
        self, job_id: JobId, gen: int, retry: Retry = ALL_FAILED, *, deadline: datetime | None = None
    ) -> bool:
        change: Document = {
            "counts": {"$literal": {}},
            "finished_at": None,
            "stop_to": None,
            "reason": None,
            "gen": gen + 1,
            "retry": encode_retry(retry),
            # As text: a date of MongoDB's has no microseconds, and the first deadline has them.
            **({} if deadline is None else {"deadline": deadline.isoformat()}),
            **_happens(EventKind.REOPENED, JobState.REOPENING, gen=gen + 1),
        }
        return self._move("retry", job_id, change, gen=gen, deleted_at=None)

    def reopened_job(self, job_id: JobId, gen: int) -> bool:
        return self._move("reopened", job_id, {}, gen=gen)

    def reaccept_job(self, job_id: JobId, gen: int) -> bool:
        return self._move("reaccept", job_id, {}, gen=gen)

    def delete_job(self, job_id: JobId, gen: int) -> bool:
        standing = {"_id": job_id, "gen": gen, "state": {"$in": sorted(CLOSED)}, "deleted_at": None}
        with self._mongo.open() as db:
            marked = db.jobs.update_one(standing, {"$currentDate": {"deleted_at": True}})
        return marked.matched_count == 1

    def set_parallelism(self, job_id: JobId, parallelism: int) -> int | None:
        still_open = {"_id": job_id, "state": {"$in": sorted(OPEN)}}
        with self._mongo.open() as db:
            before = db.jobs.find_one_and_update(
                still_open, {"$set": {"parallelism": parallelism}}, projection={"parallelism": 1}
            )
        return None if before is None else int(before["parallelism"])

    def note_healing(self, job_id: JobId, kind: str, count: int = 1) -> None:
        with self._mongo.open() as db:
            db.jobs.update_one({"_id": job_id}, {"$inc": {f"healing.{kind}": count}})

    def untold(self, limit: int = 100) -> Sequence[Untold]:
        with self._mongo.open() as db:
            found = list(db.jobs.find({"untold": True}).sort("created_at").limit(limit))
        return [
            Untold(job=_job(document), events=untold_from(document["events"], document["told"]))
            for document in found
        ]

    def mark_told(self, job_id: JobId, sequence: int) -> bool:
        told = {"$min": [sequence, "$happened"]}
        change: list[Document] = [
            {"$set": {"told": told}},
            {"$set": {"untold": {"$lt": ["$told", "$happened"]}}},
        ]
        with self._mongo.open() as db:
            marked = db.jobs.update_one({"_id": job_id, "told": {"$lt": sequence}}, change)
        return marked.matched_count == 1

    def tell_again(self, job_id: JobId) -> bool:
        with self._mongo.open() as db:
            again = db.jobs.update_one(
                {"_id": job_id, "told": {"$gt": 0}}, {"$set": {"told": 0, "untold": True}}
            )
        return again.matched_count == 1

    def get_note(self, name: str) -> str | None:
        with self._mongo.open() as db:
            note = db.notes.find_one({"_id": name})
        return None if note is None else str(note["value"])

    def swap_note(self, name: str, old: str | None, new: str) -> bool:
        with self._mongo.open() as db:
            if old is not None:
                swapped = db.notes.update_one({"_id": name, "value": old}, {"$set": {"value": new}})
                return swapped.matched_count == 1
            try:
                db.notes.insert_one({"_id": name, "value": new})
            except DuplicateKeyError:
                return False
            return True

    def _move(self, name: str, job_id: JobId, change: Mapping[str, Any], **guard: object) -> bool:
        """A row of the move table as one compare-and-set; ``change`` is what else the same write sets.

        Its values are expressions: text that somebody else wrote is a ``$literal``.
        """
        target = JOB_MOVES[name].target
        assert target is not None  # noqa: S101 - only that of a close is computed, and it is written there
        with self._mongo.open() as db:
            moved = db.jobs.update_one(
                {"_id": job_id, "state": {"$in": _sources(name)}, **guard},
                [{"$set": {**change, "state": target.value}}],
            )
        return moved.matched_count == 1


def _happens(
    kind: EventKind,
    state: JobState | Document,
    *,
    reason: str | Document | None = None,
    counts: Document | None = None,
    gen: str | int = "$gen",
    when: Document | None = None,
) -> Document:
    """What a pipeline's ``$set`` writes to tell of it: one event more, the oldest dropped where there are many.

    All arguments but ``kind`` are expressions over the document as it was. ``when``: a condition; None: always.
    """
    event = {
        "sequence": {"$add": ["$happened", 1]},
        "kind": kind.value,
        "at": "$$NOW",
        "gen": gen,
        "state": state,
        "reason": reason,
        "counts": counts,
    }
    more = {"$slice": [{"$concatArrays": ["$events", [event]]}, -EVENTS_KEPT]}
    if when is None:
        return {"events": more, "happened": {"$add": ["$happened", 1]}, "untold": True}
    return {
        "events": {"$cond": [when, more, "$events"]},
        "happened": {"$add": ["$happened", {"$cond": [when, 1, 0]}]},
        "untold": {"$or": [when, "$untold"]},
    }


def _sources(move: str) -> list[str]:
    return sorted(JOB_MOVES[move].sources)


def _job(document: Document) -> Job:
    deadline = document["deadline"]
    changed = {
        "retry": retry_from(document["retry"]),
        "deadline": None if deadline is None else datetime.fromisoformat(deadline),
    }
    return job_from(document["_id"], document["spec"], {**document, **changed})


def _inputs(document: Document) -> Inputs:
    return Inputs(job_id=JobId(document["_id"]), snapshot=document["snapshot"], sha256=document["sha256"])
