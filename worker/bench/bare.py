"""The same code in a bare loop: what a worker does with a token, on the same real parts, without Celery."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from config.settings import load_settings
from domain.ids import JobId, ModelId, PortfolioId
from domain.ports import Token
from tasks.bench import Bench
from tasks.open_job import open_job
from tasks.run_token import run_token
from tasks.services import Services
from tasks.submit_job import SubmitJob, submit_job
from worker.bench.failed import BenchFailed
from worker.bench.rig import BROKER, MODEL_ID, SANDBOX, Rig
from worker.bench.sampler import sampled, shares
from worker.celery_app import create_sending_app
from worker.process import WorkerProcess

STREAM = "trimtab.bench.order-sets"  # of its own: the rig counts what its workers publish
WARM_SECONDS = 0.2
TOKENS_BETWEEN_LOOKS = 5
SAMPLES = 250  # at least, for the parts: of fewer one may miss a part that takes a quarter of the time
PATIENCE_SECONDS = 60.0


class NoTokens:
    """`TokenQueue` of a loop that never lacks a token."""

    def send(self, tokens: Sequence[Token]) -> None:
        """The loop goes on by itself."""

    def length(self) -> int:
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """CPU seconds of a stretch of the loop: its own, with their parts (of 1), and of the servers it asked."""

    portfolios: int
    cpu: float
    parts: Mapping[str, float]
    servers: float

    @property
    def cpu_ms(self) -> float:
        """A portfolio, the loop alone."""
        return 1000 * self.cpu / self.portfolios

    @property
    def all_cpu_ms(self) -> float:
        """A portfolio, with what sandbox and broker spend on it."""
        return 1000 * (self.cpu + self.servers) / self.portfolios

    def part_ms(self, part: str) -> float:
        """CPU ms a portfolio of one part of the loop."""
        return self.cpu_ms * self.parts[part]


def enough(passed: float, seconds: float, samples: int) -> bool:
    """Whether a stretch is long enough.

    Raises:
        BenchFailed: the CPU clock does not tick as it should.
    """
    if passed > max(seconds, PATIENCE_SECONDS) and samples < SAMPLES:
        raise BenchFailed(f"the bare loop: {samples} samples of its CPU time in {passed:.0f} s, too few")
    return passed >= seconds and samples >= SAMPLES


class BareLoop:
    """Works jobs of its own in a store of its own, on the rig's sandbox and broker, with the rig's settings."""

    def __init__(self, rig: Rig, services: Services, bench: Bench) -> None:
        self._rig = rig
        self._services = services
        self._bench = bench
        self._job_id: JobId | None = None
        self._left = 0

    def work_for(self, seconds: float) -> Stretch:
        """Token after token for so long, and on until there are samples enough.

        Raises:
            BenchFailed: they did not come in `PATIENCE_SECONDS`.
        """
        began = time.perf_counter()
        self._run(lambda: time.perf_counter() >= began + WARM_SECONDS)
        published, servers, cpu = self._published(), self._servers(), time.process_time()
        began = time.perf_counter()
        with sampled() as counts:
            self._run(lambda: enough(time.perf_counter() - began, seconds, counts.total()))
        cpu = time.process_time() - cpu
        return Stretch(
            portfolios=max(self._published() - published, 1),
            cpu=cpu,
            parts=shares(counts),
            servers=self._servers() - servers,
        )

    def _run(self, over: Callable[[], bool]) -> None:
        while not over():
            token = self._token()
            for _ in range(TOKENS_BETWEEN_LOOKS):
                run_token(token, self._services, self._bench)

    def _token(self) -> Token:
        """Of a job that has enough left for all tokens until the next look."""
        most = TOKENS_BETWEEN_LOOKS * self._rig.settings.slice_portfolios
        if self._job_id is None or self._left < most:
            self._job_id, self._left = self._new_job()
        self._left -= most
        return Token(self._job_id, 0)

    def _new_job(self) -> tuple[JobId, int]:
        ids = tuple(PortfolioId(name) for name in self._rig.portfolio_ids)
        key = uuid.uuid4().hex
        command = SubmitJob(
            key=key, request_sha256=key, model_id=ModelId(MODEL_ID), portfolio_ids=ids, parallelism=1
        )
        job = submit_job(command, self._services).job
        open_job(job, self._services)
        return job.job_id, len(ids)

    def _published(self) -> int:
        return int(self._rig.redis.xlen(STREAM))

    def _servers(self) -> float:
        spent = self._rig.cpu()
        return spent[SANDBOX] + spent[BROKER]


@contextmanager
def open_bare_loop(rig: Rig) -> Iterator[BareLoop]:
    """Beside a rig that is idle while the loop runs."""
    given = {
        **rig.stack.settings,
        "store_url": f"sqlite:///{rig.stack.state_dir}/bare.db",
        "order_sets_stream": STREAM,
    }
    settings = load_settings(**given)
    process = WorkerProcess(settings, create_sending_app(settings))
    services, bench = process.hands
    try:
        services.jobs.prepare()
        services.models.create_model(rig.services.models.get_model(ModelId(MODEL_ID)))
        yield BareLoop(rig, replace(services, tokens=NoTokens()), bench)
    finally:
        process.close()
