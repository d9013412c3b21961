"""A whole Trimtab in one process: a real SQLite store, and fakes where the world would be."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from adapters.stores.open import Store, open_store
from domain.errors import BrokerUnavailable, SolverFailed, UpstreamUnavailable
from domain.ids import JobId, ModelId, PortfolioId, SecurityId
from domain.job import Job
from domain.model import InvestmentModel
from domain.portfolio import Portfolio
from domain.ports import JobStore, Meter, Publication, Token, Tracing
from domain.problem import Problem, SolverAnswer
from tasks.bench import Bench, FrozenJobs, Marks, Outgoing
from tasks.run_token import run_token
from tasks.services import Rules, Services
from tasks.steward import Steward
from tasks.submit_job import SubmitJob, submit_job
from tasks.unwatched import NO_METER, NO_TRACING
from tests.support import builders
from tests.support.problems import NoPrograms

P = ParamSpec("P")
T = TypeVar("T")

SHORT_RULES = Rules(
    lease_seconds=0.02,
    retry_delay_seconds=0.001,
    outage_delay_seconds=0.001,
    max_delay_seconds=0.002,
    due_after_seconds=0.02,
    lost_token_seconds=0.01,
)


class FakeClock:
    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time


@dataclass
class FakeUpstreams:
    """All four services. ``out`` makes every call fail as an outage; ``broken`` raises for one portfolio."""

    book: dict[PortfolioId, Portfolio] = field(default_factory=dict)
    by_ticker: dict[str, Decimal] = field(default_factory=dict)
    by_security: dict[SecurityId, str] = field(default_factory=dict)
    known: set[PortfolioId] = field(default_factory=set)
    out: bool = False
    broken: dict[PortfolioId, Exception] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def prices(self) -> Mapping[str, Decimal]:
        self._call("prices")
        return self.by_ticker

    def tickers(self, wanted: Iterable[SecurityId]) -> Mapping[SecurityId, str]:
        self._call("securities")
        return self.by_security

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        self._call(f"portfolio {portfolio_id}")
        if portfolio_id in self.broken:
            raise self.broken[portfolio_id]
        return self.book.get(portfolio_id)

    def name(self, portfolio_id: PortfolioId) -> str | None:
        self._call(f"name {portfolio_id}")
        return f"Portfolio {portfolio_id}" if portfolio_id in self.known else None

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.out:
            raise UpstreamUnavailable("accounting", "connection refused")


class FakePublisher:
    """Adds each id once, as the real one does; ``entries`` also counts what was dropped as a repeat."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.repeats: list[Publication] = []
        self.out = False
        self.life = 1
        self.tells = True

    def publish(self, *publications: Publication) -> None:
        if self.out:
            raise BrokerUnavailable("result queue", "connection refused")
        for publication in publications:
            if publication.entry_id in self.entries:
                self.repeats.append(publication)
            self.entries.setdefault(publication.entry_id, publication.body)

    def identity(self) -> str | None:
        if self.out:
            raise BrokerUnavailable("result queue", "connection refused")
        return f"life {self.life}" if self.tells else None

    def forget(self) -> None:
        """Lose everything, as a broker does that starts again without its data."""
        self.entries.clear()
        self.life += 1

    def ping(self) -> None: ...


class FakeTokens:
    def __init__(self) -> None:
        self.queue: deque[Token] = deque()
        self.out = False

    def send(self, tokens: Sequence[Token]) -> None:
        if self.out:
            raise BrokerUnavailable("broker", "connection refused")
        self.queue.extend(tokens)

    def length(self) -> int:
        if self.out:
            raise BrokerUnavailable("broker", "connection refused")
        return len(self.queue)


class NoSolver(NoPrograms):
    """For portfolios whose cash row is slack: the closed form answers, and a call here is a mistake."""

    name = "none"

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        raise SolverFailed("the closed form should have answered")


class AtOnce(Executor):
    """Runs what is submitted before it returns."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future holds whatever was raised
            future.set_exception(error)
        return future


@dataclass
class World:
    store: Store
    services: Services
    upstreams: FakeUpstreams
    publisher: FakePublisher
    events: FakePublisher
    tokens: FakeTokens
    clock: FakeClock
    steward: Steward
    bench: Bench

    @classmethod
    def create(
        cls,
        folder: Path,
        rules: Rules = SHORT_RULES,
        *,
        store_url: str | None = None,
        connect: Callable[[Store], JobStore] = lambda store: store,
        meter: Meter = NO_METER,
        tracing: Tracing = NO_TRACING,
    ) -> "World":
        """``connect``: what workers and the steward have of the store; the world itself looks at it directly."""
        store = open_store(store_url or f"sqlite:///{folder / 'world.db'}", synchronous="off")
        store.prepare()
        jobs = connect(store)
        upstreams, publisher, tokens, clock = FakeUpstreams(), FakePublisher(), FakeTokens(), FakeClock()
        events = FakePublisher()
        services = Services(
            models=store,
            jobs=jobs,
            prices=upstreams,
            securities=upstreams,
            accounting=upstreams,
            directory=upstreams,
            solver=NoSolver(),
            publisher=publisher,
            events=events,
            tokens=tokens,
            clock=clock,
            rules=rules,
            meter=meter,
            tracing=tracing,
        )
        marks = Marks(jobs, every_seconds=60)
        outgoing = Outgoing(publisher, marks, every_seconds=60)
        bench = Bench(owner="worker-1", frozen=FrozenJobs(jobs), marks=marks, outgoing=outgoing)
        steward = Steward(services, AtOnce())
        return cls(store, services, upstreams, publisher, events, tokens, clock, steward, bench)

    # -- arranging

    def book(self, portfolios: int, *, held: int = 5) -> InvestmentModel:
        """A model of three securities, and so many portfolios that hold too much of the first."""
        targets: dict[int, Any] = {
            1: ("0.3", "0.1", "0.1"),
            2: ("0.3", "0.1", "0.1"),
            3: ("0.3", "0.1", "0.1"),
        }
        model = self.store.create_model(builders.model(targets, portfolios=range(1, portfolios + 1)))
        for number in range(1, portfolios + 1):
            holding = builders.portfolio(1000 + number, {1: held * 10}, number=number)
            self.upstreams.book[holding.portfolio_id] = holding
            self.upstreams.known.add(holding.portfolio_id)
        for number in (1, 2, 3):
            self.upstreams.by_security[builders.security_id(number)] = builders.ticker(number)
            self.upstreams.by_ticker[builders.ticker(number)] = Decimal(10 * number)
        return model

    def submit(self, key: str = "k1", **changes: Any) -> Job:
        body = f"{key}:{sorted(changes.items())!r}"
        command = SubmitJob(
            key=key,
            request_sha256=hashlib.sha256(body.encode()).hexdigest(),
            model_id=ModelId("MODEL1"),
            **changes,
        )
        return submit_job(command, self.services).job

    # -- acting

    def tick(self, times: int = 1) -> "World":
        for _ in range(times):
            self.steward.tick()
        return self

    def work(self, at_most: int = 10_000) -> "World":
        """Deliver what is queued, in order, until nothing is left (or so many were delivered)."""
        while self.tokens.queue and at_most:
            at_most -= 1
            run_token(self.tokens.queue.popleft(), self.services, self.bench)
        self.bench.marks.flush()
        return self

    def finish(self, job: Job, *, rounds: int = 400) -> Job:
        """Tick and work in turn until the job is closed."""
        for _ in range(rounds):
            self.tick()
            self.work()
            now = self.job(job)
            if now.state.closed:
                return now
        raise AssertionError(f"not closed after {rounds} rounds: {self.job(job)}, {self.counts(job)}")

    # -- looking

    def job(self, job: Job) -> Job:
        return self.store.get_job(job.job_id)

    def counts(self, job: Job) -> dict[str, int]:
        return {state: n for state, n in self.store.count_items(job.job_id).items() if n}

    def items(self, job_id: JobId) -> list[Any]:
        return list(self.store.list_items(job_id, bodies=True, limit=10_000))
