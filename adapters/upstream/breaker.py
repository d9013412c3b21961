"""A circuit breaker: after enough failures in a row an upstream is left alone for a while, then tried once."""

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from interlock import CircuitBreaker, CircuitOpenError, Config, State
from interlock.protocols import CoreEventListener

from adapters.upstream.errors import BreakerOpen, NoFreeConnection, Throttled
from adapters.upstream.watch import NOBODY_WATCHES, CallWatch
from domain.errors import UpstreamUnavailable

T = TypeVar("T")


class Breaker(Protocol):
    def call(self, operation: Callable[[], T], /) -> T:
        """Run the operation and take note of how it ends.

        Raises:
            BreakerOpen: not run; the upstream is being left alone, or somebody else is probing it.
            Exception: whatever the operation raised.
        """

    def is_open(self) -> bool:
        """Whether the upstream is being left alone."""


class _UpstreamOut:
    """What counts as a failure: the upstream is out. A 4xx or a bad answer shows that it is up."""

    def is_failure(self, *, result: object, exception: Exception | None) -> bool:  # noqa: ARG002  # interlock's signature
        return isinstance(exception, UpstreamUnavailable) and not isinstance(exception, Throttled)


class _Told:
    """Passes on what the breaker says of itself. Of a listener's methods it calls those that are there."""

    def __init__(self, watch: CallWatch) -> None:
        self._watch = watch

    def on_state_change(self, *, name: str, old: State, new: State) -> None:  # noqa: ARG002  # interlock's signature
        self._watch.breaker(name, is_open=new is not State.CLOSED)


class ConsecutiveFailuresBreaker:
    """Opens after ``failures`` in a row, stays open for ``open_seconds``, then lets exactly one probe through.

    State is per process on purpose: what processes share about an outage is the job's ``waiting`` state in the
    store. No lock is held around a call. A probe that found no free connection gives no verdict.
    """

    def __init__(
        self,
        service: str,
        *,
        failures: int,
        open_seconds: float,
        watch: CallWatch = NOBODY_WATCHES,
    ) -> None:
        self._service = service
        self._breaker = CircuitBreaker(
            name=service,
            config=Config(
                # All of the last n calls failed: that is n failures in a row.
                failure_rate_threshold=1.0,
                minimum_number_of_calls=failures,
                window_size=failures,
                permitted_calls_in_half_open=1,
                max_concurrent_probes=1,
                wait_duration_in_open=open_seconds,
                # Slowness is the time-outs' business; a slow call that succeeds must never open the breaker.
                slow_call_duration_threshold=float("inf"),
            ),
            classifier=_UpstreamOut(),
            unreachable_exceptions=(NoFreeConnection,),
            listener=None if watch is NOBODY_WATCHES else cast(CoreEventListener, _Told(watch)),
        )

    def call(self, operation: Callable[[], T], /) -> T:
        try:
            return self._breaker.call_sync(operation)
        except CircuitOpenError as exc:
            raise BreakerOpen(self._service, _describe(exc), exc.retry_after) from exc

    def is_open(self) -> bool:
        return self._breaker.state is State.OPEN


def _describe(error: CircuitOpenError) -> str:
    when = "a probe is under way" if error.retry_after is None else f"next try in {error.retry_after:.0f} s"
    return f"circuit breaker open, {when}; last failure: {error.last_failure}"
