"""Schedules over HTTP and from the command line: what there is, when it runs next and why not, a run by hand."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from adapters.inbound.api import ApiOptions, create_app
from adapters.inbound.cli import create_cli
from adapters.inbound.cli.wiring import Wiring
from domain.ids import JobId
from tasks.audit import COMMAND_LINE, actions_on
from tasks.scheduler import Scheduler
from tasks.services import Services
from tests.support.front_desk import MODEL_ID, FrontDesk
from tests.support.schedules import StoreAt, schedule, there

SCHEDULES = "/api/v1/schedules"
RUN = f"{SCHEDULES}/nightly/run"
THANKSGIVING = {
    "at": "2026-11-27T03:00:00Z",
    "local": "2026-11-26T22:00:00-05:00",
    "day": "2026-11-26",
    "business_date": None,
    "reason": "Thanksgiving Day",
    "started": False,
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def store(desk: FrontDesk) -> StoreAt:
    return StoreAt(desk.store, there("2026-11-25", "23:00"))


@pytest.fixture
def services(desk: FrontDesk, store: StoreAt) -> Services:
    return replace(desk.services, jobs=store.as_jobs)


@pytest.fixture
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(create_app(services, ApiOptions(version="9.9.9"))) as client:
        yield client


@pytest.fixture
def command(services: Services) -> Callable[..., Result]:
    return command_over(services)


def command_over(services: Services) -> Callable[..., Result]:
    @contextmanager
    def opened() -> Iterator[Services]:
        yield services

    wiring = cast(Wiring, SimpleNamespace(services=opened, version="9.9.9"))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(create_cli(wiring), ["schedule", *arguments], catch_exceptions=False)

    return invoke


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    return str(answer.json()["error"]["message"])


# ------------------------------------------------------------------------------------------------ looking


def test_schedules_are_listed_with_their_next_run_and_whether_the_last_was_started(
    client: TestClient, services: Services, store: StoreAt
) -> None:
    store.later(hours=-2)
    Scheduler(services).tick()
    store.later(hours=2)

    nightly, sweep = client.get(SCHEDULES).json()["schedules"]

    assert (nightly["schedule_id"], nightly["in_words"]) == ("nightly", "At 22:00 on Monday through Friday")
    assert nightly["next_run"]["business_date"] == "2026-11-27"
    assert nightly["known_since"] == "2026-11-26T02:00:00Z"
    assert nightly["last_run"] == {
        "at": "2026-11-26T03:00:00Z",
        "business_date": "2026-11-25",
        "started": False,
        "job_ids": [],
    }
    assert (sweep["enabled"], sweep["next_run"], sweep["needing_rebalance"]) == (
        False,
        None,
        "last_business_date",
    )


def test_of_a_schedule_no_scheduler_has_seen_no_run_was_missed(client: TestClient) -> None:
    told = client.get(f"{SCHEDULES}/nightly").json()

    assert (told["known_since"], told["last_run"]) == (None, None)


def test_a_next_run_that_was_started_by_hand_says_so(client: TestClient, store: StoreAt) -> None:
    store.later(hours=-2)
    client.post(RUN)

    runs = client.get(f"{SCHEDULES}/nightly/next", params={"count": 2}).json()["runs"]

    assert [(each["business_date"], each["started"]) for each in runs] == [
        ("2026-11-25", True),
        (None, False),
        ("2026-11-27", False),
    ]


def test_the_list_says_of_a_next_run_that_it_was_started_by_hand(
    command: Callable[..., Result], store: StoreAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    store.later(hours=-2)
    assert "started already" not in command("list").stdout

    command("run", "nightly")

    assert "2026-11-25 22:00, started already" in command("list").stdout


def test_one_schedule_tells_the_job_of_its_last_run(client: TestClient) -> None:
    run = client.post(RUN, json={"business_date": "2026-11-25"}).json()

    told = client.get(f"{SCHEDULES}/nightly").json()

    assert told["last_run"]["started"] is True
    assert told["last_run"]["job_ids"] == [job["job_id"] for job in run["jobs"]]
    assert (told["model_id"], told["needing_rebalance"], told["policy"]) == (
        MODEL_ID,
        None,
        {"cash_floor": "0.02"},
    )


def test_next_runs_say_which_days_are_skipped_and_why(client: TestClient) -> None:
    answer = client.get(f"{SCHEDULES}/nightly/next", params={"count": 2}).json()

    assert (answer["schedule_id"], answer["enabled"]) == ("nightly", True)
    assert answer["runs"][0] == THANKSGIVING
    assert [(each["day"], each["business_date"]) for each in answer["runs"][1:]] == [
        ("2026-11-27", "2026-11-27"),
        ("2026-11-30", "2026-11-30"),
    ]


def test_a_schedule_nobody_knows_is_404_everywhere(client: TestClient) -> None:
    for path in ("nobody", "nobody/next"):
        refused(client.get(f"{SCHEDULES}/{path}"), 404, "schedule_not_found")
    refused(client.post(f"{SCHEDULES}/nobody/run"), 404, "schedule_not_found")


def test_a_line_that_never_runs_again_has_no_next_run(services: Services) -> None:
    never = schedule(calendar=None, extra_closed=[], model_id="m", name="never")
    shut = replace(never, days=Shut())
    with TestClient(
        create_app(replace(services, schedules=lambda: (shut,)), ApiOptions(version="9"))
    ) as client:
        told = client.get(f"{SCHEDULES}/never").json()

    assert (told["next_run"], told["last_run"]) == (None, None)
    assert "never" in command_over(replace(services, schedules=lambda: (shut,)))("list").stdout


class Shut:
    name = None

    def closed(self, day: object) -> str:
        return "bankrupt"


# ------------------------------------------------------------------------------------------------ by hand


def test_a_run_by_hand_is_accepted_once_and_answered_again(client: TestClient, desk: FrontDesk) -> None:
    first = client.post(RUN)
    again = client.post(RUN, json={"business_date": "2026-11-25"})

    assert (first.status_code, again.status_code) == (202, 200)
    assert (first.json()["key"], first.json()["created"]) == ("schedule:nightly:2026-11-25", 1)
    assert again.json() == {**first.json(), "created": 0}
    (job,) = desk.store.list_jobs()
    assert job.key == first.json()["jobs"][0]["key"] == "schedule:nightly:2026-11-25"


def test_who_started_a_run_stands_on_its_job_once_whichever_door(
    client: TestClient, command: Callable[..., Result], services: Services
) -> None:
    (by_http,) = client.post(RUN).json()["jobs"]
    client.post(RUN)
    (by_command,) = json.loads(command("run", "nightly", "--date", "2026-11-24", "--json").stdout)["jobs"]

    noted = [actions_on(JobId(job["job_id"]), services) for job in (by_http, by_command)]
    assert [[each.what for each in actions] for actions in noted] == [["run schedule nightly by hand"]] * 2
    assert noted[1][0].who == COMMAND_LINE


@pytest.mark.parametrize(
    ("business_date", "code"),
    [
        ("2026-11-26", "business_date_out_of_range"),
        ("0001-01-01", "business_date_out_of_range"),
        ("9999-12-31", "business_date_out_of_range"),
        ("2026-11-22", "no_business_date"),
        ("2026-02-30", "invalid"),
        ("today", "invalid"),
        (20261125, "invalid"),
    ],
)
def test_a_date_that_has_no_run_is_refused(client: TestClient, business_date: object, code: str) -> None:
    refused(client.post(RUN, json={"business_date": business_date}), 422, code)


def test_a_run_while_too_much_is_open_is_429(tmp_path: Path, services: Services) -> None:
    full = replace(services, rules=replace(services.rules, max_open_jobs=1))
    with TestClient(create_app(full, ApiOptions(version="9"))) as client:
        client.post("/api/v1/jobs", json={"model_id": MODEL_ID})
        refused(client.post(RUN), 429, "too_many_jobs")


def test_a_store_that_is_out_is_503(desk: FrontDesk) -> None:
    desk.outage.out = True
    with TestClient(create_app(desk.services, ApiOptions(version="9"))) as client:
        for path in ("", "/nightly", "/nightly/next"):
            refused(client.get(f"{SCHEDULES}{path}"), 503, "store_unavailable")


# ------------------------------------------------------------------------------------------------ command line


def test_the_command_lists_schedules(
    command: Callable[..., Result], services: Services, store: StoreAt
) -> None:
    assert "no scheduler has seen it" in command("list").stdout
    store.later(hours=-2)
    Scheduler(services).tick()
    store.later(hours=2)
    text = command("list").stdout
    assert "2026-11-27 22:00" in text
    assert "models not rebalanced since the last business date" in text
    assert "2026-11-25 not started" in text
    assert "disabled" in text
    names = [json.loads(line)["schedule_id"] for line in command("list", "--json").stdout.splitlines()]
    assert names == ["nightly", "sweep"]


def test_the_command_tells_after_how_many_days_models_need_a_rebalance(services: Services) -> None:
    weekly = schedule("0 22 * * FRI", name="weekly", model_id=None, needing_days=7)
    text = command_over(replace(services, schedules=lambda: (weekly,)))("list").stdout
    assert "models not rebalanced for 7 days" in text


def test_the_command_shows_next_runs(command: Callable[..., Result]) -> None:
    lines = command("next", "nightly", "--count", "2").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["2026-11-26", "skipped"],
        ["2026-11-27", "2026-11-27"],
        ["2026-11-30", "2026-11-30"],
    ]
    assert "Thanksgiving Day" in lines[1]
    assert json.loads(command("next", "nightly", "--json").stdout)["runs"][0] == THANKSGIVING
    assert "disabled" in command("next", "sweep").stderr


def test_the_command_starts_a_run_and_starting_it_again_is_the_same(command: Callable[..., Result]) -> None:
    first = command("run", "nightly", "--date", "2026-11-25")
    again = command("run", "nightly")

    assert "schedule:nightly:2026-11-25" in first.stdout
    assert again.stdout == first.stdout
    assert "was started before" in again.stderr
    assert json.loads(command("run", "nightly", "--json").stdout)["created"] == 0


def test_the_command_starts_the_run_of_many_models(
    command: Callable[..., Result], desk: FrontDesk, store: StoreAt
) -> None:
    assert "sweep:2026-11-26:MODEL1" in command("run", "sweep").stdout  # it is the 26th in London
    store.later(days=1)
    desk.store.note_rebalanced(desk.store.list_jobs()[0].model.model_id, store.time)
    assert "no model needs a rebalance" in command("run", "sweep").stderr


def test_the_command_refuses_in_one_line_what_cannot_be_run(command: Callable[..., Result]) -> None:
    unknown = command("run", "nobody")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "'trimtab schedule list' shows what there is" in unknown.stderr
    holiday = command("run", "nightly", "--date", "2026-11-22")
    assert (holiday.exit_code, "weekend" in holiday.stderr) == (2, True)
