"""Authentication on: each role can do what it should and nothing more, over every endpoint there is."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from adapters.inbound.api import ApiOptions, HealthPart, create_app
from adapters.inbound.api.access import OPEN_TO_ALL, require_roles
from adapters.inbound.api.rate import LocalLimiter, Rate
from adapters.inbound.keys import GRANTS, Role
from tests.support.api_keys import StaticKeys, api_key, bearer
from tests.support.front_desk import MODEL_ID, FrontDesk

# Who may call what. An endpoint that is not here fails a test: decide who may call it, and write it down.
TABLE: Mapping[str, Role | None] = {
    "GET /health/live": None,
    "GET /health/ready": None,
    "GET /health": Role.READ,
    "GET /metrics": Role.READ,
    "POST /api/v1/jobs": Role.SUBMIT,
    "GET /api/v1/jobs": Role.READ,
    "GET /api/v1/jobs/{job_id}": Role.READ,
    "GET /api/v1/jobs/{job_id}/items": Role.READ,
    "GET /api/v1/jobs/{job_id}/items/{portfolio_id}": Role.READ,
    "GET /api/v1/jobs/{job_id}/results": Role.READ,
    "POST /api/v1/jobs/{job_id}/cancel": Role.OPERATE,
    "POST /api/v1/jobs/{job_id}/retry": Role.OPERATE,
    "POST /api/v1/jobs/{job_id}/parallelism": Role.OPERATE,
    "POST /api/v1/jobs/{job_id}/republish": Role.OPERATE,
    "POST /api/v1/models/{model_id}/rebalance": Role.SUBMIT,
    "POST /api/v1/portfolios/{portfolio_id}/rebalance": Role.SUBMIT,
    "POST /api/v1/what-if": Role.SUBMIT,
    "GET /api/v1/rebalances": Role.READ,
    "POST /api/v1/rebalances/portfolios": Role.READ,
    "GET /api/v1/rebalances/{rebalance_id}": Role.READ,
    "GET /api/v1/rebalances/{rebalance_id}/portfolios": Role.READ,
    "GET /api/v1/rebalances/{rebalance_id}/portfolios/{portfolio_id}/positions": Role.READ,
    "DELETE /api/v1/rebalances/{rebalance_id}": Role.ADMIN,
    "GET /api/v1/models": Role.READ,
    "GET /api/v1/models/{model_id}": Role.READ,
    "POST /api/v1/models": Role.ADMIN,
    "PUT /api/v1/models/{model_id}": Role.ADMIN,
    "DELETE /api/v1/models/{model_id}": Role.ADMIN,
    "POST /api/v1/models/{model_id}/positions": Role.ADMIN,
    "PUT /api/v1/models/{model_id}/positions/{security_id}": Role.ADMIN,
    "DELETE /api/v1/models/{model_id}/positions/{security_id}": Role.ADMIN,
    "POST /api/v1/models/{model_id}/portfolios": Role.ADMIN,
    "DELETE /api/v1/models/{model_id}/portfolios": Role.ADMIN,
    "GET /api/v1/schedules": Role.READ,
    "GET /api/v1/schedules/{schedule_id}": Role.READ,
    "GET /api/v1/schedules/{schedule_id}/next": Role.READ,
    "POST /api/v1/schedules/{schedule_id}/run": Role.OPERATE,
}
JOBS = "/api/v1/jobs"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def connect(desk: FrontDesk) -> Iterator[Callable[..., TestClient]]:
    opened = []

    def open_client(**options: Any) -> TestClient:
        given = {"keys": StaticKeys.one_a_role(), **options}
        client = TestClient(create_app(desk.services, ApiOptions(version="9.9.9", **given)))
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One for all the tests that change nothing: an application takes a while to build."""
    desk = FrontDesk.open(tmp_path_factory.mktemp("access"))
    keys = StaticKeys.one_a_role()
    with TestClient(create_app(desk.services, ApiOptions(version="9.9.9", keys=keys))) as client:
        yield client
    desk.close()


def called(client: TestClient, endpoint: str, headers: Mapping[str, str] | None = None) -> Any:
    method, path = endpoint.split(" ")
    return client.request(method, path.replace("{", "").replace("}", ""), headers=headers)


def error_code(answer: Any) -> str | None:
    body = answer.json() if answer.headers["content-type"] == "application/json" else {}
    return body["error"]["code"] if "error" in body else None


# ------------------------------------------------------------------------------------------------ the table


def test_the_table_has_every_endpoint_and_the_document_says_the_same(client: TestClient) -> None:
    documented = {
        f"{method.upper()} {path}": [
            scope for each in operation.get("security", []) for scope in each["api_key"]
        ]
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method, operation in methods.items()
    }
    assert documented == {endpoint: [] if role is None else [role] for endpoint, role in TABLE.items()}


@pytest.mark.parametrize("endpoint", TABLE)
def test_nobody_gets_in_without_a_key(client: TestClient, endpoint: str) -> None:
    answer = called(client, endpoint)
    if TABLE[endpoint] is None:
        assert answer.status_code == 200
        return
    assert (answer.status_code, error_code(answer)) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="trimtab"'


@pytest.mark.parametrize("held", Role)
@pytest.mark.parametrize("endpoint", TABLE)
def test_a_role_opens_what_it_should_and_nothing_more(client: TestClient, endpoint: str, held: Role) -> None:
    needed = TABLE[endpoint]
    answer = called(client, endpoint, bearer(held))
    if needed is None or needed in GRANTS[held]:
        assert answer.status_code not in {401, 403}
    else:
        assert (answer.status_code, error_code(answer)) == (403, "forbidden")
        assert f"needs the role {needed}" in answer.json()["error"]["message"]


def test_a_key_may_have_several_roles(connect: Callable[..., TestClient]) -> None:
    client = connect(keys=StaticKeys({"both": api_key([Role.SUBMIT, Role.READ])}))
    posted = client.post(JOBS, json={"model_id": MODEL_ID}, headers=bearer("both"))
    assert posted.status_code == 202
    assert client.get(posted.headers["Location"], headers=bearer("both")).status_code == 200
    cancelled = client.post(f"{posted.headers['Location']}/cancel", headers=bearer("both"))
    assert cancelled.status_code == 403


@pytest.mark.parametrize("field", OPEN_TO_ALL)
def test_what_is_open_to_all_is_only_health(field: str) -> None:
    assert field.startswith("/health/")


def test_a_route_that_names_no_role_keeps_the_application_from_starting() -> None:
    router = APIRouter()

    @router.get("/new")
    def new() -> int:
        raise AssertionError("nobody may call this")

    with pytest.raises(RuntimeError, match="/new"):
        require_roles(router.routes)


# ------------------------------------------------------------------------------------------------ strangers


@pytest.mark.parametrize(
    "authorization",
    ["Bearer nobody", "Bearer ", "bearer", "Basic cmVhZDpyZWFk", "read", "Bearer read x", "Bearer readread"],
)
def test_what_is_no_key_gets_nobody_in(client: TestClient, authorization: str) -> None:
    answer = client.get(JOBS, headers={"Authorization": authorization})
    assert (answer.status_code, error_code(answer)) == (401, "unauthorized")


def test_a_stranger_learns_nothing_about_what_is_there(client: TestClient) -> None:
    there = client.get(f"/api/v1/models/{MODEL_ID}", headers=bearer("nobody")).json()["error"]
    missing = client.get("/api/v1/models/missing1", headers=bearer("nobody")).json()["error"]
    assert (there["code"], there["details"]) == (missing["code"], missing["details"])
    assert there["message"].replace(MODEL_ID, "x") == missing["message"].replace("missing1", "x")


def test_a_stranger_s_body_is_not_even_read(connect: Callable[..., TestClient]) -> None:
    read: list[bytes] = []

    def body() -> Iterator[bytes]:
        for _ in range(3):
            read.append(b"x")
            yield b"x" * 1000

    client = connect(max_body_size=10)
    answer = client.post(JOBS, content=body(), headers={"Content-Type": "text/html"})
    assert answer.status_code == 401  # neither 413 nor 415: those would have looked at it


def test_readiness_tells_strangers_which_part_is_out_and_no_more(
    connect: Callable[..., TestClient], desk: FrontDesk
) -> None:
    client = connect()
    desk.broker.out = True
    told = client.get("/health/ready")
    assert told.status_code == 503
    assert "connection refused" not in told.text
    parts = client.get("/health", headers=bearer("read")).json()["parts"]
    assert "connection refused" in str(parts)


def test_the_document_is_open(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["api_key"]["scheme"] == "bearer"


# ------------------------------------------------------------------------------------------------ the log


def test_an_action_is_logged_with_whose_key_it_was_and_never_with_the_key(
    connect: Callable[..., TestClient],
) -> None:
    key = api_key([Role.SUBMIT], key_id="aaaaaaaaaaaa")
    text = "trimtab_aaaaaaaaaaaa_very-secret"
    client = connect(keys=StaticKeys({text: key}))
    merged: list[Mapping[str, Any]] = []
    with capture_logs(processors=[_with_context(merged)]) as logs:
        client.post(JOBS, json={"model_id": MODEL_ID}, headers=bearer(text))
        client.post(JOBS, json={"model_id": MODEL_ID}, headers=bearer(f"{text}x"))
        client.get(JOBS, headers=bearer(text))
    (action,) = [entry for entry in merged if entry["event"] == "api.action"]
    assert (action["api_key"], action["method"], action["path"]) == ("aaaaaaaaaaaa", "POST", JOBS)
    assert action["correlation_id"]
    assert "very-secret" not in str(logs) + str(merged)


def _with_context(merged: list[Mapping[str, Any]]) -> Callable[..., Any]:
    import structlog  # noqa: PLC0415 - its context is what is looked at here

    def processor(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        merged.append({**structlog.contextvars.get_contextvars(), **event})
        return event

    return processor


def test_no_answer_repeats_a_key(client: TestClient) -> None:
    for path in (JOBS, "/nowhere", f"{JOBS}/x/items?cursor=x"):
        for method in ("GET", "DELETE"):
            answer = client.request(method, path, headers=bearer("trimtab_0_very-secret"))
            assert "very-secret" not in answer.text + str(answer.headers)


# ------------------------------------------------------------------------------------------------ rate


def test_a_key_that_calls_too_often_is_told_when_to_come_back(connect: Callable[..., TestClient]) -> None:
    now = [0.0]
    client = connect(limiter=LocalLimiter(Rate(per_second=0.5, burst=2), lambda: now[0]))

    def status(key: str) -> int:
        return int(client.get(JOBS, headers=bearer(key)).status_code)

    assert [status("read") for _ in range(3)] == [200, 200, 429]
    assert [status("operate"), status("admin")] == [200, 200]  # each key counts for itself
    refused = client.get(JOBS, headers=bearer("read"))
    assert error_code(refused) == "rate_limited"
    assert refused.headers["Retry-After"] == "2"
    now[0] = 2.0
    assert [status("read"), status("read")] == [200, 429]


def test_what_a_key_may_not_call_counts_as_well(connect: Callable[..., TestClient]) -> None:
    client = connect(limiter=LocalLimiter(Rate(per_second=1, burst=1), lambda: 0.0))
    assert client.post(JOBS, headers=bearer("read")).status_code == 403
    assert client.get(JOBS, headers=bearer("read")).status_code == 429


def test_health_is_never_limited_for_what_keeps_us_running(connect: Callable[..., TestClient]) -> None:
    client = connect(limiter=LocalLimiter(Rate(per_second=1, burst=1), lambda: 0.0))
    assert {client.get("/health/ready").status_code for _ in range(5)} == {200}


# ------------------------------------------------------------------------------------------------ parameters


@pytest.mark.parametrize(
    "path", [f"{JOBS}?stat=running", "/api/v1/models?limit=5&job_id=1", f"{JOBS}/x?wait=1"]
)
def test_a_parameter_nobody_knows_is_refused_by_name(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=bearer("read"))
    assert (answer.status_code, error_code(answer)) == (422, "invalid")
    (detail,) = answer.json()["error"]["details"]
    assert detail["field"] in {"stat", "job_id", "wait"}


# ------------------------------------------------------------------------------------------------ health parts


def test_what_is_needed_has_to_be_a_part(connect: Callable[..., TestClient]) -> None:
    with pytest.raises(Exception, match="oracle"):
        connect(needed=("store", "oracle"))


def test_what_a_slow_look_found_is_kept_for_a_while(connect: Callable[..., TestClient]) -> None:
    looks: list[str] = []
    client = connect(
        parts=(
            HealthPart("workers", lambda: looks.append("workers"), 60.0),
            HealthPart("pricing", lambda: looks.append("pricing")),
        ),
        monotonic=count(step=1.0).__next__,
    )
    for _ in range(3):
        assert client.get("/health", headers=bearer("read")).json()["status"] == "ok"
    assert sorted(looks) == ["pricing"] * 3 + ["workers"]
