"""A store by URL."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol
from urllib.parse import unquote

from adapters.stores.mongo import MongoStore
from adapters.stores.sqlite import SqliteStore, Synchronous
from domain.errors import Invalid
from domain.ports import JobStore, ModelStore


class Store(ModelStore, JobStore, Protocol):
    """Both ports, on one database."""

    def close(self) -> None:
        """Let go of connections. A later call opens them again."""


def open_store(url: str, *, synchronous: str = "full", timeout_seconds: float = 30.0) -> Store:
    """A store that connects when it is first used, in whatever process that is.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``mongodb://host/database`` or ``mongodb+srv://``.
        synchronous: SQLite only: ``full`` (a commit is on disk), ``normal`` or ``off``.
        timeout_seconds: how long one call may wait for the database.

    Raises:
        Invalid: another scheme, no path, or an unknown ``synchronous``.
    """
    scheme, separator, _ = url.partition("://")
    opener = _OPENERS.get(scheme) if separator else None
    if opener is None:
        raise Invalid(
            f"cannot open a store at {scheme}://: use {', '.join(f'{known}://' for known in _OPENERS)}"
        )
    return opener(url, synchronous, timeout_seconds)


def _sqlite(url: str, synchronous: str, timeout_seconds: float) -> Store:
    path = unquote(url.removeprefix("sqlite:///"))
    if not path or path == url:
        raise Invalid(
            "a SQLite URL is sqlite:/// and a path: sqlite:///relative.db or sqlite:////absolute.db"
        )
    if synchronous not in tuple(Synchronous):
        raise Invalid(f"synchronous is one of {', '.join(Synchronous)}, not {synchronous!r}")
    return SqliteStore(Path(path), synchronous=Synchronous(synchronous), timeout_seconds=timeout_seconds)


def _mongo(url: str, _synchronous: str, timeout_seconds: float) -> Store:
    return MongoStore(url, timeout_seconds=timeout_seconds)


_OPENERS: Mapping[str, Callable[[str, str, float], Store]] = MappingProxyType(
    {"sqlite": _sqlite, "mongodb": _mongo, "mongodb+srv": _mongo}
)
