"""Prometheus metrics made of the catalogue, with labels that cannot grow."""

import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from adapters.metrics.catalogue import METRICS, OTHER, Label

# When each series was born would be a second series of each.
disable_created_metrics()  # type: ignore[no-untyped-call]  # as it comes

SeriesT = TypeVar("SeriesT")


class Family(Generic[SeriesT]):
    """One metric and its series, each found by its label values."""

    def __init__(self, labels: Sequence[Label], make: Callable[..., SeriesT]) -> None:
        """``make`` gives the series of label values that are on their lists."""
        self._labels = labels
        self._make = make
        self._series: dict[tuple[str, ...], SeriesT] = {}
        self._seen: list[set[str]] = [set() for _ in labels]
        self._lock = threading.Lock()

    def of(self, *values: str) -> SeriesT:
        """The series of these label values; each that is not on its list is ``other``."""
        series = self._series.get(values)
        return self._bounded(values) if series is None else series

    def begin(self) -> None:
        """Make the series of a metric with one label: a rate does not see the event that makes its series."""
        if len(self._labels) == 1:
            for value in self._labels[0].values or ():
                self.of(value)

    def _bounded(self, values: Sequence[str]) -> SeriesT:
        with self._lock:
            known = tuple(map(self._known, self._labels, self._seen, values))
            if known not in self._series:
                self._series[known] = self._make(*known)
            return self._series[known]

    @staticmethod
    def _known(label: Label, seen: set[str], value: str) -> str:
        if label.values is not None:
            return value if value in label.values else OTHER
        if value not in seen and len(seen) >= label.most:
            return OTHER
        seen.add(value)
        return value


class Sum:
    """A counter that takes many at once (`later.Target`)."""

    def __init__(self, series: Counter) -> None:
        self._series = series

    def take(self, values: Sequence[float]) -> None:
        self._series.inc(sum(values))


class Spread:
    """A histogram that takes many at once: one write for each bucket they fall into, not for each of them."""

    def __init__(self, series: Histogram) -> None:
        # It has no way to say this in public; a test compares what comes out with what `observe` does.
        self._sum = series._sum  # noqa: SLF001
        self._buckets = series._buckets  # noqa: SLF001
        self._bounds = series._upper_bounds  # noqa: SLF001

    def take(self, values: Sequence[float]) -> None:
        self._sum.inc(sum(values))
        for place, count in Tally(bisect_left(self._bounds, value) for value in values).items():
            self._buckets[place].inc(count)


class Families:
    """Makes the metrics of one process. Those that another one exposes may be counted here, but stand nowhere."""

    def __init__(self, process: str, registry: CollectorRegistry) -> None:
        self._process = process
        self._registry = registry

    def counter(self, name: str) -> Family[Counter]:
        whole = self._counter(name)
        return self._begun(name, lambda *values: whole.labels(*values) if values else whole)

    def sums(self, name: str) -> Family[Sum]:
        """A counter that is told of later."""
        whole = self._counter(name)
        return self._begun(name, lambda *values: Sum(whole.labels(*values) if values else whole))

    def gauge(self, name: str) -> Family[Gauge]:
        """Of several processes: the sum of those that live."""
        names = [label.name for label in METRICS[name].labels]
        whole = Gauge(
            name, METRICS[name].help, names, registry=self._where(name), multiprocess_mode="livesum"
        )
        return self._begun(name, lambda *values: whole.labels(*values) if values else whole)

    def histogram(self, name: str) -> Family[Histogram]:
        whole = self._histogram(name)
        return self._begun(name, lambda *values: whole.labels(*values) if values else whole)

    def spreads(self, name: str) -> Family[Spread]:
        """A histogram that is told of later."""
        whole = self._histogram(name)
        return self._begun(name, lambda *values: Spread(whole.labels(*values) if values else whole))

    def _counter(self, name: str) -> Counter:
        names = [label.name for label in METRICS[name].labels]
        return Counter(name, METRICS[name].help, names, registry=self._where(name))

    def _histogram(self, name: str) -> Histogram:
        metric = METRICS[name]
        names = [label.name for label in metric.labels]
        return Histogram(name, metric.help, names, registry=self._where(name), buckets=metric.buckets)

    def _where(self, name: str) -> CollectorRegistry | None:
        return self._registry if self._process in METRICS[name].of else None

    def _begun(self, name: str, make: Callable[..., SeriesT]) -> Family[SeriesT]:
        family = Family(METRICS[name].labels, make)
        if self._where(name) is not None:
            family.begin()
        return family
