"""What the processes tell whoever watches, as far as it needs no process."""

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from adapters.metrics.program import ProgramMetrics
from adapters.upstream.errors import (
    BreakerOpen,
    NoFreeConnection,
    NotThere,
    ServerError,
    StatusFault,
    Throttled,
    TimedOut,
)
from adapters.upstream.options import HttpOptions
from adapters.upstream.watch import ENDS, end_of
from config.logging import configure_logging
from config.settings import Settings
from domain.errors import Invalid, UpstreamFault, UpstreamUnavailable
from tests.support.api_keys import StaticKeys, bearer
from tests.support.front_desk import MODEL_ID, FrontDesk
from tests.support.metrics import read_page, value
from tests.support.upstream import Upstream, decode, ok
from tests.support.waiting import eventually
from worker.api_options import watched_options
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.watching import UNWATCHED, Watching, watch_api, watch_loop


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    yield
    configure_logging("debug", "json")


# ------------------------------------------------------------------------------------------------ upstreams


class Calls:
    """`CallWatch` that notes what it is told."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []
        self.breakers: list[tuple[str, bool]] = []

    def called(self, service: str, end: str, seconds: float) -> None:
        assert seconds >= 0
        self.ends.append((service, end))

    def breaker(self, service: str, *, is_open: bool) -> None:
        self.breakers.append((service, is_open))


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (ServerError("s", "c", 503), "5xx"),
        (Throttled("s", "c"), "429"),
        (NotThere("s", "c", 404), "404"),
        (StatusFault("s", "c", 403), "4xx"),
        (StatusFault("s", "c", 301), "3xx"),
        (NoFreeConnection("s", "c"), "no_connection"),
        (TimedOut("s", "c"), "timeout"),
        (UpstreamUnavailable("s", "c"), "no_answer"),
        (UpstreamFault("s", "c"), "unusable"),
    ],
    ids=lambda each: str(each) if isinstance(each, str) else type(each).__name__,
)
def test_a_call_ends_as_its_error_says(error: UpstreamUnavailable | UpstreamFault, end: str) -> None:
    assert end_of(error) == end
    assert end in ENDS


def test_each_try_is_told_and_the_breaker_when_it_opens_and_closes() -> None:
    calls = Calls()
    upstream = Upstream({"/thing": [ok({}, status=503), ok({}, status=503), ok({}), ok({})]})
    options = HttpOptions(retries=0, breaker_failures=2, breaker_open=0.05)
    service = upstream.service(options=options, watch=calls)
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            service.get_json("/thing", decode)
    with pytest.raises(BreakerOpen):
        service.get_json("/thing", decode)
    assert calls.breakers == [(service.name, True)]

    def answers() -> bool:
        try:
            service.get_json("/thing", decode)
        except BreakerOpen:
            return False
        return True

    eventually(answers, bool)
    assert calls.breakers[-1] == (service.name, False)
    assert calls.ends == [(service.name, "5xx")] * 2 + [(service.name, "2xx")]


# ------------------------------------------------------------------------------------------------ the API


def client(desk: FrontDesk, watching: Watching, **options: Any) -> TestClient:
    return TestClient(
        create_app(desk.services, watched_options(ApiOptions(version="1", **options), watching))
    )


def test_requests_are_counted_by_route_and_never_by_what_stood_in_the_url(desk: FrontDesk) -> None:
    watching = Watching(metrics=ProgramMetrics("api", "1"))
    with client(desk, watching) as api:
        job_id = api.post("/api/v1/jobs", json={"model_id": MODEL_ID}).json()["job_id"]
        api.get(f"/api/v1/jobs/{job_id}")
        api.get(f"/api/v1/jobs/{job_id}/items/P/1")
        api.get("/no/such/place")
        api.request("BREW", "/api/v1/jobs")
        page = api.get("/metrics")

    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = read_page(page.text)

    def served(**labels: str) -> float:
        return value(families, "trimtab_http_request_seconds_count", **labels)

    assert served(method="POST", route="/api/v1/jobs", status="2xx") == 1
    assert served(route="/api/v1/jobs/{job_id}", status="2xx") == 1
    assert served(route="/api/v1/jobs/{job_id}/items/{portfolio_id}", status="4xx") == 1
    assert served(route="none", status="4xx") >= 1
    assert served(method="other") == 1
    assert job_id not in page.text


def test_metrics_need_a_key_that_may_read(desk: FrontDesk) -> None:
    watching = Watching(metrics=ProgramMetrics("api", "1"))
    with client(desk, watching, keys=StaticKeys.one_a_role()) as api:
        assert api.get("/metrics").status_code == 401
        assert api.get("/metrics", headers=bearer("submit")).status_code == 403
        assert "trimtab_build_info" in api.get("/metrics", headers=bearer("read")).text


def test_an_api_that_nobody_watches_has_an_empty_page(desk: FrontDesk) -> None:
    with client(desk, UNWATCHED) as api:
        assert api.get("/metrics").text == ""


# ------------------------------------------------------------------------------------------------ wiring


def test_a_loop_with_a_port_tells_its_metrics_there(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, metrics_port=0, broker_url="memory://")
    with (
        watch_loop(settings, "steward") as watching,
        build_services(settings, create_sending_app(settings), watching) as services,
    ):
        services.jobs.prepare()
        watching.show_state(services)
        watching.round_over("ok", 0.01)
        structlog.get_logger("x").warning("tokens.resent")
        structlog.get_logger("x").info("nothing of note")
        assert watching.metrics is not None
        families = read_page(watching.metrics.page().decode())

    assert value(families, "trimtab_up") == 2
    assert value(families, "trimtab_steward_round_seconds_count", end="ok") == 1
    assert value(families, "trimtab_log_warnings_total", event="tokens.resent") == 1
    assert value(families, "trimtab_log_warnings_total") == 1


def test_the_port_is_told_in_the_log_and_answers_who_scrapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json")
    with watch_loop(Settings(state_dir=tmp_path, metrics_port=0), "requests"):
        (line,) = [text for text in capsys.readouterr().err.splitlines() if "metrics.listening" in text]
        port = int(line.partition('"port": ')[2].split(",")[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            page = answer.read().decode()

    assert "trimtab_jobs_accepted_total 0.0" in page


def test_a_port_that_is_taken_keeps_the_process_from_starting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Settings(state_dir=tmp_path, metrics_port=other.getsockname()[1])
        with pytest.raises(Invalid, match="cannot listen"), watch_loop(taken, "steward"):
            raise AssertionError("two on one port")


def test_the_api_tells_its_metrics_whatever_the_settings(tmp_path: Path) -> None:
    with watch_api(Settings(state_dir=tmp_path)) as watching:
        assert watching.metrics is not None
        assert watching.tracing is None


def test_a_worker_that_nobody_watches_imports_nothing_of_it() -> None:
    """The library costs memory in every child, and time at every start of a command."""
    code = (
        "import sys, worker.wiring, worker.container, worker.celery_app, worker.process;"
        "print(sorted(m for m in sys.modules if m in"
        " {'prometheus_client', 'adapters.tracing.otel', 'adapters.metrics.program'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
