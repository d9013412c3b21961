"""Finer names for what an upstream did, for use inside this package.

Callers outside know `UpstreamUnavailable` and `UpstreamFault` only; each of these is one of the two::

    UpstreamUnavailable      connection errors, time-outs: retried, and counted by the breaker
    ├── ServerError          a 5xx: likewise
    ├── TimedOut             it took too long to connect, to answer, or to come to an end: likewise
    ├── NoFreeConnection     our own pool was full: retried, but says nothing about the upstream
    ├── Throttled            429: never retried here (it is a 4xx), but the work comes back later
    └── BreakerOpen          not even tried
    UpstreamFault            an answer that cannot be used: never retried, never counted
    └── StatusFault          a status nobody expected: 3xx, 4xx
        └── NotThere         404
"""

from domain.errors import UpstreamFault, UpstreamUnavailable


class ServerError(UpstreamUnavailable):
    """A 5xx. ``status`` is its number."""

    def __init__(self, service: str, cause: str, status: int) -> None:
        super().__init__(service, cause)
        self.status = status


class TimedOut(UpstreamUnavailable):
    pass


class NoFreeConnection(UpstreamUnavailable):
    pass


class Throttled(UpstreamUnavailable):
    pass


class BreakerOpen(UpstreamUnavailable):
    """``retry_after``: seconds until a probe is let through; None while one is under way."""

    def __init__(self, service: str, cause: str, retry_after: float | None) -> None:
        super().__init__(service, cause)
        self.retry_after = retry_after


class StatusFault(UpstreamFault):
    """A status that is neither 2xx nor 5xx. ``status`` is its number."""

    def __init__(self, service: str, cause: str, status: int) -> None:
        super().__init__(service, cause)
        self.status = status


class NotThere(StatusFault):
    pass
