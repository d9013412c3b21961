"""What a watcher of calls is told: how each GET ended, and whether a breaker keeps calls from a service."""

from typing import Protocol

from adapters.upstream.errors import (
    NoFreeConnection,
    NotThere,
    ServerError,
    StatusFault,
    Throttled,
    TimedOut,
)
from domain.errors import UpstreamFault, UpstreamUnavailable

ANSWERED = "2xx"
NO_ANSWER = "no_answer"  # refused, reset, cut off
UNUSABLE = "unusable"  # not what was asked for, or too large

# Every end there is; those of a status that nobody expected stand for their class.
ENDS = (ANSWERED, "1xx", "3xx", "404", "429", "4xx", "5xx", "no_connection", NO_ANSWER, "timeout", UNUSABLE)

_BY_KIND: dict[type[Exception], str] = {
    ServerError: "5xx",
    Throttled: "429",
    NotThere: "404",
    NoFreeConnection: "no_connection",
    TimedOut: "timeout",
}


class CallWatch(Protocol):
    def called(self, service: str, end: str, seconds: float) -> None:
        """One GET is over; ``end`` is one of ENDS."""

    def breaker(self, service: str, *, is_open: bool) -> None:
        """It opened, or closed again. One that lets a probe through is still open."""


class _NobodyWatches:
    def called(self, service: str, end: str, seconds: float) -> None: ...

    def breaker(self, service: str, *, is_open: bool) -> None: ...


NOBODY_WATCHES: CallWatch = _NobodyWatches()


def end_of(error: UpstreamUnavailable | UpstreamFault) -> str:
    """How the call ended that raised this."""
    if (end := _BY_KIND.get(type(error))) is not None:
        return end
    if isinstance(error, StatusFault):
        return f"{error.status // 100}xx"
    return UNUSABLE if isinstance(error, UpstreamFault) else NO_ANSWER
