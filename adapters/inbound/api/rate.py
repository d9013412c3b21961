"""How often a key may call: a token bucket each, shared by every API process where there is a Redis.

The generic cell rate algorithm: one number a key, the moment at which its bucket is full again, and one step that
reads and writes it. No window at whose border twice the rate passes, nothing to sweep. A library (`limits` is the well-kept
one) would bring three strategies, of which this is none, and a pin on an older redis-py.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from redis import Redis
from redis.exceptions import RedisError

_log = structlog.get_logger(__name__)

# KEYS: the bucket. ARGV: microseconds a call takes up, microseconds a full bucket holds beyond one call.
# On the server's own clock: those of the API processes may differ. The answer: microseconds to wait, 0 to pass.
_TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = full_at - now - ARGV[2]
if wait > 0 then return wait end
full_at = full_at + ARGV[1]
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1000)
return 0
"""
_MICRO = 1_000_000
_AGAIN_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``per_second`` calls on average, and ``burst`` at once after a pause."""

    per_second: float
    burst: int

    # Whole microseconds, on either clock: a burst of 3 must not become 2 by the rounding of a float.

    @property
    def interval(self) -> int:
        """What a call takes up."""
        return round(_MICRO / self.per_second)

    @property
    def tolerance(self) -> int:
        """How far ahead of the average a caller may be."""
        return self.interval * (self.burst - 1)


class Limiter(Protocol):
    def wait(self, caller: str) -> float:
        """Take one call. 0: it passes; else the seconds after which one would. Never raises."""


class LocalLimiter:
    """Buckets of this process alone. There are as many as there are keys."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        """``clock``: seconds that never go back."""
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, int] = {}

    def wait(self, caller: str) -> float:
        with self._lock:
            now = round(self._clock() * _MICRO)
            full_at = max(self._full_at.get(caller, now), now)
            wait = full_at - now - self._rate.tolerance
            if wait > 0:
                return wait / _MICRO
            self._full_at[caller] = full_at + self._rate.interval
            return 0.0


class RedisLimiter:
    """Buckets shared by all API processes.

    Without its Redis each process counts alone for a while: an outage of the broker must not refuse jobs, which are
    accepted without it, nor open the door altogether.
    """

    def __init__(self, client: Redis, rate: Rate, clock: Callable[[], float]) -> None:
        """``client`` should give up quickly: every request waits for it."""
        self._take = client.register_script(_TAKE)
        self._amounts = [rate.interval, rate.tolerance]
        self._clock = clock
        self._alone = LocalLimiter(rate, clock)
        self._alone_until = float("-inf")

    def wait(self, caller: str) -> float:
        if self._clock() >= self._alone_until:
            try:
                return float(self._take(keys=[f"trimtab.rate:{caller}"], args=self._amounts)) / _MICRO
            except RedisError as error:
                self._alone_until = self._clock() + _AGAIN_AFTER_SECONDS
                _log.warning("rate_limit.alone", error=str(error), again_in_seconds=_AGAIN_AFTER_SECONDS)
        return self._alone.wait(caller)
