"""A whole job's life in one process that may be killed at any step of it.

``python -m tests.support.crash_driver`` stays and reads one JSON order a line; for each it forks a process that
goes through every step there is (`drive`), from the request on its stream to the closed job, and writes how that
process ended. The process holds nothing but the store and the broker: after a SIGKILL the next one finds what was
left behind, as a restarted part would.
"""

import json
import logging
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from threading import Event
from typing import Any, Final

import structlog
from redis import Redis

from adapters.inbound.request_stream import RequestStream, RequestStreamOptions
from adapters.results.redis_stream import RedisStreamPublisher
from adapters.stores.open import open_store
from adapters.system_clock import SystemClock
from domain.errors import UpstreamFault, UpstreamUnavailable
from domain.ids import PortfolioId
from domain.item import FINAL_STATES
from domain.job import Job, JobState
from domain.policy import Policy
from domain.portfolio import Portfolio
from domain.ports import Token
from domain.problem import Problem, SolverAnswer
from tasks.bench import Bench, FrozenJobs, Marks
from tasks.cancel_job import cancel_job
from tasks.change_parallelism import change_parallelism
from tasks.republish import republish_job
from tasks.retry_job import RetryJob, retry_job
from tasks.run_token import run_token
from tasks.services import Rules, Services
from tasks.steward import Steward
from tasks.submit_job import SubmitJob, job_id_for, submit_job
from tests.support import builders
from tests.support.world import AtOnce, FakeUpstreams
from worker.crash_points import CrashPoint, watch_requests, watch_services

LIFE: Final = "life"
CANCELLED: Final = "cancelled"
UNPRICED: Final = "unpriced"  # its market can never be frozen
JOBS: Final = (LIFE, CANCELLED, UNPRICED)
PORTFOLIOS: Final = 4
PARALLELISM: Final = 2
SECONDS: Final = 20.0

OUT_AT_FIRST, BROKEN_UNTIL_RETRIED, ALWAYS_OUT = map(builders.portfolio_id, (2, 3, PORTFOLIOS))
ASKED_IN_VAIN: Final = PARALLELISM + 1  # by every token there is, and by a probe
SECURITIES: Final = (1, 2, 3)
# The targets and the floor are more than there is: the cash row binds, so that the solver is asked.
MODEL: Final = builders.model(
    {1: ("0.35", "0.1", "0.1"), 2: ("0.3", "0.1", "0.1"), 3: ("0.3", "0.1", "0.1")},
    portfolios=range(1, PORTFOLIOS + 1),
    policy=Policy(cash_floor=Decimal("0.06")),
)
MEMBERS: Final = {
    LIFE: tuple(each for each in MODEL.portfolios if each != ALWAYS_OUT),
    CANCELLED: (MODEL.portfolios[0], ALWAYS_OUT),
    UNPRICED: MODEL.portfolios[:1],
}
ENDS: Final = {LIFE: JobState.DONE, CANCELLED: JobState.CANCELLED, UNPRICED: JobState.DONE_WITH_ERRORS}


# ------------------------------------------------------------------------------------------------ a small world


@dataclass
class Upstreams(FakeUpstreams):
    """One portfolio's record is out at first, one's always, and one's is broken until the job was retried."""

    mended: Callable[[], bool] = bool
    _asked: Counter[PortfolioId] = field(default_factory=Counter)

    @classmethod
    def of_the_book(cls, mended: Callable[[], bool]) -> "Upstreams":
        numbers = range(1, PORTFOLIOS + 1)
        book = [builders.portfolio(1000 + number, {1: 50}, number=number) for number in numbers]
        return cls(
            book={holding.portfolio_id: holding for holding in book},
            by_security={builders.security_id(number): builders.ticker(number) for number in SECURITIES},
            by_ticker={builders.ticker(number): Decimal(7 * number) for number in SECURITIES},
            known={holding.portfolio_id for holding in book},
            mended=mended,
        )

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        self._asked[portfolio_id] += 1
        out_at_first = portfolio_id == OUT_AT_FIRST and self._asked[portfolio_id] <= ASKED_IN_VAIN
        if portfolio_id == ALWAYS_OUT or out_at_first:
            raise UpstreamUnavailable("accounting", "connection refused")
        if portfolio_id == BROKEN_UNTIL_RETRIED and not self.mended():
            raise UpstreamFault("accounting", "not JSON")
        return super().portfolio(portfolio_id)


class LeastSolver:
    """Proposes the least each window allows; the exact method finds the best answer from there."""

    name = "least"

    def solve(self, problem: Problem) -> SolverAnswer:
        return SolverAnswer(quantity=problem.min_quantity, lower_bound=0.0, status="optimal")


class ListTokens:
    """Tokens on a Redis list, so that they outlive whoever sent them."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def send(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            self._client.lpush("tokens", json.dumps([token.job_id, token.seat, token.probe]))

    def length(self) -> int:
        return int(self._client.llen("tokens"))

    def take(self) -> Token | None:
        found: Any = self._client.rpop("tokens")
        return None if found is None else Token(*json.loads(found))


# ------------------------------------------------------------------------------------------------ a life


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one process is to do. ``crash_at`` empty: live to the end."""

    store_url: str
    redis_url: str
    lease_seconds: float
    crash_at: str = ""


def request_of_life() -> bytes:
    """What the request stream carries."""
    body: dict[str, object] = {"key": LIFE, "model_id": MODEL.model_id, "parallelism": PARALLELISM}
    body["portfolio_ids"] = MEMBERS[LIFE]
    return json.dumps(body).encode()


class Life:
    """Every part of Trimtab in turn, until all jobs are over."""

    def __init__(self, order: Order, client: Redis) -> None:
        point = CrashPoint.parse(order.crash_at) if order.crash_at else None
        store = open_store(order.store_url, synchronous="off")
        upstreams = Upstreams.of_the_book(mended=lambda: self.job(LIFE).gen > 0)
        self._tokens = ListTokens(client)
        services = Services(
            models=store,
            jobs=store,
            prices=upstreams,
            securities=upstreams,
            accounting=upstreams,
            directory=upstreams,
            solver=LeastSolver(),
            publisher=RedisStreamPublisher(client),
            tokens=self._tokens,
            clock=SystemClock(),
            rules=_rules(order.lease_seconds),
        )
        self.services = watch_services(services, point)
        self._requests = RequestStream(
            watch_requests(client, point),
            partial(submit_job, services=self.services),
            RequestStreamOptions(consumer="only", block_seconds=0.001),
        )
        self._steward = Steward(self.services, AtOnce())
        jobs = self.services.jobs
        marks = Marks(jobs, every_seconds=60)
        self._bench = Bench(owner=f"driver {os.getpid()}", frozen=FrozenJobs(jobs), marks=marks)
        self._left_one = False

    def job(self, key: str) -> Job:
        return self.services.jobs.get_job(job_id_for(key))

    def live(self) -> None:
        self.services.jobs.prepare()
        self._requests.consume_once(Event())
        for request in _other_requests():
            submit_job(request, self.services)
        if not self.job(LIFE).state.closed:
            change_parallelism(self.job(LIFE).job_id, PARALLELISM, self.services)
        give_up = time.monotonic() + SECONDS
        while not self._over():
            assert time.monotonic() < give_up, [self.job(key) for key in JOBS]
            self._steward.tick()
            self._leave_one_behind()
            self._work()
            self._retry()
            time.sleep(0.002)
        republish_job(self.job(LIFE).job_id, self.services)
        self._publish_what_is_due()

    def _over(self) -> bool:
        retried = self.job(UNPRICED).gen > 0
        return retried and all(self.job(key).state is state for key, state in ENDS.items())

    def _work(self) -> None:
        while token := self._tokens.take():
            run_token(token, self.services, self._bench)
            self._look()
            self._cancel()
        self._bench.marks.flush()

    def _look(self) -> None:
        for key in JOBS:
            busy = self.services.jobs.busy_seats(job_id_for(key))
            assert len(busy) <= PARALLELISM, busy

    def _leave_one_behind(self) -> None:
        """As a worker does that dies with a portfolio in hand: the steward finds it when its lease is over."""
        if not self._left_one and self.job(LIFE).state is JobState.RUNNING:
            self.services.jobs.claim(self.job(LIFE).job_id, 0, "a worker that is dead")
            self._left_one = True

    def _cancel(self) -> None:
        """As soon as one of its portfolios has ended: the other never will."""
        job_id = job_id_for(CANCELLED)
        if self.services.jobs.has_items(job_id, FINAL_STATES):
            cancel_job(job_id, self.services)

    def _retry(self) -> None:
        """What failed is mended by the first retry, or never."""
        for job in map(self.job, JOBS):
            if job.state is JobState.DONE_WITH_ERRORS and (job.key == LIFE or job.gen == 0):
                retry_job(RetryJob(job_id=job.job_id), self.services)

    def _publish_what_is_due(self) -> None:
        while self.services.jobs.due_items(-1):
            self._steward.tick()


def _other_requests() -> tuple[SubmitJob, SubmitJob]:
    nothing = {MODEL.positions[0].security_id: Decimal(0)}
    return (
        SubmitJob(
            key=CANCELLED,
            request_sha256="c" * 64,
            model_id=MODEL.model_id,
            portfolio_ids=MEMBERS[CANCELLED],
            parallelism=PARALLELISM,
        ),
        SubmitJob(
            key=UNPRICED,
            request_sha256="u" * 64,
            model_id=MODEL.model_id,
            portfolio_ids=MEMBERS[UNPRICED],
            prices=nothing,
        ),
    )


def _rules(lease_seconds: float) -> Rules:
    return Rules(
        max_attempts=4,
        lease_seconds=lease_seconds,
        retry_delay_seconds=0.001,
        outage_delay_seconds=0.001,
        max_delay_seconds=0.002,
        due_after_seconds=lease_seconds,
        lost_token_seconds=0.02,
    )


# ------------------------------------------------------------------------------------------------ processes


def drive(order: Order) -> None:
    with closing(Redis.from_url(order.redis_url, protocol=2, socket_timeout=10)) as client:
        Life(order, client).live()


def forked(order: Order) -> dict[str, object]:
    """How a process with this order ended: its signal (0: none), its status, and its seconds."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            drive(order)
            status = 0
        except BaseException:  # noqa: BLE001 - told in the log, and by the status
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    signal = os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0
    status = os.WEXITSTATUS(ended) if os.WIFEXITED(ended) else -1
    return {"signal": signal, "status": status, "seconds": time.monotonic() - began}


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for line in sys.stdin:
        print(json.dumps(forked(Order(**json.loads(line)))), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
