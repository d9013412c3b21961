"""The shared bucket on a real server: its script, its clock, many callers at once."""

import time
from contextlib import closing

import pytest

from adapters.inbound.api.rate import Rate, RedisLimiter
from tests.support.claimers import together
from tests.support.servers import free_port
from worker.redis_client import redis_client

pytestmark = pytest.mark.integration


def test_callers_of_one_moment_get_the_burst_and_no_more(redis_url: str) -> None:
    rate = Rate(per_second=0.01, burst=20)
    with closing(redis_client(redis_url)) as client:
        limiters = [RedisLimiter(client, rate, time.monotonic) for _ in range(4)]

        def take(limiter: RedisLimiter) -> int:
            return sum(limiter.wait("a") == 0 for _ in range(10))

        taken = together([lambda limiter=limiter: take(limiter) for limiter in limiters])  # type: ignore[misc]
        assert sum(taken) == 20
        assert limiters[0].wait("b") == 0
        assert 0 < client.pttl("trimtab.rate:a") <= 2_001_000


def test_the_server_s_clock_refills_the_bucket(redis_url: str) -> None:
    with closing(redis_client(redis_url)) as client:
        limiter = RedisLimiter(client, Rate(per_second=20, burst=1), time.monotonic)
        assert limiter.wait("a") == 0
        wait = limiter.wait("a")
        assert 0 <= wait <= 0.05
        time.sleep(wait)
        assert limiter.wait("a") == pytest.approx(0, abs=0.001)


def test_a_server_that_is_not_there_costs_little() -> None:
    with closing(redis_client(f"redis://127.0.0.1:{free_port()}/0", patience_seconds=0.25)) as client:
        limiter = RedisLimiter(client, Rate(per_second=0.01, burst=2), time.monotonic)
        began = time.monotonic()
        assert [limiter.wait("a") > 0 for _ in range(3)] == [False, False, True]
        assert time.monotonic() - began < 3
