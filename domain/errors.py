"""Everything that can go wrong, as one tree.

::

    TrimtabError
    ├── Invalid              the caller's input breaks a rule; sending it again cannot help
    ├── NotFound             no such model, job, portfolio
    ├── Conflict             the request contradicts what is stored
    │   ├── StaleVersion     somebody else changed it first: read again
    │   ├── AlreadyExists    a unique name or id is taken
    │   ├── KeyReused        the idempotency key was used with another body
    │   └── WrongState       the job is over, or is not, and what was asked needs the other
    ├── Unavailable          a dependency is out: give the work back and wait, no attempt is burned
    │   ├── UpstreamUnavailable
    │   ├── StoreUnavailable
    │   └── BrokerUnavailable
    ├── Busy                 over a limit just now; the very same request may be taken later
    ├── UpstreamFault        an upstream answered, but not with what it promises
    └── SolverFailed         the solver gave no answer that can be used
        └── SolverTimeout    ... within its time limit

Adapters translate every library error into one of these, in one place each.
"""

from collections.abc import Mapping
from typing import Any


class TrimtabError(Exception):
    """The root. ``code`` is stable and machine-readable; the message is for people."""

    code = "error"


class Invalid(TrimtabError):
    """The input breaks a rule. ``details`` names each fault: ``[{"field": ..., "message": ...}]``."""

    code = "invalid"

    def __init__(
        self, message: str, *, code: str = "invalid", details: tuple[Mapping[str, Any], ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class NotFound(TrimtabError):
    code = "not_found"

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"no {kind} {key!r}")
        self.kind = kind
        self.key = key
        self.code = f"{kind}_not_found"


class Conflict(TrimtabError):
    code = "conflict"


class StaleVersion(Conflict):
    code = "stale_version"

    def __init__(self, kind: str, key: str, expected: int) -> None:
        super().__init__(
            f"{kind} {key!r} is no longer at version {expected}: read it again and repeat the change"
        )


class AlreadyExists(Conflict):
    code = "already_exists"

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"{kind} {key!r} already exists")


class KeyReused(Conflict):
    code = "idempotency_key_reused"

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency key {key!r} was used before with another request")


class WrongState(Conflict):
    """What was asked does not fit the state of the job. ``code`` says what was asked."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(TrimtabError):
    code = "unavailable"

    def __init__(self, service: str, cause: str) -> None:
        super().__init__(f"{service} is unavailable: {cause}")
        self.service = service
        self.cause = cause


class UpstreamUnavailable(Unavailable):
    code = "upstream_unavailable"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class BrokerUnavailable(Unavailable):
    code = "broker_unavailable"


class Busy(TrimtabError):
    """Back-pressure: nothing is wrong with the request, there is only too much work already. Nothing was stored."""

    def __init__(self, message: str, *, code: str, retry_after_seconds: float) -> None:
        super().__init__(f"{message}; try again in {retry_after_seconds:g} s")
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class UpstreamFault(TrimtabError):
    """An answer that cannot be used: HTML for JSON, a missing field, a 4xx nobody expected."""

    code = "upstream_fault"

    def __init__(self, service: str, cause: str) -> None:
        super().__init__(f"{service} gave an answer that cannot be used: {cause}")
        self.service = service
        self.cause = cause


class SolverFailed(TrimtabError):
    code = "solver_failed"


class SolverTimeout(SolverFailed):
    code = "solver_timeout"
