"""What the seat protocol costs: portfolios without work through real workers, beside tasks that do nothing.

One broker, real prefork workers of two children a core each, everything interleaved in one run. The store of the goals is
SQLite without fsync on a file system in memory: the same code, the same transactions, no waiting for a disk.
"""

import os
import shutil
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

from pymongo import MongoClient, monitoring

from adapters.stores.open import Store, open_store
from adapters.system_clock import SystemClock
from config.settings import environment, load_settings
from domain.ids import JobId, ModelId, PortfolioId, SecurityId
from domain.job import Inputs, Job, JobState
from domain.model import InvestmentModel, ModelPosition
from domain.policy import Policy
from domain.ports import JobStore, Member, Publication, Token
from domain.prices import freeze
from tasks.bench import Bench, FrozenJobs, Marks, Outgoing
from tasks.run_token import run_token
from tasks.services import Rules, Services
from worker.bench.machine import cores
from worker.bench.protocol_worker import CELERY, DONE, NO_OP, PROTOCOL, nothing
from worker.bench.rows import Better, Row, Sample, interleaved_figures
from worker.celery_app import create_sending_app
from worker.children import Child, start_child, wait_until
from worker.redis_client import redis_client
from worker.stack import broker_binary
from worker.tokens import CeleryTokens

SUITE: Final = "protocol"
SLICE: Final = 8
CHILDREN: Final = 2 * cores()  # a child that waits for its turn to write leaves a core to another
SEATS: Final = 2 * CHILDREN  # of each job: more than the children, so that none waits for a token
ROUND_SECONDS: Final = 60.0  # for one contestant's turn: beyond it something is broken
START_SECONDS: Final = 60.0
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
# Of tokens that make a round of a second or less here; each contestant's own, so that a slow one does not take long.
NO_OPS: Final = 3000
RELAYED: Final = 2000
PORTFOLIOS: Final[Mapping[int, int]] = {1: 1000, SLICE: 3000}
PORTFOLIOS_ON_DISK: Final[Mapping[int, int]] = {1: 600, SLICE: 1500}
PORTFOLIOS_ON_MONGODB: Final[Mapping[int, int]] = {1: 100, SLICE: 200}
COUNTED: Final = 512  # portfolios whose round trips are counted: as many as two batches of marks

PLAIN: Final = "plain no-op Celery task"
RELAY: Final = "no-op task that sends itself on"
GOALS: Final[Mapping[str, float]] = {"one portfolio a token": 35.0, f"slice of {SLICE}": 100.0}
TRIP_GOALS: Final[Mapping[str, float]] = {"one portfolio a token": 2.1, f"slice of {SLICE}": 1.4}
_SHARES: Final[Mapping[str, int]] = {"one portfolio a token": 1, f"slice of {SLICE}": SLICE}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKind:
    """A store under measurement. ``is_goal``: whether its rows have goals, or are a report."""

    name: str
    url: str
    synchronous: str
    portfolios: Mapping[int, int]
    is_goal: bool = False


def rows(rounds: int = 5, *, mongodb_url: str | None = None, scale: float = 1.0) -> Iterator[Row]:
    """Measure everything in about a minute, and tell.

    Args:
        rounds: of each contestant, beside one to warm up.
        mongodb_url: a server to measure too; a database of its own is made in it and dropped.
        scale: of the number of messages and portfolios; for a quick look.

    Raises:
        StackFailed: a broker or a worker could not be started, or died.
    """
    with ExitStack() as held:
        folder = held.enter_context(_folder(None))
        memory = held.enter_context(_folder(MEMORY if os.access(MEMORY, os.W_OK) else None))
        stores = [
            StoreKind(
                name="store without fsync",
                url=f"sqlite:///{memory}/store.db",
                synchronous="off",
                portfolios=PORTFOLIOS,
                is_goal=True,
            ),
            StoreKind(
                name="SQLite FULL",
                url=f"sqlite:///{folder}/store.db",
                synchronous="full",
                portfolios=PORTFOLIOS_ON_DISK,
            ),
        ]
        if mongodb_url is not None:
            stores.append(
                StoreKind(
                    name="MongoDB",
                    url=held.enter_context(_database(mongodb_url)),
                    synchronous="full",
                    portfolios=PORTFOLIOS_ON_MONGODB,
                )
            )
        desk = held.enter_context(closing(_Desk(folder)))
        figures = interleaved_figures(_contestants(desk, stores, scale), rounds=rounds)
        yield from _rates(figures, stores)
        for store in stores:
            yield from _trips(store)


def _contestants(desk: "_Desk", stores: Sequence[StoreKind], scale: float) -> dict[str, Callable[[], float]]:
    bare = desk.hire(CELERY, "bare", {})
    contestants: dict[str, Callable[[], float]] = {
        PLAIN: lambda: bare.no_ops(_scaled(NO_OPS, scale)),
        RELAY: lambda: bare.relayed(_scaled(RELAYED, scale)),
    }
    for store in stores:
        opened = desk.open(store)
        for share_name, share in _SHARES.items():
            settings = {
                "store_url": store.url,
                "sqlite_synchronous": store.synchronous,
                "slice_portfolios": str(share),
            }
            crew = desk.hire(PROTOCOL, f"{len(contestants)}", settings)
            portfolios = _scaled(store.portfolios[share], scale)
            contestants[_name(store, share_name)] = _job_runner(crew, opened, portfolios)
    desk.wait_until_ready()
    return contestants


def _job_runner(crew: "_Crew", store: Store, portfolios: int) -> Callable[[], float]:
    return lambda: crew.job(store, portfolios)


def _scaled(count: int, scale: float) -> int:
    return max(SEATS, round(count * scale))


def _name(store: StoreKind, share_name: str) -> str:
    return f"{share_name}, {store.name}"


# ------------------------------------------------------------------------------------------------ what is told


def _rates(figures: Mapping[str, Sample], stores: Sequence[StoreKind]) -> Iterator[Row]:
    plain = figures[PLAIN]
    yield _row(PLAIN, plain, "/s", None)
    yield _row(RELAY, _percent(figures[RELAY], plain), "% of plain", None)
    for store in stores:
        for share_name in _SHARES:
            name = _name(store, share_name)
            goal = GOALS[share_name] if store.is_goal else None
            yield _row(name, figures[name], "/s", None)
            yield _row(name, _percent(figures[name], plain), "% of plain", goal)


def _percent(rate: Sample, plain: Sample) -> Sample:
    return Sample(tuple(100 * value for value in rate.ratio(plain).values))


def _row(name: str, sample: Sample, unit: str, goal: float | None) -> Row:
    return Row(
        suite=SUITE,
        name=name,
        value=sample.median,
        unit=unit,
        better=Better.HIGHER,
        spread=sample.spread,
        goal=goal,
    )


# ------------------------------------------------------------------------------------------------ processes


class _Desk:
    """The broker and the workers of a run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []
        self._held = ExitStack()
        path = folder / "broker.sock"
        self.broker_url = f"redis+socket://{path}?virtual_host=0"
        command = [str(broker_binary()), "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no"]
        log = folder / "broker.log"
        self._children.append(start_child("broker", command, log=log, environment=environment({})))
        wait_until(path.exists, seconds=START_SECONDS, watched=self._children)
        self.client = self._held.enter_context(closing(redis_client(self.broker_url)))
        self._crews: list[_Crew] = []

    def hire(self, kind: str, name: str, settings: Mapping[str, str]) -> "_Crew":
        """Start a worker that listens to a queue of its own."""
        queue = f"bench-{name}"
        given = {
            "broker_url": self.broker_url,
            "task_queue": queue,
            "state_dir": str(self._folder),
            "worker_concurrency": str(CHILDREN),
            "worker_max_tasks_per_child": "1000000",
            "log_level": "warning",
            **settings,
        }
        command = [sys.executable, "-m", "worker.bench.protocol_worker", kind]
        child = start_child(
            f"worker {queue}", command, log=self._folder / f"{queue}.log", environment=environment(given)
        )
        self._children.append(child)
        self._crews.append(_Crew(self, queue))
        return self._crews[-1]

    def wait_until_ready(self) -> None:
        """A worker that waits for messages stands among the broker's blocked clients, each once."""
        waiting = len(self._crews)
        wait_until(
            lambda: int(self.client.info("clients")["blocked_clients"]) >= waiting,
            seconds=START_SECONDS,
            watched=self._children,
        )

    def open(self, kind: StoreKind) -> Store:
        store = self._held.enter_context(closing(open_store(kind.url, synchronous=kind.synchronous)))
        store.prepare()
        return store

    def until(self, true: Callable[[], bool], *, every: float = 0.002) -> None:
        give_up = time.monotonic() + ROUND_SECONDS
        while not true():
            for child in self._children:
                if child.ended:
                    wait_until(lambda: False, seconds=0, watched=self._children)
            if time.monotonic() > give_up:
                raise TimeoutError(f"a round is not over after {ROUND_SECONDS:g} s")
            time.sleep(every)

    def close(self) -> None:
        self._held.close()
        for child in reversed(self._children):
            child.stop(grace_seconds=5)


class _Crew:
    """One worker's queue, and what can be measured on it. Every figure is a rate: so many in a second."""

    def __init__(self, desk: _Desk, queue: str) -> None:
        self._desk = desk
        self._queue = queue
        self._app = create_sending_app(load_settings(broker_url=desk.broker_url, task_queue=queue))
        self._tokens = CeleryTokens(self._app)

    def no_ops(self, count: int) -> float:
        """The queue is filled at once, as in a backlog: the best that Celery can do."""
        client = self._desk.client
        client.delete(self._queue)
        messages = self._messages(count)
        began = time.perf_counter()
        client.lpush(self._queue, *messages)
        self._desk.until(lambda: client.llen(self._queue) == 0)
        return count / (time.perf_counter() - began)

    def _messages(self, count: int) -> list[str]:
        """Copies of one message as Celery sends it, each with an id of its own."""
        aside = f"{self._queue}-aside"
        task_id = str(uuid.uuid4())
        self._app.send_task(NO_OP, kwargs={"job_id": "job", "seat": 0}, queue=aside, task_id=task_id)
        message = cast("bytes", self._desk.client.rpop(aside)).decode()
        return [message.replace(task_id, str(uuid.uuid4())) for _ in range(count)]

    def relayed(self, count: int) -> float:
        steps = count // SEATS
        began = time.perf_counter()
        self._tokens.send([Token(JobId(f"chain {chain}"), steps - 1) for chain in range(SEATS)])
        self._desk.until(lambda: self._desk.client.llen(DONE) == SEATS)
        seconds = time.perf_counter() - began
        self._desk.client.delete(DONE)
        return steps * SEATS / seconds

    def job(self, store: Store, portfolios: int) -> float:
        """From the first tokens to the closed job. That nothing was healed on the way is part of the figure."""
        job = _running_job(store, portfolios)
        began = time.perf_counter()
        self._tokens.send([Token(job.job_id, seat) for seat in job.seats])
        self._desk.until(lambda: store.get_job(job.job_id).state.closed, every=0.01)
        seconds = time.perf_counter() - began
        ended = store.get_job(job.job_id)
        if (
            ended.state is not JobState.DONE
            or ended.healing
            or dict(ended.counts) != {"no_trade": portfolios}
        ):
            raise RuntimeError(f"not an undisturbed run: {ended.state}, {ended.counts}, {ended.healing}")
        self._desk.client.delete("trimtab.order-sets", f"trimtab.order-sets:ids:{job.job_id}")
        return portfolios / seconds


def _running_job(store: Store, portfolios: int) -> Job:
    """A job as it stands when its first tokens are sent."""
    job_id = JobId(uuid.uuid4().hex[:24])
    members = [Member(portfolio_id=PortfolioId(f"portfolio-{number:06d}")) for number in range(portfolios)]
    security = SecurityId("S" * 24)
    position = ModelPosition(
        security_id=security, target=Decimal("0.9"), low_drift=Decimal("0.1"), high_drift=Decimal("0.1")
    )
    snapshot, body = freeze(SystemClock().now(), {security: Decimal(10)}, {})
    job = store.insert_job(
        Job(
            job_id=job_id,
            key=job_id,
            request_sha256="0" * 64,
            model=InvestmentModel(model_id=ModelId("bench"), name="bench", positions=(position,)),
            policy=Policy(),
            parallelism=SEATS,
            n=portfolios,
            members_sha256="0" * 64,
            correlation_id="bench",
        )
    )
    store.freeze_inputs(Inputs(job_id=job_id, snapshot=body, sha256=snapshot.sha256))
    store.insert_items(job, 0, members)
    store.start_job(job_id)
    return store.get_job(job_id)


@contextmanager
def _folder(place: Path | None) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="trimtab-bench-", dir=place))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _database(url: str) -> Iterator[str]:
    """The URL of a database of our own on the server, dropped in the end."""
    client: MongoClient[dict[str, object]] = MongoClient(url)
    name = f"trimtab-bench-{uuid.uuid4().hex[:8]}"
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        client.drop_database(name)
        client.close()


# ------------------------------------------------------------------------------------------------ round trips


def _trips(kind: StoreKind) -> Iterator[Row]:
    """Counted in this process, one token after the other: the same code asks a store the same things anywhere."""
    for share_name, share in _SHARES.items():
        yield Row(
            suite=SUITE,
            name=_name(kind, share_name),
            value=_trips_of(kind, share) / COUNTED,
            unit="store round trips/portfolio",
            better=Better.LOWER,
            goal=TRIP_GOALS[share_name],
        )


def _trips_of(kind: StoreKind, share: int) -> int:
    commands = _Commands()
    monitoring.register(commands)  # before the client is made: those that are there do not hear of it
    with closing(open_store(kind.url, synchronous=kind.synchronous)) as store:
        job = _running_job(store, COUNTED)
        counted = _Counted(store)
        tokens = _Queue(Token(job.job_id, seat) for seat in job.seats)
        jobs = cast("JobStore", counted)
        services = Services(
            models=store,
            jobs=jobs,
            publisher=_Nowhere(),
            tokens=tokens,
            clock=SystemClock(),
            rules=Rules(slice_portfolios=share, slice_milliseconds=1000.0),
            **cast("dict[str, Any]", dict.fromkeys(_UNASKED)),
        )
        marks = Marks(jobs, every_seconds=ROUND_SECONDS)
        bench = Bench(
            owner="bench",
            frozen=FrozenJobs(jobs),
            marks=marks,
            outgoing=Outgoing(services.publisher, marks, every_seconds=ROUND_SECONDS),
        )
        commands.count = 0
        while tokens.waiting:
            run_token(tokens.waiting.popleft(), services, bench, nothing)
        trips = commands.count or counted.calls
        if store.get_job(job.job_id).state is not JobState.DONE:
            raise RuntimeError("the job whose round trips were counted did not end")
    return trips


_UNASKED: Final = ("prices", "securities", "accounting", "directory", "solver", "events")


class _Counted:
    """A job store, and how often it was asked: on SQLite each is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has under that name
        self.calls += 1
        return getattr(self._store, name)


class _Commands(monitoring.CommandListener):
    """Commands that were sent to MongoDB; none, where the store is another."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:  # noqa: ARG002 - pymongo's signature
        self.count += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


class _Queue:
    def __init__(self, tokens: Iterable[Token]) -> None:
        self.waiting = deque(tokens)

    def send(self, tokens: Sequence[Token]) -> None:
        self.waiting.extend(tokens)

    def length(self) -> int:
        return len(self.waiting)


class _Nowhere:
    """A result queue that takes everything: publishing is no trip to the store."""

    def publish(self, *publications: Publication) -> None: ...

    def identity(self) -> str | None:
        return None

    def ping(self) -> None: ...
