"""Every error of pymongo in the domain's words, in this one place.

An error either means that the database does not serve now, which the caller waits out, or it is a mistake in our code
and stays loud. A duplicate key is neither: it is an answer, and is caught where it is expected.
"""

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

from pymongo import errors

from domain.errors import StoreUnavailable

SERVICE = "mongodb"


class Meaning(Enum):
    """What an error says about the database."""

    UNAVAILABLE = auto()
    BY_CODE = auto()  # the server refused: its code says why
    OURS = auto()  # a mistake in our code, or an answer that was not expected where it came


MEANINGS: Mapping[type[errors.PyMongoError], Meaning] = MappingProxyType(
    {
        # no server, or none that may write
        errors.ConnectionFailure: Meaning.UNAVAILABLE,
        errors.AutoReconnect: Meaning.UNAVAILABLE,
        errors.NetworkTimeout: Meaning.UNAVAILABLE,
        errors.NotPrimaryError: Meaning.UNAVAILABLE,
        errors.ServerSelectionTimeoutError: Meaning.UNAVAILABLE,
        errors.WaitQueueTimeoutError: Meaning.UNAVAILABLE,
        errors.ExecutionTimeout: Meaning.UNAVAILABLE,
        errors.ProtocolError: Meaning.UNAVAILABLE,
        # written, but not known to survive: the write is repeated and recognised
        errors.WriteConcernError: Meaning.UNAVAILABLE,
        errors.WTimeoutError: Meaning.UNAVAILABLE,
        # lost with the server that held it
        errors.CursorNotFound: Meaning.UNAVAILABLE,
        # a name that does not resolve, an option the server does not know: for the operator, while we wait
        errors.ConfigurationError: Meaning.UNAVAILABLE,
        errors.InvalidURI: Meaning.UNAVAILABLE,
        # refused
        errors.OperationFailure: Meaning.BY_CODE,
        errors.WriteError: Meaning.BY_CODE,
        # ours
        errors.PyMongoError: Meaning.OURS,
        errors.DuplicateKeyError: Meaning.OURS,
        errors.BulkWriteError: Meaning.OURS,
        errors.ClientBulkWriteException: Meaning.OURS,
        errors.InvalidName: Meaning.OURS,
        errors.InvalidOperation: Meaning.OURS,
        errors.CollectionInvalid: Meaning.OURS,
        errors.EncryptionError: Meaning.OURS,
        errors.EncryptedCollectionError: Meaning.OURS,
    }
)

# Server codes that come as a plain OperationFailure and pass, or that only an operator can mend.
UNAVAILABLE_CODES = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        13,  # Unauthorized
        18,  # AuthenticationFailed
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        100,  # UnsatisfiableWriteConcern
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)
DUPLICATE_KEY = 11000


def unavailable(error: errors.PyMongoError) -> StoreUnavailable | None:
    """The error in the domain's words, or None for one that must stay loud."""
    meaning = next(MEANINGS[kind] for kind in type(error).__mro__ if kind in MEANINGS)
    if meaning is Meaning.BY_CODE:
        refused = isinstance(error, errors.OperationFailure) and error.code in UNAVAILABLE_CODES
        meaning = Meaning.UNAVAILABLE if refused else Meaning.OURS
    return StoreUnavailable(SERVICE, str(error)) if meaning is Meaning.UNAVAILABLE else None


def check_bulk(error: errors.BulkWriteError) -> None:
    """Pass an insert that failed for nothing but documents that are there already.

    Raises:
        StoreUnavailable: some were not written, or not known to survive.
        BulkWriteError: anything else.
    """
    codes = {fault["code"] for fault in error.details["writeErrors"]}
    if error.details["writeConcernErrors"] or codes & UNAVAILABLE_CODES:
        raise StoreUnavailable(SERVICE, str(error)) from error
    if codes != {DUPLICATE_KEY}:
        raise error
