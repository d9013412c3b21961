"""Connections to one SQLite file: for many threads, for many processes, and across a fork.

A connection is used by one thread at a time and never crosses a fork: SQLite's locks belong to a process, and a child
that merely closes an inherited file would drop locks of its own (https://www.sqlite.org/howtocorrupt.html, 2.6). So the
idle connections are closed before every fork, and each side opens its own afterwards.

Writers queue at a lock file. SQLite's own busy handler polls, which starved one of two busy writers completely; the
kernel's queue is fair, wakes at once, and lets go of a process that dies.

SQLite syncs its log inside the commit, so a writer waits for the disk with the turn in hand. What workers write all
the time does without (``Durable``): it is committed under ``synchronous=NORMAL``, which keeps log and order whole and
may cost the log's end in a power cut, and where more is promised the log is synced after the turn. So the wait
goes on beside the next writer, and one sync is for all commits before it (docs/decisions/0021-sync-after-the-turn.md).
"""

import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum, StrEnum, auto
from pathlib import Path
from types import MappingProxyType

from domain.errors import StoreUnavailable

if sys.platform != "win32":
    import fcntl

SERVICE = "sqlite"


class Synchronous(StrEnum):
    """When a write counts as done. FULL: on disk. NORMAL: a power cut may undo the last ones. OFF: no promise."""

    FULL = "full"
    NORMAL = "normal"
    OFF = "off"


class Durable(Enum):
    """With FULL: when a write is on disk."""

    # Nobody ever reads what a power cut could undo.
    BEFORE_READ = auto()
    # Others may read it a moment before; its writer learns that it is on disk by the return.
    BEFORE_RETURN = auto()
    # With the next write of another kind: it only matters with that one, or while the machine is up.
    LATER = auto()


# SQLite's primary result codes that mean "the database cannot serve now". All others are mistakes in our code.
UNAVAILABLE: Mapping[int, str] = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: "the database is locked",
        sqlite3.SQLITE_LOCKED: "a table is locked",
        sqlite3.SQLITE_NOMEM: "out of memory",
        sqlite3.SQLITE_PERM: "access denied",
        sqlite3.SQLITE_READONLY: "the database is read-only",
        sqlite3.SQLITE_IOERR: "disk I/O error",
        sqlite3.SQLITE_CORRUPT: "the database file is damaged",
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
        sqlite3.SQLITE_PROTOCOL: "the locking protocol failed",
        sqlite3.SQLITE_NOTADB: "the file is not a database",
        sqlite3.SQLITE_NOLFS: "the file system does not take files of this size",
    }
)
_PRIMARY = 0xFF  # an extended result code carries its primary code in the low byte


def unavailable(error: sqlite3.Error) -> StoreUnavailable | None:
    """The error in the domain's words, or None for a mistake in our code (which must stay loud)."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    cause = None if code is None else UNAVAILABLE.get(code & _PRIMARY)
    return None if cause is None else StoreUnavailable(SERVICE, f"{cause} ({error})")


class _Handle:
    """A connection, and its own open lock file: two threads that shared one would not exclude each other."""

    __slots__ = ("_lock_file", "_log", "_path", "_synchronous", "connection")

    def __init__(self, path: Path, synchronous: Synchronous, timeout_seconds: float) -> None:
        self._path = path
        self._synchronous = synchronous
        self._log: int | None = None  # the write-ahead log, open to be synced
        self._lock_file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self.connection = _connect(path, synchronous, timeout_seconds)
        except BaseException:
            os.close(self._lock_file)
            raise
        try:
            self._write_ahead()
        except BaseException:
            self.close()
            raise

    def _write_ahead(self) -> None:
        """The change to WAL ignores SQLite's busy handler, so one process makes it at a time. The file remembers."""
        if self.connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            with self.turn():
                self.connection.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the right to write, in the kernel's queue."""
        if sys.platform == "win32":
            yield  # no flock there: SQLite's busy handler is all the queue there is
            return
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def commits(self, synchronous: Synchronous) -> None:
        """What SQLite does at the commits from now on."""
        if synchronous is not self._synchronous:
            self.connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous

    def sync(self) -> None:
        """Bring every commit so far to the disk. After a transaction on this connection.

        While the connection is open its log is neither replaced nor deleted. A log that another writer has begun anew
        meanwhile is one that SQLite has synced, and copied to the synced database, before. Nobody locks the log, so
        closing this descriptor drops no lock of SQLite's.

        Raises:
            OSError: the disk failed.
        """
        if self._log is None:
            _sync_folder(self._path.parent)  # SQLite does it at its own first sync of a log that it made
            self._log = os.open(f"{self._path}-wal", os.O_RDWR | os.O_CLOEXEC)
        _to_disk(self._log)

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.connection.close()
        if self._log is not None:
            os.close(self._log)
        os.close(self._lock_file)


def _sync_folder(folder: Path) -> None:
    entry = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def _to_disk(file: int) -> None:
    if sys.platform in {"darwin", "win32"}:
        os.fsync(file)
    else:
        os.fdatasync(file)  # the size, too, and not the times


def _connect(path: Path, synchronous: Synchronous, timeout_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout_seconds, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA synchronous = {synchronous}")
    except BaseException:
        connection.close()
        raise
    return connection


class Database:
    """One SQLite file. ``read`` and ``write`` are the only doors, and translate its errors."""

    def __init__(self, path: Path, *, synchronous: Synchronous, timeout_seconds: float) -> None:
        self._path = path.absolute()
        self._synchronous = synchronous
        # Without turns, on Windows, there is nothing to hand on: SQLite syncs each commit.
        self._syncs = synchronous is Synchronous.FULL and sys.platform != "win32"
        self._timeout_seconds = timeout_seconds
        self._turn = threading.Condition()
        self._idle: list[_Handle] = []
        self._in_use = 0
        _forks.watch(self)

    @property
    def path(self) -> Path:
        return self._path

    def make_folder(self) -> None:
        """Where the file is to stand.

        Raises:
            StoreUnavailable: it cannot be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(SERVICE, f"cannot make the folder of the file ({error})") from error

    @contextmanager
    def read(self, *, on_disk: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection for reading. Fetch all rows inside.

        Args:
            on_disk: with FULL, what was read is on disk when this returns, though its writer may still wait for it.

        Raises:
            StoreUnavailable: the file cannot be read.
        """
        with self._handle() as handle:
            yield handle.connection
            if on_disk and self._syncs:
                handle.sync()

    @contextmanager
    def write(self, durable: Durable = Durable.BEFORE_READ) -> Iterator[sqlite3.Connection]:
        """A transaction that commits at the end, or leaves no trace.

        Raises:
            StoreUnavailable: nothing was written, unless the disk failed in or after the very commit.
        """
        with self._handle() as handle:
            if self._syncs:
                handle.commits(Synchronous.FULL if durable is Durable.BEFORE_READ else Synchronous.NORMAL)
            with handle.turn():
                handle.connection.execute("BEGIN IMMEDIATE")
                try:
                    yield handle.connection
                    handle.connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                        handle.connection.execute("ROLLBACK")
                    raise
            if self._syncs and durable is Durable.BEFORE_RETURN:
                handle.sync()

    def close(self) -> None:
        """Close what is idle. The next use opens again."""
        with self._turn:
            self._close_idle()

    @contextmanager
    def _handle(self) -> Iterator[_Handle]:
        with self._turn:
            self._in_use += 1
            handle = self._idle.pop() if self._idle else None
        try:
            if handle is None:
                handle = _Handle(self._path, self._synchronous, self._timeout_seconds)
            yield handle
        except (sqlite3.Error, OSError) as error:
            lost = StoreUnavailable(SERVICE, str(error)) if isinstance(error, OSError) else unavailable(error)
            if lost is None:
                raise
            if handle is not None:  # whatever is wrong with it, the next call starts afresh
                handle.close()
                handle = None
            raise lost from error
        finally:
            with self._turn:
                self._in_use -= 1
                if handle is not None:
                    self._idle.append(handle)
                self._turn.notify_all()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    # Around a fork: wait until nothing is in use, close all, and hold the door until the fork is done.

    def before_fork(self) -> None:
        self._turn.acquire()
        self._turn.wait_for(lambda: self._in_use == 0)
        self._close_idle()

    def after_fork_in_parent(self) -> None:
        self._turn.release()

    def after_fork_in_child(self) -> None:
        self._turn = threading.Condition()  # threads of the parent may stand in the old one's queue


class _Forks:
    """Tells every open database of a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._databases: weakref.WeakSet[Database] = weakref.WeakSet()
        self._told: tuple[Database, ...] = ()
        if sys.platform != "win32":
            os.register_at_fork(before=self._before, after_in_parent=self._parent, after_in_child=self._child)

    def watch(self, database: Database) -> None:
        with self._lock:
            self._databases.add(database)

    def _before(self) -> None:
        self._lock.acquire()
        self._told = tuple(self._databases)
        for database in self._told:
            database.before_fork()

    def _parent(self) -> None:
        for database in self._told:
            database.after_fork_in_parent()
        self._told = ()
        self._lock.release()

    def _child(self) -> None:
        for database in self._told:
            database.after_fork_in_child()
        self._told = ()
        self._lock = threading.Lock()


_forks = _Forks()
