"""Whatever is posted, a bad body is the caller's fault: 4xx, in the one shape, and nothing is stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from domain.ports import ModelQuery
from tests.support import builders
from tests.support.bad_bodies import BAD_BODIES
from tests.support.front_desk import MODEL_ID, FrontDesk

JSON_TYPE = {"Content-Type": "application/json"}
ROUTES = (
    "POST /api/v1/jobs",
    "POST /api/v1/jobs/{job_id}/retry",
    "POST /api/v1/jobs/{job_id}/parallelism",
    "POST /api/v1/models",
    "PUT /api/v1/models/{model_id}",
    "POST /api/v1/models/{model_id}/positions",
    "PUT /api/v1/models/{model_id}/positions/{security_id}",
    "POST /api/v1/models/{model_id}/portfolios",
    "POST /api/v1/models/{model_id}/rebalance",
    "POST /api/v1/portfolios/{portfolio_id}/rebalance",
    "POST /api/v1/rebalances/portfolios",
    "POST /api/v1/schedules/{schedule_id}/run",
    "POST /api/v1/what-if",
)


@dataclass(frozen=True)
class Target:
    desk: FrontDesk
    client: TestClient
    path: dict[str, str]

    def stored(self) -> tuple[Any, ...]:
        return (
            self.desk.store.list_models(ModelQuery(limit=100)),
            self.desk.store.list_jobs(),
        )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    desk = FrontDesk.open(tmp_path_factory.mktemp("fuzz"))
    with TestClient(create_app(desk.services, ApiOptions(version="9.9.9"))) as client:
        job_id = client.post("/api/v1/jobs", json={"model_id": MODEL_ID}).json()["job_id"]
        names = {
            "job_id": job_id,
            "model_id": MODEL_ID,
            "security_id": builders.security_id(1),
            "portfolio_id": builders.portfolio_id(1),
            "schedule_id": "nightly",
        }
        yield Target(desk, client, names)
    desk.close()


def test_the_corpus_is_thrown_at_every_route_that_takes_a_body(target: Target) -> None:
    document = target.client.get("/openapi.json").json()
    with_body = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    assert with_body == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
def test_a_bad_body_is_the_caller_s_fault_and_changes_nothing(target: Target, route: str) -> None:
    method, path = route.split(" ")
    before = target.stored()
    answers = {
        name: target.client.request(method, path.format(**target.path), content=body, headers=JSON_TYPE)
        for name, body in BAD_BODIES.items()
    }
    wrong = {
        name: (answer.status_code, answer.text[:200])
        for name, answer in answers.items()
        if answer.status_code not in {400, 413, 422} or set(answer.json()) != {"error"}
    }
    assert wrong == {}
    assert target.stored() == before
