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
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from threading import Event
from typing import Any, Final

import structlog
from redis import Redis

from adapters.inbound.request_stream import RequestStream, RequestStreamOptions
from adapters.results.redis_stream import JOB_EVENT_SCHEMA, JOB_EVENTS_KEPT, RedisStreamPublisher
from adapters.stores.open import open_store
from adapters.system_clock import SystemClock
from domain.errors import Invalid, NotFound, UpstreamFault, UpstreamUnavailable
from domain.ids import PortfolioId
from domain.item import FINAL_STATES
from domain.job import Job, JobState
from domain.policy import Policy
from domain.portfolio import Portfolio
from domain.ports import Token
from domain.problem import Problem, SolverAnswer
from tasks.bench import Bench, FrozenJobs, Marks, Outgoing
from tasks.cancel_job import cancel_job
from tasks.change_parallelism import change_parallelism
from tasks.retry_job import RetryJob, retry_job
from tasks.run_token import answered, run_token
from tasks.services import Rules, Services
from tasks.steward import QUEUE_NOTE, Steward
from tasks.submit_job import SubmitJob, job_id_for, submit_job
from tests.support import builders
from tests.support.problems import NoPrograms
from tests.support.world import AtOnce, FakeUpstreams
from worker.crash_points import CrashPoint, watch_requests, watch_services, watch_work

LIFE: Final = "life"
CANCELLED: Final = "cancelled"
LATE: Final = "late"  # past its deadline before its market was frozen; then retried
ENDS: Final = {LIFE: JobState.DONE, CANCELLED: JobState.CANCELLED, LATE: JobState.DONE}
PORTFOLIOS: Final = 4
PARALLELISM: Final = 2
SEATS: Final = {LIFE: PARALLELISM + 1, CANCELLED: PARALLELISM, LATE: PARALLELISM}  # one was given more
SECONDS: Final = 20.0
STREAM: Final = "trimtab.order-sets"
EVENTS: Final = "trimtab.job-events"

OUT_AT_FIRST, BROKEN_UNTIL_RETRIED, ALWAYS_OUT = map(builders.portfolio_id, (2, 3, PORTFOLIOS))
ASKED_IN_VAIN: Final = SEATS[LIFE] + 1  # by every token there is, and by a probe
SECURITIES: Final = (1, 2, 3)
# The targets and the floor are more than there is: the cash row binds, so that there is something to search for.
MODEL: Final = builders.model(
    {1: ("0.35", "0.1", "0.1"), 2: ("0.3", "0.1", "0.1"), 3: ("0.3", "0.1", "0.1")},
    portfolios=range(1, PORTFOLIOS + 1),
    policy=Policy(cash_floor=Decimal("0.06")),
)
MEMBERS: Final = {
    LIFE: tuple(each for each in MODEL.portfolios if each != ALWAYS_OUT),
    CANCELLED: (MODEL.portfolios[0], ALWAYS_OUT),
    LATE: (MODEL.portfolios[0],),
}


# ------------------------------------------------------------------------------------------------ a small world


@dataclass
class Upstreams(FakeUpstreams):
    """One portfolio's record is out until probed, one's always, and one's is broken until the job was retried.

    ``probing``: whether who asks is a probe. ``priceless``: whether prices are out.
    """

    mended: Callable[[], bool] = bool
    probing: bool = False
    priceless: Callable[[], bool] = bool
    _asked: Counter[PortfolioId] = field(default_factory=Counter)

    @classmethod
    def of_the_book(cls, mended: Callable[[], bool], priceless: Callable[[], bool]) -> "Upstreams":
        numbers = range(1, PORTFOLIOS + 1)
        book = [builders.portfolio(1000 + number, {1: 50}, number=number) for number in numbers]
        return cls(
            book={holding.portfolio_id: holding for holding in book},
            by_security={builders.security_id(number): builders.ticker(number) for number in SECURITIES},
            by_ticker={builders.ticker(number): Decimal(7 * number) for number in SECURITIES},
            known={holding.portfolio_id for holding in book},
            mended=mended,
            priceless=priceless,
        )

    def prices(self) -> Mapping[str, Decimal]:
        if self.priceless():
            raise UpstreamUnavailable("pricing", "connection refused")
        return super().prices()

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        self._asked[portfolio_id] += 1
        # That only a probe finds it back makes sure that a probe resumes the job, whatever came first.
        still_out = self._asked[portfolio_id] <= ASKED_IN_VAIN or not self.probing
        if portfolio_id == ALWAYS_OUT or (portfolio_id == OUT_AT_FIRST and still_out):
            raise UpstreamUnavailable("accounting", "connection refused")
        if portfolio_id == BROKEN_UNTIL_RETRIED and not self.mended():
            raise UpstreamFault("accounting", "not JSON")
        return super().portfolio(portfolio_id)


class LeastSolver(NoPrograms):
    """Proposes the least each window allows; the exact method finds the best answer from there."""

    name = "least"

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
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
    """What one process is to do. ``crash_at`` empty: live to the end. ``slice_portfolios``: of a token."""

    store_url: str
    redis_url: str
    lease_seconds: float
    crash_at: str = ""
    slice_portfolios: int = 2


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
        self._upstreams = upstreams = Upstreams.of_the_book(
            mended=lambda: self.job(LIFE).gen > 0,
            priceless=lambda: self._known(LATE) and self.job(LATE).gen == 0,
        )
        self._client = client
        self._tokens = ListTokens(client)
        services = Services(
            models=store,
            jobs=store,
            prices=upstreams,
            securities=upstreams,
            accounting=upstreams,
            directory=upstreams,
            solver=LeastSolver(),
            publisher=RedisStreamPublisher(client, STREAM),
            events=RedisStreamPublisher(client, EVENTS, schema=JOB_EVENT_SCHEMA, keep=JOB_EVENTS_KEPT),
            tokens=self._tokens,
            clock=SystemClock(),
            rules=_rules(order),
        )
        self.services = watch_services(services, point)
        self._answered = watch_work(answered, point)
        self._requests = RequestStream(
            watch_requests(client, point),
            partial(submit_job, services=self.services),
            RequestStreamOptions(consumer="only", block_seconds=0.001),
        )
        self._steward = Steward(self.services, AtOnce())
        jobs = self.services.jobs
        marks = Marks(jobs, every_seconds=60)
        outgoing = Outgoing(self.services.publisher, marks, every_seconds=60)
        self._bench = Bench(
            owner=f"driver {os.getpid()}", frozen=FrozenJobs(jobs), marks=marks, outgoing=outgoing
        )
        self._left_one = False
        self._widened = False

    def job(self, key: str) -> Job:
        return self.services.jobs.get_job(job_id_for(key))

    def live(self) -> None:
        self.services.jobs.prepare()
        self._requests.consume_once(Event())
        submit_job(_request_of(CANCELLED, "c" * 64), self.services)
        give_up = time.monotonic() + SECONDS
        while not self._over():
            assert time.monotonic() < give_up, [self.job(key) for key in ENDS if self._known(key)]
            self._steward.tick()
            self._submit_the_late_one()
            self._widen()
            self._leave_one_behind()
            self._work()
            self._lose_the_result_queue()
            self._retry()
            time.sleep(0.002)

    def _known(self, key: str) -> bool:
        try:
            self.job(key)
        except NotFound:
            return False
        return True

    def _over(self) -> bool:
        """All jobs are, nothing is left to publish or to tell, and the result queue is the one the stewards know."""
        jobs = self.services.jobs
        return (
            all(self._known(key) and self.job(key).state is end for key, end in ENDS.items())
            and not jobs.due_items(-1)
            and not jobs.untold()
            and jobs.get_note(QUEUE_NOTE) == self.services.publisher.identity()
        )

    def _work(self) -> None:
        while token := self._tokens.take():
            self._upstreams.probing = token.probe
            run_token(token, self.services, self._bench, self._answered)
            self._look()
            self._cancel()
        self._bench.marks.flush()

    def _look(self) -> None:
        for key, seats in SEATS.items():
            busy = self.services.jobs.busy_seats(job_id_for(key))
            assert len(busy) <= seats, busy

    def _submit_the_late_one(self) -> None:
        """Once the others have their market: from then on prices are out until its deadline stopped it."""
        jobs = self.services.jobs
        frozen = all(jobs.get_inputs(job_id_for(key)) for key in (LIFE, CANCELLED))
        if frozen and not self._known(LATE):
            deadline = jobs.now() + timedelta(seconds=self.services.rules.lease_seconds)
            with suppress(Invalid):  # held up for longer than that: asked again in the next round
                submit_job(_request_of(LATE, "1" * 64, deadline), self.services)

    def _widen(self) -> None:
        if not self._widened and self.job(LIFE).state is JobState.RUNNING:
            change_parallelism(job_id_for(LIFE), SEATS[LIFE], self.services)
            self._widened = True

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

    def _lose_the_result_queue(self) -> None:
        """Once in all processes, when there is something to lose: as a server does that comes back empty."""
        if self.job(LIFE).state is JobState.DONE_WITH_ERRORS and self._client.set("lost once", 1, nx=True):
            ids = [f"{stream}:ids:{job_id_for(key)}" for key in ENDS for stream in (STREAM, EVENTS)]
            self._client.delete(STREAM, EVENTS, f"{STREAM}:born", *ids)

    def _retry(self) -> None:
        """First the one; the late one when that is done, so that the steps of both stand in one order."""
        key = LATE if self.job(LIFE).state is JobState.DONE else LIFE
        if self._known(key) and self.job(key).state is JobState.DONE_WITH_ERRORS:
            retry_job(RetryJob(job_id=job_id_for(key)), self.services)


def _request_of(key: str, request_sha256: str, deadline: datetime | None = None) -> SubmitJob:
    return SubmitJob(
        key=key,
        request_sha256=request_sha256,
        model_id=MODEL.model_id,
        portfolio_ids=MEMBERS[key],
        parallelism=PARALLELISM,
        deadline=deadline,
    )


def _rules(order: Order) -> Rules:
    return Rules(
        max_attempts=4,
        slice_portfolios=order.slice_portfolios,
        slice_milliseconds=60_000.0,
        lease_seconds=order.lease_seconds,
        retry_delay_seconds=0.001,
        outage_delay_seconds=0.001,
        max_delay_seconds=0.002,
        due_after_seconds=order.lease_seconds,
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
