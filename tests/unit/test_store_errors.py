"""What each library error means, and that none is forgotten."""

import inspect
import sqlite3

import pytest
from pymongo import errors

from adapters.stores.mongo.errors import MEANINGS, UNAVAILABLE_CODES, Meaning, check_bulk
from adapters.stores.mongo.errors import unavailable as mongo_unavailable
from adapters.stores.sqlite.connection import UNAVAILABLE
from adapters.stores.sqlite.connection import unavailable as sqlite_unavailable
from domain.errors import StoreUnavailable

# SQLite's primary result codes that are answers, or mistakes of ours, and so stay loud.
SQLITE_OURS = frozenset(
    {
        sqlite3.SQLITE_OK,
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_INTERNAL,
        sqlite3.SQLITE_ABORT,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_NOTFOUND,
        sqlite3.SQLITE_EMPTY,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_NOTICE,
        sqlite3.SQLITE_WARNING,
        sqlite3.SQLITE_ROW,
        sqlite3.SQLITE_DONE,
    }
)
PRIMARY_CODES = range(102)  # an extended code is larger than a byte
NOT_RESULT_CODES = ("SQLITE_DENY", "SQLITE_IGNORE", "SQLITE_LIMIT_", "SQLITE_DBCONFIG_")


def mongo_errors() -> list[type[errors.PyMongoError]]:
    return [
        kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.PyMongoError) and not name.startswith("_")
    ]


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = code
    return error


# ------------------------------------------------------------------------------------------------ SQLite


def test_every_result_code_of_sqlite_is_judged() -> None:
    # Action codes (SQLITE_READ ...) share the numbers; the error names of the documentation are those listed here.
    judged = UNAVAILABLE.keys() | SQLITE_OURS
    assert not UNAVAILABLE.keys() & SQLITE_OURS
    assert judged == {*range(29), sqlite3.SQLITE_ROW, sqlite3.SQLITE_DONE}


@pytest.mark.parametrize("code", sorted(UNAVAILABLE))
@pytest.mark.parametrize("extension", [0, 1 << 8, 9 << 8])
def test_a_code_that_means_unavailable_does_so_with_every_extension(code: int, extension: int) -> None:
    translated = sqlite_unavailable(sqlite_error(code | extension))
    assert isinstance(translated, StoreUnavailable)
    assert UNAVAILABLE[code] in translated.cause


@pytest.mark.parametrize("code", sorted(SQLITE_OURS))
def test_a_mistake_in_our_sql_stays_loud(code: int) -> None:
    assert sqlite_unavailable(sqlite_error(code)) is None


def test_an_error_of_the_module_itself_stays_loud() -> None:
    assert sqlite_unavailable(sqlite3.ProgrammingError("Cannot operate on a closed database.")) is None


# ------------------------------------------------------------------------------------------------ MongoDB


def test_every_error_of_pymongo_is_judged() -> None:
    assert set(mongo_errors()) == MEANINGS.keys()


@pytest.mark.parametrize(
    "kind", [kind for kind, meaning in MEANINGS.items() if meaning is Meaning.UNAVAILABLE]
)
def test_an_error_that_passes_is_unavailable(kind: type[errors.PyMongoError]) -> None:
    assert isinstance(mongo_unavailable(kind("gone")), StoreUnavailable)


@pytest.mark.parametrize(
    "error",
    [
        errors.PyMongoError("?"),
        errors.DuplicateKeyError("E11000", 11000),
        errors.InvalidOperation("no"),
        errors.OperationFailure("unknown operator", 2),
        errors.WriteError("document failed validation", 121),
        errors.BulkWriteError({"writeErrors": [], "writeConcernErrors": []}),
    ],
)
def test_a_mistake_of_ours_stays_loud(error: errors.PyMongoError) -> None:
    assert mongo_unavailable(error) is None


@pytest.mark.parametrize("code", sorted(UNAVAILABLE_CODES))
def test_a_server_that_cannot_serve_says_so_by_its_code(code: int) -> None:
    translated = mongo_unavailable(errors.OperationFailure("not now", code))
    assert isinstance(translated, StoreUnavailable)
    assert "not now" in translated.cause


def test_an_error_below_a_known_one_means_the_same() -> None:
    class NewerError(errors.NetworkTimeout):
        pass

    assert isinstance(mongo_unavailable(NewerError("late")), StoreUnavailable)


def bulk_error(*codes: int, concern: bool = False) -> errors.BulkWriteError:
    return errors.BulkWriteError(
        {
            "writeErrors": [{"code": code} for code in codes],
            "writeConcernErrors": [{"code": 64}] if concern else [],
        }
    )


def test_documents_that_are_there_already_are_no_error() -> None:
    check_bulk(bulk_error(11000, 11000))


@pytest.mark.parametrize(
    "error", [bulk_error(11000, concern=True), bulk_error(concern=True), bulk_error(11000, 91)]
)
def test_an_insert_that_may_not_survive_is_unavailable(error: errors.BulkWriteError) -> None:
    with pytest.raises(StoreUnavailable):
        check_bulk(error)


def test_another_error_among_duplicates_stays_loud() -> None:
    with pytest.raises(errors.BulkWriteError):
        check_bulk(bulk_error(11000, 121))
