"""One MongoClient per process, made when it is first used: a client does not survive a fork."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from bson.codec_options import TypeCodec, TypeRegistry
from bson.decimal128 import Decimal128
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase
from pymongo.errors import BulkWriteError, DocumentTooLarge, DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from adapters.stores.mongo.candidates import Candidates
from adapters.stores.mongo.errors import SERVICE, check_bulk, unavailable
from domain.errors import Invalid, StoreUnavailable

DEFAULT_DATABASE = "trimtab"

Document: TypeAlias = dict[str, Any]


class _DecimalCodec(TypeCodec):
    """Decimal to Decimal128 and back. A model's numbers have at most 34 digits, so nothing is lost either way."""

    @property
    def python_type(self) -> type[Decimal]:
        return Decimal

    @property
    def bson_type(self) -> type[Decimal128]:
        return Decimal128

    def transform_python(self, value: Decimal) -> Decimal128:
        return Decimal128(value)

    def transform_bson(self, value: Decimal128) -> Decimal:
        return value.to_decimal()


_MAJORITY = ReadConcern("majority")
_EXACT = TypeRegistry([_DecimalCodec()])


class Collections:
    """One process's client, the six collections, and the candidates this process has read."""

    __slots__ = ("candidates", "database", "inputs", "items", "jobs", "members", "models", "notes")

    def __init__(self, database: MongoDatabase[Document]) -> None:
        self.database = database
        exact = database.codec_options.with_options(type_registry=_EXACT)
        self.models: Collection[Document] = database.get_collection("models", codec_options=exact)
        self.jobs: Collection[Document] = database["jobs"]
        self.members: Collection[Document] = database["members"]
        self.inputs: Collection[Document] = database["inputs"]
        self.items: Collection[Document] = database["items"]
        self.notes: Collection[Document] = database["notes"]
        self.candidates = Candidates(self.items, self.jobs)

    def now(self) -> datetime:
        """The primary's clock, UTC."""
        moment: datetime = self.database.client.admin.command("hello")["localTime"]
        return moment.replace(tzinfo=UTC)

    def count_by_state(self, job_id: str) -> dict[str, int]:
        """Counted on what a majority has: a state that a failover takes back must not close a job."""
        pipeline: list[Document] = [
            {"$match": {"job_id": job_id}},
            {"$group": {"_id": "$state", "n": {"$sum": 1}}},
        ]
        counts = self.items.with_options(read_concern=_MAJORITY).aggregate(pipeline)
        return {group["_id"]: group["n"] for group in counts}


class Mongo:
    """A database by URL. ``open`` is the only door to it, and translates its errors.

    Whatever the URL says, writes are acknowledged by a majority that has journalled them, and reads go to the
    primary: the protocol's guarantees stand on it. One limit of time covers a call with all of its retries.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        # By process. What a fork inherited stays in the table, untouched: its sockets are the parent's.
        self._opened: dict[int, Collections] = {}

    @contextmanager
    def open(self) -> Iterator[Collections]:
        """The collections, through this process's client.

        Raises:
            StoreUnavailable: the database does not serve now; a write may or may not have happened.
            Invalid: a document larger than MongoDB takes.
        """
        try:
            yield self._collections()
        except DocumentTooLarge as error:
            raise Invalid(f"too large to be stored: {error}", code="too_large") from error
        except PyMongoError as error:
            lost = unavailable(error)
            if lost is None:
                raise
            raise lost from error

    def close(self) -> None:
        """Close this process's client. The next use makes another."""
        opened = self._opened.pop(os.getpid(), None)
        if opened is not None:
            opened.database.client.close()

    def _collections(self) -> Collections:
        opened = self._opened.get(os.getpid())
        if opened is None:  # of two threads here, one's client is dropped before it connected
            made = Collections(self._connect().get_default_database(DEFAULT_DATABASE))
            opened = self._opened.setdefault(os.getpid(), made)
        return opened

    def _connect(self) -> MongoClient[Document]:
        limit = round(self._timeout_seconds * 1000)
        return MongoClient(
            self._url,
            connect=False,
            appname="trimtab",
            w="majority",
            journal=True,
            retryWrites=True,
            retryReads=True,
            readPreference=ReadPreference.PRIMARY.mongos_mode,
            tz_aware=True,
            tzinfo=UTC,
            timeoutMS=limit,
            serverSelectionTimeoutMS=limit,
        )


def from_now(seconds: float) -> Document:
    """An expression, for an update by pipeline: so long after the server's present moment."""
    return {"$add": ["$$NOW", round(seconds * 1000)]}


def insert_once(collection: Collection[Document], document: Document) -> Document:
    """Insert unless the id is taken; what is stored.

    A server answers "duplicate" when a majority has what it found, as it does for a write of its own.

    Raises:
        StoreUnavailable: the id is taken, yet by nothing that can be read.
    """
    try:
        collection.insert_one(document)
    except DuplicateKeyError:
        stored = collection.find_one({"_id": document["_id"]})
        if stored is None:
            raise StoreUnavailable(SERVICE, f"{collection.name} {document['_id']} cannot be read") from None
        return stored
    return document


def insert_missing(collection: Collection[Document], documents: Sequence[Mapping[str, Any]]) -> None:
    """Insert those whose ids are free; the others stay as they are."""
    if documents:
        try:
            collection.insert_many(documents, ordered=False)  # type: ignore[arg-type]  # any mapping encodes
        except BulkWriteError as error:
            check_bulk(error)
