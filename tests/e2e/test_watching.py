"""A job on the real processes, as those see it who watch: in metrics, in one trace, and in the log."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from prometheus_client import Metric

from adapters.inbound.cli.wiring import BookOptions
from tests.support.metrics import read_page, strays, value
from tests.support.otlp import Collector, Span, collecting
from tests.support.parts import logged
from tests.support.processes import children_of
from tests.support.stacks import SHORT, Api
from tests.support.waiting import eventually
from worker import __version__
from worker.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

PORTFOLIOS = 30
CORRELATION = "desk-7:8f14e45f"
PASSWORD = "hunter2"
# As a key of a log line, or of an attribute.
HOLDINGS = re.compile(r'"(\w*quantity|notional|market_value|cash\w*|price|shares|positions|orders)"\s*[:\n]')
LISTENING = ("steward", "requests", "worker-1")


class Guarded(Stack):
    """Its upstreams are asked with a password, which stands in their URLs."""

    def _start_sandbox(self) -> None:
        super()._start_sandbox()
        for service in ("pricing", "securities", "accounting", "portfolios"):
            url = self.settings[f"{service}_url"]
            self.settings[f"{service}_url"] = url.replace("://", f"://desk:{PASSWORD}@")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        watched = {"metrics_port": "0", "otlp_endpoint": collector.url}
        stack = Guarded(
            state_dir=tmp_path_factory.mktemp("watched"),
            book=BookOptions(portfolios=PORTFOLIOS, securities=8, seed=3, prices=None),
            settings={**SHORT, **watched},
        )
        with stack:
            with closing(Api(stack)) as api:
                api.create_model()
            yield stack


@pytest.fixture(scope="module")
def job(stack: Stack) -> str:
    """A finished job, whose request named a correlation id."""
    with closing(Api(stack)) as api:
        api._client.headers["X-Correlation-ID"] = CORRELATION
        job_id = str(api.submit("watched", parallelism=2)["job_id"])
        finished = api.finished(job_id)
        assert finished["state"] == "done"
        eventually(stack.order_sets, lambda found: len(found) >= PORTFOLIOS, seconds=20)
        return job_id


def page_of(stack: Stack, name: str) -> list[Metric]:
    """What a process tells who scrapes it."""
    if name == "api":
        return read_page(httpx.get(f"{stack.api_url}/metrics").raise_for_status().text)
    (listening,) = (line for line in logged(stack.child(name)) if line.get("event") == "metrics.listening")
    url = f"http://{listening['host']}:{listening['port']}/metrics"
    return read_page(httpx.get(url).raise_for_status().text)


def worked(stack: Stack, jobs: int) -> list[Metric]:
    """The worker's page, once it tells of so many jobs: its children tell what they did within a second."""
    return eventually(
        lambda: page_of(stack, "worker-1"),
        lambda page: value(page, "trimtab_order_sets_published_total") >= jobs * PORTFOLIOS,
        seconds=30,
    )


def routes(stack: Stack) -> list[str]:
    return [*httpx.get(f"{stack.api_url}/openapi.json").json()["paths"], "/openapi.json", "none"]


# ------------------------------------------------------------------------------------------------ metrics


def test_the_pages_of_all_processes_tell_their_jobs_between_them(stack: Stack, job: str, api: Api) -> None:
    jobs = len(api.jobs())
    worker, steward = worked(stack, jobs), page_of(stack, "steward")
    intake, requests = page_of(stack, "api"), page_of(stack, "requests")

    assert value(intake, "trimtab_jobs_accepted_total") == jobs
    assert value(requests, "trimtab_jobs_accepted_total") == 0
    assert value(worker, "trimtab_portfolios_ended_total") == jobs * PORTFOLIOS
    assert value(worker, "trimtab_order_sets_published_total") >= jobs * PORTFOLIOS
    assert value(worker, "trimtab_upstream_call_seconds_count", service="accounting", end="2xx") >= 20
    assert value(worker, "trimtab_stage_seconds_count", stage="fetch") <= jobs * PORTFOLIOS
    for stage in ("fetch", "solve", "verify", "store", "publish"):
        assert value(worker, "trimtab_stage_seconds_count", stage=stage) >= 10, stage
    assert value(steward, "trimtab_upstream_call_seconds_count", service="prices", end="2xx") == jobs
    assert value(steward, "trimtab_steward_round_seconds_count", end="ok") > 5
    closed = sum(value(page, "trimtab_jobs_closed_total", state="done") for page in (worker, steward))
    assert closed == jobs
    for page in (worker, steward, intake, requests):
        assert value(page, "trimtab_build_info", version=__version__) == 1
        assert value(page, "process_cpu_seconds_total") > 0


def test_the_steward_tells_what_is_open_and_that_store_and_broker_answer(stack: Stack, job: str) -> None:
    steward = eventually(
        lambda: page_of(stack, "steward"),
        lambda page: value(page, "trimtab_order_sets_due") == 0 and value(page, "trimtab_jobs") == 0,
        seconds=15,
        every=0.5,
    )

    assert (value(steward, "trimtab_up", part="store"), value(steward, "trimtab_up", part="broker")) == (1, 1)
    assert value(steward, "trimtab_portfolios") == value(steward, "trimtab_oldest_due_seconds") == 0
    assert {
        sample.labels["state"] for each in steward if each.name == "trimtab_jobs" for sample in each.samples
    }


def test_no_label_of_any_process_is_off_its_list(stack: Stack, job: str) -> None:
    allowed = {"route": routes(stack), "version": [__version__]}
    for path in (f"/api/v1/jobs/{job}", f"/api/v1/jobs/{job}/items/P-1", f"/no/such/{job}"):
        httpx.get(f"{stack.api_url}{path}")
    for name in ("api", *LISTENING):
        page = page_of(stack, name)
        assert list(strays(page, open_labels=allowed)) == []
        assert job not in str([family.samples for family in page])

    served = page_of(stack, "api")
    assert value(served, "trimtab_http_request_seconds_count", route="/api/v1/jobs/{job_id}") >= 1
    assert value(served, "trimtab_http_request_seconds_count", route="none", status="4xx") >= 1


def test_what_a_child_counted_outlives_it(stack: Stack, job: str, api: Api) -> None:
    jobs = len(api.jobs())
    before = value(worked(stack, jobs), "trimtab_portfolios_ended_total")
    worker = stack.child("worker-1").process.pid
    children = set(children_of(worker))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: set(children_of(worker)), lambda now: len(now) == 2 and not now & children, seconds=60)

    assert value(page_of(stack, "worker-1"), "trimtab_portfolios_ended_total") == before
    api.finished(api.submit("after-the-children", parallelism=2)["job_id"])
    assert value(worked(stack, jobs + 1), "trimtab_portfolios_ended_total") == before + PORTFOLIOS


# ------------------------------------------------------------------------------------------------ traces


@pytest.fixture(scope="module")
def trace(collector: Collector, job: str) -> list[Span]:
    """Every span of the trace that the request of the job began."""

    def whole() -> list[Span]:
        posted = [
            span
            for span in collector.spans
            if span.service == "trimtab-api"
            and span.name == "POST /api/v1/jobs"
            and span.attributes.get("trimtab.correlation_id") == CORRELATION
        ]
        return collector.trace(posted[0].trace_id) if posted else []

    return eventually(
        whole,
        lambda spans: (
            sum(span.name == "portfolio" for span in spans) == PORTFOLIOS
            and sum(span.name == "publish" for span in spans) == PORTFOLIOS
        ),
        seconds=20,
    )


def ancestors(span: Span, trace: list[Span]) -> list[str]:
    by_id = {each.span_id: each for each in trace}
    names = []
    while (parent := by_id.get(span.parent_id)) is not None:
        names.append(parent.name)
        span = parent
    return names


def test_one_trace_leads_from_the_request_to_upstream_store_and_publish(trace: list[Span]) -> None:
    post, run = "POST /api/v1/jobs", "run/trimtab.run"

    def path(service: str, name: str) -> set[tuple[str, ...]]:
        return {
            tuple(ancestors(span, trace)) for span in trace if (span.service, span.name) == (service, name)
        }

    assert path("trimtab-api", post) == {()}
    assert path("trimtab-api", "store.insert_job") == {(post,)}
    assert path("trimtab-steward", "open job") == {(post,)}
    assert path("trimtab-steward", "store.start_job") == {("open job", post)}
    assert path("trimtab-worker", run) == {(post,)}
    assert path("trimtab-worker", "portfolio") == {(run, post)}
    assert path("trimtab-worker", "store.finish") == {("portfolio", run, post)}
    assert path("trimtab-worker", "publish") == {(run, post)}
    assert path("trimtab-worker", "EVALSHA") == {("publish", run, post)}
    assert path("trimtab-steward", "LPUSH") == {("open job", post)}


def test_the_calls_to_upstreams_are_in_the_trace_with_their_path(trace: list[Span]) -> None:
    fetched = [span for span in trace if span.service == "trimtab-worker" and span.name == "GET"]
    opened = [span for span in trace if span.service == "trimtab-steward" and span.name == "GET"]

    assert {ancestors(span, trace)[0] for span in fetched} == {"portfolio"}
    assert any(
        re.fullmatch(r"/api/v1/portfolios/[^/]+/summary", span.attributes["url.path"]) for span in fetched
    )
    assert {ancestors(span, trace)[0] for span in opened} == {"open job"}
    assert len(opened) == 2


def test_the_correlation_id_of_the_request_is_on_the_steps_of_every_process(trace: list[Span]) -> None:
    told = {
        (span.service, span.name)
        for span in trace
        if span.attributes.get("trimtab.correlation_id") == CORRELATION
    }
    assert told >= {
        ("trimtab-api", "POST /api/v1/jobs"),
        ("trimtab-steward", "open job"),
        ("trimtab-worker", "portfolio"),
    }


def test_what_nobody_asked_for_begins_no_trace(collector: Collector, trace: list[Span]) -> None:
    """Rounds of the steward, marks, health and scrapes: each would be a trace of one query."""
    begun = {span.name for span in collector.spans if not span.parent_id}

    assert {name.split(" /")[0].split("/")[0] for name in begun} <= {"GET", "POST", "PUT", "run"}
    assert not any(span.service == "trimtab-steward" and not span.parent_id for span in collector.spans)
    assert not any("/health" in span.text or "/metrics" in span.text for span in collector.spans)


# ------------------------------------------------------------------------------------------------ secrets


def test_neither_log_nor_trace_nor_metrics_hold_holdings_or_secrets(
    stack: Stack, collector: Collector, job: str, api: Api, trace: list[Span]
) -> None:
    results = [api.result(job, item["portfolio_id"]) for item in api.items(job)]
    amounts = {
        str(amount)
        for result in results
        for amount in (
            *(result["cash_before"], result["cash_after"], result["market_value"], result["drift_before"]),
            *(order["notional"] for order in result["orders"]),
        )
        if "." in str(amount)  # a whole number may be anything
    }
    assert len(amounts) > 50

    told = {
        child.name: child.log.read_text(errors="replace")
        for child in stack.children
        if child.name != "sandbox"
    }
    told["traces"] = "".join(span.text for span in collector.spans)
    for name in ("api", *LISTENING):
        told[f"metrics of {name}"] = json.dumps([str(family.samples) for family in page_of(stack, name)])
    for where, text in told.items():
        assert set(re.findall(r"\d+\.\d+", text)) & amounts == set(), where
        assert PASSWORD not in text, where
        assert HOLDINGS.search(text) is None, where
