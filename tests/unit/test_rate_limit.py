"""Token buckets: the rate on average, a burst after a pause, and what happens without a Redis."""

from collections.abc import Callable
from typing import Any

import pytest
from fakeredis import FakeRedis
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from adapters.inbound.api.rate import Limiter, LocalLimiter, Rate, RedisLimiter

RATE = Rate(per_second=10, burst=3)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def passed(limiter: Limiter, times: int, caller: str = "a") -> int:
    return sum(limiter.wait(caller) == 0 for _ in range(times))


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = Clock()
    limiter = LocalLimiter(RATE, clock)
    assert passed(limiter, 10) == 3
    assert limiter.wait("a") == pytest.approx(0.1)
    clock.seconds += 0.1
    assert passed(limiter, 10) == 1
    clock.seconds += 60
    assert passed(limiter, 10) == 3


def test_over_a_long_time_the_rate_holds() -> None:
    clock = Clock()
    limiter = LocalLimiter(RATE, clock)
    taken = 0
    for _ in range(1000):
        clock.seconds += 0.01
        taken += passed(limiter, 2)
    assert taken == pytest.approx(10 * 10 + RATE.burst, abs=1)


def test_who_waits_as_told_passes() -> None:
    clock = Clock()
    limiter = LocalLimiter(Rate(per_second=3, burst=1), clock)
    limiter.wait("a")
    wait = limiter.wait("a")
    clock.seconds += wait + 1e-9
    assert limiter.wait("a") == 0


def test_every_caller_has_a_bucket_of_its_own() -> None:
    limiter = LocalLimiter(RATE, Clock())
    assert passed(limiter, 10, "a") == passed(limiter, 10, "b") == 3


@pytest.fixture
def make() -> Callable[..., RedisLimiter]:
    def limiter(client: Any, rate: Rate = RATE, clock: Clock | None = None) -> RedisLimiter:
        return RedisLimiter(client, rate, clock or Clock())

    return limiter


def test_two_processes_share_a_bucket(make: Callable[..., RedisLimiter]) -> None:
    redis = FakeRedis()
    slow = Rate(per_second=0.001, burst=3)
    first, second = make(redis, slow), make(redis, slow)
    assert passed(first, 2) + passed(second, 2) == 3
    assert 990 < first.wait("a") <= 1000
    assert passed(second, 1, "b") == 1


def test_a_bucket_goes_when_it_is_full_again(make: Callable[..., RedisLimiter]) -> None:
    redis = FakeRedis()
    make(redis).wait("a")
    (key,) = redis.keys()
    assert key == b"trimtab.rate:a"
    assert 0 < redis.pttl(key) <= 1101


class Flaky:
    """A client whose server is out until it is back."""

    def __init__(self) -> None:
        self.out = True
        self.calls = 0

    def register_script(self, _script: str) -> Callable[..., int]:
        def take(**_given: object) -> int:
            self.calls += 1
            if self.out:
                raise RedisConnectionError("refused")
            return 0

        return take


def test_without_its_redis_each_process_counts_alone_and_asks_again_later(
    make: Callable[..., RedisLimiter],
) -> None:
    server, clock = Flaky(), Clock()
    limiter = make(server, RATE, clock)
    with capture_logs() as logs:
        assert passed(limiter, 10) == 3
    assert server.calls == 1  # not one slow failure a request
    assert [entry["event"] for entry in logs] == ["rate_limit.alone"]
    server.out = False
    clock.seconds += 5
    assert passed(limiter, 10) == 10
    assert server.calls == 11
