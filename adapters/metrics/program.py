"""The metrics of one program: what it counts, and the page that tells it."""

from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, make_wsgi_app, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from adapters.metrics.catalogue import METRICS
from adapters.metrics.files import fold_dead
from adapters.metrics.listener import MetricsListener
from adapters.metrics.meter import PrometheusMeter
from adapters.metrics.state import StateCollector
from domain.ports import JobStore, TokenQueue

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class ProgramMetrics:
    """Of a program of one process, or with a folder those of a worker and its children.

    Args:
        process: whose metrics; see the catalogue.
        version: that runs.
        folder: where the processes of a worker leave their numbers.

    Raises:
        RuntimeError: a folder is given, but prometheus_client was imported before it was told of the folder.
    """

    def __init__(self, process: str, version: str, *, folder: Path | None = None) -> None:
        self._told = CollectorRegistry()
        if folder is None:
            self.meter = PrometheusMeter(process, self._told)
            self._tidy: Callable[[], None] = self.meter.flush
        else:
            if not values.ValueClass._multiprocess:  # noqa: SLF001 - it does not say so in any other way
                raise RuntimeError("prometheus_client was imported before its folder was named")
            # What is counted stands in the files, and is told from there: once, not by the parent itself as well.
            self.meter = PrometheusMeter(process, CollectorRegistry())
            MultiProcessCollector(self._told, str(folder))  # type: ignore[no-untyped-call]  # as it comes
            self._tidy = lambda: fold_dead(folder)
        ProcessCollector(registry=self._told)
        self._told.register(_Build(version))

    def show_state(self, jobs: JobStore, tokens: TokenQueue) -> None:
        """Tell how much is open as well; of stewards."""
        self._told.register(StateCollector(jobs, tokens))

    def page(self) -> bytes:
        """Everything, in Prometheus' text format (CONTENT_TYPE)."""
        self._tidy()
        return generate_latest(self._told)

    def serve(self, listener: MetricsListener) -> None:
        listener.serve(make_wsgi_app(self._told), tidy=self._tidy)


class _Build(Collector):
    """``trimtab_build_info``."""

    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterable[Metric]:
        name = "trimtab_build_info"
        family = GaugeMetricFamily(name, METRICS[name].help, labels=["version"])
        family.add_metric([self._version], 1.0)
        return (family,)
