"""Rebalances over HTTP: started and waited for, looked into, deleted; results in one stream."""

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from adapters.inbound.api.results import CSV_COLUMNS
from domain.ids import JobId, PortfolioId
from domain.item import Item, ItemState
from domain.job import Job, JobState
from domain.ports import Finish
from tasks.documents import encode
from tests.support import builders
from tests.support.front_desk import MODEL_ID, FrontDesk

JOBS = "/api/v1/jobs"
MODELS = "/api/v1/models"
REBALANCES = "/api/v1/rebalances"
ORDER = {
    "side": "SELL",
    "security_id": builders.security_id(1),
    "quantity": 8,
    "price": "61.37",
    "notional": "490.96",
    "reason": "above_target",
}
POSITION = {
    "security_id": builders.security_id(1),
    "price": "61.37",
    "original_quantity": "100",
    "adjusted_quantity": "92",
    "target": "0.50",
    "low_drift": "0.05",
    "high_drift": "0.05",
    "actual": "0.4980",
}
SUMS = {
    "market_value": "11337.00",
    "cash_before": "5200.00",
    "cash_after": "5690.96",
    "drift_before": "5570.15",
    "drift_after": "160.91",
}
PROOF = {
    "method": "closed_form",
    "objective": "160.91",
    "lower_bound": "160.91",
    "gap": "0.00",
    "solver": "trimtab",
    "bound_by": "exact",
}
RESULT = {
    "schema": "trimtab.result.v1",
    **SUMS,
    "positions": [POSITION],
    "orders": [ORDER, ORDER],
    "proof": PROOF,
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def client(desk: FrontDesk) -> Iterator[TestClient]:
    with TestClient(create_app(desk.services, ApiOptions(version="9.9.9"))) as client:
        yield client


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return dict(answer.json()["error"])


def decide(desk: FrontDesk, job_id: str, state: ItemState = ItemState.TRADED, **changes: Any) -> Item:
    """End the next portfolio of a started job."""
    item = desk.store.claim(JobId(job_id), 0, "worker-1")
    assert isinstance(item, Item)
    body = encode({**RESULT, **changes})
    done = Finish(
        item_id=item.item_id, fence=item.fence, state=state, reason="rebalanced", result=body, order_set=body
    )
    assert desk.store.finish(done)
    return item


def work_off(desk: FrontDesk, job_id: str, *, fail: int = 0, publish: bool = True) -> Job:
    """What stewards and workers would do, up to the end; the last ``fail`` portfolios fail."""
    job = desk.start(job_id)
    for _ in range(job.n - fail):
        item = decide(desk, job_id)
        if publish:
            desk.store.mark_sent([item.item_id])
    for _ in range(fail):
        desk.fail_one(job_id)
    closed = desk.store.close_job(job.job_id, job.gen)
    assert closed is not None
    return closed


@pytest.fixture
def over(desk: FrontDesk, client: TestClient) -> Callable[..., str]:
    """Makes a job that is over; its id."""

    def make(fail: int = 0, *, publish: bool = True, **request: Any) -> str:
        answer = client.post(JOBS, json={"model_id": MODEL_ID, **request})
        assert answer.status_code == 202, answer.text
        return work_off(desk, answer.json()["job_id"], fail=fail, publish=publish).job_id

    return make


# ------------------------------------------------------------------------------------------------ dry runs


def test_dry_runs_stand_apart_from_rebalances(client: TestClient, over: Callable[..., str]) -> None:
    real, dry = over(), over(dry_run=True, publish=False)
    portfolios = {"portfolios": [builders.portfolio_id(1)]}

    def listed(**asked: Any) -> list[str]:
        return [each["rebalance_id"] for each in client.get(REBALANCES, params=asked).json()["rebalances"]]

    def by_portfolio(**asked: Any) -> list[str]:
        answer = client.post(f"{REBALANCES}/portfolios", json=portfolios, params=asked)
        return [each["rebalance_id"] for each in answer.json()["rebalances"]]

    assert listed() == listed(dry_run="false") == by_portfolio() == [real]
    assert listed(dry_run="true") == by_portfolio(dry_run="true") == [dry]
    assert client.get(f"{REBALANCES}/{dry}").json()["dry_run"] is True


# ------------------------------------------------------------------------------------------------ starting


def test_a_model_s_rebalance_is_accepted_as_a_job_of_all_its_portfolios(client: TestClient) -> None:
    answer = client.post(f"{MODELS}/{MODEL_ID}/rebalance")
    job = answer.json()
    assert (answer.status_code, job["state"], job["portfolios"]) == (202, "accepted", 3)
    assert answer.headers["Location"] == f"{JOBS}/{job['job_id']}"
    assert client.get(answer.headers["Location"]).json() == job


def test_a_model_s_rebalance_is_the_request_that_names_the_model(client: TestClient) -> None:
    asked = {"policy": {"cash_floor": "0.02"}, "parallelism": 2, "dry_run": True}
    headers = {"Idempotency-Key": "nightly"}
    first = client.post(f"{MODELS}/{MODEL_ID}/rebalance", json=asked, headers=headers)
    again = client.post(JOBS, json={"model_id": MODEL_ID, "key": "nightly", **asked})
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json()
    assert first.json()["dry_run"] is True
    other = client.post(f"{MODELS}/{MODEL_ID}/rebalance", json={}, headers=headers)
    refused(other, 409, "idempotency_key_reused")


def test_a_portfolio_s_rebalance_finds_the_model_it_follows(client: TestClient, desk: FrontDesk) -> None:
    portfolio = builders.portfolio_id(2)
    answer = client.post(f"/api/v1/portfolios/{portfolio}/rebalance", json={"key": "one"})
    job = desk.store.get_job(answer.json()["job_id"])
    assert (answer.status_code, job.model.model_id, job.n) == (202, MODEL_ID, 1)
    (member,) = desk.store.members(job.members_sha256, 0, 10)
    assert member.portfolio_id == portfolio


def test_a_portfolio_of_no_model_or_of_several_says_so(client: TestClient) -> None:
    refused(client.post("/api/v1/portfolios/stranger/rebalance"), 404, "portfolio_not_found")
    shared = builders.portfolio_id(1)
    second = {"model_id": "other", "name": "Other", "portfolios": [shared], "positions": [_position(1)]}
    assert client.post(MODELS, json=second).status_code == 201
    path = f"/api/v1/portfolios/{shared}/rebalance"
    error = refused(client.post(path), 409, "several_models")
    assert f"{MODEL_ID}, other" in error["message"]
    assert client.post(path, json={"model_id": "other"}).json()["model_id"] == "other"
    assert client.post("/api/v1/portfolios/far/away/rebalance", json={"model_id": "other"}).status_code == 202


def _position(number: int) -> dict[str, str]:
    return {
        "security_id": builders.security_id(number),
        "target": "0.5",
        "low_drift": "0.02",
        "high_drift": "0.02",
    }


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (f"{MODELS}/{MODEL_ID}/rebalance", {"model_id": MODEL_ID}, "model_id"),
        (f"{MODELS}/{MODEL_ID}/rebalance", {"portfolio_ids": []}, "portfolio_ids"),
        (f"{MODELS}/{MODEL_ID}/rebalance", {"parallelism": 0}, "parallelism"),
        (f"{MODELS}/a%20b/rebalance", {}, "model_id"),
        ("/api/v1/portfolios/P1/rebalance", {"parallelism": 1}, "parallelism"),
        ("/api/v1/portfolios/a:b/rebalance", {"model_id": MODEL_ID}, "portfolio_ids[0]"),
        (f"{MODELS}/{MODEL_ID}/rebalance?wait=61", {}, "wait"),
        (f"{MODELS}/{MODEL_ID}/rebalance?wait=nan", {}, "wait"),
        (f"{MODELS}/{MODEL_ID}/rebalance?wait=-1", {}, "wait"),
    ],
)
def test_a_wrong_start_is_refused_by_field(
    client: TestClient, path: str, body: dict[str, Any], field: str
) -> None:
    error = refused(client.post(path, json=body), 422, "invalid")
    assert error["details"][0]["field"] == field


def test_an_unknown_model_cannot_be_rebalanced(client: TestClient) -> None:
    refused(client.post(f"{MODELS}/nobody/rebalance"), 404, "model_not_found")


def test_a_body_of_a_start_still_has_to_say_that_it_is_json(client: TestClient) -> None:
    path = f"{MODELS}/{MODEL_ID}/rebalance"
    refused(client.post(path, content=b"{}"), 415, "unsupported_media_type")
    refused(client.post(path, content=iter([b"{}"])), 415, "unsupported_media_type")
    json_type = {"Content-Type": "application/json"}
    refused(client.post(path, content=b"[]", headers=json_type), 422, "invalid")
    refused(client.post(path, content=b"{", headers=json_type), 400, "malformed_json")


# ------------------------------------------------------------------------------------------------ waiting


def test_who_waits_gets_what_it_came_to(client: TestClient, desk: FrontDesk) -> None:
    path = f"{MODELS}/{MODEL_ID}/rebalance"
    body = {"key": "nightly"}
    job_id = client.post(path, json=body).json()["job_id"]
    worker = threading.Timer(0.2, work_off, (desk, job_id))
    worker.start()
    answer = client.post(path, params={"wait": 30}, json=body)
    worker.join()
    assert answer.status_code == 200, answer.text
    assert answer.headers["Location"] == f"{REBALANCES}/{job_id}"
    told = answer.json()
    assert (told["rebalance"]["rebalance_id"], told["rebalance"]["counts"]["traded"]) == (job_id, 3)
    assert [portfolio["orders"] for portfolio in told["portfolios"]] == [[ORDER, ORDER]] * 3
    assert told == client.get(f"{REBALANCES}/{job_id}/portfolios", params={"limit": 100}).json()


def test_who_waits_too_short_gets_the_job(client: TestClient) -> None:
    began = time.monotonic()
    answer = client.post(f"{MODELS}/{MODEL_ID}/rebalance", params={"wait": 0.2})
    assert (answer.status_code, answer.json()["state"]) == (202, "accepted")
    assert 0.2 <= time.monotonic() - began < 20


def test_who_waits_while_the_process_ends_gets_the_job_at_once(desk: FrontDesk) -> None:
    looks = iter([False, False])
    options = ApiOptions(version="9.9.9", leaving=lambda: next(looks, True))
    began = time.monotonic()
    with TestClient(create_app(desk.services, options)) as client:
        answer = client.post(f"{MODELS}/{MODEL_ID}/rebalance", params={"wait": 30})
    assert (answer.status_code, answer.json()["state"]) == (202, "accepted")
    assert time.monotonic() - began < 20


def test_a_key_whose_job_is_over_is_answered_with_what_it_came_to(
    client: TestClient, over: Callable[..., str]
) -> None:
    job_id = over(key="nightly")
    answer = client.post(f"{MODELS}/{MODEL_ID}/rebalance", json={"key": "nightly"})
    assert (answer.status_code, answer.json()["rebalance"]["rebalance_id"]) == (200, job_id)


def test_a_store_that_goes_out_while_somebody_waits_does_not_unsay_the_job(
    client: TestClient, desk: FrontDesk
) -> None:
    class OutAfterTheJob:
        """Takes the store away as soon as the job is stored, for so many looks."""

        def __init__(self) -> None:
            self.insert = desk.store.insert_job

        def __call__(self, job: Job) -> Job:
            stored = self.insert(job)
            desk.outage.calls_to_fail = 2
            return stored

    desk.store.insert_job = OutAfterTheJob()  # type: ignore[method-assign]
    answer = client.post(f"{MODELS}/{MODEL_ID}/rebalance", params={"wait": 0.5})
    assert (answer.status_code, answer.json()["state"]) == (202, "accepted")
    assert desk.outage.calls_to_fail <= 0


# ------------------------------------------------------------------------------------------------ looking


def test_rebalances_are_the_jobs_that_are_over_newest_first(
    client: TestClient, over: Callable[..., str]
) -> None:
    ids = [over() for _ in range(12)]
    client.post(JOBS, json={"model_id": MODEL_ID})
    page = client.get(REBALANCES).json()
    assert (len(page["rebalances"]), page["next_offset"]) == (10, 10)
    rest = client.get(REBALANCES, params={"offset": 10, "limit": 100}).json()
    assert rest["next_offset"] is None
    assert {each["rebalance_id"] for each in page["rebalances"] + rest["rebalances"]} == set(ids)
    assert client.get(REBALANCES, params={"model_id": "other"}).json()["rebalances"] == []
    assert len(client.get(REBALANCES, params={"model_id": MODEL_ID}).json()["rebalances"]) == 10
    refused(client.get(REBALANCES, params={"limit": 101}), 422, "invalid")


def test_a_rebalance_tells_what_its_job_came_to(client: TestClient, over: Callable[..., str]) -> None:
    job_id = over(fail=1)
    told = client.get(f"{REBALANCES}/{job_id}").json()
    assert (told["model_id"], told["model_name"], told["model_version"]) == (MODEL_ID, "Balanced", 1)
    assert (told["state"], told["portfolios"], told["version"]) == ("done_with_errors", 3, 1)
    assert {outcome: n for outcome, n in told["counts"].items() if n} == {"traded": 2, "failed": 1}
    assert told["rebalance_date"] == client.get(f"{JOBS}/{job_id}").json()["finished_at"]


def test_there_is_no_rebalance_before_its_job_is_over(client: TestClient, desk: FrontDesk) -> None:
    job_id = client.post(JOBS, json={"model_id": MODEL_ID}).json()["job_id"]
    desk.start(job_id)
    for name in (job_id, "nobody"):
        refused(client.get(f"{REBALANCES}/{name}"), 404, "rebalance_not_found")
        refused(client.get(f"{REBALANCES}/{name}/portfolios"), 404, "rebalance_not_found")
        refused(client.get(f"{REBALANCES}/{name}/portfolios/x/positions"), 404, "rebalance_not_found")


def test_the_portfolios_of_a_rebalance_come_in_pages_with_orders_and_proofs(
    client: TestClient, over: Callable[..., str]
) -> None:
    job_id = over(fail=1)
    first = client.get(f"{REBALANCES}/{job_id}/portfolios", params={"limit": 2}).json()
    traded, _ = first["portfolios"]
    assert {name: traded[name] for name in SUMS} == SUMS
    assert (traded["orders"], traded["proof"]) == ([ORDER, ORDER], PROOF)
    second = client.get(
        f"{REBALANCES}/{job_id}/portfolios", params={"limit": 2, "cursor": first["next_cursor"]}
    ).json()
    (failed,) = second["portfolios"]
    assert (failed["outcome"], failed["reason"]) == ("failed", "solver_timeout")
    assert (failed["orders"], failed["proof"], failed["market_value"]) == ([], None, None)
    assert second["next_cursor"] is None


def test_the_positions_of_a_portfolio_stand_before_and_after(
    client: TestClient, over: Callable[..., str]
) -> None:
    job_id = over(fail=1, portfolio_ids=["a/b", "P2"])
    told = client.get(f"{REBALANCES}/{job_id}/portfolios/a/b/positions").json()
    assert told == {
        "rebalance_id": job_id,
        "portfolio_id": "a/b",
        "outcome": "traded",
        "positions": [POSITION],
    }
    assert client.get(f"{REBALANCES}/{job_id}/portfolios/P2/positions").json()["positions"] == []
    refused(client.get(f"{REBALANCES}/{job_id}/portfolios/P3/positions"), 404, "item_not_found")


def test_rebalances_are_found_by_their_portfolios(client: TestClient, over: Callable[..., str]) -> None:
    first, second, _third = (over(portfolio_ids=ids) for ids in (["A", "B"], ["B", "C"], ["D"]))

    def found(*portfolios: str, **params: Any) -> set[str]:
        answer = client.post(f"{REBALANCES}/portfolios", json={"portfolios": portfolios}, params=params)
        assert answer.status_code == 200, answer.text
        return {each["rebalance_id"] for each in answer.json()["rebalances"]}

    assert found("B") == {first, second}
    assert found("A", "C", "A") == {first, second}
    assert found("nobody") == set()
    assert len(found("B", limit=1)) == 1
    assert len(found("B", limit=1, offset=1)) == 1
    for bad in ([], ["a:b"], [f"P{number}" for number in range(101)]):
        refused(client.post(f"{REBALANCES}/portfolios", json={"portfolios": bad}), 422, "invalid")


# ------------------------------------------------------------------------------------------------ deleting


def test_a_rebalance_is_deleted_at_its_version_and_its_job_stays(
    client: TestClient, desk: FrontDesk, over: Callable[..., str]
) -> None:
    job_id = over(key="nightly")
    path = f"{REBALANCES}/{job_id}"
    refused(client.delete(path), 422, "invalid")
    refused(client.delete(path, params={"version": 2}), 409, "stale_version")
    gone = client.delete(path, params={"version": 1})
    assert (gone.status_code, gone.content) == (204, b"")
    refused(client.get(path), 404, "rebalance_not_found")
    refused(client.delete(path, params={"version": 1}), 404, "rebalance_not_found")
    assert client.get(REBALANCES).json()["rebalances"] == []
    assert client.get(f"{JOBS}/{job_id}").json()["deleted_at"] is not None
    assert desk.store.list_items(JobId(job_id)) == []


def test_the_key_of_a_deleted_rebalance_never_runs_again(
    client: TestClient, over: Callable[..., str]
) -> None:
    job_id = over(key="nightly")
    client.delete(f"{REBALANCES}/{job_id}", params={"version": 1})
    again = client.post(JOBS, json={"model_id": MODEL_ID, "key": "nightly"})
    assert (again.status_code, again.json()["job_id"], again.json()["state"]) == (200, job_id, "done")
    waited = client.post(f"{MODELS}/{MODEL_ID}/rebalance", json={"key": "nightly"})
    refused(waited, 404, "rebalance_not_found")


def test_a_deletion_whose_end_was_lost_is_finished_by_its_repeat(
    client: TestClient, desk: FrontDesk, over: Callable[..., str]
) -> None:
    job_id = over()
    desk.store.delete_job(JobId(job_id), 0)  # and then it died
    assert client.delete(f"{REBALANCES}/{job_id}", params={"version": 1}).status_code == 204
    assert desk.store.list_items(JobId(job_id)) == []


def test_what_is_not_over_or_not_published_is_not_deleted(
    client: TestClient, over: Callable[..., str]
) -> None:
    open_job = client.post(JOBS, json={"model_id": MODEL_ID}).json()["job_id"]
    refused(client.delete(f"{REBALANCES}/{open_job}", params={"version": 1}), 409, "job_not_over")
    due = over(publish=False)
    refused(client.delete(f"{REBALANCES}/{due}", params={"version": 1}), 409, "order_sets_due")
    refused(client.delete(f"{REBALANCES}/nobody", params={"version": 1}), 404, "rebalance_not_found")


def test_a_retry_makes_another_version_of_a_rebalance(
    client: TestClient, desk: FrontDesk, over: Callable[..., str]
) -> None:
    job_id = over(fail=1)
    assert client.post(f"{JOBS}/{job_id}/retry", json={}).status_code == 202
    refused(client.get(f"{REBALANCES}/{job_id}"), 404, "rebalance_not_found")
    job = desk.store.get_job(JobId(job_id))
    desk.store.reopen_items(job.job_id, job.gen)
    desk.store.reopened_job(job.job_id, job.gen)
    desk.store.mark_sent([decide(desk, job_id).item_id])
    assert desk.store.close_job(job.job_id, job.gen) is not None
    told = client.get(f"{REBALANCES}/{job_id}").json()
    assert (told["version"], told["state"]) == (2, JobState.DONE)
    refused(client.delete(f"{REBALANCES}/{job_id}", params={"version": 1}), 409, "stale_version")
    assert client.delete(f"{REBALANCES}/{job_id}", params={"version": 2}).status_code == 204


# ------------------------------------------------------------------------------------------------ results


def test_all_results_come_as_json_lines(client: TestClient, over: Callable[..., str]) -> None:
    job_id = over(fail=1)
    answer = client.get(f"{JOBS}/{job_id}/results")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert [line["seq"] for line in lines] == [0, 1, 2]
    for line in lines:
        item = client.get(f"{JOBS}/{job_id}/items/{line['portfolio_id']}").json()
        assert line == item


def test_all_results_come_as_csv_one_order_a_row(client: TestClient, over: Callable[..., str]) -> None:
    job_id = over(fail=1, portfolio_ids=["=cmd|x", "P2", "P3"])
    answer = client.get(f"{JOBS}/{job_id}/results", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["portfolio_id"] for row in rows] == ["'=cmd|x", "'=cmd|x", "P2", "P2", "P3"]
    assert {name: rows[0][name] for name in SUMS} == SUMS
    assert {name: rows[0][name] for name in ("side", "quantity", "notional", "order_reason")} == {
        "side": "SELL",
        "quantity": "8",
        "notional": "490.96",
        "order_reason": "above_target",
    }
    assert (rows[-1]["outcome"], rows[-1]["reason"], rows[-1]["side"]) == ("failed", "solver_timeout", "")


def test_results_and_items_are_chosen_by_outcome_and_cause(
    client: TestClient, over: Callable[..., str]
) -> None:
    job_id = over(fail=2)

    def chosen(**params: Any) -> tuple[int, int]:
        lines = client.get(f"{JOBS}/{job_id}/results", params=params).content.splitlines()
        items = client.get(f"{JOBS}/{job_id}/items", params=params).json()["items"]
        return len(lines), len(items)

    assert chosen(outcome="failed") == (2, 2)
    assert chosen(cause="solver_") == (2, 2)
    assert chosen(cause="poison") == (0, 0)
    assert chosen(cause="re", outcome=["traded", "failed"]) == (1, 1)


def test_results_of_many_portfolios_are_all_there(client: TestClient, over: Callable[..., str]) -> None:
    ids = [f"P{number}" for number in range(450)]
    job_id = over(portfolio_ids=ids)
    lines = client.get(f"{JOBS}/{job_id}/results").content.splitlines()
    assert [json.loads(line)["portfolio_id"] for line in lines] == [PortfolioId(each) for each in ids]


def test_results_that_cannot_be_begun_have_the_error_shape(client: TestClient, desk: FrontDesk) -> None:
    refused(client.get(f"{JOBS}/nobody/results"), 404, "job_not_found")
    refused(client.get(f"{JOBS}/nobody/results", params={"format": "xml"}), 422, "invalid")
    desk.outage.out = True
    refused(client.get(f"{JOBS}/nobody/results"), 503, "store_unavailable")
