"""How much is open, asked of the store when somebody scrapes: by stewards alone, so that workers add no query."""

import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.metrics.catalogue import METRICS
from domain.errors import BrokerUnavailable, StoreUnavailable
from domain.item import OPEN_STATES
from domain.job import OPEN
from domain.ports import JobStore, Survey, TokenQueue

COUNTED = 1_000_000  # at most, of each state: an index is read, at some 20 million entries a second
KEPT_SECONDS = 5.0  # several who scrape ask the store once


class StateCollector(Collector):
    """Gauges of what the store and the task queue hold. What is out of reach is told as such, and its gauges are missing.

    Several stewards tell the same: take the maximum.
    """

    def __init__(self, jobs: JobStore, tokens: TokenQueue, *, clock: Callable[[], float] = monotonic) -> None:
        self._jobs = jobs
        self._tokens = tokens
        self._clock = clock
        self._lock = threading.Lock()
        self._until = -1.0
        self._told: tuple[Metric, ...] = ()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if self._clock() >= self._until:
                self._told = self._ask()
                self._until = self._clock() + KEPT_SECONDS
            return self._told

    def _ask(self) -> tuple[Metric, ...]:
        survey, length = self._survey(), self._length()
        up = _gauge("trimtab_up", {"store": survey is not None, "broker": length is not None})
        queued = () if length is None else (_gauge("trimtab_tokens_queued", {"": length}),)
        return (up, *queued, *(() if survey is None else _surveyed(survey)))

    def _survey(self) -> Survey | None:
        try:
            return self._jobs.survey(COUNTED)
        except StoreUnavailable:
            return None

    def _length(self) -> int | None:
        try:
            return self._tokens.length()
        except BrokerUnavailable:
            return None


def _surveyed(survey: Survey) -> Iterable[Metric]:
    return (
        _gauge("trimtab_jobs", {state: survey.jobs.get(state, 0) for state in OPEN}),
        _gauge("trimtab_oldest_job_seconds", {state: survey.oldest_jobs.get(state, 0) for state in OPEN}),
        _gauge("trimtab_portfolios", {state: survey.portfolios.get(state, 0) for state in OPEN_STATES}),
        _gauge("trimtab_order_sets_due", {"": survey.due}),
        _gauge("trimtab_oldest_due_seconds", {"": survey.oldest_due}),
    )


def _gauge(name: str, values: Mapping[str, float]) -> Metric:
    """By the value of its one label; without a label the value stands under the empty name."""
    metric = METRICS[name]
    family = GaugeMetricFamily(name, metric.help, labels=[label.name for label in metric.labels])
    for label, value in sorted(values.items()):
        family.add_metric([label] if metric.labels else [], float(value))
    return family
