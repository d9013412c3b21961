"""How much is open, in SQLite. Every count goes through the index that holds nothing else."""

import sqlite3

from adapters.stores.rules import DUE_COUNTED
from adapters.stores.sqlite.schema import statement
from domain.item import ItemState
from domain.job import JobState
from domain.ports import Survey

_INDEXES = {
    ItemState.PENDING: "items_to_claim",
    ItemState.RUNNING: "items_in_work",
    ItemState.DELAYED: "items_delayed",
}

# A retried job is as old as its first run, which says nothing about the queue.
_JOBS = statement(
    "SELECT state, count(*) AS jobs, coalesce({NOW} - min(CASE gen WHEN 0 THEN created_at END), 0) AS age"
    " FROM (SELECT state, gen, created_at FROM jobs WHERE state IN ({OPEN_JOB}) LIMIT ?) GROUP BY state"
)
_PORTFOLIOS = {
    state: statement(
        f"SELECT count(*) FROM (SELECT 1 FROM items INDEXED BY {index} WHERE state = {{{state.name}}} LIMIT ?)"  # noqa: S608 - of constants
    )
    for state, index in _INDEXES.items()
}
_DUE = statement("SELECT count(*) FROM (SELECT 1 FROM items INDEXED BY items_due WHERE out = {DUE} LIMIT ?)")
_OLDEST_DUE = statement(
    "SELECT coalesce({NOW} - min(touched), 0) FROM items INDEXED BY items_due WHERE out = {DUE}"
)


def read_survey(db: sqlite3.Connection, limit: int) -> Survey:
    """See `JobStore.survey`."""
    jobs = db.execute(_JOBS, (limit,)).fetchall()
    return Survey(
        jobs={JobState(row["state"]): row["jobs"] for row in jobs},
        oldest_jobs={JobState(row["state"]): max(row["age"], 0) / 1000 for row in jobs},
        portfolios={state: _number(db, count, limit) for state, count in _PORTFOLIOS.items()},
        due=_number(db, _DUE, min(limit, DUE_COUNTED)),
        oldest_due=max(_number(db, _OLDEST_DUE), 0) / 1000,
    )


def _number(db: sqlite3.Connection, query: str, *values: int) -> int:
    return int(db.execute(query, values).fetchone()[0])
