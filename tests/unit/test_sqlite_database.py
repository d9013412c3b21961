"""How one SQLite file is shared, and how it is lost."""

import errno
import fcntl
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapters.stores.sqlite import SqliteStore, items, jobs
from adapters.stores.sqlite.connection import Database, Durable, Synchronous
from adapters.stores.sqlite.schema import TABLES
from domain.errors import StoreUnavailable

PATIENCE = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path, synchronous=Synchronous.OFF, timeout_seconds=0.1)
    with database.write() as db:
        db.execute("CREATE TABLE t (x INTEGER)")
    yield database
    database.close()


def rows(database: Database) -> list[int]:
    with database.read() as db:
        return [row["x"] for row in db.execute("SELECT x FROM t ORDER BY x").fetchall()]


def insert(database: Database, number: int) -> None:
    with database.write() as db:
        db.execute("INSERT INTO t VALUES (?)", (number,))


# ------------------------------------------------------------------------------------------------ reading, writing


@pytest.mark.parametrize(("setting", "number"), [("off", 0), ("normal", 1), ("full", 2)])
def test_a_file_is_in_wal_mode_and_as_durable_as_asked(path: Path, setting: str, number: int) -> None:
    database = Database(path, synchronous=Synchronous(setting), timeout_seconds=1)
    with database.read() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == number
    database.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[str]:
    """What is brought to the disk: names relative to the database's folder. Its writers' lock is free meanwhile."""
    names: list[str] = []

    def watched(sync: Callable[[int], None]) -> Callable[[int], None]:
        def note(file: int) -> None:
            with Path(f"{path}.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            names.extend(
                each.name
                for each in (path.parent, *path.parent.iterdir())
                if os.path.samestat(os.fstat(file), each.stat())
            )
            sync(file)

        return note

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    return names


def created(path: Path, setting: str = "full") -> Database:
    database = Database(path, synchronous=Synchronous(setting), timeout_seconds=1)
    with database.write() as db:
        db.execute("CREATE TABLE t (x INTEGER)")
    return database


def insert_as(database: Database, durable: Durable) -> int:
    """How SQLite itself commits it."""
    with database.write(durable) as db:
        db.execute("INSERT INTO t VALUES (1)")
        return int(db.execute("PRAGMA synchronous").fetchone()[0])


def test_a_store_is_fully_durable_unless_told_otherwise(path: Path) -> None:
    store = SqliteStore(path)
    with store._database.read() as db:
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
    store.close()


def test_a_write_that_is_durable_when_it_returns_is_synced_after_its_turn(
    path: Path, synced: list[str]
) -> None:
    database = created(path)
    assert insert_as(database, Durable.BEFORE_RETURN) == 1
    assert synced == [path.parent.name, "store.db-wal"]  # the folder once: the log may be new in it
    insert_as(database, Durable.BEFORE_RETURN)
    assert synced[2:] == ["store.db-wal"]
    database.close()


def test_a_write_that_may_be_undone_waits_for_no_disk_and_is_seen_at_once(
    path: Path, synced: list[str]
) -> None:
    database = created(path)
    assert insert_as(database, Durable.LATER) == 1
    assert synced == []
    assert rows(database) == [1]
    database.close()


def test_all_other_writes_are_on_disk_before_anybody_reads_them_whatever_was_written_before(
    path: Path,
) -> None:
    database = created(path)
    insert_as(database, Durable.LATER)
    with database.write() as db:
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
    database.close()


@pytest.mark.parametrize(("setting", "number"), [("off", 0), ("normal", 1)])
def test_nothing_is_synced_where_no_promise_asks_for_it(
    path: Path, synced: list[str], setting: str, number: int
) -> None:
    database = created(path, setting)
    assert insert_as(database, Durable.BEFORE_RETURN) == number
    database.close()
    assert synced == []


def test_what_the_steward_publishes_is_on_disk_first(path: Path, synced: list[str]) -> None:
    """Its writer committed and may still wait for the disk."""
    store = SqliteStore(path)
    store.prepare()
    store.due_items(0)
    assert synced[-1] == "store.db-wal"
    store.close()


def test_a_disk_that_fails_the_sync_is_unavailable_and_its_connection_is_dropped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = created(path)

    def failing(_file: int) -> None:
        raise OSError(errno.EIO, "the disk has gone")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", failing)
        with pytest.raises(StoreUnavailable, match="the disk has gone"):
            insert_as(database, Durable.BEFORE_RETURN)
        assert database._idle == []
    insert(database, 2)
    assert rows(database)[-1] == 2
    database.close()


def test_an_error_inside_a_transaction_leaves_no_trace(database: Database) -> None:
    def half_done() -> None:
        with database.write() as db:
            db.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    insert(database, 2)
    assert rows(database) == [2]


def test_a_mistake_in_the_sql_stays_loud_and_the_database_works_on(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"), database.write() as db:
        db.execute("INSERT INTO nowhere VALUES (1)")
    insert(database, 1)
    assert rows(database) == [1]


def test_a_reader_is_not_held_up_by_a_writer(database: Database) -> None:
    with database.write() as db:
        db.execute("INSERT INTO t VALUES (1)")
        assert rows(database) == []
    assert rows(database) == [1]


def test_writers_in_threads_take_turns(database: Database) -> None:
    """With SQLite's own lock alone, a wait of 0.1 s would end in an error."""

    def slow(number: int) -> None:
        with database.write() as db:
            db.execute("INSERT INTO t VALUES (?)", (number,))
            time.sleep(0.05)  # hold the turn for longer than the others' patience with SQLite's lock

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(slow, range(6)))
    assert rows(database) == list(range(6))


def test_a_connection_goes_from_thread_to_thread(database: Database) -> None:
    for number in range(3):
        thread = threading.Thread(target=insert, args=(database, number))
        thread.start()
        thread.join()
    assert rows(database) == [0, 1, 2]
    assert len(database._idle) == 1


# ------------------------------------------------------------------------------------------------ out of reach


def test_a_file_locked_by_another_program_is_unavailable_until_it_lets_go(
    database: Database, path: Path
) -> None:
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        insert(database, 1)
    foreign.execute("ROLLBACK")
    foreign.close()
    insert(database, 2)
    assert rows(database) == [2]


def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    database = Database(tmp_path / "nowhere" / "store.db", synchronous=Synchronous.FULL, timeout_seconds=1)
    with pytest.raises(StoreUnavailable, match="nowhere"), database.read():
        pass


def test_a_path_that_is_a_directory_is_unavailable(tmp_path: Path) -> None:
    database = Database(tmp_path, synchronous=Synchronous.FULL, timeout_seconds=1)
    with pytest.raises(StoreUnavailable, match="cannot be opened"), database.read():
        pass


def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.write_bytes(b"a letter to a friend" * 100)
    database = Database(path, synchronous=Synchronous.FULL, timeout_seconds=1)
    with pytest.raises(StoreUnavailable, match="not a database"), database.read():
        pass


def test_a_damaged_file_is_unavailable_and_its_connection_is_dropped(database: Database, path: Path) -> None:
    insert(database, 1)
    database.close()  # what was written goes from the log to the file
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100] + bytes(size - 100))
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"damaged|not a database"):
            rows(database)
        assert database._idle == []


def test_the_lock_file_is_not_for_everybody_to_write(database: Database, path: Path) -> None:
    mode = stat.S_IMODE(Path(f"{path}.lock").stat().st_mode)
    assert not mode & stat.S_IWOTH
    assert rows(database) == []


def test_a_relative_path_stays_where_it_was_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(Path("store.db"), synchronous=Synchronous.OFF, timeout_seconds=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with database.write() as db:
        db.execute("CREATE TABLE t (x INTEGER)")
    database.close()
    assert (tmp_path / "store.db").exists()


# ------------------------------------------------------------------------------------------------ forks


def test_a_fork_waits_for_what_is_in_use_and_finds_nothing_open(database: Database) -> None:
    reading, read_on, forked = threading.Event(), threading.Event(), threading.Event()

    def reader() -> None:
        with database.read():
            reading.set()
            assert read_on.wait(PATIENCE)

    def fork() -> None:
        database.before_fork()
        assert database._idle == []
        forked.set()
        database.after_fork_in_parent()

    with ThreadPoolExecutor(2) as pool:
        in_use = pool.submit(reader)
        assert reading.wait(PATIENCE)
        forking = pool.submit(fork)
        assert not forked.wait(0.05)
        read_on.set()
        in_use.result(PATIENCE)
        forking.result(PATIENCE)
    insert(database, 1)
    assert rows(database) == [1]


def test_a_child_starts_afresh_whoever_stood_in_the_queue(database: Database) -> None:
    insert(database, 1)
    database.before_fork()
    inherited = database._turn
    database.after_fork_in_child()
    assert rows(database) == [1]
    inherited.release()


# ------------------------------------------------------------------------------------------------ statements


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (items._CLAIM, "items_to_claim (job_id=?)"),
        (items._NEXT_PENDING, "items_to_claim (job_id=?)"),
        (items._LAPSED, "items_in_work (touched<?)"),
        (items._WAKE, "items_delayed (not_before<?)"),
        (items._DUE, "items_due (touched<?)"),
        (items._SWEEP, "items_by_state (job_id=? AND state=?)"),
        (items._REOPEN, "items_by_state (job_id=? AND state=?)"),
        (items._COUNT, "items_by_state (job_id=?)"),
        (items._BUSY_SEATS, "items_by_seat (job_id=?"),
        (jobs._CLOSABLE, "sqlite_autoindex_jobs_1 (job_id=?)"),
    ],
)
def test_what_runs_often_goes_by_its_index(path: Path, statement: str, index: str) -> None:
    db = sqlite3.connect(path)
    for table in TABLES:
        db.execute(table)
    named = dict.fromkeys(re.findall(r":(\w+)", statement), 0)
    parameters = named or (0,) * statement.count("?")
    plan = " / ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))
    db.close()
    assert index in plan
    assert "SCAN items" not in plan
    assert "USE TEMP B-TREE" not in plan
