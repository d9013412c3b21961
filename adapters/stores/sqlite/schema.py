"""Tables, indexes, and how statements are written: states from the move tables, stamps from SQLite's clock."""

from collections.abc import Iterable
from types import MappingProxyType
from zlib import crc32

from domain.item import ATTEMPTS_KEPT, ITEM_MOVES, ItemState, Out
from domain.job import CLOSED, EVENTS_KEPT, JOB_MOVES, OPEN, EventKind

# Whole milliseconds since 1970 UTC (SQLite's clock has no finer ones); one value throughout a statement.
_NOW = "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"


def _states(states: Iterable[str]) -> str:
    """A literal list: a partial index is used only where the statement itself names its states."""
    return ", ".join(f"'{state}'" for state in sorted(states))


# An attempt is told when it ends, in the write that ends it: what began it stands in the row until then.
_PAST_ATTEMPTS = f"""json_insert(
    CASE WHEN json_array_length(past_attempts) < {ATTEMPTS_KEPT} THEN past_attempts
         ELSE json_remove(past_attempts, '$[0]') END,
    '$[#]',
    json_object('gen', gen, 'number', attempt, 'owner', owner, 'started', touched, 'ended', {_NOW}, 'cause', :cause)
)"""

_WORDS = MappingProxyType(
    {
        "NOW": _NOW,
        "PAST_ATTEMPTS": _PAST_ATTEMPTS,
        "OPEN_JOB": _states(OPEN),
        "CLOSED_JOB": _states(CLOSED),
        **{state.name: f"'{state}'" for state in ItemState},
        **{out.name: f"'{out}'" for out in Out},
        **{f"ITEM_{name}": _states(move.sources) for name, move in ITEM_MOVES.items()},
        **{f"JOB_{name}": _states(move.sources) for name, move in JOB_MOVES.items()},
        **{f"JOB_{name}_to": f"'{move.target}'" for name, move in JOB_MOVES.items() if move.target},
    }
)


def statement(text: str, **parts: str) -> str:
    """SQL with its ``{words}`` filled in: NOW, the states, what each move starts from and ends in, and ``parts``.

    Only names of our own tables, and SQL of our own, are filled in; values travel as parameters.
    """
    return text.format_map({**_WORDS, **parts})


def happens(
    kind: EventKind,
    *,
    state: str,
    reason: str = "NULL",
    counts: str = "NULL",
    gen: str = "gen",
    when: str = "TRUE",
) -> str:
    """Assignments of an UPDATE of a job that tell of it: one event more, the oldest dropped where there are many.

    All arguments but ``kind`` are SQL; columns have their values from before the update. ``when``: a condition.
    """
    event = (
        f"json_object('sequence', happened + 1, 'kind', '{kind}', 'at', {_NOW}, 'gen', {gen}, 'state', {state},"
        f" 'reason', {reason}, 'counts', json({counts}))"
    )
    kept = f"CASE WHEN json_array_length(events) < {EVENTS_KEPT} THEN events ELSE json_remove(events, '$[0]') END"
    return statement(
        f"events = CASE WHEN {when} THEN json_insert({kept}, '$[#]', {event}) ELSE events END,"
        f" happened = happened + ({when})"
    )


# A body is written once and may be large; apart from its item, it is not rewritten with every change of state.
_TABLES = """
CREATE TABLE IF NOT EXISTS models (
    model_id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    last_rebalance_date INTEGER,
    positions INTEGER NOT NULL,
    portfolios INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS models_by_rebalance ON models (last_rebalance_date, model_id);

CREATE TABLE IF NOT EXISTS model_portfolios (
    portfolio_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    PRIMARY KEY (portfolio_id, model_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS model_portfolios_by_model ON model_portfolios (model_id);

CREATE TABLE IF NOT EXISTS model_securities (
    security_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    PRIMARY KEY (security_id, model_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS model_securities_by_model ON model_securities (model_id);

CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT PRIMARY KEY,
    model_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    spec BLOB NOT NULL,
    state TEXT NOT NULL,
    gen INTEGER NOT NULL DEFAULT 0,
    parallelism INTEGER NOT NULL,
    deadline TEXT,
    retry BLOB,
    stop_to TEXT,
    reason TEXT,
    probe_at INTEGER,
    probes INTEGER NOT NULL DEFAULT 0,
    counts TEXT NOT NULL DEFAULT '{{}}',
    healing TEXT NOT NULL DEFAULT '{{}}',
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    deleted_at INTEGER,
    events TEXT NOT NULL DEFAULT '[]',
    happened INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_by_age ON jobs (created_at, job_id);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created_at);
CREATE INDEX IF NOT EXISTS jobs_by_model ON jobs (model_id, created_at);
CREATE INDEX IF NOT EXISTS jobs_untold ON jobs (created_at) WHERE told < happened;
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS members (
    sha256 TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (sha256, first)
);

CREATE TABLE IF NOT EXISTS inputs (
    job_id TEXT PRIMARY KEY,
    snapshot BLOB NOT NULL,
    sha256 TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY,
    item_id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL,
    portfolio_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    fence INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    gen INTEGER NOT NULL,
    given_back INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    seat INTEGER,
    touched INTEGER NOT NULL,
    not_before INTEGER,
    reason TEXT,
    out TEXT,
    past_attempts TEXT NOT NULL DEFAULT '[]'
);
-- The bound: at most one running item on each seat of a job.
CREATE UNIQUE INDEX IF NOT EXISTS items_by_seat ON items (job_id, seat) WHERE seat IS NOT NULL;
CREATE INDEX IF NOT EXISTS items_by_state ON items (job_id, state, seq);
CREATE INDEX IF NOT EXISTS items_to_claim ON items (job_id, given_back, seq) WHERE state = {PENDING};
CREATE INDEX IF NOT EXISTS items_by_seq ON items (job_id, seq);
-- For people who ask what became of a portfolio; written once, no later change of an item touches it.
CREATE INDEX IF NOT EXISTS items_by_portfolio ON items (portfolio_id, job_id);
CREATE INDEX IF NOT EXISTS items_in_work ON items (touched) WHERE state = {RUNNING};
CREATE INDEX IF NOT EXISTS items_delayed ON items (not_before) WHERE state = {DELAYED};
CREATE INDEX IF NOT EXISTS items_due ON items (touched) WHERE out = {DUE};

CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS inlines (id INTEGER PRIMARY KEY, inline BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS results (id INTEGER PRIMARY KEY, result BLOB NOT NULL, order_set BLOB);
"""

TABLES = tuple(statement(_TABLES).split(";\n"))

# Stands in the file (`PRAGMA user_version`): a file with other tables is refused, not used until a statement fails.
VERSION = crc32("".join(TABLES).encode()) & 0x7FFFFFFF
