"""Comparisons over HTTP and from the command line: the same question, the same answer, nothing left behind."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from adapters.inbound.api import ApiOptions, create_app
from adapters.inbound.cli import create_cli
from adapters.inbound.payloads import parse_what_if
from adapters.solver.cvxpy_solver import CvxpySolver
from domain.errors import Invalid, SolverTimeout
from domain.ids import ModelId
from domain.ports import Solver
from tests.support import builders
from tests.support.front_desk import FrontDesk
from tests.support.world import NoSolver, World
from tests.unit.test_command_line import FakeWiring

PNG = b"\x89PNG\r\n\x1a\n"
ONE, TWO = builders.security_id(1), builders.security_id(2)
WHAT_IF = "/api/v1/what-if"


def weights(security_id: str, target: str, drift: str) -> dict[str, str]:
    return {"security_id": security_id, "target": target, "low_drift": drift, "high_drift": drift}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "model": {"positions": [weights(ONE, "0.50", "0.50"), weights(TWO, "0.45", "0.45")]},
        "portfolios": [
            {
                "portfolio_id": "P-1",
                "cash": "5200.00",
                "positions": [{"security_id": ONE, "quantity": 100}],
            }
        ],
        "prices": {ONE: "61.37", TWO: "310.20"},
        "scenarios": [{"name": "one order", "policy": {"max_orders": 1}}],
        **changes,
    }


FRONTIER = {"portfolio_id": "P-1", "points": 3}


# ------------------------------------------------------------------------------------------------ what is read

FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no_model": (document(model=None), "", "give model_id or model"),
    "two_models": (document(model_id="m"), "", "give model_id or model"),
    "no_portfolios": (document(portfolios=None), "", "give portfolio_ids or portfolios"),
    "both_kinds": (document(portfolio_ids=["P-1"]), "", "give portfolio_ids or portfolios"),
    "too_many": (
        document(portfolio_ids=[f"P{n}" for n in range(51)], portfolios=None),
        "portfolio_ids",
        "50",
    ),
    "a_reserved_name": (document(scenarios=[{"name": "policy"}]), "scenarios[0].name", "neither"),
    "a_blank_name": (document(scenarios=[{"name": " "}]), "scenarios[0].name", "printable"),
    "a_name_twice": (document(scenarios=[{"name": "a"}, {"name": "a"}]), "scenarios", "more than once"),
    "an_unknown_key": (
        document(scenarios=[{"name": "a", "policy": {"x": 1}}]),
        "scenarios[0].policy.x",
        "not",
    ),
    "one_point": (document(frontier={"portfolio_id": "P-1", "points": 1}), "frontier.points", "2"),
    "a_policy_of_one": (
        document(portfolios=[{"portfolio_id": "P-1", "cash": 1, "policy": {}}]),
        "portfolios",
        "one policy and its scenarios",
    ),
    "a_portfolio_twice": (document(portfolios=document()["portfolios"] * 2), "portfolios", "more than once"),
    "an_id_twice": (document(portfolio_ids=["P", "P"], portfolios=None), "portfolio_ids", "more than once"),
}


@pytest.mark.parametrize(("body", "field", "message"), FAULTS.values(), ids=FAULTS)
def test_each_fault_of_a_question_is_told_by_field(body: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_what_if(json.dumps(body).encode(), max_bytes=100_000)
    told = {detail["field"]: detail["message"] for detail in caught.value.details}
    assert message in told[field]


# ------------------------------------------------------------------------------------------------ over HTTP


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path)
    world.book(2)
    yield world
    world.store.close()


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    services = replace(world.services, solver=CvxpySolver(time_limit_seconds=5))
    with TestClient(create_app(services, ApiOptions(version="9.9.9"))) as client:
        yield client


def test_a_comparison_is_answered_and_leaves_nothing_behind(client: TestClient, world: World) -> None:
    answer = client.post(
        WHAT_IF,
        json={
            "model_id": "MODEL1",
            "portfolio_ids": [builders.portfolio_id(1), builders.portfolio_id(2)],
            "policy": {"cost_per_order": "5"},
            "scenarios": [{"name": "one", "policy": {"max_orders": 1, "on_infeasible": "report"}}],
            "frontier": {"portfolio_id": builders.portfolio_id(2), "points": 4},
        },
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [(row["portfolio_id"][-1], row["scenario"]) for row in told["rows"]] == [
        ("1", "do_nothing"),
        ("1", "policy"),
        ("1", "one"),
        ("2", "do_nothing"),
        ("2", "policy"),
        ("2", "one"),
    ]
    assert told["rows"][1]["cost"] == f"{5 * told['rows'][1]['orders']}.00"
    assert told["frontier"]["spent"] == "cost"
    assert told["frontier"]["points"]
    assert world.store.list_jobs() == []
    assert world.store.get_model(ModelId("MODEL1")).last_rebalance_date is None
    assert not world.publisher.entries
    assert not world.tokens.queue


def test_nothing_is_fetched_for_a_question_that_brings_everything(client: TestClient, world: World) -> None:
    world.upstreams.out = True
    answer = client.post(WHAT_IF, json=document())
    assert answer.status_code == 200
    assert [row["orders"] for row in answer.json()["rows"]] == [0, 2, 1]
    assert (
        client.post(
            WHAT_IF, json={"model_id": "MODEL1", "portfolio_ids": [builders.portfolio_id(1)]}
        ).status_code
        == 503
    )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model_id": "nobody", "portfolio_ids": ["P-1"]}, 404, "model_not_found"),
        ({"model_id": "MODEL1", "portfolio_ids": ["P-1"]}, 404, "portfolio_not_found"),
        (document(policy={"run_type": "raise_cash"}), 422, "invalid"),
        (document(frontier={"portfolio_id": "P-2"}), 422, "invalid"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    client: TestClient, body: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post(WHAT_IF, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_one_comparison_at_a_time_and_its_place_is_free_again(world: World) -> None:
    """The second is asked from within the first, as far as anybody can tell while the first still solves."""
    told: list[int] = []

    class Asking(NoSolver):
        def solve_program(self, *args: object, **options: object) -> Any:
            raise SolverTimeout("not now")

    class AskingAccounting:
        def portfolio(self, portfolio_id: str) -> Any:
            told.append(front.post(WHAT_IF, json=document()).status_code)
            return world.upstreams.book.get(portfolio_id)  # type: ignore[call-overload]  # an id is a text

    services = replace(world.services, solver=Asking(), accounting=AskingAccounting())
    with TestClient(create_app(services, ApiOptions(version="9.9.9"))) as front:
        first = front.post(WHAT_IF, json={"model_id": "MODEL1", "portfolio_ids": [builders.portfolio_id(1)]})
        assert (first.status_code, told) == (200, [429])
        assert front.post(WHAT_IF, json=document()).status_code == 200
        busy = front.post(WHAT_IF, json={"model_id": "MODEL1", "portfolio_ids": ["stranger"]})
        assert busy.status_code == 404
        assert front.post(WHAT_IF, json=document()).status_code == 200  # an error gives its place back, too


# ------------------------------------------------------------------------------------------------ from the command line


class Desk(FakeWiring):
    the_real: Solver = CvxpySolver(time_limit_seconds=5)

    def solver(self) -> Solver:
        return self.the_real


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


def run(desk: FrontDesk, tmp_path: Path, body: dict[str, Any], *arguments: str, **wiring: Any) -> Result:
    file = tmp_path / "what-if.json"
    file.write_text(json.dumps(body))
    return CliRunner().invoke(create_cli(Desk(desk, **wiring)), ["compare", str(file), *arguments])


def test_a_comparison_is_a_table_for_people(desk: FrontDesk, tmp_path: Path) -> None:
    answer = run(desk, tmp_path, document(frontier=FRONTIER))
    assert answer.exit_code == 0, answer.output
    lines = answer.stdout.splitlines()
    assert lines[0].split()[:4] == ["portfolio", "scenario", "outcome", "drift"]
    assert lines[1].split() == [
        "P-1",
        "do_nothing",
        "do_nothing",
        "5570.15",
        "49.1%",
        "0.00",
        "0.00",
        "0",
        "5200.00",
    ]
    assert lines[2].split()[:5] == ["P-1", "policy", "traded", "160.91", "1.4%"]
    assert lines[3].split()[1:3] == ["one", "order"]
    assert lines[4] == ""
    assert lines[5].split()[:3] == ["max", "turnover", "turnover"]
    assert lines[-1].startswith("no limit")
    assert "0 infeasible" in answer.stderr


def test_a_comparison_is_json_for_programs_the_same_as_over_http(
    desk: FrontDesk, tmp_path: Path, client: TestClient
) -> None:
    body = document(frontier=FRONTIER)
    answer = run(desk, tmp_path, body, "--json")
    assert json.loads(answer.stdout) == client.post(WHAT_IF, json=body).json()


def test_what_is_not_in_the_file_is_fetched(desk: FrontDesk, tmp_path: Path, world: World) -> None:
    body = {"model_id": "MODEL1", "portfolio_ids": [builders.portfolio_id(1)]}
    answer = run(desk, tmp_path, body, "--json", given=world.services)
    assert [row["scenario"] for row in json.loads(answer.stdout)["rows"]] == ["do_nothing", "policy"]


def test_a_frontier_is_drawn(desk: FrontDesk, tmp_path: Path) -> None:
    picture = tmp_path / "frontier.png"
    answer = run(desk, tmp_path, document(frontier=FRONTIER), "--png", str(picture))
    assert (answer.exit_code, f"wrote {picture}" in answer.stderr) == (0, True)
    first = picture.read_bytes()
    assert first.startswith(PNG)
    run(desk, tmp_path, document(frontier=FRONTIER), "--png", str(picture))
    assert picture.read_bytes() == first


@pytest.mark.parametrize(
    ("body", "where", "message"),
    [
        (document(), "frontier.png", "the file asks for none"),
        (document(frontier=FRONTIER), "no/such/folder.png", "cannot write"),
        (
            document(frontier=FRONTIER, policy={"cash_floor": "1", "no_trade": [ONE]}),
            "frontier.png",
            "there is no frontier to draw",
        ),
    ],
)
def test_what_cannot_be_drawn_says_why(
    desk: FrontDesk, tmp_path: Path, body: dict[str, Any], where: str, message: str
) -> None:
    answer = run(desk, tmp_path, body, "--png", str(tmp_path / where))
    assert (answer.exit_code, message in answer.stderr) == (2, True)


def test_without_matplotlib_it_says_how_to_get_it(
    desk: FrontDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = run(desk, tmp_path, document(frontier=FRONTIER), "--png", str(tmp_path / "f.png"))
    assert (answer.exit_code, "pip install 'trimtab[plot]'" in answer.stderr) == (2, True)
    assert run(desk, tmp_path, document(frontier=FRONTIER)).exit_code == 0


def test_a_portfolio_the_solver_fails_on_is_told_and_the_status_is_1(
    desk: FrontDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise SolverTimeout("30 s")

    monkeypatch.setattr("tasks.compare.decide", fail)
    answer = run(desk, tmp_path, document())
    assert answer.exit_code == 1
    assert "failed (solver_timeout)" in answer.stdout
    assert "2 answers could not be found: solver_timeout" in answer.stderr


def test_a_question_that_cannot_be_read_is_refused(desk: FrontDesk, tmp_path: Path) -> None:
    answer = run(desk, tmp_path, document(portfolios=None))
    assert (answer.exit_code, "give portfolio_ids or portfolios" in answer.stderr) == (2, True)
