"""The store on one SQLite file: what runs with no server at all."""

from pathlib import Path

from adapters.stores.sqlite.connection import Database, Synchronous
from adapters.stores.sqlite.items import SqliteItems
from adapters.stores.sqlite.jobs import SqliteJobs
from adapters.stores.sqlite.models import SqliteModels


class SqliteStore(SqliteModels, SqliteJobs, SqliteItems):
    """Models, jobs and items in one file. Safe for many threads and processes, and across a fork."""

    def __init__(
        self, path: Path, *, synchronous: Synchronous = Synchronous.FULL, timeout_seconds: float = 30.0
    ) -> None:
        """Nothing is opened before the first use.

        Args:
            path: the database file; ``-wal``, ``-shm`` and ``.lock`` files stand beside it.
            synchronous: when a commit counts as done.
            timeout_seconds: how long to wait for a program that locks the file in SQLite's own way.
        """
        self._database = Database(path, synchronous=synchronous, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        """Close what is open and idle. A later call opens again."""
        self._database.close()


__all__ = ["SqliteStore", "Synchronous"]
