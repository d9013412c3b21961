"""One chaos run: a calm job, then the same job under fire, then the comparison."""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.inbound.cli.wiring import BookOptions
from adapters.stores.open import Store, open_store
from domain.ids import JobId
from domain.item import FINAL_STATES, ItemState
from domain.job import Job
from tasks.steward import QUEUE_NOTE
from tests.chaos.desk import Desk
from tests.chaos.fire import Fire
from tests.chaos.listeners import Doubler, Reader
from tests.chaos.promises import Evidence, Report, Whole, judge
from tests.chaos.stores import StoreServer, store_server
from worker.stack import Stack

PARALLELISM: Final = 3  # below the four children: the seats are the bound, not the processes
SECURITIES: Final = 20
CALM_SECONDS: Final = 300.0
HEALING_SECONDS: Final = 300.0
LOOK_EVERY: Final = 0.03
# The slower the upstream, the longer the job: long enough for its kills, and short of a time-out.
SECONDS_A_KILL: Final = 0.7
SLOWEST_SECONDS: Final = 0.3

# As long as a task's limit allows beside the solver's: at a slow upstream a slice ends by its time.
SLICE_MILLISECONDS: Final = "900"

# Short waits, so that much happens in a minute; and attempts enough that kills alone never fail a portfolio.
SETTINGS: Final = {
    "solver_time_limit_seconds": "2",
    "task_time_limit_seconds": "3",
    "lease_seconds": "4",
    "due_after_seconds": "2",
    "lost_token_seconds": "1",
    "retry_delay_seconds": "0.2",
    "outage_delay_seconds": "0.2",
    "max_delay_seconds": "1",
    "max_attempts": "1000",
    "upstream_connect": "0.5",
    "upstream_read": "0.5",
    "upstream_answer_total": "1",
    "upstream_retries": "1",
    "upstream_retry_wait": "0.05",
    "upstream_retry_total": "1",
    "upstream_breaker_open": "0.3",
    "worker_concurrency": "2",
    "log_level": "warning",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``seconds``: no kill after this long. ``slice``: portfolios a token. ``store``: see `store_server`."""

    kills: int
    portfolios: int
    seed: int
    seconds: float
    store: str
    slice: int = 1


def run(options: Options, tell: Callable[[str], None]) -> Report:
    """The logs stay where they are told to be when a promise broke."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="trimtab-chaos-"))
    with ExitStack() as held:
        server = held.enter_context(store_server(options.store, folder))
        tell(f"logs are in {folder}; store: {server.description}")
        stack = held.enter_context(_stack(options, server, folder))
        store = held.enter_context(closing(open_store(server.url or f"sqlite:///{folder}/trimtab.db")))
        evidence = _Run(options, stack, store, server, held, tell).evidence()
    report = judge(evidence, seed=options.seed, seconds=time.monotonic() - began)
    if report.ok:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        tell(f"broken: {report.broken[:20]}\nlogs are in {folder}")
    return report


def _stack(options: Options, server: StoreServer, folder: Path) -> Stack:
    url = {"store_url": server.url} if server.url else {}
    slices = {"slice_portfolios": str(options.slice), "slice_milliseconds": SLICE_MILLISECONDS}
    book = BookOptions(portfolios=options.portfolios, securities=SECURITIES, seed=options.seed, prices=None)
    return Stack(state_dir=folder, book=book, settings={**SETTINGS, **slices, **url}, workers=2)


class _Run:
    def __init__(
        self,
        options: Options,
        stack: Stack,
        store: Store,
        server: StoreServer,
        held: ExitStack,
        tell: Callable[[str], None],
    ) -> None:
        self._options = options
        self._store = store
        self._tell = tell
        broker_url = stack.settings["broker_url"]
        self._desk = held.enter_context(closing(Desk(stack)))
        self._reader = held.enter_context(closing(Reader(broker_url)))
        self._doubler = held.enter_context(closing(Doubler(broker_url)))
        self._fire = Fire(
            stack,
            server,
            self._desk,
            self._reader,
            random.Random(options.seed),
            lease_seconds=float(SETTINGS["lease_seconds"]),
            latency_seconds=min(
                SLOWEST_SECONDS, PARALLELISM * SECONDS_A_KILL * options.kills / options.portfolios
            ),
        )
        self._in_flight: Counter[int] = Counter()

    def evidence(self) -> Evidence:
        self._desk.create_model()
        calm = self._calm()
        job_id = self._under_fire()
        self._heal(job_id)
        return Evidence(
            calm=calm,
            chaos=self._whole(job_id),
            jobs=len(self._store.list_jobs()),
            entries=self._reader.entries(),
            standing=self._reader.standing(),
            events=self._reader.events(),
            max_in_flight=max(self._in_flight, default=0),
            parallelism=PARALLELISM,
            kills=dict(self._fire.kills),
            restarts=dict(self._fire.restarts),
            others={**self._fire.others, "doubled_messages": self._doubler.doubled},
        )

    def _calm(self) -> Whole:
        """As it stood before anything was killed: a lost broker has even this job's order sets published again."""
        job_id = self._desk.submit("calm", PARALLELISM)
        self._wait(lambda: self._job(job_id).finished_at is not None, CALM_SECONDS)
        self._tell(f"calm run: {self._job(job_id).state}, healing {dict(self._job(job_id).healing)}")
        return self._whole(job_id)

    def _under_fire(self) -> JobId:
        """Kills are spread over the job: each waits until its share of the portfolios is done."""
        options, fire = self._options, self._fire
        self._doubler.start()
        job_id = self._desk.submit_in_every_way("chaos", PARALLELISM)
        fire.begin()
        began = time.monotonic()
        give_up = began + options.seconds
        while fire.killed < options.kills and time.monotonic() < give_up:
            self._look(job_id)
            rested = time.monotonic() - fire.struck_at > SECONDS_A_KILL / 2
            if rested and self._final(job_id) >= fire.killed / options.kills * 0.95 * options.portfolios:
                fire.strike()
                seconds = time.monotonic() - began
                self._tell(f"{seconds:6.1f} s, {self._final(job_id)} final, kill {fire.killed}: {fire.last}")
        fire.end()
        return job_id

    def _heal(self, job_id: JobId) -> None:
        """Nothing is disturbed any more; what died is still started again."""
        self._wait(lambda: self._looked(job_id).finished_at is not None, HEALING_SECONDS)
        self._wait(self._all_told, HEALING_SECONDS)
        self._reader.catch_up()

    def _all_told(self) -> bool:
        """No order set is due, no event untold, and none will be again.

        That a queue lost its data may be noticed late, and it is given them in two passes: only when the steward has
        noted the queue's new identity are both over.
        """
        noted = self._fire.patiently(lambda: self._store.get_note(QUEUE_NOTE))
        left = self._store.due_items(-1, limit=1) or self._store.untold(1)
        return noted == self._reader.identity() and not left

    def _looked(self, job_id: JobId) -> Job:
        self._look(job_id)
        return self._job(job_id)

    def _look(self, job_id: JobId) -> None:
        self._fire.tend()
        running = self._fire.patiently(
            lambda: len(self._store.list_items(job_id, states={ItemState.RUNNING}, limit=1000))
        )
        self._in_flight[running] += 1
        time.sleep(LOOK_EVERY)

    def _final(self, job_id: JobId) -> int:
        counts = self._fire.patiently(lambda: self._store.count_items(job_id))
        return sum(n for state, n in counts.items() if ItemState(state) in FINAL_STATES)

    def _job(self, job_id: JobId) -> Job:
        return self._fire.patiently(lambda: self._store.get_job(job_id))

    def _whole(self, job_id: JobId) -> Whole:
        items = self._store.list_items(job_id, bodies=True, limit=1_000_000)
        return Whole(self._store.get_job(job_id), items, self._store.get_inputs(job_id))

    def _wait(self, true: Callable[[], bool], seconds: float) -> None:
        """Until it is so, or for so long: the judge sees what is missing."""
        give_up = time.monotonic() + seconds
        while not true() and time.monotonic() < give_up:
            self._fire.tend()
            time.sleep(LOOK_EVERY)
