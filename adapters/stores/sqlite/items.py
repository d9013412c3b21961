"""Items and the outbox inside them in SQLite. I1..I11 are the transitions of docs/job-protocol.md."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from adapters.stores.codecs import attempts_from, from_millis, to_millis
from adapters.stores.rules import LOST_WORKER, check_page, check_target, expired_reason, expired_state
from adapters.stores.sqlite.connection import Database, Durable
from adapters.stores.sqlite.schema import statement
from domain.errors import NotFound
from domain.ids import ItemId, JobId, PortfolioId, item_id
from domain.item import Item, ItemState, Out
from domain.job import ALL_FAILED, Job, JobState, Retry
from domain.ports import CauseCount, ClaimMiss, Expired, Finish, Folded, Member

_ROWS_A_WRITE = 5_000  # a change of many items is cut, so that other writers get their turn between

_INSERT = statement(
    "INSERT INTO items (item_id, job_id, portfolio_id, seq, state, gen, touched)"
    " VALUES (:item_id, :job_id, :portfolio_id, :seq, {PENDING}, :gen, {NOW}) ON CONFLICT (item_id) DO NOTHING"
)
_INSERT_INLINE = "INSERT INTO inlines (id, inline) VALUES (?, ?)"
_CLAIM = statement(
    "UPDATE items SET state = {RUNNING}, seat = :seat, owner = :owner, fence = fence + 1, attempt = attempt + 1,"
    " not_before = NULL, touched = {NOW}"
    " WHERE id = (SELECT id FROM items INDEXED BY items_to_claim WHERE job_id = :job_id"
    " AND state = {ITEM_claim} ORDER BY given_back, seq LIMIT 1)"
    " RETURNING *, (SELECT inline FROM inlines WHERE inlines.id = items.id) AS inline,"
    " NULL AS result, NULL AS order_set"
)
_NEXT_PENDING = statement(
    "SELECT item_id FROM items INDEXED BY items_to_claim WHERE job_id = ? AND state = {ITEM_claim}"
    " ORDER BY given_back, seq LIMIT 1"
)
_FINISH = statement(
    "UPDATE items SET state = :state, reason = :reason, out = :out, seat = NULL, touched = {NOW},"
    " past_attempts = {PAST_ATTEMPTS}"
    " WHERE item_id = :item_id AND fence = :fence AND state IN ({ITEM_finish}) RETURNING id"
)
_FINISHED_BEFORE = (
    "SELECT 1 FROM items JOIN results USING (id)"
    " WHERE item_id = :item_id AND fence = :fence AND state = :state AND result = :result"
)
_FAIL_ATTEMPT = statement(
    "UPDATE items SET state = CASE WHEN attempt < :max_attempts THEN {DELAYED} ELSE {FAILED} END,"
    " not_before = CASE WHEN attempt < :max_attempts THEN {NOW} + :delay END,"
    " reason = :cause, seat = NULL, touched = {NOW}, past_attempts = {PAST_ATTEMPTS}"
    " WHERE item_id = :item_id AND fence = :fence AND state IN ({ITEM_error}) RETURNING state"
)
_GIVE_BACK = statement(
    "UPDATE items SET state = {DELAYED}, not_before = {NOW} + :delay, attempt = attempt - 1,"
    " given_back = given_back + 1, reason = :cause, seat = NULL, touched = {NOW}, past_attempts = {PAST_ATTEMPTS}"
    " WHERE item_id = :item_id AND fence = :fence AND state IN ({ITEM_give_back})"
)
_MARK_SENT = statement("UPDATE items SET out = {SENT} WHERE item_id = ? AND out = {DUE}")
_LAPSED = statement(
    "SELECT items.id, item_id, job_id, attempt, items.gen, jobs.state AS job_state, jobs.gen AS job_gen,"
    " jobs.stop_to, jobs.reason AS job_reason FROM items JOIN jobs USING (job_id)"
    " WHERE items.state = {RUNNING} AND touched < {NOW} - :lease ORDER BY touched LIMIT :limit"
)
_EXPIRE = statement(
    "UPDATE items SET state = :state, gen = :gen, reason = :reason, seat = NULL, touched = {NOW},"
    " past_attempts = {PAST_ATTEMPTS},"
    " not_before = CASE :state WHEN {DELAYED} THEN {NOW} END WHERE id = :id AND state IN ({ITEM_expire})"
)
_WAKE = statement(
    "UPDATE items SET state = {PENDING}, not_before = NULL, touched = {NOW} WHERE id IN"
    " (SELECT id FROM items WHERE state = {DELAYED} AND not_before <= {NOW} ORDER BY not_before LIMIT :limit)"
    " RETURNING job_id"
)
_DUE = statement(
    "SELECT items.*, NULL AS inline, NULL AS result, order_set FROM items JOIN results USING (id)"
    " WHERE out = {DUE} AND touched < {NOW} - :age ORDER BY touched LIMIT :limit"
)
_SWEEP = statement(
    "UPDATE items SET state = :stop_to, gen = :gen, reason = :reason, not_before = NULL, touched = {NOW}"
    " WHERE id IN (SELECT id FROM items WHERE job_id = :job_id AND state IN ({ITEM_sweep}) AND gen <= :gen"
    " LIMIT :limit)"
)
_REOPEN = statement(
    "UPDATE items SET state = {PENDING}, attempt = 0, gen = :gen, reason = NULL, touched = {NOW}"
    " WHERE id IN (SELECT id FROM items WHERE job_id = :job_id AND state IN ({ITEM_reopen}) AND gen < :gen"
    " AND (:portfolio_ids IS NULL OR portfolio_id IN (SELECT value FROM json_each(:portfolio_ids)))"
    " AND (:cause IS NULL OR substr(reason, 1, length(:cause)) = :cause) LIMIT :limit)"
)
_DUE_AGAIN = statement(
    "UPDATE items SET out = {DUE} WHERE id IN (SELECT id FROM items WHERE job_id = :job_id AND out = {SENT}"
    " AND touched >= :since LIMIT :limit)"
)
_BUSY_SEATS = "SELECT seat, item_id FROM items WHERE job_id = ? AND seat IS NOT NULL"
_DELETE_BY_ID = (
    "DELETE FROM results WHERE id = ?",
    "DELETE FROM inlines WHERE id = ?",
    "DELETE FROM items WHERE id = ?",
)
_HAS_DUE = statement("SELECT 1 FROM items WHERE job_id = ? AND out = {DUE} LIMIT 1")
_COUNT = "SELECT state, count(*) FROM items WHERE job_id = ? GROUP BY state"
_CAUSES = (
    "SELECT state, substr(reason, 1, instr(reason || ':', ':') - 1) AS cause, count(*) AS portfolios,"
    " min(reason) AS example FROM (SELECT state, coalesce(reason, '') AS reason FROM items WHERE job_id = :job_id"
    " AND state IN (SELECT value FROM json_each(:states)) LIMIT :limit)"
    " GROUP BY state, cause ORDER BY portfolios DESC, state, cause"
)
_SELECT = (
    "SELECT items.*, inline, result, order_set"
    " FROM items LEFT JOIN inlines USING (id) LEFT JOIN results USING (id) WHERE "
)
_SELECT_BARE = "SELECT *, NULL AS inline, NULL AS result, NULL AS order_set FROM items WHERE "


class SqliteItems:
    """The JobStore port as far as it is about single portfolios."""

    _database: Database

    # -- expansion

    def insert_items(self, job: Job, seq: int, members: Sequence[Member]) -> None:
        rows = [
            {
                "item_id": item_id(job.job_id, member.portfolio_id),
                "job_id": job.job_id,
                "portfolio_id": member.portfolio_id,
                "seq": place,
                "gen": job.gen,
                "inline": member.inline,
            }
            for place, member in enumerate(members, start=seq)
        ]
        for start in range(0, len(rows), _ROWS_A_WRITE):
            with self._database.write() as db:
                for row in rows[start : start + _ROWS_A_WRITE]:
                    inserted = db.execute(_INSERT, row)
                    if inserted.rowcount and row["inline"] is not None:
                        db.execute(_INSERT_INLINE, (inserted.lastrowid, row["inline"]))

    # -- workers

    def claim(self, job_id: JobId, seat: int, owner: str) -> Item | ClaimMiss:
        # A power cut that undoes it ends the worker, too; the worker's answer, stored later, brings it to the disk.
        with self._database.write(Durable.LATER) as db:
            return _claim(db, job_id, seat, owner)

    def finish(self, finish: Finish) -> bool:
        with self._database.write(Durable.BEFORE_RETURN) as db:
            return _finish(db, finish)

    def finish_and_claim(self, finish: Finish, job_id: JobId, seat: int, owner: str) -> Folded:
        with self._database.write(Durable.BEFORE_RETURN) as db:
            return Folded(stored=_finish(db, finish), claimed=_claim(db, job_id, seat, owner))

    def fail_attempt(
        self, item_id: ItemId, fence: int, reason: str, *, max_attempts: int, delay_seconds: float
    ) -> ItemState | None:
        with self._database.write() as db:
            row = db.execute(
                _FAIL_ATTEMPT,
                {
                    "item_id": item_id,
                    "fence": fence,
                    "cause": reason,
                    "max_attempts": max_attempts,
                    "delay": round(delay_seconds * 1000),
                },
            ).fetchone()
        return None if row is None else ItemState(row["state"])

    def give_back(self, item_id: ItemId, fence: int, reason: str, *, delay_seconds: float) -> bool:
        with self._database.write() as db:
            delay = round(delay_seconds * 1000)
            given = db.execute(
                _GIVE_BACK, {"item_id": item_id, "fence": fence, "cause": reason, "delay": delay}
            )
            return given.rowcount == 1

    def mark_sent(self, item_ids: Sequence[ItemId]) -> int:
        if not item_ids:
            return 0
        with self._database.write(Durable.LATER) as db:  # undone, they are published and marked once more
            return db.executemany(_MARK_SENT, ((item_id,) for item_id in item_ids)).rowcount

    # -- the steward

    def expire_items(
        self, lease_seconds: float, *, max_attempts: int, limit: int = 1000
    ) -> Sequence[Expired]:
        expired = []
        with self._database.write() as db:
            for row in db.execute(_LAPSED, {"lease": round(lease_seconds * 1000), "limit": limit}).fetchall():
                stopping = row["job_state"] == JobState.STOPPING
                state = expired_state(row["attempt"], max_attempts, row["stop_to"] if stopping else None)
                db.execute(
                    _EXPIRE,
                    {
                        "id": row["id"],
                        "state": state,
                        "gen": row["job_gen"] if stopping else row["gen"],
                        "reason": row["job_reason"] if stopping else expired_reason(row["attempt"], state),
                        "cause": LOST_WORKER,
                    },
                )
                expired.append(
                    Expired(item_id=ItemId(row["item_id"]), job_id=JobId(row["job_id"]), state=state)
                )
        return expired

    def wake_items(self, limit: int = 1000) -> Mapping[JobId, int]:
        with self._database.write() as db:
            woken = db.execute(_WAKE, {"limit": limit}).fetchall()
        return Counter(JobId(row["job_id"]) for row in woken)

    def due_items(self, older_than_seconds: float, limit: int = 1000) -> Sequence[Item]:
        # To be published: not before it is on disk, however long its writer has been waiting for that.
        with self._database.read(on_disk=True) as db:
            rows = db.execute(_DUE, {"age": round(older_than_seconds * 1000), "limit": limit}).fetchall()
        return [_item(row) for row in rows]

    def sweep_items(self, job: Job) -> int:
        stop_to = check_target("sweep", job.stop_to)
        return self._in_parts(
            _SWEEP, {"job_id": job.job_id, "gen": job.gen, "stop_to": stop_to, "reason": job.reason}
        )

    def reopen_items(self, job_id: JobId, gen: int, retry: Retry = ALL_FAILED) -> int:
        chosen = None if retry.portfolio_ids is None else json.dumps(retry.portfolio_ids)
        return self._in_parts(
            _REOPEN, {"job_id": job_id, "gen": gen, "portfolio_ids": chosen, "cause": retry.cause}
        )

    def due_again(self, job_id: JobId, *, since: datetime | None = None) -> int:
        return self._in_parts(
            _DUE_AGAIN, {"job_id": job_id, "since": 0 if since is None else to_millis(since)}
        )

    def busy_seats(self, job_id: JobId) -> Mapping[int, ItemId]:
        with self._database.read() as db:
            rows = db.execute(_BUSY_SEATS, (job_id,)).fetchall()
        return {row["seat"]: ItemId(row["item_id"]) for row in rows}

    def next_pending(self, job_id: JobId) -> ItemId | None:
        with self._database.read() as db:
            row = db.execute(_NEXT_PENDING, (job_id,)).fetchone()
        return None if row is None else ItemId(row["item_id"])

    def has_items(self, job_id: JobId, states: Iterable[ItemState]) -> bool:
        with self._database.read() as db:
            row = db.execute(
                "SELECT 1 FROM items WHERE job_id = ? AND state IN (SELECT value FROM json_each(?)) LIMIT 1",
                (job_id, json.dumps(list(states))),
            ).fetchone()
        return row is not None

    def has_due(self, job_id: JobId) -> bool:
        with self._database.read() as db:
            return db.execute(_HAS_DUE, (job_id,)).fetchone() is not None

    def delete_items(self, job_id: JobId) -> int:
        total = 0
        while gone := self._delete_some(job_id):
            total += gone
        with self._database.write() as db:
            db.execute("DELETE FROM inputs WHERE job_id = ?", (job_id,))
        return total

    def _delete_some(self, job_id: JobId) -> int:
        with self._database.write() as db:
            rows = db.execute(
                "SELECT id FROM items WHERE job_id = ? LIMIT ?", (job_id, _ROWS_A_WRITE)
            ).fetchall()
            chosen = [(row["id"],) for row in rows]
            for of_chosen in _DELETE_BY_ID:
                db.executemany(of_chosen, chosen)
        return len(chosen)

    # -- people

    def get_item(self, item_id: ItemId) -> Item:
        with self._database.read() as db:
            row = db.execute(_SELECT + "item_id = ?", (item_id,)).fetchone()
        if row is None:
            raise NotFound("item", item_id)
        return _item(row)

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
        wanted = list(states)
        filtered = " AND state IN (SELECT value FROM json_each(:states))" if wanted else ""
        if cause is not None:
            filtered += " AND substr(reason, 1, length(:cause)) = :cause"
        values = {
            "job_id": job_id,
            "after": after_seq,
            "limit": limit,
            "states": json.dumps(wanted),
            "cause": cause,
        }
        with self._database.read() as db:
            rows = db.execute(
                (_SELECT if bodies else _SELECT_BARE)
                + f"job_id = :job_id AND seq > :after{filtered} ORDER BY seq LIMIT :limit",
                values,
            ).fetchall()
        return [_item(row) for row in rows]

    def count_items(self, job_id: JobId) -> Mapping[str, int]:
        with self._database.read() as db:
            return count_by_state(db, job_id)

    def count_causes(self, job_id: JobId, states: Iterable[ItemState], *, limit: int) -> Sequence[CauseCount]:
        check_page(0, limit)
        values = {"job_id": job_id, "states": json.dumps(list(states)), "limit": limit}
        with self._database.read() as db:
            rows = db.execute(_CAUSES, values).fetchall()
        return [CauseCount(**{**dict(row), "state": ItemState(row["state"])}) for row in rows]

    def _in_parts(self, change: str, parameters: dict[str, object]) -> int:
        """Repeat a change that empties its own selection, a part per transaction."""
        total = 0
        while True:
            with self._database.write() as db:
                changed = db.execute(change, {**parameters, "limit": _ROWS_A_WRITE}).rowcount
            total += changed
            if changed < _ROWS_A_WRITE:
                return total


def _claim(db: sqlite3.Connection, job_id: JobId, seat: int, owner: str) -> Item | ClaimMiss:
    try:
        row = db.execute(_CLAIM, {"job_id": job_id, "seat": seat, "owner": owner}).fetchone()
    except (
        sqlite3.IntegrityError
    ):  # of items_by_seat: nothing else here can collide; the rest of the write stands
        return ClaimMiss.SEAT_BUSY
    if row is None:
        return ClaimMiss.NOTHING_PENDING
    return _item(row)


def _finish(db: sqlite3.Connection, finish: Finish) -> bool:
    row = {
        "item_id": finish.item_id,
        "fence": finish.fence,
        "state": check_target("finish", finish.state),
        "reason": finish.reason,
        "cause": finish.state,
        "result": finish.result,
        "out": None if finish.order_set is None else Out.DUE,
    }
    finished = db.execute(_FINISH, row).fetchone()
    if finished is None:
        return db.execute(_FINISHED_BEFORE, row).fetchone() is not None
    db.execute(
        "INSERT INTO results (id, result, order_set) VALUES (?, ?, ?)",
        (finished["id"], finish.result, finish.order_set),
    )
    return True


def count_by_state(db: sqlite3.Connection, job_id: JobId) -> dict[str, int]:
    return dict(db.execute(_COUNT, (job_id,)).fetchall())


def _item(row: sqlite3.Row) -> Item:
    not_before, out, past = row["not_before"], row["out"], row["past_attempts"]
    return Item(
        item_id=ItemId(row["item_id"]),
        job_id=JobId(row["job_id"]),
        portfolio_id=PortfolioId(row["portfolio_id"]),
        seq=row["seq"],
        state=ItemState(row["state"]),
        fence=row["fence"],
        attempt=row["attempt"],
        gen=row["gen"],
        given_back=row["given_back"],
        owner=row["owner"],
        seat=row["seat"],
        touched=from_millis(row["touched"]),
        not_before=None if not_before is None else from_millis(not_before),
        reason=row["reason"],
        inline=row["inline"],
        result=row["result"],
        order_set=row["order_set"],
        out=None if out is None else Out(out),
        past_attempts=() if past == "[]" else attempts_from(json.loads(past)),
    )
