"""Jobs, members and frozen inputs in SQLite. J1..J12 are the transitions of docs/job-protocol.md."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

from adapters.stores.codecs import (
    encode_retry,
    encode_spec,
    from_millis,
    job_from,
    pack_members,
    retry_from,
    to_millis,
    unpack_members,
    untold_from,
)
from adapters.stores.rules import check_page, check_target, closed_state
from adapters.stores.sqlite.connection import Database
from adapters.stores.sqlite.items import count_by_state
from adapters.stores.sqlite.schema import TABLES, VERSION, happens, statement
from adapters.stores.sqlite.survey import read_survey
from domain.errors import Invalid, NotFound
from domain.ids import JobId, ModelId, PortfolioId
from domain.item import ItemState
from domain.job import ALL_FAILED, OPEN, EventKind, Inputs, Job, JobState, Retry, Untold
from domain.ports import Member, OpenWork, Survey

_TIMES = ("probe_at", "created_at", "started_at", "finished_at", "deleted_at")
_CHUNKS_A_WRITE = 4  # other writers get their turn between

_INSERT = statement(
    "INSERT INTO jobs (job_id, model_id, n, parallelism, spec, state, created_at, happened, events)"
    " VALUES (:job_id, :model_id, :n, :parallelism, :spec, :state, {NOW}, 1, json_array(json_object("
    "'sequence', 1, 'kind', :event, 'at', {NOW}, 'gen', 0, 'state', :state, 'reason', NULL, 'counts', NULL)))"
    " ON CONFLICT (job_id) DO NOTHING"
)
# A retried job is as old as its first run, which says nothing about the queue.
_OPEN_WORK = statement(
    "SELECT count(*) AS jobs, coalesce(sum(n), 0) AS portfolios,"
    " coalesce({NOW} - min(CASE gen WHEN 0 THEN created_at END), 0) AS age"
    " FROM (SELECT n, gen, created_at FROM jobs WHERE state IN (SELECT value FROM json_each(?)) LIMIT ?)"
)
# Why it waited is over once it runs.
_START = statement(
    "UPDATE jobs SET state = {JOB_start_to}, started_at = {NOW}, reason = NULL, probe_at = NULL, probes = 0, {EVENT}"
    " WHERE job_id = ? AND state IN ({JOB_start})",
    EVENT=happens(EventKind.STARTED, state="{JOB_start_to}"),
)
# A job that cannot be opened is tried again every few seconds: that it waits is told once.
_WAITING = statement("CASE WHEN state IN ({JOB_wait}) THEN {JOB_wait_to} ELSE state END")
_WAIT = statement(
    "UPDATE jobs SET state = {WAITING}, reason = :reason, probe_at = {NOW} + :delay, probes = 0, {EVENT}"
    " WHERE job_id = :job_id AND state IN ({JOB_wait}, {JOB_start})",
    WAITING=_WAITING,
    EVENT=happens(
        EventKind.WAITING, state=_WAITING, reason=":reason", when="(state IN ({JOB_wait}) OR reason IS NULL)"
    ),
)
_PROBED = statement(
    "UPDATE jobs SET probes = probes + 1, probe_at = {NOW} + :delay"
    " WHERE job_id = :job_id AND state IN ({JOB_resume}, {JOB_start}) AND probes = :probes"
)
_RESUME = statement(
    "UPDATE jobs SET state = {JOB_resume_to}, reason = NULL, probe_at = NULL, probes = 0, {EVENT}"
    " WHERE job_id = ? AND state IN ({JOB_resume})",
    EVENT=happens(EventKind.RESUMED, state="{JOB_resume_to}"),
)
_STOP = statement(
    "UPDATE jobs SET state = {JOB_stop_to}, stop_to = ?, reason = ?, probe_at = NULL, probes = 0"
    " WHERE job_id = ? AND gen = coalesce(?, gen) AND state IN ({JOB_stop})"
)
_CLOSABLE = statement("SELECT n FROM jobs WHERE job_id = ? AND gen = ? AND state IN ({JOB_close})")
_CLOSE = statement(
    "UPDATE jobs SET state = :state, counts = :counts, finished_at = {NOW}, probe_at = NULL, probes = 0, {EVENT}"
    " WHERE job_id = :job_id AND gen = :gen AND state IN ({JOB_close}) RETURNING *",
    EVENT=happens(EventKind.FINISHED, state=":state", reason="reason", counts=":counts"),
)
_RETRY = statement(
    "UPDATE jobs SET state = {JOB_retry_to}, gen = gen + 1, counts = '{{}}', finished_at = NULL,"
    " stop_to = NULL, reason = NULL, retry = :retry, deadline = coalesce(:deadline, deadline), {EVENT}"
    " WHERE job_id = :job_id AND gen = :gen AND state IN ({JOB_retry}) AND deleted_at IS NULL",
    EVENT=happens(EventKind.REOPENED, state="{JOB_retry_to}", gen="gen + 1"),
)
_REOPENED = statement(
    "UPDATE jobs SET state = {JOB_reopened_to} WHERE job_id = ? AND gen = ? AND state IN ({JOB_reopened})"
)
_REACCEPT = statement(
    "UPDATE jobs SET state = {JOB_reaccept_to} WHERE job_id = ? AND gen = ? AND state IN ({JOB_reaccept})"
)
_DELETE = statement(
    "UPDATE jobs SET deleted_at = {NOW} WHERE job_id = ? AND gen = ? AND state IN ({CLOSED_JOB}) AND deleted_at IS NULL"
)
_UNTOLD = "SELECT * FROM jobs WHERE told < happened ORDER BY created_at LIMIT ?"
_TOLD = "UPDATE jobs SET told = min(:sequence, happened) WHERE job_id = :job_id AND told < :sequence"
_TELL_AGAIN = "UPDATE jobs SET told = 0 WHERE job_id = ? AND told > 0"
_OF_PORTFOLIOS = (
    "job_id IN (SELECT job_id FROM items WHERE portfolio_id IN (SELECT value FROM json_each(:portfolio_ids)))"
)
_IS_DRY_RUN = "json_extract(CAST(spec AS TEXT), '$.dry_run') = :dry_run"
_PARALLELISM = statement("SELECT parallelism FROM jobs WHERE job_id = ? AND state IN ({OPEN_JOB})")


class SqliteJobs:
    """The JobStore port as far as it is about whole jobs."""

    _database: Database

    def prepare(self) -> None:
        self._database.make_folder()
        with self._database.write() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (objects,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if objects and version != VERSION:
                raise Invalid(
                    f"{self._database.path} was made by another version of Trimtab: finish its jobs with that one, "
                    "then move the file away, or name another with TRIMTAB_STORE_URL",
                    code="other_schema",
                )
            for table in TABLES:
                db.execute(table)
            db.execute(f"PRAGMA user_version = {VERSION}")

    def ping(self) -> None:
        with self._database.read() as db:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def now(self) -> datetime:
        with self._database.read() as db:
            return from_millis(db.execute(statement("SELECT {NOW}")).fetchone()[0])

    def put_members(self, members_sha256: str, members: Iterable[Member]) -> None:
        chunks = pack_members(members)
        while batch := list(islice(chunks, _CHUNKS_A_WRITE)):
            with self._database.write() as db:
                db.executemany(
                    "INSERT INTO members (sha256, first, last, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    ((members_sha256, *chunk) for chunk in batch),
                )

    def members(self, members_sha256: str, offset: int, limit: int) -> Sequence[Member]:
        check_page(offset, limit)
        with self._database.read() as db:
            chunks = db.execute(
                "SELECT first, body FROM members WHERE sha256 = ? AND first < ? AND last >= ? ORDER BY first",
                (members_sha256, offset + limit, offset),
            ).fetchall()
        return unpack_members(((first, body) for first, body in chunks), offset, limit)

    def insert_job(self, job: Job) -> Job:
        row = {
            "job_id": job.job_id,
            "model_id": job.model.model_id,
            "n": job.n,
            "parallelism": job.parallelism,
            "spec": encode_spec(job),
            "state": JobState.ACCEPTED,
            "event": EventKind.ACCEPTED,
        }
        with self._database.write() as db:
            db.execute(_INSERT, row)
            return _read(db, job.job_id)

    def get_job(self, job_id: JobId) -> Job:
        with self._database.read() as db:
            return _read(db, job_id)

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
        since = None if finished_since is None else to_millis(finished_since)
        conditions = [
            *(["state IN (SELECT value FROM json_each(:states))"] if wanted else []),
            *(["model_id = :model_id"] if model_id else []),
            *(["finished_at >= :since"] if since is not None else []),
            *([_OF_PORTFOLIOS] if portfolio_ids else []),
            *([] if deleted else ["deleted_at IS NULL"]),
            *([] if dry_run is None else [_IS_DRY_RUN]),
        ]
        values = {
            "states": json.dumps(wanted),
            "model_id": model_id,
            "since": since,
            "portfolio_ids": json.dumps(list(portfolio_ids)),
            "dry_run": dry_run,
        }
        with self._database.read() as db:
            rows = db.execute(
                f"SELECT * FROM jobs WHERE {' AND '.join(conditions) or 'TRUE'}"  # noqa: S608 - of constants
                " ORDER BY created_at DESC, job_id DESC LIMIT :limit OFFSET :offset",
                {**values, "limit": limit, "offset": offset},
            ).fetchall()
        return [_job(row) for row in rows]

    def open_work(self, limit: int) -> OpenWork:
        with self._database.read() as db:
            row = db.execute(_OPEN_WORK, (json.dumps(sorted(OPEN)), limit)).fetchone()
        return OpenWork(
            jobs=row["jobs"], portfolios=row["portfolios"], oldest_seconds=max(row["age"], 0) / 1000
        )

    def survey(self, limit: int) -> Survey:
        with self._database.read() as db:
            return read_survey(db, limit)

    def freeze_inputs(self, inputs: Inputs) -> Inputs:
        with self._database.write() as db:
            db.execute(
                "INSERT INTO inputs (job_id, snapshot, sha256) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (inputs.job_id, inputs.snapshot, inputs.sha256),
            )
            row = db.execute("SELECT * FROM inputs WHERE job_id = ?", (inputs.job_id,)).fetchone()
        return _inputs(row)

    def get_inputs(self, job_id: JobId) -> Inputs | None:
        with self._database.read() as db:
            row = db.execute("SELECT * FROM inputs WHERE job_id = ?", (job_id,)).fetchone()
        return None if row is None else _inputs(row)

    def start_job(self, job_id: JobId) -> bool:
        return self._moved(_START, (job_id,))

    def wait_job(self, job_id: JobId, reason: str, probe_seconds: float) -> bool:
        return self._moved(_WAIT, {"job_id": job_id, "reason": reason, "delay": round(probe_seconds * 1000)})

    def probed_job(self, job: Job, probe_seconds: float) -> bool:
        return self._moved(
            _PROBED, {"job_id": job.job_id, "probes": job.probes, "delay": round(probe_seconds * 1000)}
        )

    def resume_job(self, job_id: JobId) -> bool:
        return self._moved(_RESUME, (job_id,))

    def stop_job(self, job_id: JobId, stop_to: ItemState, reason: str, *, gen: int | None = None) -> bool:
        return self._moved(_STOP, (check_target("sweep", stop_to), reason, job_id, gen))

    def close_job(self, job_id: JobId, gen: int) -> Job | None:
        with self._database.write() as db:
            closable = db.execute(_CLOSABLE, (job_id, gen)).fetchone()
            if closable is None:
                return None
            counts = count_by_state(db, job_id)
            state = closed_state(counts, closable["n"])
            if state is None:
                return None
            return _job(
                db.execute(
                    _CLOSE, {"job_id": job_id, "gen": gen, "state": state, "counts": json.dumps(counts)}
                ).fetchone()
            )

    def retry_job(
        self, job_id: JobId, gen: int, retry: Retry = ALL_FAILED, *, deadline: datetime | None = None
    ) -> bool:
        row = {
            "job_id": job_id,
            "gen": gen,
            "retry": encode_retry(retry),
            "deadline": None if deadline is None else deadline.isoformat(),
        }
        return self._moved(_RETRY, row)

    def reopened_job(self, job_id: JobId, gen: int) -> bool:
        return self._moved(_REOPENED, (job_id, gen))

    def reaccept_job(self, job_id: JobId, gen: int) -> bool:
        return self._moved(_REACCEPT, (job_id, gen))

    def delete_job(self, job_id: JobId, gen: int) -> bool:
        return self._moved(_DELETE, (job_id, gen))

    def set_parallelism(self, job_id: JobId, parallelism: int) -> int | None:
        with self._database.write() as db:
            row = db.execute(_PARALLELISM, (job_id,)).fetchone()
            if row is None:
                return None
            db.execute("UPDATE jobs SET parallelism = ? WHERE job_id = ?", (parallelism, job_id))
            before: int = row["parallelism"]
            return before

    def note_healing(self, job_id: JobId, kind: str, count: int = 1) -> None:
        with self._database.write() as db:
            row = db.execute("SELECT healing FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
            if row is not None:
                healing = json.loads(row["healing"])
                healing[kind] = healing.get(kind, 0) + count
                db.execute("UPDATE jobs SET healing = ? WHERE job_id = ?", (json.dumps(healing), job_id))

    def untold(self, limit: int = 100) -> Sequence[Untold]:
        with self._database.read() as db:
            rows = db.execute(_UNTOLD, (limit,)).fetchall()
        return [
            Untold(job=_job(row), events=untold_from(json.loads(row["events"]), row["told"])) for row in rows
        ]

    def mark_told(self, job_id: JobId, sequence: int) -> bool:
        return self._moved(_TOLD, {"job_id": job_id, "sequence": sequence})

    def tell_again(self, job_id: JobId) -> bool:
        return self._moved(_TELL_AGAIN, (job_id,))

    def get_note(self, name: str) -> str | None:
        with self._database.read() as db:
            row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["value"])

    def swap_note(self, name: str, old: str | None, new: str) -> bool:
        if old is None:
            return self._moved(
                "INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", (name, new)
            )
        return self._moved("UPDATE notes SET value = ? WHERE name = ? AND value = ?", (new, name, old))

    def _moved(self, compare_and_set: str, parameters: Sequence[object] | dict[str, object]) -> bool:
        with self._database.write() as db:
            return db.execute(compare_and_set, parameters).rowcount == 1


def _read(db: sqlite3.Connection, job_id: JobId) -> Job:
    row = db.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFound("job", job_id)
    return _job(row)


def _job(row: sqlite3.Row) -> Job:
    life = dict(row)
    life.update({name: None if life[name] is None else from_millis(life[name]) for name in _TIMES})
    life.update(counts=json.loads(life["counts"]), healing=json.loads(life["healing"]))
    life["retry"] = retry_from(life["retry"])
    life["deadline"] = None if life["deadline"] is None else datetime.fromisoformat(life["deadline"])
    return job_from(life["job_id"], life["spec"], life)


def _inputs(row: sqlite3.Row) -> Inputs:
    return Inputs(job_id=JobId(row["job_id"]), snapshot=row["snapshot"], sha256=row["sha256"])
