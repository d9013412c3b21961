"""The routes that change a job, over a real store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from domain.ids import JobId
from domain.item import Out
from domain.job import Retry
from tests.support import builders
from tests.support.front_desk import MODEL_ID, FrontDesk

JOBS = "/api/v1/jobs"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def client(desk: FrontDesk) -> Iterator[TestClient]:
    with TestClient(create_app(desk.services, ApiOptions(version="9.9.9"))) as client:
        yield client


@pytest.fixture
def open_job(client: TestClient) -> str:
    return str(client.post(JOBS, json={"model_id": MODEL_ID}).json()["job_id"])


@pytest.fixture
def closed_job(desk: FrontDesk, open_job: str) -> str:
    """One traded and published, two failed."""
    desk.start(open_job)
    item = desk.finish_one(open_job, b"{}")
    desk.store.mark_sent([item.item_id])
    for _ in range(2):
        desk.fail_one(open_job)
    assert desk.store.close_job(JobId(open_job), 0)
    return open_job


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_a_retry_is_accepted_with_its_choice_and_deadline(
    desk: FrontDesk, client: TestClient, closed_job: str
) -> None:
    chosen = [builders.portfolio_id(2)]
    body = {"portfolio_ids": chosen, "cause": "solver_", "deadline": "2999-01-02T03:04:05Z"}

    answer = client.post(f"{JOBS}/{closed_job}/retry", json=body)

    job = answer.json()
    assert answer.status_code == 202
    assert (job["state"], job["retries"], job["deadline"]) == ("reopening", 1, "2999-01-02T03:04:05Z")
    stored = desk.store.get_job(JobId(closed_job))
    assert stored.retry == Retry(portfolio_ids=tuple(chosen), cause="solver_")
    again = client.post(f"{JOBS}/{closed_job}/retry", json=body)  # the answer was lost
    assert (again.status_code, again.json()) == (202, job)
    refused(client.post(f"{JOBS}/{closed_job}/retry", json={}), 409, "job_not_over")


def test_a_retry_of_everything_is_an_empty_object(
    desk: FrontDesk, client: TestClient, closed_job: str
) -> None:
    assert client.post(f"{JOBS}/{closed_job}/retry", json={}).status_code == 202
    assert desk.store.get_job(JobId(closed_job)).retry == Retry()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"portfolio_ids": []}, "portfolio_ids"),
        ({"portfolio_ids": ["a", "a"]}, "portfolio_ids"),
        ({"portfolio_ids": [f"P{n}" for n in range(1001)]}, "portfolio_ids"),
        ({"portfolio_ids": ["a:b"]}, "portfolio_ids[0]"),
        ({"cause": ""}, "cause"),
        ({"deadline": "tomorrow"}, "deadline"),
        ({"everything": True}, "everything"),
    ],
)
def test_a_retry_of_a_wrong_shape_is_refused_by_field(
    client: TestClient, closed_job: str, body: dict[str, Any], field: str
) -> None:
    answer = client.post(f"{JOBS}/{closed_job}/retry", json=body)
    refused(answer, 422, "invalid")
    assert answer.json()["error"]["details"][0]["field"] == field


def test_a_retry_that_fits_nothing_says_why(client: TestClient, closed_job: str) -> None:
    refused(client.post(f"{JOBS}/nobody/retry", json={}), 404, "job_not_found")
    refused(client.post(f"{JOBS}/{closed_job}/retry", json={"cause": "poison"}), 409, "nothing_to_retry")
    both = {"portfolio_ids": [builders.portfolio_id(1), builders.portfolio_id(2)]}
    refused(client.post(f"{JOBS}/{closed_job}/retry", json=both), 422, "not_failed")
    past = {"deadline": "2020-01-01T00:00:00Z"}
    refused(client.post(f"{JOBS}/{closed_job}/retry", json=past), 422, "invalid")


def test_the_parallelism_of_an_open_job_changes(desk: FrontDesk, client: TestClient, open_job: str) -> None:
    answer = client.post(f"{JOBS}/{open_job}/parallelism", json={"parallelism": 9})
    assert (answer.status_code, answer.json()["parallelism"]) == (200, 9)
    assert desk.store.get_job(JobId(open_job)).parallelism == 9


@pytest.mark.parametrize("body", [{}, {"parallelism": 0}, {"parallelism": 257}, {"parallelism": "3"}])
def test_a_wrong_parallelism_is_refused(client: TestClient, open_job: str, body: dict[str, Any]) -> None:
    refused(client.post(f"{JOBS}/{open_job}/parallelism", json=body), 422, "invalid")


def test_the_parallelism_of_a_job_that_is_over_is_a_conflict(client: TestClient, closed_job: str) -> None:
    refused(client.post(f"{JOBS}/{closed_job}/parallelism", json={"parallelism": 2}), 409, "job_over")


def test_a_job_is_published_again(desk: FrontDesk, client: TestClient, closed_job: str) -> None:
    answer = client.post(f"{JOBS}/{closed_job}/republish")
    assert (answer.status_code, answer.json()) == (202, {"order_sets": 1})
    assert [item.out for item in desk.store.list_items(JobId(closed_job))] == [Out.DUE, None, None]
    refused(client.post(f"{JOBS}/nobody/republish"), 404, "job_not_found")


def test_an_item_tells_its_attempts(desk: FrontDesk, client: TestClient, closed_job: str) -> None:
    def history(number: int) -> list[dict[str, Any]]:
        answer = client.get(f"{JOBS}/{closed_job}/items/{builders.portfolio_id(number)}")
        return list(answer.json()["history"])

    causes = {number: [one["cause"] for one in history(number)] for number in (1, 2, 3)}
    assert causes == {1: ["traded"], 2: ["solver_timeout"], 3: ["solver_timeout"]}
    (one,) = history(1)
    assert (one["retry"], one["number"], one["owner"]) == (0, 1, "worker-1")
    assert one["started"] <= one["ended"]


def test_an_attempt_in_work_has_no_end(desk: FrontDesk, client: TestClient, open_job: str) -> None:
    desk.start(open_job)
    desk.store.claim(JobId(open_job), 0, "worker-1")
    answer = client.get(f"{JOBS}/{open_job}/items/{builders.portfolio_id(1)}")
    (one,) = answer.json()["history"]
    assert (one["number"], one["ended"], one["cause"]) == (1, None, None)


def test_the_document_describes_the_bodies_of_these_routes(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {"RetryRequest", "ParallelismRequest", "AttemptAnswer"} <= document["components"]["schemas"].keys()
