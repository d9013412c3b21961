"""Traces by OpenTelemetry: our own steps, and the standard instrumentations of what carries them out.

A trace begins where something comes in, a request or a scheduled task, and everything that is done because of it is
part of it: the context is stored with the job and travels with its tokens. What a process does on its own account
(the rounds of a steward, marks that are written later) begins none: that would be thousands of traces of one query.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import signals
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.pymongo import PymongoInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

PREFIX = "trimtab."  # of attributes of ours
EXPORT_SECONDS = 2.0  # for one batch, with what is tried again
CLOSE_SECONDS = 2.0

_PARENT = "traceparent"


class OtelTracing:
    """`domain.ports.Tracing` on a provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("trimtab")
        self._contexts = TraceContextTextMapPropagator()

    def parent(self) -> str:
        carrier: dict[str, str] = {}
        self._contexts.inject(carrier)
        return carrier.get(_PARENT, "")

    @contextmanager
    def span(self, name: str, *, parent: str = "", **attributes: str) -> Iterator[None]:
        """Of an error only the kind is told: its text may hold what an upstream answered."""
        context = self._contexts.extract({_PARENT: parent}) if parent else None
        with self._step(name, SpanKind.INTERNAL, context, attributes):
            yield

    @contextmanager
    def entry(self, name: str, **attributes: str) -> Iterator[None]:
        """Something came in that no instrumentation knows of: a trace begins."""
        with self._step(name, SpanKind.CONSUMER, Context(), attributes):
            yield

    def note(self, **attributes: str) -> None:
        """Something about the step that goes on now."""
        trace.get_current_span().set_attributes(_named(attributes))

    def close(self, *, within: float = CLOSE_SECONDS) -> None:
        """Send what waits, and no more. A collector that is out keeps nobody for longer than ``within`` seconds."""
        closing = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        closing.start()
        closing.join(within)

    @contextmanager
    def _step(
        self, name: str, kind: SpanKind, context: Context | None, attributes: dict[str, str]
    ) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=_named(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise


def _named(attributes: dict[str, str]) -> dict[str, str]:
    return {f"{PREFIX}{name}": value for name, value in attributes.items()}


class FromOutside(Sampler):
    """Where traces may begin; of those that may, a share does."""

    def __init__(self, share: float) -> None:
        self._share = TraceIdRatioBased(share)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if kind not in {SpanKind.SERVER, SpanKind.CONSUMER}:
            return SamplingResult(Decision.DROP)
        return self._share.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"FromOutside({self._share.get_description()})"


def start_tracing(endpoint: str, *, process: str, version: str, share: float) -> OtelTracing:
    """Once in a process, after any fork: the thread that sends does not survive one.

    Args:
        endpoint: base URL of an OTLP collector, to which ``/v1/traces`` is added.
        process: which of ours, for ``service.name``.
        version: for ``service.version``.
        share: of traces that are followed, 0 to 1; a trace is followed as a whole or not at all.
    """
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"trimtab-{process}", "service.version": version}),
        sampler=ParentBased(FromOutside(share)),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _instrument(provider)
    return OtelTracing(provider)


def _instrument(provider: TracerProvider) -> None:
    HTTPXClientInstrumentor().instrument(tracer_provider=provider, request_hook=_name_path)
    PymongoInstrumentor().instrument(tracer_provider=provider)
    RedisInstrumentor().instrument(tracer_provider=provider)
    celery = CeleryInstrumentor()  # type: ignore[no-untyped-call]  # as it comes
    celery.instrument(tracer_provider=provider)
    # Of a task that is not registered in the default application it begins a span and never ends it, so that all that
    # follows would be part of that one. Our tokens bring the context of their job (worker/tokens.py).
    signals.before_task_publish.disconnect(celery._trace_before_publish)  # noqa: SLF001 - it has no switch
    signals.after_task_publish.disconnect(celery._trace_after_publish)  # noqa: SLF001


def _name_path(span: Span, request: Any) -> None:  # noqa: ANN401 - a tuple of the instrumentation's
    """Our requests carry their path beside the URL (adapters/upstream/http.py), where it does not look."""
    target: bytes = request.extensions.get("target", b"") if request.extensions else b""
    span.set_attribute("url.path", target.partition(b"?")[0].decode())
