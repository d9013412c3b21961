"""Which web pages may call, under which names, and what every answer tells a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from tests.support.api_keys import StaticKeys, bearer
from tests.support.front_desk import MODEL_ID, FrontDesk

JOBS = "/api/v1/jobs"
DESK = "https://desk.example"
EVIL = "https://evil.example"


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    desk = FrontDesk.open(tmp_path)
    opened = []

    def open_client(**options: Any) -> TestClient:
        client = TestClient(create_app(desk.services, ApiOptions(version="9.9.9", **options)))
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()
    desk.close()


def refused(answer: Any, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, code), answer.text
    assert answer.headers["X-Correlation-ID"] == answer.json()["error"]["correlation_id"]


def preflight(client: TestClient, origin: str) -> Any:
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return client.options(JOBS, headers=asks)


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "http://testserver.evil.example", "https://desk.example.evil"]
)
def test_a_page_of_somewhere_else_changes_nothing(connect: Callable[..., TestClient], origin: str) -> None:
    client = connect(origins=[DESK])
    job_id = client.post(JOBS, json={"model_id": MODEL_ID}).json()["job_id"]
    for path in (JOBS, f"{JOBS}/{job_id}/cancel", f"/api/v1/models/{MODEL_ID}/rebalance"):
        refused(client.post(path, headers={"Origin": origin}), "origin_not_allowed")
    refused(
        client.delete(f"/api/v1/models/{MODEL_ID}?version=1", headers={"Origin": origin}),
        "origin_not_allowed",
    )
    assert client.get(f"{JOBS}/{job_id}").json()["state"] == "accepted"
    refused(preflight(client, origin), "origin_not_allowed")


def test_a_page_of_somewhere_else_may_not_read_either(connect: Callable[..., TestClient]) -> None:
    answer = connect(origins=[DESK]).get(JOBS, headers={"Origin": EVIL})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_an_allowed_page_may_call_and_read(connect: Callable[..., TestClient]) -> None:
    client = connect(origins=[DESK], keys=StaticKeys.one_a_role())
    asked = preflight(client, DESK)
    assert (asked.status_code, asked.content) == (204, b"")
    assert asked.headers["Access-Control-Allow-Origin"] == DESK
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert method in asked.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in asked.headers
    posted = client.post(JOBS, json={"model_id": MODEL_ID}, headers={"Origin": DESK, **bearer("submit")})
    assert posted.status_code == 202
    assert posted.headers["Access-Control-Allow-Origin"] == DESK
    assert "Location" in posted.headers["Access-Control-Expose-Headers"]
    assert posted.headers["Vary"] == "Origin"
    stranger = client.get(JOBS, headers={"Origin": DESK})
    assert (stranger.status_code, stranger.headers["Access-Control-Allow-Origin"]) == (401, DESK)


def test_by_default_no_page_is_allowed_but_our_own(connect: Callable[..., TestClient]) -> None:
    client = connect()
    refused(preflight(client, DESK), "origin_not_allowed")
    for origin in ("http://testserver", "https://testserver"):
        answer = client.post(JOBS, json={"model_id": MODEL_ID}, headers={"Origin": origin})
        assert answer.status_code == 202


def test_a_program_that_names_no_origin_is_no_page(connect: Callable[..., TestClient]) -> None:
    assert connect().post(JOBS, json={"model_id": MODEL_ID}).status_code == 202


def test_a_plain_options_is_no_preflight(connect: Callable[..., TestClient]) -> None:
    answer = connect(origins=[DESK]).options(JOBS, headers={"Origin": DESK})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]:80", "[", "evil:8080"])
def test_without_keys_another_name_is_refused(connect: Callable[..., TestClient], host: str) -> None:
    client = connect(hosts={"localhost", "127.0.0.1", "::1"})
    refused(client.get(JOBS, headers={"Host": host}), "host_not_allowed")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080"]
)
def test_our_own_names_are_answered(connect: Callable[..., TestClient], host: str) -> None:
    client = connect(hosts={"localhost", "127.0.0.1", "::1"})
    assert client.get(JOBS, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", JOBS, "/openapi.json"])
def test_every_answer_has_the_headers_of_a_careful_server(
    connect: Callable[..., TestClient], path: str
) -> None:
    headers = connect().get(path).headers
    assert {name: headers[name] for name in headers if name in EXPECTED} == EXPECTED
    assert "server" not in headers


EXPECTED = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
