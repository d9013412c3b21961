"""The OpenAPI document against the service: no 5xx, no answer that is not in it, and examples that are right.

schemathesis is used as a library: its pytest plugin is switched off in pyproject.toml.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from starlette.testclient import TestClient

from adapters.inbound import answers, payloads, schedule_answers
from adapters.inbound.api import ApiOptions, create_app, health
from adapters.solver.cvxpy_solver import CvxpySolver
from domain.ids import JobId
from tests.support import builders
from tests.support.api_keys import StaticKeys, bearer
from tests.support.front_desk import MODEL_ID, FrontDesk
from tests.support.world import FakeUpstreams
from tests.unit.test_http_access import TABLE

schemathesis = pytest.importorskip("schemathesis", reason="the test group of pyproject.toml has it")

# What is refused though its shape is right (a target that is no multiple of 0.005) no schema can tell.
RULES_BEYOND_A_SCHEMA = ("positive_data_acceptance",)
EXAMPLES_A_ROUTE = 6


class Service:
    """The application with keys on, and something in its store that paths can name."""

    def __init__(self, folder: Path) -> None:
        self.desk = FrontDesk.open(folder)
        options = ApiOptions(version="9.9.9", keys=StaticKeys.one_a_role())
        world = FakeUpstreams(
            book={builders.portfolio_id(1): builders.portfolio(1000, {1: 10})},
            by_security={builders.security_id(number): builders.ticker(number) for number in (1, 2)},
            by_ticker={builders.ticker(number): Decimal(10 * number) for number in (1, 2)},
        )
        # A what-if fetches and solves while the caller waits.
        services = replace(
            self.desk.services,
            prices=world,
            securities=world,
            accounting=world,
            directory=world,
            solver=CvxpySolver(time_limit_seconds=1),
        )
        self.app = create_app(services, options)
        self.headers = bearer("admin")
        with TestClient(self.app) as client:
            job_id = client.post("/api/v1/jobs", json={"model_id": MODEL_ID}, headers=self.headers).json()[
                "job_id"
            ]
        self.desk.start(job_id)
        for _ in range(3):
            self.desk.fail_one(job_id)
        self.desk.store.close_job(JobId(job_id), 0)
        self.names = {
            "job_id": job_id,
            "rebalance_id": job_id,
            "model_id": MODEL_ID,
            "portfolio_id": builders.portfolio_id(1),
            "security_id": builders.security_id(1),
            "schedule_id": "nightly",
        }
        schema = schemathesis.openapi.from_asgi("/openapi.json", self.app)
        self.operations = {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("openapi"))
    yield service
    service.desk.close()


def checks(*names: str) -> list[Any]:
    return [schemathesis.checks.CHECKS.get_one(name) for name in names]


@pytest.mark.parametrize("endpoint", TABLE)
def test_no_answer_is_a_5xx_or_missing_in_the_document(service: Service, endpoint: str) -> None:
    @settings(
        max_examples=EXAMPLES_A_ROUTE,
        phases=[Phase.explicit, Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=service.operations[endpoint].as_strategy())
    def hold(case: Any) -> None:
        case.call_and_validate(headers=service.headers, excluded_checks=checks(*RULES_BEYOND_A_SCHEMA))
        # The same with names that are there, so that it goes deeper than 404.
        case.path_parameters = {name: service.names[name] for name in case.path_parameters or ()}
        if "wait" in (case.query or {}):
            case.query["wait"] = 0  # nobody works here
        answered = case.call(headers=service.headers)
        case.validate_response(
            answered,
            checks=checks("not_a_server_error", "status_code_conformance", "response_schema_conformance"),
        )

    hold()


def test_every_endpoint_is_tried(service: Service) -> None:
    assert service.operations.keys() == TABLE.keys()


@pytest.mark.parametrize("module", [answers, schedule_answers, payloads, health])
def test_every_example_is_one_of_what_it_stands_for(module: Any) -> None:
    illustrated = 0
    for kind in vars(module).values():
        extra = getattr(kind, "model_config", {}).get("json_schema_extra") or {}
        for example in extra.get("examples", ()):
            illustrated += 1
            kind.model_validate(example) if module in {answers, schedule_answers} else kind.model_validate(
                example, strict=False
            )
    assert illustrated >= 3


def test_every_answer_and_every_body_has_an_example(service: Service) -> None:
    document = service.app.openapi()
    schemas = document["components"]["schemas"]
    bare = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found = [
                operation.get("requestBody", {}),
                *(answer for status, answer in operation["responses"].items() if status.startswith("2")),
            ]
            for each in found:
                reference = each.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref")
                if reference and "examples" not in schemas[reference.rpartition("/")[2]]:
                    bare.add(f"{method} {path} {reference}")
    assert bare == set()
