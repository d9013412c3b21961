"""The HTTP door over a real store: what each answer is, and that every error has one shape."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from adapters.inbound.api import ApiOptions, HealthPart, create_app
from adapters.inbound.api.edge import Edge
from adapters.inbound.api.errors import STATUSES, status_of
from adapters.inbound.api.health import HealthBoard
from domain import errors
from domain.errors import TrimtabError
from tests.support import builders
from tests.support.front_desk import MODEL_ID, FixedClock, FrontDesk

JOBS = "/api/v1/jobs"
MODELS = "/api/v1/models"
RESULT = b'{"portfolio_id":"x","orders":[],"drift_before":"12.5000000000000000001"}'


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def connect(desk: FrontDesk) -> Iterator[Callable[..., TestClient]]:
    opened = []

    def open_client(**options: Any) -> TestClient:
        client = TestClient(create_app(desk.services, ApiOptions(version="9.9.9", **options)))
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def client(connect: Callable[..., TestClient]) -> TestClient:
    return connect()


def post(client: TestClient, body: object = None, **headers: str) -> Any:
    document = {"model_id": MODEL_ID} if body is None else body
    return client.post(
        JOBS, json=document, headers={name.replace("_", "-"): v for name, v in headers.items()}
    )


def assert_error(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {
        "code",
        "message",
        "details",
        "correlation_id",
        "timestamp",
        "service",
        "version",
    }
    assert error["code"] == code
    assert error["correlation_id"] == answer.headers["X-Correlation-ID"]
    assert (error["timestamp"], error["service"], error["version"]) == (
        "2026-11-23T12:00:00Z",
        "trimtab",
        "9.9.9",
    )
    return error


# ------------------------------------------------------------------------------------------------ posting


def test_a_request_is_accepted_with_its_place(client: TestClient) -> None:
    answer = post(client, Idempotency_Key="nightly")
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"{JOBS}/{job['job_id']}"
    assert (job["key"], job["state"], job["portfolios"], job["finished"]) == ("nightly", "accepted", 3, 0)
    assert client.get(answer.headers["Location"]).json() == job


def test_the_same_key_with_the_same_body_is_the_same_job(client: TestClient) -> None:
    first = post(client, Idempotency_Key="nightly")
    again = client.post(JOBS, json={"key": "nightly", "dry_run": False, "model_id": MODEL_ID})
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"]


def test_the_same_key_with_another_body_is_refused(client: TestClient) -> None:
    post(client, Idempotency_Key="nightly")
    answer = post(client, {"model_id": MODEL_ID, "dry_run": True}, Idempotency_Key="nightly")
    assert_error(answer, 409, "idempotency_key_reused")


def test_without_a_key_every_request_is_a_job_of_its_own(client: TestClient) -> None:
    assert post(client).json()["job_id"] != post(client).json()["job_id"]


def test_an_unknown_model_is_not_found(client: TestClient) -> None:
    error = assert_error(post(client, {"model_id": "nobody"}), 404, "model_not_found")
    assert "nobody" in error["message"]


def test_every_fault_of_a_body_is_told(client: TestClient) -> None:
    error = assert_error(post(client, {"parallelism": 0, "what": 1}), 422, "invalid")
    assert {detail["field"] for detail in error["details"]} == {"model_id", "parallelism", "what"}


def test_a_rule_only_the_use_case_knows_is_told_alike(client: TestClient) -> None:
    error = assert_error(post(client, {"model_id": MODEL_ID, "parallelism": 257}), 422, "invalid")
    assert error["details"] == [{"field": "parallelism", "message": "must be within 1..256"}]


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff", b"[" * 100_000, b'{"model_id": NaN}'])
def test_malformed_json_is_told_in_words(client: TestClient, body: bytes) -> None:
    answer = client.post(JOBS, content=body, headers={"Content-Type": "application/json"})
    assert_error(answer, 400, "malformed_json")


@pytest.mark.parametrize("chunks", [1, 3], ids=["with_its_length", "in_chunks"])
def test_a_body_over_the_limit_is_refused(connect: Callable[..., TestClient], chunks: int) -> None:
    client = connect(max_body_size=100)
    body = b'{"model_id": "' + b"m" * 100 + b'"}'
    content = body if chunks == 1 else iter([body[:40], body[40:80], body[80:]])
    answer = client.post(JOBS, content=content, headers={"Content-Type": "application/json"})
    assert_error(answer, 413, "too_large")


def test_a_body_at_the_limit_is_read(connect: Callable[..., TestClient]) -> None:
    body = json.dumps({"model_id": MODEL_ID}).encode()
    client = connect(max_body_size=len(body))
    assert client.post(JOBS, content=body, headers={"Content-Type": "application/json"}).status_code == 202


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
def test_a_body_that_does_not_say_it_is_json_is_refused(client: TestClient, kind: str) -> None:
    answer = client.post(JOBS, content=b"{}", headers={"Content-Type": kind})
    assert_error(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/x+json"]
)
def test_json_may_be_declared_in_more_than_one_way(client: TestClient, kind: str) -> None:
    answer = client.post(JOBS, content=b'{"model_id": "MODEL1"}', headers={"Content-Type": kind})
    assert answer.status_code == 202


def test_a_store_that_is_out_is_told_with_when_to_come_back(client: TestClient, desk: FrontDesk) -> None:
    desk.outage.out = True
    answer = post(client, Idempotency_Key="nightly")
    assert_error(answer, 503, "store_unavailable")
    assert answer.headers["Retry-After"] == "5"
    desk.outage.out = False
    assert post(client, Idempotency_Key="nightly").status_code == 202


def test_a_price_sent_as_a_number_reaches_the_job_digit_for_digit(
    client: TestClient, desk: FrontDesk
) -> None:
    security = builders.security_id(1)
    body = f'{{"model_id": "MODEL1", "prices": {{"{security}": 1234567890.123456789}}}}'.encode()
    answer = client.post(JOBS, content=body, headers={"Content-Type": "application/json"})
    prices = desk.store.get_job(answer.json()["job_id"]).inline_prices
    assert prices is not None
    assert str(prices[security]) == "1234567890.123456789"


# ------------------------------------------------------------------------------------------------ looking


def test_a_running_job_tells_its_counts(client: TestClient, desk: FrontDesk) -> None:
    job_id = post(client).json()["job_id"]
    desk.start(job_id)
    desk.finish_one(job_id, RESULT)
    job = client.get(f"{JOBS}/{job_id}").json()
    assert (job["state"], job["finished"], job["portfolios"]) == ("running", 1, 3)
    assert {state: n for state, n in job["counts"].items() if n} == {"traded": 1, "pending": 2}


def test_a_waiting_job_tells_why_and_until_when(client: TestClient, desk: FrontDesk) -> None:
    job_id = post(client).json()["job_id"]
    desk.start(job_id)
    desk.store.wait_job(job_id, "accounting is unavailable: connection refused", 30.0)
    job = client.get(f"{JOBS}/{job_id}").json()
    assert (job["state"], job["reason"]) == ("waiting", "accounting is unavailable: connection refused")
    assert job["probe_at"] is not None


def test_an_unknown_job_is_not_found(client: TestClient) -> None:
    for answer in (
        client.get(f"{JOBS}/nobody"),
        client.get(f"{JOBS}/nobody/items"),
        client.get(f"{JOBS}/nobody/items/P1"),
        client.post(f"{JOBS}/nobody/cancel"),
    ):
        assert answer.status_code == 404
    assert_error(client.get(f"{JOBS}/nobody"), 404, "job_not_found")


def test_jobs_are_listed_newest_first_page_by_page(client: TestClient, desk: FrontDesk) -> None:
    posted = {post(client).json()["job_id"] for _ in range(5)}
    first = client.get(JOBS, params={"limit": 2}).json()
    second = client.get(JOBS, params={"limit": 3, "offset": first["next_offset"]}).json()
    listed = [job["job_id"] for job in first["jobs"] + second["jobs"]]
    assert set(listed) == posted
    assert listed == [job.job_id for job in desk.store.list_jobs()]
    assert (first["next_offset"], second["next_offset"]) == (2, None)
    assert first["jobs"][0]["counts"] is None


def test_jobs_are_listed_by_state_and_model(client: TestClient, desk: FrontDesk) -> None:
    running, accepted = (post(client).json()["job_id"] for _ in range(2))
    desk.start(running)

    def listed(**params: Any) -> list[str]:
        return [job["job_id"] for job in client.get(JOBS, params=params).json()["jobs"]]

    assert listed(state="running") == [running]
    assert set(listed(state=["running", "accepted"])) == {running, accepted}
    assert listed(model_id="another") == []
    assert len(listed(model_id=MODEL_ID)) == 2


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{JOBS}?state=asleep", "state.0"),
        (f"{JOBS}?limit=0", "limit"),
        (f"{JOBS}?limit=many", "limit"),
        (f"{JOBS}?offset=-1", "offset"),
        (f"{JOBS}?offset={10**30}", "offset"),
        (f"{JOBS}/x/items?outcome=lost", "outcome.0"),
        (f"{JOBS}/x/items?cursor=abc", "cursor"),
        (f"{JOBS}/{'x' * 101}", "job_id"),
        (f"{MODELS}?sort_by=price", "sort_by.0"),
        (f"{MODELS}?needing_rebalance_since=2026-11-23T00:00:00", "needing_rebalance_since"),
    ],
)
def test_a_wrong_parameter_is_told_by_name(client: TestClient, path: str, field: str) -> None:
    error = assert_error(client.get(path), 422, "invalid")
    assert field in {detail["field"] for detail in error["details"]}


def test_items_are_paged_by_cursor(client: TestClient, desk: FrontDesk) -> None:
    job_id = post(client).json()["job_id"]
    desk.start(job_id)
    first = client.get(f"{JOBS}/{job_id}/items", params={"limit": 2}).json()
    second = client.get(f"{JOBS}/{job_id}/items", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["seq"] for item in first["items"] + second["items"]] == [0, 1, 2]
    assert second["next_cursor"] is None


def test_items_are_listed_by_outcome(client: TestClient, desk: FrontDesk) -> None:
    job_id = post(client).json()["job_id"]
    desk.start(job_id)
    done = desk.finish_one(job_id, RESULT)
    desk.fail_one(job_id)

    def listed(*outcomes: str) -> list[str]:
        answer = client.get(f"{JOBS}/{job_id}/items", params={"outcome": list(outcomes)}).json()
        return [item["portfolio_id"] for item in answer["items"]]

    assert listed("traded") == [done.portfolio_id]
    assert len(listed("failed", "pending")) == 2
    assert len(listed()) == 3


def test_a_portfolio_s_result_comes_byte_for_byte(client: TestClient, desk: FrontDesk) -> None:
    job_id = post(client).json()["job_id"]
    desk.start(job_id)
    item = desk.finish_one(job_id, RESULT)
    answer = client.get(f"{JOBS}/{job_id}/items/{item.portfolio_id}")
    assert RESULT in answer.content
    document = answer.json()
    assert (document["outcome"], document["reason"], document["attempts"]) == ("traded", "inside_bounds", 1)
    assert document["published"] is False
    desk.store.mark_sent([item.item_id])
    assert client.get(f"{JOBS}/{job_id}/items/{item.portfolio_id}").json()["published"] is True


def test_a_portfolio_without_a_result_says_so(client: TestClient, desk: FrontDesk) -> None:
    job_id = post(client).json()["job_id"]
    desk.start(job_id)
    answer = client.get(f"{JOBS}/{job_id}/items/{builders.portfolio_id(1)}").json()
    assert (answer["result"], answer["outcome"]) == (None, "pending")


def test_a_portfolio_id_with_a_slash_can_be_asked_for(client: TestClient, desk: FrontDesk) -> None:
    job_id = post(client, {"model_id": MODEL_ID, "portfolio_ids": ["a/b"]}).json()["job_id"]
    desk.start(job_id)
    assert client.get(f"{JOBS}/{job_id}/items/a/b").json()["portfolio_id"] == "a/b"


def test_a_cancelled_job_stays_cancelled(client: TestClient) -> None:
    job_id = post(client).json()["job_id"]
    first = client.post(f"{JOBS}/{job_id}/cancel").json()
    again = client.post(f"{JOBS}/{job_id}/cancel").json()
    assert (first["state"], first["reason"]) == ("stopping", "cancelled on request")
    assert again["state"] == "stopping"


# ------------------------------------------------------------------------------------------------ models


def model_body(**changes: Any) -> dict[str, Any]:
    position = {
        "security_id": builders.security_id(7),
        "target": "0.250",
        "low_drift": "0.02",
        "high_drift": 0.03,
    }
    return {"model_id": "growth-60", "name": "Growth 60", "positions": [position], **changes}


def test_a_model_is_created_and_read(client: TestClient) -> None:
    answer = client.post(MODELS, json=model_body(portfolios=["P1"], policy={"cash_floor": "0.02"}))
    model = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{MODELS}/growth-60")
    assert (model["version"], model["portfolios"], model["policy"]["cash_floor"]) == (1, ["P1"], "0.02")
    assert model["positions"][0]["high_drift"] == "0.03"
    assert client.get(answer.headers["Location"]).json() == model


def test_a_model_without_an_id_is_given_one(connect: Callable[..., TestClient]) -> None:
    body = model_body()
    del body["model_id"]
    assert connect(new_id=lambda: "given").post(MODELS, json=body).json()["model_id"] == "given"


def test_a_taken_name_is_refused(client: TestClient) -> None:
    client.post(MODELS, json=model_body())
    assert_error(client.post(MODELS, json=model_body(model_id="other")), 409, "already_exists")


def test_a_model_that_breaks_a_rule_is_refused_by_field(client: TestClient) -> None:
    position = {**model_body()["positions"][0], "target": "0.251"}
    error = assert_error(client.post(MODELS, json=model_body(positions=[position])), 422, "invalid")
    assert error["details"][0]["field"] == "positions[0].target"


def test_a_model_is_replaced_at_its_version_only(client: TestClient) -> None:
    client.post(MODELS, json=model_body())
    update = model_body(name="Growth 70", version=1)
    del update["model_id"]
    changed = client.put(f"{MODELS}/growth-60", json=update)
    assert (changed.json()["name"], changed.json()["version"]) == ("Growth 70", 2)
    assert_error(client.put(f"{MODELS}/growth-60", json=update), 409, "stale_version")
    assert_error(client.put(f"{MODELS}/nobody", json=update), 404, "model_not_found")


def test_a_replaced_model_keeps_its_last_rebalance_date(client: TestClient, desk: FrontDesk) -> None:
    desk.store.note_rebalanced(builders.model().model_id, builders.MORNING)
    update = model_body(name="Balanced", version=1)
    del update["model_id"]
    assert (
        client.put(f"{MODELS}/{MODEL_ID}", json=update).json()["last_rebalance_date"]
        == "2026-03-02T07:30:00Z"
    )


def test_a_model_is_deleted_at_its_version_only(client: TestClient) -> None:
    client.post(MODELS, json=model_body())
    assert_error(client.delete(f"{MODELS}/growth-60?version=2"), 409, "stale_version")
    assert_error(client.delete(f"{MODELS}/growth-60"), 422, "invalid")
    gone = client.delete(f"{MODELS}/growth-60?version=1")
    assert (gone.status_code, gone.content) == (204, b"")
    assert_error(client.get(f"{MODELS}/growth-60"), 404, "model_not_found")


def test_models_are_listed_with_their_counts(client: TestClient) -> None:
    client.post(MODELS, json=model_body(portfolios=["P1", "P2"]))

    def listed(**params: Any) -> list[str]:
        return [model["model_id"] for model in client.get(MODELS, params=params).json()["models"]]

    page = client.get(MODELS, params={"limit": 1, "sort_by": "-model_id"}).json()
    assert [model["model_id"] for model in page["models"]] == ["growth-60"]
    assert (page["total"], page["total_positions"], page["total_portfolios"]) == (2, 3, 5)
    assert page["next_offset"] == 1
    assert listed(portfolio_id="P2") == ["growth-60"]
    assert listed(security_id=builders.security_id(2)) == [MODEL_ID]
    assert listed(name="Balanced") == [MODEL_ID]
    assert listed(needing_rebalance_since="2026-11-23T00:00:00Z", sort_by="+name") == [MODEL_ID, "growth-60"]
    assert listed(rebalanced_on="2026-11-23T00:00:00+01:00") == []


def test_a_plus_that_became_a_blank_still_sorts_upwards(client: TestClient) -> None:
    client.post(MODELS, json=model_body())
    answer = client.get(f"{MODELS}?sort_by=+name").json()
    assert [model["name"] for model in answer["models"]] == ["Balanced", "Growth 60"]


# ------------------------------------------------------------------------------------------------ health


def test_a_service_with_everything_is_ready(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "alive"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    assert client.get("/health").json()["status"] == "ok"


def test_what_is_out_is_named(client: TestClient, desk: FrontDesk) -> None:
    desk.outage.out = desk.broker.out = True
    answer = client.get("/health/ready")
    error = assert_error(answer, 503, "not_ready")
    assert [detail["field"] for detail in error["details"]] == ["store", "results", "broker"]
    assert "Retry-After" in answer.headers
    assert client.get("/health/live").status_code == 200
    assert client.get("/health").json()["status"] == "down"


def test_who_asks_often_asks_what_stands_behind_once_a_second(
    connect: Callable[..., TestClient], desk: FrontDesk
) -> None:
    asked, seconds = list[str](), [0.0]
    parts = (HealthPart("pricing", lambda: asked.append("pricing")),)
    client = connect(parts=parts, needed=("store", "pricing"), monotonic=lambda: seconds[0])
    for at in (0.0, 0.5, 0.99, 1.0, 1.5):
        seconds[0] = at
        assert client.get("/health/ready").status_code == 200
    assert len(asked) == 2

    desk.outage.out = True
    assert client.get("/health/ready").status_code == 200  # not asked again yet
    seconds[0] = 2.0
    assert [client.get("/health/ready").status_code for _ in range(3)] == [503, 503, 503]
    assert len(asked) == 3
    desk.outage.out = False
    seconds[0] = 3.0
    assert client.get("/health/ready").status_code == 200


def test_of_a_part_one_check_is_under_way_and_all_who_ask_are_told_what_it_finds() -> None:
    asked, began, answers = list[int](), threading.Event(), threading.Event()

    def slow() -> None:
        asked.append(1)
        began.set()
        answers.wait(10)
        raise RuntimeError("out")

    board = HealthBoard((HealthPart("broker", slow),), {"broker"}, FixedClock())
    with ThreadPoolExecutor(4) as threads:
        looks = [threads.submit(board.look) for _ in range(4)]
        assert began.wait(10)
        answers.set()
        assert {look.result(10)[0].status for look in looks} == {"down"}
    assert len(asked) == 1


def test_the_last_error_of_a_part_is_remembered(connect: Callable[..., TestClient], desk: FrontDesk) -> None:
    client = connect(monotonic=count(step=1.0).__next__)
    desk.broker.out = True
    client.get("/health/ready")
    desk.broker.out = False
    parts = {part["name"]: part for part in client.get("/health").json()["parts"]}
    assert parts["broker"]["status"] == "up"
    assert parts["broker"]["error"] is None
    assert "connection refused" in parts["broker"]["last_error"]
    assert parts["broker"]["last_error_at"] == "2026-11-23T12:00:00Z"
    assert parts["store"]["last_error"] is None


def test_a_part_that_is_not_needed_only_degrades(connect: Callable[..., TestClient]) -> None:
    def broken() -> None:
        raise RuntimeError("password=hunter2")

    client = connect(parts=(HealthPart("pricing", broken),))
    assert client.get("/health/ready").status_code == 200
    health = client.get("/health")
    assert health.json()["status"] == "degraded"
    assert health.json()["parts"][-1]["error"] == "RuntimeError"
    assert "hunter2" not in health.text


# ------------------------------------------------------------------------------------------------ the edge


def test_a_given_correlation_id_comes_back_and_into_the_job(client: TestClient) -> None:
    answer = post(client, X_Correlation_ID="desk-7:42")
    assert answer.headers["X-Correlation-ID"] == "desk-7:42"
    assert answer.json()["correlation_id"] == "desk-7:42"


def test_the_correlation_id_of_the_body_is_the_job_s(client: TestClient) -> None:
    answer = post(client, {"model_id": MODEL_ID, "correlation_id": "body"}, X_Correlation_ID="header")
    assert answer.json()["correlation_id"] == "body"


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "<script>", "a\tb"])
def test_a_correlation_id_that_is_unsafe_is_replaced(connect: Callable[..., TestClient], bad: str) -> None:
    client = connect(new_id=lambda: "generated")
    assert (
        client.get("/health/live", headers={"X-Correlation-ID": bad}).headers["X-Correlation-ID"]
        == "generated"
    )


def test_every_answer_forbids_guessing_its_type(client: TestClient) -> None:
    for path in ("/health/live", "/nowhere", f"{JOBS}/nobody"):
        assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"


def test_a_route_that_is_not_there_has_the_error_shape(client: TestClient) -> None:
    for path in ("/", "/docs", "/redoc", f"{JOBS}/", "/api/v2/jobs"):
        assert_error(client.get(path), 404, "no_such_route")


def test_a_wrong_method_has_the_error_shape_and_names_the_right_ones(client: TestClient) -> None:
    answer = client.delete(JOBS)
    assert_error(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"] or "GET" in answer.headers["Allow"]


def test_a_bug_is_answered_without_its_story_and_logged_with_it(client: TestClient, desk: FrontDesk) -> None:
    bug = ZeroDivisionError("secret story")
    desk.outage.breaks_with = bug
    with capture_logs() as logs:
        answer = post(client, X_Correlation_ID="find-me")
    error = assert_error(answer, 500, "internal_error")
    assert error["correlation_id"] == "find-me"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert [
        (entry["correlation_id"], entry["exc_info"]) for entry in logs if entry["event"] == "request_failed"
    ] == [("find-me", bug)]


def test_an_application_starts_and_stops(client: TestClient) -> None:
    with client:
        assert client.get("/health/live").status_code == 200


class LastResort:
    def unexpected(self, error: Exception, correlation_id: str) -> Response:
        raise AssertionError(f"asked for an answer to {error!r}")


def through_the_edge(app: ASGIApp) -> list[Message]:
    """What is sent when this application stands behind the edge and its caller hangs up at once."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    edge = Edge(app, new_id=lambda: "generated", last_resort=LastResort())
    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(edge(scope, receive, send))
    return sent


def test_a_caller_who_hangs_up_is_not_answered() -> None:
    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    assert through_the_edge(reads) == []


def test_a_bug_in_the_middle_of_an_answer_cuts_it_off() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        through_the_edge(breaks)


def test_no_answer_is_html(client: TestClient) -> None:
    for path in ("/", "/docs", "/openapi.json", JOBS, "/health", f"{JOBS}/%3Cb%3E"):
        assert client.get(path, headers={"Accept": "text/html"}).headers["content-type"] == "application/json"


# ------------------------------------------------------------------------------------------------ statuses and document

EVERY_ERROR: list[tuple[TrimtabError, int]] = [
    (errors.Invalid("x"), 422),
    (errors.Invalid("x", code="too_large"), 413),
    (errors.Invalid("x", code="malformed_json"), 400),
    (errors.NotFound("job", "x"), 404),
    (errors.StaleVersion("model", "x", 1), 409),
    (errors.AlreadyExists("model", "x"), 409),
    (errors.KeyReused("x"), 409),
    (errors.StoreUnavailable("store", "x"), 503),
    (errors.BrokerUnavailable("broker", "x"), 503),
    (errors.UpstreamUnavailable("pricing", "x"), 503),
    (errors.UpstreamFault("pricing", "x"), 502),
    (errors.SolverTimeout("x"), 500),
    (errors.SolverFailed("x"), 500),
]


@pytest.mark.parametrize(("error", "status"), EVERY_ERROR, ids=lambda value: getattr(value, "code", value))
def test_each_error_has_its_status(error: TrimtabError, status: int) -> None:
    assert status_of(error) == status


def test_the_status_table_ends_at_the_root() -> None:
    assert TrimtabError in STATUSES


def resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_openapi_document_is_made_once(client: TestClient) -> None:
    assert client.get("/openapi.json").content == client.get("/openapi.json").content


def test_every_reference_of_the_openapi_document_resolves(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    found = set(references(document))
    assert "#/components/schemas/RebalanceRequest" in found
    for reference in found:
        assert resolve(document, reference)


def test_the_openapi_document_declares_bodies_and_errors(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 30
    for path, method, operation in operations:
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (path, method, status)
    post_job = document["paths"][JOBS]["post"]
    assert set(post_job["responses"]) >= {"200", "202", "404", "409", "413", "415", "422", "500", "503"}
    body = post_job["requestBody"]["content"]["application/json"]["schema"]
    examples = resolve(document, body["$ref"])["examples"]
    for example in examples:
        assert client.post(JOBS, json={**example, "model_id": MODEL_ID}).status_code == 202
    assert "HTTPValidationError" not in document["components"]["schemas"]
