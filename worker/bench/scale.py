"""Growth: the same work out of jobs of 1,000, 10,000 and 50,000 portfolios, and with one and two worker processes.

Of a large job all portfolios are accepted and expanded, then a fixed number of them is worked (the same at every
size), then the job is cancelled. That shows whatever grows with the size of a job and fits into a minute; with
``full`` the largest one is worked to its end.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from worker.bench.machine import cores, memory_of, peak_memory_of
from worker.bench.rig import API, BROKER, CHILDREN, PARENT, SETTLE_PORTFOLIOS, STEWARD, Rig, Window, open_rig
from worker.bench.rows import Better, Row, Sample, measured

SUITE = "scale"
SIZES = (1_000, 10_000, 50_000)
PARALLELISM = 8
OURS = (API, STEWARD, PARENT, CHILDREN, BROKER)  # what Trimtab runs; the upstreams are somebody else's
KIB = 1024
MIB = 1024 * KIB
TURN_SECONDS = 3.0
TURN_LIMIT_SECONDS = 8.0  # on a machine that cannot work all in that time
TURN_PORTFOLIOS = 10_000

GROUPS: Mapping[str, int] = {"1 worker process": 1, "2 worker processes": 2}
SINGLE, PAIR = GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCost:
    """Of one job: seconds until it was accepted, expanded and cancelled; bytes in memory and in the store.

    ``result`` and ``queued`` are of one worked portfolio: bytes in the store, and in the broker's memory.
    """

    accept: float
    expand: float
    cancel: float
    store: int
    result: float
    queued: float
    api: int
    api_peak: int
    worker: int
    worked: Window


Round = Mapping[int, JobCost]
Turns = Mapping[str, Window]


def rows(rounds: int = 3, worked: int = 500, *, full: bool = False) -> Iterator[Row]:
    """Measure. In each round every size has its turn on one stack, then each group of workers on its own.

    Args:
        rounds: how often.
        worked: portfolios worked of each job, or what of them is done in some seconds.
        full: also one job of the largest size to its end (with 100 a second that is nine minutes).

    Raises:
        BenchFailed, StackFailed: it could not be measured.
    """
    with open_rig(portfolios=SIZES[-1]) as rig:
        _turn(rig, SIZES[0], worked)  # caches and connections
        measured_rounds = [{size: _turn(rig, size, worked) for size in SIZES} for _ in range(rounds)]
        yield from rows_of(measured_rounds, worked)
        if full:
            yield from _full(rig, measured_rounds)
    with ExitStack() as held:
        rigs = {
            name: held.enter_context(
                open_rig(portfolios=TURN_PORTFOLIOS, workers=workers, settings={"worker_concurrency": "1"})
            )
            for name, workers in GROUPS.items()
        }
        turns = [{name: _group(rig) for name, rig in rigs.items()} for _ in range(rounds)]
    yield from rows_of_groups(turns)


def _turn(rig: Rig, size: int, worked: int) -> JobCost:
    stored = _store_bytes(rig)
    began = time.perf_counter()
    job_id = rig.post(size, parallelism=PARALLELISM)
    accepted = time.perf_counter()
    rig.started(job_id)
    expanded = time.perf_counter()
    grown = _store_bytes(rig) - stored
    rig.settle()
    filled, queued = _store_bytes(rig), _broker_bytes(rig)
    window = rig.work(worked, seconds=TURN_LIMIT_SECONDS)
    filled, queued = _store_bytes(rig) - filled, _broker_bytes(rig) - queued
    workers = memory_of(rig.pid("worker-1"))
    stopped = time.perf_counter()
    rig.cancel(job_id)
    return JobCost(
        accept=accepted - began,
        expand=expanded - accepted,
        cancel=time.perf_counter() - stopped,
        store=grown,
        result=filled / window.portfolios,
        queued=queued / window.portfolios,
        api=memory_of(rig.pid("api")),
        api_peak=peak_memory_of(rig.pid("api")),
        worker=workers,
        worked=window,
    )


def _group(rig: Rig) -> Window:
    return rig.work_for(TURN_SECONDS, portfolios=TURN_PORTFOLIOS, parallelism=PARALLELISM)


def _full(rig: Rig, rounds: Sequence[Round]) -> Iterator[Row]:
    size = SIZES[-1]
    job_id = rig.post(size, parallelism=PARALLELISM)
    rig.settle()
    window = rig.work(size - 2 * SETTLE_PORTFOLIOS)
    rig.finished(job_id)
    small = Sample(tuple(each[SIZES[0]].worked.cpu_ms(*OURS) for each in rounds)).median
    yield Row(
        suite=SUITE,
        name=f"CPU of a portfolio, all {size:,} worked ÷ {SIZES[0]:,}",
        value=window.cpu_ms(*OURS) / small,
        unit="x",
        better=Better.LOWER,
        goal=1.1,
    )


def _store_bytes(rig: Rig) -> int:
    """Pages in use, whether they stand in the file or still in its log."""
    path = rig.stack.state_dir / "trimtab.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:

        def pragma(name: str) -> int:
            value: Any = store.execute(f"PRAGMA {name}").fetchone()[0]
            return int(value)

        return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")


def _broker_bytes(rig: Rig) -> int:
    memory: Any = rig.redis.info("memory")
    return int(memory["used_memory"])


# ------------------------------------------------------------------------------------------------ the rows


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    unit: str
    of: Callable[[JobCost], float]


FIGURES = (
    Figure("time to accept", "s", lambda cost: cost.accept),
    Figure("time to expand", "s", lambda cost: cost.expand),
    Figure("time to cancel", "s", lambda cost: cost.cancel),
    Figure("store, before any result", "MiB", lambda cost: cost.store / MIB),
    Figure("store growth of a worked portfolio", "KiB", lambda cost: cost.result / KIB),
    Figure("broker memory of a published portfolio", "KiB", lambda cost: cost.queued / KIB),
    Figure("API memory after it", "MiB", lambda cost: cost.api / MIB),
    Figure("worker memory, parent and children", "MiB", lambda cost: cost.worker / MIB),
    Figure("CPU of a portfolio, all but the sandbox", "ms", lambda cost: cost.worked.cpu_ms(*OURS)),
)


def rows_of(rounds: Sequence[Round], worked: int) -> Iterator[Row]:
    """Each figure at each size, then the largest against the smallest, round by round.

    Memory is compared as it was in the first round, before a larger job could leave anything behind.
    """

    def sample(size: int, of: Callable[[JobCost], float]) -> Sample:
        return Sample(tuple(of(each[size]) for each in rounds))

    for figure in FIGURES:
        for size in SIZES:
            name = f"{figure.name}, {size:,} portfolios"
            yield measured(SUITE, name, sample(size, figure.of), figure.unit, Better.LOWER)
    for size in SIZES:
        peak = Sample((rounds[0][size].api_peak / MIB,))
        yield measured(SUITE, f"API peak memory, {size:,} portfolios", peak, "MiB", Better.LOWER)
    small, large = SIZES[0], SIZES[-1]
    cpu = sample(large, _cpu).ratio(sample(small, _cpu))
    yield measured(
        SUITE,
        f"CPU of a portfolio, {large:,} ÷ {small:,} (up to {worked:,} of each worked, the rest cancelled)",
        cpu,
        "x",
        Better.LOWER,
        goal=1.1,
    )
    yield Row(
        suite=SUITE,
        name=f"worker memory, {large:,} ÷ {small:,} (after up to {worked:,} portfolios of it)",
        value=rounds[0][large].worker / rounds[0][small].worker,
        unit="x",
        better=Better.LOWER,
        goal=1.1,
    )


def _cpu(cost: JobCost) -> float:
    return cost.worked.cpu_ms(*OURS)


def rows_of_groups(turns: Sequence[Turns]) -> Iterator[Row]:
    """Throughput by number of worker processes, and what the second one adds.

    The ideal is twice the first one's throughput, or what the cores allow with the CPU that a portfolio costs all
    processes together, whichever is less: on two cores the other parts of the stack need some of the second one.
    On a machine that is busy with something else the second worker finds less than that; the row after it tells that
    apart.
    """

    def sample(of: Callable[[Turns], float]) -> Sample:
        return Sample(tuple(of(each) for each in turns))

    def throughput(name: str) -> Row:
        figure = sample(lambda each: each[name].per_second)
        return measured(SUITE, f"throughput, {name} of one child", figure, "portfolios/s", Better.HIGHER)

    yield from map(throughput, GROUPS)
    yield measured(
        SUITE,
        "throughput, 2 worker processes ÷ 1",
        sample(lambda each: each[PAIR].per_second / each[SINGLE].per_second),
        "x",
        Better.HIGHER,
    )
    yield measured(
        SUITE,
        "throughput, 2 worker processes ÷ ideal (twice one, or what the cores allow)",
        sample(lambda each: 100 * each[PAIR].per_second / _ideal(each[SINGLE])),
        "%",
        Better.HIGHER,
        goal=85.0,
    )
    yield measured(
        SUITE,
        "the same of what others left of the cores",
        sample(lambda each: 100 * each[PAIR].per_second / _ideal(each[SINGLE], each[PAIR].others_share)),
        "%",
        Better.HIGHER,
    )
    yield measured(
        SUITE,
        "cores busy with something else meanwhile",
        sample(lambda each: max(window.others_share for window in each.values())),
        "%",
        Better.LOWER,
    )


def _ideal(single: Window, others_share: float = 0.0) -> float:
    """Portfolios a second of two workers. ``others_share``: of all cores, in percent, that are not ours."""
    ours = cores() * (1 - others_share / 100)
    return min(2 * single.per_second, 1000 * ours / single.cpu_ms())
