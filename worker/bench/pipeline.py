"""The whole pipeline on this machine: portfolios a second, and where the CPU time of each of them goes.

Every part is the real one and runs on the same cores: broker, API, steward, workers, SQLite with ``synchronous=FULL``
and the sandbox that plays the upstreams. All stacks stand at once and are idle but for the one whose turn it is;
a turn is a job that is worked for some seconds at full speed and then cancelled.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from worker.bench.bare import BareLoop, Stretch, open_bare_loop
from worker.bench.machine import cores
from worker.bench.plain_celery import open_plain_celery
from worker.bench.rig import WORKER, Rig, Window, open_rig
from worker.bench.rows import Better, Row, Sample, measured
from worker.bench.sampler import NAMES

SUITE = "pipeline"
PORTFOLIOS = 10_000  # of a job: more than any turn can work
SEATS_PER_CHILD = 4
LATE_MS = 20.0
NIGHTLY_PER_SECOND = 370  # a million in 45 minutes

ONE, SLICE, WIDE = "one a token", "slice of 8", "7 children a core"

# By the rule of docs/operations.md, cores x (1 + waiting / working): a child works 3 ms on a portfolio, and waits 1.5 ms
# for answers and disk where all stand on one machine, 20 where the upstreams answer late.
NEAR, FAR = (3 * cores() + 1) // 2, 7 * cores()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A stack: its worker's children, more of its settings, and its goal as a share of the ceiling, in percent."""

    children: int
    more: Mapping[str, str] = field(default_factory=dict)
    of_the_ceiling: float | None = None

    @property
    def settings(self) -> Mapping[str, str]:
        return {"worker_concurrency": str(self.children), **self.more}

    @property
    def parallelism(self) -> int:
        return SEATS_PER_CHILD * self.children


VARIANTS: Mapping[str, Variant] = {
    ONE: Variant(children=NEAR, of_the_ceiling=45.0),
    SLICE: Variant(children=NEAR, more={"slice_portfolios": "8"}, of_the_ceiling=70.0),
    WIDE: Variant(children=FAR),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round measured, by variant. ``late``: with slow upstreams; ``noop_ms``: CPU of a no-op Celery task."""

    windows: Mapping[str, Window]
    bare: Mapping[str, Stretch]
    late: Window | None
    noop_ms: float

    def worker_ms(self, variant: str) -> float:
        return self.windows[variant].cpu_ms(*WORKER)


def rows(
    rounds: int = 3,
    seconds: float = 4.0,
    variants: Sequence[str] = tuple(VARIANTS),
    *,
    counted: int = 200,
    tasks: int = 3000,
) -> Iterator[Row]:
    """Measure. Each round gives every stack its turn.

    Args:
        rounds: how often.
        seconds: of a turn.
        variants: the stacks to measure.
        counted: portfolios of the job whose upstream calls are counted.
        tasks: no-op Celery tasks of a turn.

    Raises:
        BenchFailed, StackFailed: it could not be measured.
    """
    with ExitStack() as held:
        rigs = {
            name: held.enter_context(open_rig(portfolios=PORTFOLIOS, settings=VARIANTS[name].settings))
            for name in variants
        }
        loops = {
            name: held.enter_context(open_bare_loop(rigs[name]))
            for name in variants
            if VARIANTS[name].of_the_ceiling is not None
        }
        noop = held.enter_context(open_plain_celery(rigs[variants[0]]))
        calls = _calls_of_a_job(rigs[variants[0]], counted)
        noop.cpu_ms(tasks // 10)
        measured_rounds = [_round(rigs, loops, lambda: noop.cpu_ms(tasks), seconds) for _ in range(rounds)]
    yield from rows_of(measured_rounds)
    yield calls


def _round(
    rigs: Mapping[str, Rig], loops: Mapping[str, BareLoop], noop_ms: Callable[[], float], seconds: float
) -> Round:
    def turn(name: str) -> Window:
        return rigs[name].work_for(seconds, portfolios=PORTFOLIOS, parallelism=VARIANTS[name].parallelism)

    def late() -> Window:
        rigs[WIDE].latency(LATE_MS)
        try:
            return turn(WIDE)
        finally:
            rigs[WIDE].latency(0)

    return Round(
        windows={name: turn(name) for name in rigs},
        late=late() if WIDE in rigs else None,
        bare={name: loop.work_for(seconds / 2) for name, loop in loops.items()},
        noop_ms=noop_ms(),
    )


def _calls_of_a_job(rig: Rig, portfolios: int) -> Row:
    """A whole job from its post to its end, its upstream calls counted by the sandbox."""
    rig.upstream_calls()
    rig.finished(rig.post(portfolios, parallelism=VARIANTS[ONE].parallelism))
    return Row(
        suite=SUITE,
        name=f"upstream calls of a job of {portfolios} portfolios",
        value=rig.upstream_calls(),
        unit="calls",
        better=Better.LOWER,
        goal=2 + portfolios,
    )


# ------------------------------------------------------------------------------------------------ the rows


def rows_of(rounds: Sequence[Round]) -> Iterator[Row]:
    """All figures of some rounds; ratios are taken round by round."""
    figures = _Figures(rounds)
    for name in rounds[0].windows:
        yield figures.throughput(name)
    for name in rounds[0].bare:
        yield from figures.by_process(name)
        yield from figures.by_part(name)
        yield from figures.of_the_ceiling(name)
        yield figures.against_noop(name)
    yield figures.row("no-op Celery task, worker CPU", "ms", lambda each: each.noop_ms)
    if rounds[0].late is not None:
        yield from figures.late()
    yield figures.row(
        "cores busy with something else meanwhile",
        "%",
        lambda each: max(window.others_share for window in each.windows.values()),
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    rounds: Sequence[Round]

    def row(
        self,
        name: str,
        unit: str,
        of: Callable[[Round], float],
        better: Better = Better.LOWER,
        goal: float | None = None,
    ) -> Row:
        sample = Sample(tuple(of(each) for each in self.rounds))
        return measured(SUITE, name, sample, unit, better, goal=goal)

    def throughput(self, name: str) -> Row:
        return self.row(
            f"throughput, {name} ({NIGHTLY_PER_SECOND}/s: a million in 45 minutes)",
            "portfolios/s",
            lambda each: each.windows[name].per_second,
            Better.HIGHER,
        )

    def by_process(self, name: str) -> Iterator[Row]:
        def cpu(label: str, *processes: str) -> Row:
            return self.row(
                f"CPU by process, {name}: {label}",
                "ms",
                lambda each: each.windows[name].cpu_ms(*processes),
            )

        for process in self.rounds[0].windows[name].cpu:
            yield cpu(process, process)
        yield cpu("all")

    def by_part(self, name: str) -> Iterator[Row]:
        def cpu(label: str, of: Callable[[Round], float]) -> Row:
            return self.row(f"worker CPU by part, {name}: {label}", "ms", of)

        def part(label: str) -> Row:
            return cpu(label, lambda each: each.bare[name].part_ms(label))

        yield from map(part, NAMES)
        yield cpu("Celery", lambda each: max(each.worker_ms(name) - each.bare[name].cpu_ms, 0.0))
        yield cpu("all", lambda each: each.worker_ms(name))

    def of_the_ceiling(self, name: str) -> Iterator[Row]:
        """What cores ÷ CPU of a portfolio would allow, where sandbox and broker run on the same cores, and if not.

        On a machine that is busy with something else the goal is out of reach; the third row tells that apart.
        """

        def share(label: str, cpu_ms: Callable[[Stretch], float], goal: float | None) -> Row:
            return self.row(
                f"throughput ÷ (cores ÷ CPU of the bare {label}), {name}",
                "%",
                lambda each: each.windows[name].per_second * cpu_ms(each.bare[name]) / (10 * cores()),
                Better.HIGHER,
                goal,
            )

        yield share(
            "loop, its sandbox and broker", lambda bare: bare.all_cpu_ms, VARIANTS[name].of_the_ceiling
        )
        yield share("loop alone", lambda bare: bare.cpu_ms, None)
        yield self.row(
            f"the same of what others left of the cores, {name}",
            "%",
            lambda each: (
                each.windows[name].per_second
                * each.bare[name].all_cpu_ms
                / (10 * cores() * (1 - each.windows[name].others_share / 100))
            ),
            Better.HIGHER,
        )

    def against_noop(self, name: str) -> Row:
        return self.row(
            f"worker CPU of a portfolio ÷ of a no-op Celery task, {name}",
            "x",
            lambda each: each.worker_ms(name) / each.noop_ms,
            goal=5.0,
        )

    def late(self) -> Iterator[Row]:
        """With slow upstreams, and against the same stack, and the usual one, without."""
        yield self.row(
            f"throughput, {WIDE}, upstreams {LATE_MS:g} ms late",
            "portfolios/s",
            lambda each: _per_second(each.late),
            Better.HIGHER,
        )

        def against(base: str, goal: float | None) -> Row:
            return self.row(
                f"throughput, {WIDE}, upstreams {LATE_MS:g} ms late ÷ {base}, 0 ms",
                "%",
                lambda each: 100 * _per_second(each.late) / each.windows[base].per_second,
                Better.HIGHER,
                goal,
            )

        yield against(WIDE, 80.0)
        if ONE in self.rounds[0].windows:
            yield against(ONE, None)


def _per_second(window: Window | None) -> float:
    return 0.0 if window is None else window.per_second
