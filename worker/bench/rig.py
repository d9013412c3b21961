"""An embedded stack under load, and what each of its processes spends meanwhile."""

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis import Redis

from adapters.inbound.cli.wiring import BookOptions
from config.settings import Settings, load_settings
from domain.ids import JobId
from domain.job import Job, JobState
from tasks.services import Services
from worker.bench.failed import BenchFailed
from worker.bench.machine import busy_seconds, cores, cpu_of
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.demo import ITS_OWN
from worker.redis_client import redis_client
from worker.stack import Stack

MODEL_ID = "bench"
SECURITIES = 50
ODD_PORTFOLIOS = 21  # the first of the sandbox's book: empty ones, and others that are no usual work
STILL_SECONDS = 60.0
POLL_SECONDS = 0.01
SETTLE_PORTFOLIOS = 40  # worked before a window opens: every child has its clients open and its caches warm

API, STEWARD, BROKER, SANDBOX = "API", "steward", "broker", "sandbox"
PARENT, CHILDREN = "worker parent", "worker children (SQLite inside)"
REQUESTS = "requests"
WORKER = (PARENT, CHILDREN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of steady work. ``cpu``: seconds by process; ``others``: what the rest of the machine used."""

    portfolios: int
    seconds: float
    cpu: Mapping[str, float]
    others: float

    @property
    def per_second(self) -> float:
        return self.portfolios / self.seconds

    def cpu_ms(self, *names: str) -> float:
        """CPU ms a portfolio, of these processes; of all without a name."""
        return 1000 * sum(self.cpu[name] for name in names or self.cpu) / self.portfolios

    @property
    def others_share(self) -> float:
        """Of all cores, in percent."""
        return 100 * max(self.others, 0.0) / (self.seconds * cores())


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    published: int
    cpu: Mapping[str, float]
    busy: float


@dataclass(slots=True, kw_only=True)
class Rig:
    """A running stack with a model and a book. Every job's order sets go to its result queue, which is counted."""

    stack: Stack
    settings: Settings
    services: Services
    portfolio_ids: tuple[str, ...]
    api: httpx.Client
    sandbox: httpx.Client
    redis: Redis
    _keys: Iterator[int] = field(default_factory=itertools.count)

    # -------------------------------------------------------------------------------------------- jobs

    def post(self, portfolios: int, *, parallelism: int) -> JobId:
        """Post a job for so many ordinary portfolios of the book."""
        chosen = self.portfolio_ids[:portfolios]
        if len(chosen) < portfolios:
            raise BenchFailed(f"the book has no {portfolios} ordinary portfolios")
        body = {"model_id": MODEL_ID, "portfolio_ids": chosen, "parallelism": parallelism}
        answer = self.api.post("/jobs", json=body, headers={"Idempotency-Key": f"bench-{next(self._keys)}"})
        return JobId(str(answer.raise_for_status().json()["job_id"]))

    def started(self, job_id: JobId) -> None:
        """Wait until every portfolio has its item and the job runs."""
        self._wait(lambda: self._job(job_id).state is not JobState.ACCEPTED, "the job did not start")

    def cancel(self, job_id: JobId) -> None:
        """Cancel the job and wait for its end."""
        self.api.post(f"/jobs/{job_id}/cancel").raise_for_status()
        self.finished(job_id)

    def finished(self, job_id: JobId) -> Job:
        self._wait(lambda: self._job(job_id).state.closed, "the job did not end")
        return self._job(job_id)

    def _job(self, job_id: JobId) -> Job:
        return self.services.jobs.get_job(job_id)

    # -------------------------------------------------------------------------------------------- windows

    def work_for(self, seconds: float, *, portfolios: int, parallelism: int) -> Window:
        """A job is posted, worked for so long at full speed, and cancelled."""
        job_id = self.post(portfolios, parallelism=parallelism)
        self.settle()
        window = self._window(lambda began, _: time.perf_counter() >= began.at + seconds)
        if self._job(job_id).state.closed:
            raise BenchFailed(f"{portfolios} portfolios were worked before {seconds:g} s were over")
        self.cancel(job_id)
        return window

    def work(self, portfolios: int, *, seconds: float = math.inf) -> Window:
        """The next so many portfolios of whatever is being worked, or what is done of them in so many seconds."""
        return self._window(
            lambda began, published: (
                published >= began.published + portfolios or time.perf_counter() >= began.at + seconds
            )
        )

    def settle(self) -> None:
        """Let the first portfolios of a job go by."""
        self.work(SETTLE_PORTFOLIOS)

    def published(self) -> int:
        return int(self.redis.xlen(self.settings.order_sets_stream))

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, by process."""
        spent = dict.fromkeys((API, STEWARD, BROKER, SANDBOX, PARENT, CHILDREN), 0.0)
        for child in self.stack.children:
            cpu = cpu_of(child.process.pid)
            if child.name.startswith("worker"):
                spent[PARENT] += cpu.own
                spent[CHILDREN] += cpu.children
            else:
                name = API if child.name == "api" else child.name
                spent[name] = spent.get(name, 0.0) + cpu.own + cpu.children
        return spent

    def pid(self, name: str) -> int:
        return self.stack.child(name).process.pid

    def _window(self, over: Callable[[_Reading, int], bool]) -> Window:
        began = self._read()
        self._wait(lambda: over(began, self.published()), "no order sets came")
        ended = self._read()
        cpu = {name: ended.cpu[name] - began.cpu[name] for name in ended.cpu}
        return Window(
            portfolios=max(ended.published - began.published, 1),
            seconds=ended.at - began.at,
            cpu=cpu,
            others=ended.busy - began.busy - sum(cpu.values()),
        )

    def _read(self) -> _Reading:
        busy, cpu = busy_seconds(), self.cpu()
        return _Reading(time.perf_counter(), self.published(), cpu, busy)

    def _wait(self, over: Callable[[], bool], otherwise: str) -> None:
        """Until it is over; not for longer than ``STILL_SECONDS`` without a new order set."""
        moved, published = time.monotonic(), self.published()
        while not over():
            if (now := self.published()) != published:
                moved, published = time.monotonic(), now
            if time.monotonic() > moved + STILL_SECONDS:
                raise BenchFailed(f"{otherwise} within {STILL_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    # -------------------------------------------------------------------------------------------- upstreams

    def latency(self, milliseconds: float) -> None:
        """Every upstream answers so much later from now on."""
        late = {"latency_ms": milliseconds}
        faults = dict.fromkeys(("pricing", "security", "portfolio", "accounting"), late)
        self.sandbox.put("/sandbox/faults", json=faults).raise_for_status()

    def upstream_calls(self) -> int:
        """Since the last time this was asked."""
        calls = self.sandbox.get("/sandbox/calls").raise_for_status().json()["total"]
        self.sandbox.delete("/sandbox/calls").raise_for_status()
        return int(calls)


@contextmanager
def open_rig(
    *,
    portfolios: int,
    workers: int = 1,
    parts: tuple[str, ...] = ("steward",),
    settings: Mapping[str, str] | None = None,
) -> Iterator[Rig]:
    """Bring a stack up in a folder of its own; all of it is gone afterwards.

    Args:
        portfolios: ordinary portfolios in the book.
        workers: worker processes, each with ``worker_concurrency`` children.
        parts: what runs besides broker, sandbox, API and workers.
        settings: over the defaults, for every process.

    Raises:
        StackFailed: a part did not come up.
    """
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="trimtab-bench-")))
        book = BookOptions(portfolios=portfolios + ODD_PORTFOLIOS, securities=SECURITIES, seed=1, prices=None)
        stack = held.enter_context(
            Stack(
                state_dir=folder,
                book=book,
                settings={**ITS_OWN, "log_level": "warning", **(settings or {})},
                parts=parts,
                workers=workers,
            )
        )
        loaded = load_settings(**stack.settings)
        services = held.enter_context(build_services(loaded, create_sending_app(loaded)))
        api = held.enter_context(httpx.Client(base_url=f"{stack.api_url}/api/v1", timeout=120))
        sandbox = held.enter_context(httpx.Client(base_url=stack.settings["pricing_url"], timeout=60))
        redis = redis_client(stack.settings["broker_url"])
        held.callback(redis.close)
        yield Rig(
            stack=stack,
            settings=loaded,
            services=services,
            portfolio_ids=_create_model(api, sandbox)[ODD_PORTFOLIOS:],
            api=api,
            sandbox=sandbox,
            redis=redis,
        )


def _create_model(api: httpx.Client, sandbox: httpx.Client) -> tuple[str, ...]:
    book = sandbox.get("/sandbox/model").raise_for_status().json()
    model = {"model_id": MODEL_ID, "name": "Bench model", "positions": book["positions"], "portfolios": []}
    api.post("/models", json=model).raise_for_status()
    return tuple(book["portfolio_ids"])
