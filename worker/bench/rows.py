"""What a benchmark says: rows, each a median of interleaved repeats with its spread, some with a goal."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. ``spread``: half the distance between the quartiles, in the row's unit; 0 for a count.

    ``goal`` None: a report, not a gate; such a row is always ok.
    """

    suite: str
    name: str
    value: float
    unit: str
    better: Better
    spread: float = 0.0
    goal: float | None = None

    @property
    def ok(self) -> bool:
        if self.goal is None:
            return True
        return self.value <= self.goal if self.better is Better.LOWER else self.value >= self.goal


@dataclass(frozen=True, slots=True)
class Sample:
    """The same thing measured several times."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        if len(self.values) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return (high - low) / 2

    def ratio(self, other: "Sample") -> "Sample":
        """Repeat by repeat: what disturbed one round disturbed both."""
        return Sample(tuple(mine / its for mine, its in zip(self.values, other.values, strict=True)))


def measured(
    suite: str, name: str, sample: Sample, unit: str, better: Better, *, goal: float | None = None
) -> Row:
    """A row of a sample: its median and its spread."""
    return Row(
        suite=suite,
        name=name,
        value=sample.median,
        unit=unit,
        better=better,
        spread=sample.spread,
        goal=goal,
    )


def interleaved(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Sample]:
    """Seconds each contestant takes, round by round: A B C, A B C, ... so that a noisy minute hits all of them.

    Each runs once before it counts. The garbage collector waits meanwhile.
    """

    def timed(run: Callable[[], object]) -> Callable[[], float]:
        def measure() -> float:
            start = clock()
            run()
            return clock() - start

        return measure

    return interleaved_figures({name: timed(run) for name, run in contestants.items()}, rounds=rounds)


def interleaved_figures(contestants: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, Sample]:
    """As `interleaved`, for contestants that measure themselves and answer with their figure."""
    for run in contestants.values():
        run()
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    with _little_to_collect():
        for _ in range(rounds):
            for name, run in contestants.items():
                gc.collect()
                gc.disable()
                try:
                    figures[name].append(run())
                finally:
                    gc.enable()
    return {name: Sample(tuple(values)) for name, values in figures.items()}


@contextmanager
def _little_to_collect() -> Iterator[None]:
    """What is there already is out of the collector's sight, as in a worker, which freezes it before it forks.

    To walk the hundred thousands of objects of the libraries before every sample left the caches full of them: a
    portfolio of 50 securities then took twice its time.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
