"""API keys: who may do what over HTTP. Made here, kept as hashes in one file, looked up at every request.

A key is ``trimtab_<id>_<secret>``: a public id of 12 hex digits, which may stand in logs, and 256 random bits. So
many random bits cannot be guessed from their SHA-256, however quick that is; a slow hash would only let strangers
burn our processors. It holds for keys we make ourselves: nobody chooses one.
"""

import fcntl
import hmac
import json
import os
import re
import secrets
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from domain.errors import Invalid, NotFound
from domain.ports import Clock

KEYS_SCHEMA: Final = "trimtab.api-keys.v1"

_KEY = re.compile(r"trimtab_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_NOBODY = "0" * 64  # compared with where there is no such key, so that the answer takes as long
_MAX_FILE_BYTES = 4 * 1024 * 1024
_READ_AGAIN = timedelta(seconds=1)  # a file that could not be read, and has not changed since

_log = structlog.get_logger(__name__)


class Role(StrEnum):
    """What a key may do; one key may have several."""

    READ = "read"  # look at everything
    SUBMIT = "submit"  # post jobs and rebalances, and get the answers to these calls
    OPERATE = "operate"  # change jobs: cancel, retry, parallelism, republish
    ADMIN = "admin"  # change models, delete rebalances


# What each role lets through, beside itself.
GRANTS: Mapping[Role, frozenset[Role]] = {
    Role.READ: frozenset({Role.READ}),
    Role.SUBMIT: frozenset({Role.SUBMIT}),
    Role.OPERATE: frozenset({Role.OPERATE, Role.READ}),
    Role.ADMIN: frozenset(Role),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is kept of a key: everything but its secret. ``sha256`` is over the secret, in hex."""

    key_id: str
    name: str
    roles: frozenset[Role]
    sha256: str
    created_at: datetime
    expires_at: datetime | None = None

    def may(self, role: Role) -> bool:
        return any(role in GRANTS[each] for each in self.roles)

    def expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    @property
    def label(self) -> str:
        """Whose it is, for logs and people: the name and the public id."""
        return f"{self.name} ({self.key_id})"


# ------------------------------------------------------------------------------------------------ looking up


class KeyRing:
    """The keys of a file, read again whenever it has changed: a new or revoked key counts from the next request on.

    A file that cannot be read any more leaves the keys as they were read last, and is told in the log: a slip of
    somebody's hand must not lock every caller out. It is looked at again when anything about it changes, its mode
    and owner too, and every second besides: what was in the way may be no part of the file (too many open files),
    and until it is read a revoked key is still valid. Safe to ask from several threads.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Reads the file.

        Raises:
            Invalid: it cannot be read, or holds no key at all.
        """
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = _fingerprint(path)
        self._failed_at: datetime | None = None
        self._told = ""
        self._keys = {key.key_id: key for key in read_keys(path)}
        if not self._keys:
            raise Invalid(f"{path} holds no key: make one with 'trimtab keys add'", code="no_keys")

    def find(self, text: str) -> ApiKey | None:
        """The key that this text is, unless it is unknown, wrong, revoked or expired."""
        match = _KEY.fullmatch(text)
        key_id, secret = match.groups() if match else ("", "")
        key = self._current().get(key_id)
        right = hmac.compare_digest(_hashed(secret), _NOBODY if key is None else key.sha256)
        return key if key is not None and right and not key.expired(self._clock.now()) else None

    def standing(self, key_id: str) -> ApiKey | None:
        """The key of this id, unless it is unknown, revoked or expired. For whoever has shown it before."""
        key = self._current().get(key_id)
        return key if key is not None and not key.expired(self._clock.now()) else None

    def _current(self) -> Mapping[str, ApiKey]:
        seen = _fingerprint(self._path)
        if seen != self._seen or self._failed_long_ago():
            with self._lock:
                self._read_again(seen)
        return self._keys

    def _failed_long_ago(self) -> bool:
        """Either way: a clock that was put back must not make it long."""
        failed_at = self._failed_at
        return failed_at is not None and abs(self._clock.now() - failed_at) >= _READ_AGAIN

    def _read_again(self, seen: tuple[int, ...]) -> None:
        try:
            self._keys = {key.key_id: key for key in read_keys(self._path)}
        except Invalid as error:
            if seen != self._seen or str(error) != self._told:
                _log.error(
                    "api_keys.unreadable",
                    error=str(error),
                    still_valid=len(self._keys),
                    advice="mend the file: it is read again by itself, and until then a revoked key still counts",
                )
            self._failed_at, self._told = self._clock.now(), str(error)
        else:
            _log.info("api_keys.read", keys=len(self._keys))
            self._failed_at = None
        self._seen = seen


def _fingerprint(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    # The time of the last change of mode or owner is in st_ctime alone.
    return (
        found.st_ino,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_size,
        found.st_mode,
        found.st_uid,
        found.st_gid,
    )


def _hashed(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


# ------------------------------------------------------------------------------------------------ changing


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """``text`` is the key itself: told once, kept nowhere."""

    key: ApiKey
    text: str


class KeyFile:
    """Changes of the file, one at a time whoever makes them, each all or nothing."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def entries(self) -> Sequence[ApiKey]:
        """Raises Invalid: the file cannot be read."""
        return read_keys(self._path)

    def add(self, name: str, roles: frozenset[Role], *, lasts: timedelta | None = None) -> NewKey:
        """Raises Invalid: the file cannot be read or written, or the name cannot be used."""
        made = self._made(name, roles, None if lasts is None else self._clock.now() + lasts)
        with self._changing(create=True) as change:
            change(lambda keys: [*keys, made.key])
        return made

    def rotate(self, key_id: str, *, overlap: timedelta) -> NewKey:
        """A new key of the same name and roles; the old one ends after ``overlap``.

        Raises:
            NotFound: no such key.
            Invalid: the file cannot be read or written.
        """
        ends = self._clock.now() + overlap
        with self._changing() as change:
            old = self._known(key_id)
            made = self._made(old.name, old.roles, old.expires_at)
            ending = replace(old, expires_at=min(ends, old.expires_at or ends))
            change(lambda keys: [*(ending if key.key_id == key_id else key for key in keys), made.key])
        return made

    def revoke(self, key_id: str) -> ApiKey:
        """Raises NotFound: no such key. Invalid: the file cannot be read or written."""
        with self._changing() as change:
            gone = self._known(key_id)
            change(lambda keys: [key for key in keys if key.key_id != key_id])
        return gone

    def _known(self, key_id: str) -> ApiKey:
        for key in read_keys(self._path):
            if key.key_id == key_id:
                return key
        raise NotFound("key", key_id)

    def _made(self, name: str, roles: frozenset[Role], expires_at: datetime | None) -> NewKey:
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        try:
            entry = _Entry(
                id=key_id,
                name=name,
                roles=sorted(roles),
                sha256=_hashed(secret),
                created_at=self._clock.now(),
                expires_at=expires_at,
            )
        except ValidationError as error:
            fault = error.errors()[0]
            raise Invalid(f"{fault['loc'][0]}: {fault['msg']}") from None
        return NewKey(key=entry.key(), text=f"trimtab_{key_id}_{secret}")

    @contextmanager
    def _changing(
        self, *, create: bool = False
    ) -> Iterator[Callable[[Callable[[Sequence[ApiKey]], Sequence[ApiKey]]], None]]:
        def change(made_of: Callable[[Sequence[ApiKey]], Sequence[ApiKey]]) -> None:
            old = () if create and not self._path.exists() else read_keys(self._path)
            _write(self._path, made_of(old))

        try:
            if create:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            # A file of its own: the keys' own file is another one after each change.
            with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield change
        except OSError as error:
            raise Invalid(f"cannot change {self._path}: {error.strerror or error}") from None


# ------------------------------------------------------------------------------------------------ the file


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Entry(_Strict):
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    roles: Annotated[list[Role], Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None

    def key(self) -> ApiKey:
        return ApiKey(
            key_id=self.id,
            name=self.name,
            roles=frozenset(self.roles),
            sha256=self.sha256,
            created_at=self.created_at,
            expires_at=self.expires_at,
        )


class _Document(_Strict):
    schema_: Annotated[Literal["trimtab.api-keys.v1"], Field(alias="schema")]
    keys: list[_Entry]


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Every key of the file.

    Raises:
        Invalid: it is not there, not ours, has a key twice, or anybody but its owner may write to it.
    """
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
                raise Invalid(f"{path}: others than its owner may write to it; chmod go-w", code="bad_keys")
            document = _Document.model_validate_json(file.read(_MAX_FILE_BYTES))
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror or error}", code="bad_keys") from None
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise Invalid(f"{path} is no file of keys: {where} {fault['msg']}", code="bad_keys") from None
    if len({entry.id for entry in document.keys}) != len(document.keys):
        raise Invalid(f"{path} has a key twice", code="bad_keys")
    return tuple(entry.key() for entry in document.keys)


def _write(path: Path, keys: Sequence[ApiKey]) -> None:
    """Under another name first, then in the place of the old one: a reader sees the one or the other.

    The mode stays: who was let read the old one (the user of a container, say) reads the new one.
    """
    document = {"schema": KEYS_SCHEMA, "keys": [_entry(key) for key in keys]}
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for its owner alone
    try:
        with os.fdopen(handle, "w") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(json.dumps(document, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _entry(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.key_id,
        "name": key.name,
        "roles": sorted(key.roles),
        "sha256": key.sha256,
        "created_at": key.created_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
    }
