"""What watches a process: metrics and traces, as far as the settings ask for them.

Nothing of it is imported where it is not asked for: a command pays for no library it does not use.
"""

# ruff: noqa: PLC0415 - see above

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from adapters.metrics.listener import MetricsListener
from config.logging import Listener, configure_logging
from config.metrics_folder import name_metrics_folder
from config.settings import Settings
from domain.errors import Invalid
from tasks.services import Services
from worker import __version__

if TYPE_CHECKING:
    from adapters.metrics.program import ProgramMetrics
    from adapters.tracing.otel import OtelTracing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """Of one process. None: nobody asked.

    ``leave`` is called in a child after the fork, to let go of what is its parent's.
    """

    metrics: "ProgramMetrics | None" = None
    tracing: "OtelTracing | None" = None
    leave: Callable[[], None] = lambda: None

    @property
    def listener(self) -> Listener | None:
        """Of the log."""
        return None if self.metrics is None else self.metrics.meter.line

    def watched(self, services: Services) -> Services:
        """The services, with everything told that there is to tell."""
        if self.metrics is not None:
            from adapters.metrics.publisher import MeteredPublisher

            meter = self.metrics.meter
            services = replace(services, meter=meter, publisher=MeteredPublisher(services.publisher, meter))
        if self.tracing is not None:
            from adapters.tracing.steps import TracedPublisher, traced_store

            services = replace(
                services,
                tracing=self.tracing,
                jobs=traced_store(services.jobs, self.tracing),
                publisher=TracedPublisher(services.publisher, self.tracing),
            )
        return services

    def traced(self, settings: Settings, process: str) -> "Watching":
        """Followed from now on, where the settings name a collector. In each process anew, after any fork."""
        return replace(self, tracing=open_tracing(settings, process))

    def show_state(self, services: Services) -> None:
        """Tell how much is open, as well; of stewards."""
        if self.metrics is not None:
            self.metrics.show_state(services.jobs, services.tokens)

    def round_over(self, end: str, seconds: float) -> None:
        """Of a steward, or a scheduler."""
        if self.metrics is not None:
            self.metrics.meter.round_over(end, seconds)

    def close(self) -> None:
        """Count and send what waits."""
        if self.metrics is not None:
            self.metrics.meter.flush()
        if self.tracing is not None:
            self.tracing.close()


UNWATCHED = Watching()


@contextmanager
def watch_api(settings: Settings) -> Iterator[Watching]:
    """The API tells its metrics itself, at ``/metrics``."""
    from adapters.metrics.program import ProgramMetrics

    watching = Watching(metrics=ProgramMetrics("api", __version__)).traced(settings, "api")
    yield from _watching(watching, settings)


@contextmanager
def watch_loop(settings: Settings, process: str) -> Iterator[Watching]:
    """A program of one process, with a port of its own where the settings name one.

    Raises:
        Invalid: the port is taken.
    """
    listener = _listener(settings)
    if listener is None:
        yield from _watching(UNWATCHED.traced(settings, process), settings)
        return
    from adapters.metrics.program import ProgramMetrics

    metrics = ProgramMetrics(process, __version__)
    yield from _served(metrics, listener, UNWATCHED.traced(settings, process), settings)


@contextmanager
def watch_pool(settings: Settings) -> Iterator[Watching]:
    """A worker: its children count for themselves, and it tells the sum. Nobody traces before the fork.

    Two workers on a machine need two ports, so the port names the folder where the children leave their numbers.

    Raises:
        Invalid: the port is taken.
    """
    listener = _listener(settings)
    if listener is None:
        yield UNWATCHED
        return
    folder = (settings.state_dir / "metrics" / str(listener.port)).resolve()
    name_metrics_folder(folder)
    from adapters.metrics.program import ProgramMetrics

    metrics = ProgramMetrics("worker", __version__, folder=folder)
    yield from _served(metrics, listener, UNWATCHED, settings)


def open_tracing(settings: Settings, process: str) -> "OtelTracing | None":
    """Raises Invalid: a collector is named, and the libraries for it are not installed."""
    if not settings.otlp_endpoint:
        return None
    try:
        from adapters.tracing.otel import start_tracing
    except ImportError as error:
        raise Invalid(
            f"traces need the extra 'tracing' (pip install 'trimtab[tracing]'): {error}", code="no_tracing"
        ) from error
    return start_tracing(
        settings.otlp_endpoint, process=process, version=__version__, share=settings.trace_share
    )


def _listener(settings: Settings) -> MetricsListener | None:
    if settings.metrics_port is None:
        return None
    return MetricsListener(settings.metrics_host, settings.metrics_port)


def _served(
    metrics: "ProgramMetrics", listener: MetricsListener, watching: Watching, settings: Settings
) -> Iterator[Watching]:
    metrics.serve(listener)
    try:
        log.info("metrics.listening", host=settings.metrics_host, port=listener.port)
        yield from _watching(replace(watching, metrics=metrics, leave=listener.leave), settings)
    finally:
        listener.close()


def _watching(watching: Watching, settings: Settings) -> Iterator[Watching]:
    configure_logging(settings.log_level, settings.log_format, listener=watching.listener)
    try:
        yield watching
    finally:
        watching.close()
