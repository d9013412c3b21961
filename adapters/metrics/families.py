"""Prometheus metrics made of the catalogue, with labels that cannot grow."""

import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from adapters.metrics.catalogue import METRICS, OTHER, Label

# When each series was born would be a second series of each.
disable_created_metrics()  # type: ignore[no-untyped-call]  # as it comes

SeriesT = TypeVar("SeriesT", Counter, Gauge, Histogram)


class Family(Generic[SeriesT]):
    """One metric and its series, each found by its label values."""

    def __init__(self, labels: Sequence[Label], whole: SeriesT) -> None:
        self._labels = labels
        self._whole: SeriesT = whole
        self._series: dict[tuple[str, ...], SeriesT] = {} if labels else {(): whole}
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
                self._series[known] = self._whole.labels(*known)
            return self._series[known]

    @staticmethod
    def _known(label: Label, seen: set[str], value: str) -> str:
        if label.values is not None:
            return value if value in label.values else OTHER
        if value not in seen and len(seen) >= label.most:
            return OTHER
        seen.add(value)
        return value


class Families:
    """Makes the metrics of one process. Those that another one exposes may be counted here, but stand nowhere."""

    def __init__(self, process: str, registry: CollectorRegistry) -> None:
        self._process = process
        self._registry = registry

    def counter(self, name: str) -> Family[Counter]:
        names = [label.name for label in METRICS[name].labels]
        return self._begun(name, Counter(name, METRICS[name].help, names, registry=self._where(name)))

    def gauge(self, name: str) -> Family[Gauge]:
        """Of several processes: the sum of those that live."""
        names = [label.name for label in METRICS[name].labels]
        made = Gauge(name, METRICS[name].help, names, registry=self._where(name), multiprocess_mode="livesum")
        return self._begun(name, made)

    def histogram(self, name: str) -> Family[Histogram]:
        names = [label.name for label in METRICS[name].labels]
        made = Histogram(
            name, METRICS[name].help, names, registry=self._where(name), buckets=METRICS[name].buckets
        )
        return self._begun(name, made)

    def _where(self, name: str) -> CollectorRegistry | None:
        return self._registry if self._process in METRICS[name].of else None

    def _begun(self, name: str, whole: SeriesT) -> Family[SeriesT]:
        family = Family(METRICS[name].labels, whole)
        if self._where(name) is not None:
            family.begin()
        return family
