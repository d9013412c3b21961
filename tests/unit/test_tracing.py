"""Where traces begin, what they hold, and how a trace is carried from one process to the next."""

import base64
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from adapters.tracing.otel import FromOutside, OtelTracing
from adapters.tracing.steps import STORE_STEPS, TracedPublisher, traced_store
from config.settings import Settings
from domain.errors import Invalid, UpstreamFault
from domain.ids import JobId, item_id
from domain.ports import JobStore, Publication, Token
from tasks.account import Account
from tasks.registry import register
from tests.support import builders
from tests.support.world import FakePublisher, World
from worker.tokens import CeleryTokens, Envelopes
from worker.watching import UNWATCHED, open_tracing, watch_loop

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
SAMPLED = 1  # a bit of the context's last field
UNFOLLOWED = f"00-{'a' * 32}-{'b' * 16}-00"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def tracing_to(exporter: SpanExporter, share: float = 1.0) -> OtelTracing:
    provider = TracerProvider(sampler=ParentBased(FromOutside(share)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OtelTracing(provider)


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> OtelTracing:
    return tracing_to(spans)


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def trace_id(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}"


# ------------------------------------------------------------------------------------------------ spans


def test_a_trace_begins_only_where_something_comes_in(
    tracing: OtelTracing, spans: InMemorySpanExporter
) -> None:
    with tracing.span("a round of the steward"):
        assert int(tracing.parent().rpartition("-")[2], 16) & SAMPLED == 0
    assert spans.get_finished_spans() == ()

    with tracing.entry("request", correlation_id="corr-1"), tracing.span("step"):
        pass
    told = by_name(spans)
    assert set(told) == {"request", "step"}
    assert told["request"].kind is SpanKind.CONSUMER
    assert dict(told["request"].attributes or {}) == {"trimtab.correlation_id": "corr-1"}
    assert told["step"].parent == told["request"].get_span_context()


def test_nothing_is_followed_where_the_share_is_nothing(spans: InMemorySpanExporter) -> None:
    tracing = tracing_to(spans, share=0.0)
    with tracing.entry("request"), tracing.span("step"):
        pass
    assert spans.get_finished_spans() == ()
    with tracing.span("step of somebody who is followed", parent=PARENT):
        pass
    assert len(spans.get_finished_spans()) == 1


def test_what_is_done_later_is_a_step_of_what_asked_for_it(
    tracing: OtelTracing, spans: InMemorySpanExporter
) -> None:
    with tracing.entry("request"):
        parent = tracing.parent()
    with tracing.span("later", parent=parent):
        pass
    with tracing.span("later, of one that is not followed", parent=UNFOLLOWED):
        pass

    told = by_name(spans)
    assert set(told) == {"request", "later"}
    assert trace_id(told["request"]) == trace_id(told["later"])
    assert told["later"].parent is not None
    assert told["later"].parent.is_remote


def test_without_any_step_there_is_no_parent(tracing: OtelTracing) -> None:
    assert tracing.parent() == ""


def test_of_an_error_its_kind_is_told_and_not_its_text(
    tracing: OtelTracing, spans: InMemorySpanExporter
) -> None:
    with pytest.raises(UpstreamFault), tracing.entry("request"), tracing.span("step"):
        raise UpstreamFault("accounting", "it begins '{\"quantity\": 4711.25}'")

    for span in spans.get_finished_spans():
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "UpstreamFault")
        assert "4711" not in span.to_json()


def test_something_may_be_noted_of_the_step_that_goes_on(
    tracing: OtelTracing, spans: InMemorySpanExporter
) -> None:
    tracing.note(correlation_id="nobody")
    with tracing.entry("request"):
        tracing.note(correlation_id="corr-1")
    (span,) = spans.get_finished_spans()
    assert dict(span.attributes or {}) == {"trimtab.correlation_id": "corr-1"}


def test_a_collector_that_hangs_keeps_nobody() -> None:
    let_go = threading.Event()

    class Hanging(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            let_go.wait(30)

    begun = time.monotonic()
    tracing_to(Hanging()).close(within=0.05)
    let_go.set()
    assert time.monotonic() - begun < 5


# ------------------------------------------------------------------------------------------------ ports


def test_publishing_is_a_step_and_what_it_publishes_is_not_told(
    tracing: OtelTracing, spans: InMemorySpanExporter
) -> None:
    queue = FakePublisher()
    publisher = TracedPublisher(queue, tracing)
    world_item = Publication(
        item_id(JobId("job-1"), builders.portfolio_id(1)), JobId("job-1"), b'{"quantity": 4711}'
    )
    with tracing.entry("request"):
        publisher.publish(world_item)
    publisher.ping()

    assert publisher.identity() == queue.identity()
    assert list(queue.entries) == [world_item.entry_id]
    told = by_name(spans)["publish"]
    assert dict(told.attributes or {}) == {"trimtab.order_sets": "1"}


def test_the_steps_of_the_store_are_methods_of_it() -> None:
    assert all(hasattr(JobStore, step) for step in STORE_STEPS)


def test_a_job_leads_from_its_request_through_opening_to_every_portfolio(
    tmp_path: Path, tracing: OtelTracing, spans: InMemorySpanExporter
) -> None:
    """One process, no Celery: what the use cases do with the context."""
    world = World.create(tmp_path, connect=lambda store: traced_store(store, tracing), tracing=tracing)
    world.book(3)
    with tracing.entry("request"):
        job = world.submit(correlation_id="corr-7")
    parent = world.job(job).trace_parent
    world.tick()
    tokens = list(world.tokens.queue)
    assert {token.trace_parent for token in tokens} == {parent}
    while world.tokens.queue:
        token = world.tokens.queue.popleft()
        with tracing.span("task", parent=token.trace_parent):
            world.tokens.queue.appendleft(token)
            world.work(at_most=1)

    finished = spans.get_finished_spans()
    steps = [span for span in finished if trace_id(span) == parent.split("-")[1]]
    names = [span.name for span in steps]
    assert names.count("portfolio") == 3
    assert {"request", "store.insert_job", "open job", "store.start_job", "store.finish"} <= set(names)
    portfolios = [span for span in steps if span.name == "portfolio"]
    assert {(span.attributes or {})["trimtab.correlation_id"] for span in portfolios} == {"corr-7"}
    of_request = by_name(spans)["request"].get_span_context()
    assert by_name(spans)["open job"].parent is not None
    assert of_request is not None
    assert {span.parent.span_id for span in steps if span.name == "open job" and span.parent} == {
        of_request.span_id
    }
    assert world.job(job).state == "done"


# ------------------------------------------------------------------------------------------------ tokens


class Heard:
    """`UseCases` that notes the tokens."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []

    def run_token(self, token: Token, account: Account) -> None:
        self.tokens.append(token)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody asked for {name}")


def test_a_token_brings_the_context_of_its_job_where_celery_s_instrumentation_looks() -> None:
    app = Celery("t", broker="memory://", set_as_current=False)
    followed = json.loads(Envelopes(app, "q").of(Token(JobId("job-1"), 2, trace_parent=PARENT)))
    quiet = json.loads(Envelopes(app, "q").of(Token(JobId("job-1"), 2)))

    assert followed["headers"]["traceparent"] == PARENT
    assert "traceparent" not in quiet["headers"]
    arguments = json.loads(base64.b64decode(followed["body"]))[1]
    assert arguments == {"job_id": "job-1", "seat": 2, "probe": False}


@pytest.mark.parametrize("parent", [PARENT, ""])
def test_a_task_hands_the_context_on_with_its_token(parent: str) -> None:
    app = Celery("t", broker="memory://", set_as_current=False)
    heard = Heard()
    register(app, heard)
    task: Any = app.tasks["trimtab.run"]
    task.push_request(
        **({"traceparent": parent} if parent else {})
    )  # as Celery does with a message's headers
    task.run(job_id="job-1", seat=1)
    task.pop_request()

    assert [(token.job_id, token.seat, token.trace_parent) for token in heard.tokens] == [
        ("job-1", 1, parent)
    ]


def test_brokers_that_celery_sends_to_carry_it_as_well() -> None:
    app = Celery("t", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = "traced-tokens"
    tokens = CeleryTokens(app)
    tokens.send([Token(JobId("job-1"), 0, trace_parent=PARENT)])
    with Connection("memory://") as connection:
        queue = connection.SimpleQueue("traced-tokens")
        message = queue.get(timeout=5)
        message.ack()
        queue.close()
    tokens.close()

    assert message.headers["traceparent"] == PARENT


# ------------------------------------------------------------------------------------------------ wiring


def test_without_a_collector_nothing_of_it_is_even_imported(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    assert open_tracing(settings, "steward") is None
    with watch_loop(settings, "steward") as watching:
        assert watching == UNWATCHED


def test_a_collector_without_the_libraries_for_it_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "adapters.tracing.otel", None)
    with pytest.raises(Invalid, match=r"trimtab\[tracing\]") as refused:
        open_tracing(Settings(state_dir=tmp_path, otlp_endpoint="http://127.0.0.1:4318"), "api")
    assert refused.value.code == "no_tracing"


@pytest.mark.parametrize("endpoint", ["collector:4318", "http://desk:hunter2@collector", "ftp://collector"])
def test_a_collector_is_named_by_a_plain_url(endpoint: str, tmp_path: Path) -> None:
    """A password in it would be seen; OTEL_EXPORTER_OTLP_HEADERS is for that."""
    with pytest.raises(ValueError, match="otlp_endpoint"):
        Settings(state_dir=tmp_path, otlp_endpoint=endpoint)
