"""Single positions of a model and the portfolios that follow it, over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from domain.errors import StaleVersion
from domain.ids import ModelId, PortfolioId
from domain.model import InvestmentModel
from tasks.model_portfolios import add_portfolios
from tests.support import builders
from tests.support.front_desk import MODEL_ID, FrontDesk

MODEL = f"/api/v1/models/{MODEL_ID}"
FIRST, NEW = builders.security_id(1), builders.security_id(9)
WEIGHTS = {"target": "0.10", "low_drift": "0.01", "high_drift": "0.02"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def client(desk: FrontDesk) -> Iterator[TestClient]:
    with TestClient(create_app(desk.services, ApiOptions(version="9.9.9"))) as client:
        yield client


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def targets(model: dict[str, Any]) -> dict[str, str]:
    return {position["security_id"]: position["target"] for position in model["positions"]}


# ------------------------------------------------------------------------------------------------ positions


def test_a_position_is_added_changed_and_removed_each_at_the_version_before(client: TestClient) -> None:
    added = client.post(f"{MODEL}/positions", json={"security_id": NEW, **WEIGHTS, "version": 1})
    assert (added.status_code, added.json()["version"]) == (201, 2)
    assert targets(added.json())[NEW] == "0.10"
    changed = client.put(f"{MODEL}/positions/{NEW}", json={**WEIGHTS, "target": "0.15", "version": 2})
    assert (changed.status_code, changed.json()["version"], targets(changed.json())[NEW]) == (200, 3, "0.15")
    removed = client.delete(f"{MODEL}/positions/{NEW}", params={"version": 3})
    assert (removed.status_code, removed.json()["version"]) == (200, 4)
    assert NEW not in targets(removed.json())
    assert client.get(MODEL).json() == removed.json()


def test_a_target_of_0_takes_a_position_out(client: TestClient) -> None:
    changed = client.put(f"{MODEL}/positions/{FIRST}", json={**WEIGHTS, "target": 0, "version": 1})
    assert FIRST not in targets(changed.json())


def test_a_position_that_is_there_is_not_added_twice(client: TestClient) -> None:
    body = {"security_id": FIRST, **WEIGHTS, "version": 1}
    refused(client.post(f"{MODEL}/positions", json=body), 409, "already_exists")
    assert client.get(MODEL).json()["version"] == 1


def test_a_position_that_is_not_there_is_not_found(client: TestClient) -> None:
    body = {**WEIGHTS, "version": 1}
    refused(client.put(f"{MODEL}/positions/{NEW}", json=body), 404, "position_not_found")
    refused(client.delete(f"{MODEL}/positions/{NEW}?version=1"), 404, "position_not_found")
    refused(client.put(f"/api/v1/models/nobody/positions/{NEW}", json=body), 404, "model_not_found")


def test_a_position_is_changed_at_its_model_s_version_only(client: TestClient) -> None:
    body = {**WEIGHTS, "version": 2}
    refused(client.post(f"{MODEL}/positions", json={"security_id": NEW, **body}), 409, "stale_version")
    refused(client.put(f"{MODEL}/positions/{FIRST}", json=body), 409, "stale_version")
    refused(client.delete(f"{MODEL}/positions/{FIRST}?version=2"), 409, "stale_version")
    refused(client.delete(f"{MODEL}/positions/{FIRST}"), 422, "invalid")


@pytest.mark.parametrize(
    "changes", [{"target": "0.101"}, {"target": "0.5"}, {"low_drift": 2}, {"version": 0}, {"extra": 1}]
)
def test_a_position_that_breaks_a_rule_changes_nothing(client: TestClient, changes: dict[str, Any]) -> None:
    body = {"security_id": NEW, **WEIGHTS, "version": 1, **changes}
    refused(client.post(f"{MODEL}/positions", json=body), 422, "invalid")
    assert client.get(MODEL).json()["version"] == 1


# ------------------------------------------------------------------------------------------------ portfolios


def test_portfolios_are_added_and_those_that_follow_already_are_passed_over(client: TestClient) -> None:
    there = builders.portfolio_id(1)
    added = client.post(f"{MODEL}/portfolios", json={"portfolios": ["P9", there, "P9", "a/b"]})
    assert (added.status_code, added.json()["version"]) == (200, 2)
    assert added.json()["portfolios"] == [*(builders.portfolio_id(n) for n in (1, 2, 3)), "P9", "a/b"]


def test_portfolios_are_removed_and_those_that_do_not_follow_are_passed_over(client: TestClient) -> None:
    gone = [builders.portfolio_id(1), builders.portfolio_id(3), "stranger"]
    removed = client.delete(f"{MODEL}/portfolios", params={"portfolio_id": gone})
    assert (removed.status_code, removed.json()["version"]) == (200, 2)
    assert removed.json()["portfolios"] == [builders.portfolio_id(2)]


def test_what_changes_nothing_leaves_the_version(client: TestClient) -> None:
    same = client.post(f"{MODEL}/portfolios", json={"portfolios": [builders.portfolio_id(1)]})
    assert (same.status_code, same.json()["version"]) == (200, 1)
    same = client.delete(f"{MODEL}/portfolios", params={"portfolio_id": "stranger"})
    assert (same.status_code, same.json()["version"]) == (200, 1)


def test_portfolios_of_no_model_or_of_a_wrong_shape_are_refused(client: TestClient) -> None:
    path = "/api/v1/models/nobody/portfolios"
    refused(client.post(path, json={"portfolios": ["P1"]}), 404, "model_not_found")
    refused(client.delete(path, params={"portfolio_id": "P1"}), 404, "model_not_found")
    refused(client.delete(f"{MODEL}/portfolios"), 422, "invalid")
    for bad in ([], ["a:b"], "P1", None):
        refused(client.post(f"{MODEL}/portfolios", json={"portfolios": bad}), 422, "invalid")


class Rival:
    """Somebody else who changes the model between reading and writing, so many times."""

    def __init__(self, desk: FrontDesk, times: int) -> None:
        self.desk = desk
        self.times = times
        self.update = desk.store.update_model

    def __call__(self, model: InvestmentModel) -> InvestmentModel:
        if self.times:
            self.times -= 1
            self.update(self.desk.store.get_model(model.model_id))
        return self.update(model)


def test_portfolios_are_added_whoever_else_changes_the_model_meanwhile(desk: FrontDesk) -> None:
    desk.store.update_model = Rival(desk, 4)  # type: ignore[method-assign]
    changed = add_portfolios(ModelId(MODEL_ID), [PortfolioId("P9")], desk.services)
    assert (changed.version, changed.portfolios[-1]) == (6, "P9")


def test_a_model_that_never_stands_still_is_given_up(desk: FrontDesk) -> None:
    desk.store.update_model = Rival(desk, 5)  # type: ignore[method-assign]
    with pytest.raises(StaleVersion):
        add_portfolios(ModelId(MODEL_ID), [PortfolioId("P9")], desk.services)
