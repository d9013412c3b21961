"""Too much open work: a new request is told when to come back, and nobody who was here before notices."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from domain.errors import Busy, Invalid, KeyReused
from domain.ids import ModelId
from tasks.services import Rules
from tasks.submit_job import SubmitJob, Submitted, submit_job
from tests.support import builders
from tests.support.front_desk import MODEL_ID, FrontDesk

LIMITS = Rules(max_open_jobs=2, max_open_portfolios=100, max_queue_age_seconds=3600.0, busy_retry_seconds=7.5)
JOBS = "/api/v1/jobs"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path, LIMITS)
    yield desk
    desk.close()


def submit(desk: FrontDesk, key: str, **changes: Any) -> Submitted:
    command = SubmitJob(key=key, request_sha256="a" * 64, model_id=ModelId(MODEL_ID), **changes)
    return submit_job(command, desk.services)


def numbered(numbers: range) -> tuple[Any, ...]:
    return tuple(builders.portfolio_id(number) for number in numbers)


def finished(desk: FrontDesk, key: str) -> None:
    """A job that is over."""
    job = desk.start(submit(desk, key).job.job_id)
    for _ in range(job.n):
        desk.finish_one(job.job_id, b"{}")
    assert desk.store.close_job(job.job_id, 0)


def test_one_job_more_than_may_be_open_is_refused_and_leaves_nothing(desk: FrontDesk) -> None:
    submit(desk, "first")
    submit(desk, "second")

    with pytest.raises(Busy, match="2 jobs are open") as refused:
        submit(desk, "third", portfolio_ids=numbered(range(7, 9)))

    assert (refused.value.code, refused.value.retry_after_seconds) == ("too_many_jobs", 7.5)
    assert {job.key for job in desk.store.list_jobs()} == {"first", "second"}


def test_a_job_that_ends_makes_room(desk: FrontDesk) -> None:
    submit(desk, "first")
    finished(desk, "second")

    assert submit(desk, "third").created


def test_a_known_key_is_answered_over_the_limit(desk: FrontDesk) -> None:
    first = submit(desk, "first").job
    submit(desk, "second")

    again = submit(desk, "first")

    assert (again.job.job_id, again.created) == (first.job_id, False)
    with pytest.raises(KeyReused):
        submit_job(SubmitJob(key="first", request_sha256="b" * 64, model_id=ModelId(MODEL_ID)), desk.services)


def test_what_can_never_be_taken_is_refused_for_what_it_is(desk: FrontDesk) -> None:
    submit(desk, "first")
    submit(desk, "second")

    with pytest.raises(Invalid) as refused:
        submit(desk, "third", portfolio_ids=())

    assert refused.value.code == "no_portfolios"


def test_the_portfolios_of_all_open_jobs_together_are_limited(desk: FrontDesk) -> None:
    submit(desk, "first", portfolio_ids=numbered(range(1, 61)))

    with pytest.raises(Busy, match="101 portfolios would be open") as refused:
        submit(desk, "second", portfolio_ids=numbered(range(1, 42)))

    assert refused.value.code == "too_many_open_portfolios"
    assert submit(desk, "third", portfolio_ids=numbered(range(1, 41))).created


def test_a_job_larger_than_the_limit_is_taken_when_it_is_alone(desk: FrontDesk) -> None:
    assert submit(desk, "large", portfolio_ids=numbered(range(1, 201))).job.n == 200


def test_nothing_new_is_taken_while_the_oldest_job_is_older_than_the_limit(tmp_path: Path) -> None:
    rules = Rules(max_queue_age_seconds=0.02, busy_retry_seconds=7.5)
    desk = FrontDesk.open(tmp_path, rules)
    first = submit(desk, "first").job
    assert first.created_at is not None
    while (desk.store.now() - first.created_at).total_seconds() <= rules.max_queue_age_seconds:
        pass  # the store's clock is the only one that counts

    with pytest.raises(Busy) as refused:
        submit(desk, "second")

    assert refused.value.code == "queue_too_old"
    desk.close()


def test_over_http_it_is_429_with_when_to_come_back_and_in_the_shape_of_every_error(desk: FrontDesk) -> None:
    client = TestClient(create_app(desk.services, ApiOptions(version="9.9.9")))
    body = {"model_id": MODEL_ID}
    for key in ("first", "second"):
        assert client.post(JOBS, json=body, headers={"Idempotency-Key": key}).status_code == 202

    refused = client.post(JOBS, json=body, headers={"Idempotency-Key": "third"})
    known = client.post(JOBS, json=body, headers={"Idempotency-Key": "first"})

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "8")
    assert refused.json()["error"]["code"] == "too_many_jobs"
    assert refused.json()["error"].keys() >= {"message", "details", "correlation_id", "timestamp"}
    assert known.status_code == 200
    assert client.get("/health/live").status_code == 200


def test_the_openapi_document_tells_of_it(desk: FrontDesk) -> None:
    document = create_app(desk.services, ApiOptions(version="9.9.9")).openapi()

    assert json.dumps(document["paths"][JOBS]["post"]["responses"]["429"]).count("ErrorAnswer") == 1
