"""The command line: what goes to which stream, what programs can read, and which status it ends with."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from adapters.inbound.cli import (
    BenchOptions,
    BookOptions,
    DemoOptions,
    Probe,
    SandboxOptions,
    UpOptions,
    create_cli,
)
from adapters.inbound.cli.doctor import library_versions
from adapters.inbound.cli.jobs import follow_job
from adapters.inbound.tiny_problem import solve_tiny
from domain.errors import BrokerUnavailable, Invalid, SolverFailed, StoreUnavailable
from domain.ids import JobId
from domain.item import ItemState
from domain.job import Job
from domain.ports import JobStore, Solver
from domain.problem import Problem, SolverAnswer
from tasks.services import Rules, Services
from tests.support import builders
from tests.support.front_desk import MODEL_ID, FrontDesk
from tests.support.problems import NoPrograms

SECURITY = builders.security_id(1)


class OnlyRung(NoPrograms):
    """A solver that is asked for nothing, but by the doctor."""

    name = "pencil 1.0"

    def __init__(self, quantity: Sequence[int] | None = (8,)) -> None:
        self.quantity = quantity

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        if problem.budget != 850:
            raise SolverFailed("the pencil broke")
        quantity = None if self.quantity is None else problem.price * 0 + self.quantity[0]
        return SolverAnswer(quantity=quantity, lower_bound=0.0, status="optimal")


@dataclass
class FakeWiring:
    """Records what it was asked to start."""

    desk: FrontDesk
    version: str = "9.9.9"
    given: Services | None = None
    queue: Callable[[], Iterator[bytes]] = lambda: iter(())
    probe_list: tuple[Probe, ...] = ()
    the_solver: OnlyRung = field(default_factory=OnlyRung)
    keys: Path | None = None
    started: list[tuple[str, Any]] = field(default_factory=list)
    status: int = 0

    @contextmanager
    def services(self) -> Iterator[Services]:
        yield self.given or self.desk.services

    def solver(self) -> Solver:
        return self.the_solver

    def order_sets(self, *, follow: bool) -> Iterator[bytes]:
        self.started.append(("order_sets", follow))
        return self.queue()

    def keys_file(self) -> Path:
        if self.keys is None:
            raise Invalid("no file of keys")
        return self.keys

    def probes(self) -> Sequence[Probe]:
        return self.probe_list

    def api(self, *, host: str | None, port: int | None) -> None:
        self.started.append(("api", (host, port)))

    def worker(self, *, concurrency: int | None) -> None:
        self.started.append(("worker", concurrency))

    def steward(self) -> None:
        self.started.append(("steward", None))

    def requests(self) -> None:
        self.started.append(("requests", None))

    def beat(self) -> None:
        self.started.append(("beat", None))

    def flower(self, *, host: str | None, port: int | None) -> None:
        self.started.append(("flower", (host, port)))

    def sandbox(self, options: SandboxOptions) -> None:
        self.started.append(("sandbox", options))

    def up(self, options: UpOptions) -> int:
        self.started.append(("up", options))
        return self.status

    def demo(self, options: DemoOptions) -> int:
        self.started.append(("demo", options))
        return self.status

    def bench(self, options: BenchOptions) -> int:
        self.started.append(("bench", options))
        return self.status


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def wiring(desk: FrontDesk) -> FakeWiring:
    return FakeWiring(desk)


@pytest.fixture
def run(wiring: FakeWiring) -> Callable[..., Result]:
    def invoke(*arguments: str, stdin: bytes | str | None = None) -> Result:
        return CliRunner().invoke(create_cli(wiring), arguments, input=stdin, catch_exceptions=False)

    return invoke


def lines(text: str) -> list[Any]:
    """Standard output as a program reads it: every line is JSON."""
    return [json.loads(line) for line in text.splitlines()]


def result(portfolio: str, **changes: Any) -> bytes:
    document = {
        "portfolio_id": portfolio,
        "orders": [{}, {}],
        "drift_before": "120.50",
        "drift_after": "3.25",
        "cash_after": "17.00",
        "proof": {"gap": "0.00"},
    }
    return json.dumps(document | changes).encode()


def finish_all(desk: FrontDesk, job_id: str, failures: int = 0) -> Job:
    job = desk.start(job_id)
    for number in range(job.n - failures):
        desk.finish_one(job_id, result(builders.portfolio_id(number + 1)))
    for _ in range(failures):
        desk.fail_one(job_id)
    closed = desk.store.close_job(job.job_id, job.gen)
    assert closed is not None
    return closed


def submitted(run: Callable[..., Result], *options: str) -> str:
    job_id: str = lines(run("submit", "--model", MODEL_ID, "--json", *options).stdout)[0]["job_id"]
    return job_id


# ------------------------------------------------------------------------------------------------ the command itself


def test_the_version_is_told(run: Callable[..., Result]) -> None:
    assert run("--version").stdout == "trimtab 9.9.9\n"


def test_every_command_explains_itself_without_any_service(
    run: Callable[..., Result], desk: FrontDesk
) -> None:
    desk.outage.out = True
    names = "demo up api worker steward requests beat flower sandbox submit watch results orders cancel jobs solve doctor"
    for name in names.split():
        assert run(name, "--help").exit_code == 0
    assert run("models", "--help").exit_code == 0
    overview = run("--help").stdout
    assert all(name in overview for name in [*names.split(), "models"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "--what"],
        ["watch"],
        ["demo", "--portfolios", "0"],
        ["nothing"],
        ["jobs", "--state", "asleep"],
    ],
    ids=["an_unknown_option", "a_missing_job", "a_number_too_low", "an_unknown_command", "an_unknown_state"],
)
def test_wrong_usage_is_status_2_on_standard_error(run: Callable[..., Result], arguments: list[str]) -> None:
    answer = run(*arguments)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "Traceback" not in answer.stderr
    assert answer.stderr


# ------------------------------------------------------------------------------------------------ submit


def test_a_file_is_submitted(run: Callable[..., Result], desk: FrontDesk, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"model_id": MODEL_ID, "key": "nightly"}))
    answer = run("submit", str(file))
    (job,) = desk.store.list_jobs()
    assert (answer.exit_code, job.key) == (0, "nightly")
    assert answer.stdout == f"job {job.job_id} accepted: 3 portfolios, 4 at once\n"
    assert f"trimtab watch {job.job_id}" in answer.stderr


def test_standard_input_is_submitted(run: Callable[..., Result], desk: FrontDesk) -> None:
    answer = run("submit", "-", "--json", "--key", "k", stdin=json.dumps({"model_id": MODEL_ID}))
    (job,) = lines(answer.stdout)
    assert (job["key"], job["state"]) == ("k", "accepted")
    assert [stored.job_id for stored in desk.store.list_jobs()] == [job["job_id"]]


def test_options_make_the_request(run: Callable[..., Result], desk: FrontDesk) -> None:
    options = [
        "--model",
        MODEL_ID,
        "--portfolio",
        "P1",
        "--portfolio",
        "P2",
        "--parallelism",
        "7",
        "--dry-run",
    ]
    answer = run("submit", *options)
    (job,) = desk.store.list_jobs()
    assert (answer.exit_code, job.n, job.parallelism, job.dry_run) == (0, 2, 7, True)


def test_a_policy_may_stand_on_the_command_line_digit_for_digit(
    desk: FrontDesk, run: Callable[..., Result]
) -> None:
    text = '{"cash_floor": 0.0123456789012345, "max_orders": null, "no_buy": []}'
    answer = run("submit", "--model", MODEL_ID, "--policy", text)
    (job,) = desk.store.list_jobs()
    assert (answer.exit_code, str(job.policy.cash_floor)) == (0, "0.0123456789012345")


@pytest.mark.parametrize(
    ("policy", "message"),
    [("{", "--policy: the body is not usable JSON"), ('{"x": 1}', "policy.x"), ("7", "policy")],
)
def test_a_policy_on_the_command_line_that_cannot_be_read_is_refused(
    run: Callable[..., Result], policy: str, message: str
) -> None:
    answer = run("submit", "--model", MODEL_ID, "--policy", policy)
    assert (answer.exit_code, message in answer.stderr) == (2, True)


def test_the_same_key_is_the_same_job_and_says_so(run: Callable[..., Result]) -> None:
    first = run("submit", "--model", MODEL_ID, "--key", "k", "--json")
    again = run("submit", "--model", MODEL_ID, "--key", "k", "--json")
    assert lines(first.stdout) == lines(again.stdout)
    assert "submitted before" in again.stderr


REFUSED: dict[str, tuple[list[str], str, str]] = {
    "nothing_to_submit": (["submit"], "", "give a FILE"),
    "a_file_and_a_model": (["submit", "-", "--model", "m"], "{}", "leave out --model"),
    "a_file_that_is_not_there": (
        ["submit", "/nowhere/x.json"],
        "",
        "cannot read /nowhere/x.json: No such file",
    ),
    "a_directory": (["submit", "/"], "", "cannot read /: Is a directory"),
    "malformed_json": (["submit", "-"], "{", "not usable JSON"),
    "an_invalid_request": (["submit", "-"], '{"model_id": "m", "parallelism": 0}', "parallelism"),
    "an_unknown_model": (["submit", "--model", "nobody"], "", "'trimtab models list' shows"),
    "parallelism_out_of_range": (
        ["submit", "--model", MODEL_ID, "--parallelism", "999"],
        "",
        "within 1..256",
    ),
    "an_unknown_job": (["watch", "nobody"], "", "'trimtab jobs' shows"),
    "results_of_an_unknown_job": (["results", "nobody"], "", "no job 'nobody'"),
    "cancelling_an_unknown_job": (["cancel", "nobody"], "", "no job 'nobody'"),
    "an_unknown_model_to_show": (["models", "show", "nobody"], "", "no model 'nobody'"),
    "a_model_that_is_malformed": (["models", "create", "-"], "[]", "must be a JSON object"),
    "a_model_that_is_not_there": (["models", "create", "/nowhere/m.json"], "", "cannot read"),
    "a_document_that_is_malformed": (["solve", "-"], "{", "not usable JSON"),
    "lines_that_are_not_there": (["solve", "--jsonl", "/nowhere/x"], "", "cannot read"),
}


@pytest.mark.parametrize(("arguments", "stdin", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_is_one_line_and_status_2(
    run: Callable[..., Result], arguments: list[str], stdin: str, words: str
) -> None:
    answer = run(*arguments, stdin=stdin)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert words in answer.stderr


def test_several_faults_are_each_told_below(run: Callable[..., Result]) -> None:
    faulty = {"parallelism": 0, "portfolio_ids": [":"] * 20}
    told = run("submit", "-", stdin=json.dumps(faulty)).stderr.splitlines()
    assert told[0].startswith("error: request: ")
    assert "  portfolio_ids[0]: " in told[2]
    assert told[-1] == "  and 12 more"
    assert len(run("submit", "-", stdin='{"parallelism": 0}').stderr.splitlines()) == 3


def test_a_key_with_another_request_says_what_to_do(run: Callable[..., Result]) -> None:
    run("submit", "--model", MODEL_ID, "--key", "k")
    answer = run("submit", "--model", MODEL_ID, "--key", "k", "--dry-run")
    assert answer.exit_code == 2
    assert "take another --key" in answer.stderr


def test_a_store_that_is_out_says_what_to_do(run: Callable[..., Result], desk: FrontDesk) -> None:
    desk.outage.out = True
    answer = run("jobs")
    assert answer.exit_code == 2
    assert "trimtab doctor" in answer.stderr


# ------------------------------------------------------------------------------------------------ watch


@dataclass
class Stepping:
    """A job store in which every look finds the job one portfolio further."""

    desk: FrontDesk
    failures_left: int = 0
    idle_looks: int = 1
    started: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.desk.store, name)

    def get_job(self, job_id: JobId) -> Job:
        if self.started and self.idle_looks:
            self.idle_looks -= 1
        elif self.started:
            self._step(job_id)
        else:
            self.desk.start(job_id)  # not found before it is submitted
            self.started = True
        return self.desk.store.get_job(job_id)

    def _step(self, job_id: JobId) -> None:
        counts = self.desk.store.count_items(job_id)
        if not counts.get(ItemState.PENDING):
            self.desk.store.close_job(job_id, 0)
        elif self.failures_left:
            self.failures_left -= 1
            self.desk.fail_one(job_id)
        else:
            self.desk.finish_one(job_id, result("x"))


@pytest.fixture
def stepping(wiring: FakeWiring, desk: FrontDesk) -> Stepping:
    store = Stepping(desk)
    wiring.given = replace(desk.services, jobs=cast("JobStore", store))
    return store


def test_over_a_limit_submit_says_so_in_one_line_and_when_to_come_back(
    run: Callable[..., Result], wiring: FakeWiring, desk: FrontDesk
) -> None:
    wiring.given = replace(desk.services, rules=Rules(max_open_jobs=1, busy_retry_seconds=20))
    assert run("submit", "--model", MODEL_ID).exit_code == 0

    answer = run("submit", "--model", MODEL_ID)

    assert answer.exit_code == 2
    assert answer.stderr.splitlines() == [
        "error: 1 jobs are open, and no more than 1 may be; try again in 20 s"
    ]


def test_a_watched_job_is_followed_to_its_end(run: Callable[..., Result], stepping: Stepping) -> None:
    answer = run("submit", "--model", MODEL_ID, "--watch", "--interval", "0.01")
    assert answer.exit_code == 0
    assert answer.stdout.endswith("done: traded 3\n")
    progress = answer.stderr.splitlines()
    assert len(set(progress)) == len(progress), "a line is told when something has changed"
    assert progress[-1].startswith("done  3/3  traded 3")
    assert any("1/3  traded 1" in line for line in progress)


def test_a_watched_job_with_failures_is_status_1(run: Callable[..., Result], stepping: Stepping) -> None:
    stepping.failures_left = 1
    answer = run("submit", "--model", MODEL_ID, "--watch", "--json", "--interval", "0.01")
    (job,) = lines(answer.stdout)
    assert (answer.exit_code, job["state"]) == (1, "done_with_errors")
    assert {state: n for state, n in job["counts"].items() if n} == {"failed": 1, "traded": 2}


def test_a_closed_job_is_watched_at_once(run: Callable[..., Result], desk: FrontDesk) -> None:
    job_id = submitted(run)
    finish_all(desk, job_id)
    assert run("watch", job_id).exit_code == 0


def test_a_cancelled_job_is_status_1(run: Callable[..., Result], desk: FrontDesk) -> None:
    job_id = submitted(run)
    job = desk.start(job_id)
    assert run("cancel", job_id).stdout == f"job {job_id} stopping\n"
    desk.store.sweep_items(desk.store.get_job(job.job_id))
    desk.store.close_job(job.job_id, job.gen)
    answer = run("watch", job_id, "--json")
    assert (answer.exit_code, lines(answer.stdout)[0]["state"]) == (1, "cancelled")


def test_ctrl_c_leaves_the_job_alone_and_says_so(run: Callable[..., Result], wiring: FakeWiring) -> None:
    job_id = submitted(run)

    class Interrupted:
        def get_job(self, job_id: JobId) -> Job:
            raise KeyboardInterrupt

    wiring.given = replace(wiring.desk.services, jobs=cast("JobStore", Interrupted()))
    answer = run("watch", job_id)
    assert answer.exit_code == 130
    assert f"trimtab watch {job_id}" in answer.stderr
    assert wiring.desk.store.get_job(JobId(job_id)).state == "accepted"


class Seen:
    def __init__(self) -> None:
        self.states: list[str] = []

    def show(self, job: Job, counts: object) -> None:
        self.states.append(job.state)


def test_a_store_that_is_out_for_a_moment_does_not_end_a_watch(
    run: Callable[..., Result], desk: FrontDesk
) -> None:
    job_id = JobId(submitted(run))
    finish_all(desk, job_id)
    desk.outage.calls_to_fail = 9
    seen = Seen()
    assert follow_job(job_id, desk.services, seen, pause=lambda: None).state == "done"
    assert seen.states == ["done"]


def test_a_store_that_stays_out_ends_a_watch(run: Callable[..., Result], desk: FrontDesk) -> None:
    job_id = JobId(submitted(run))
    desk.outage.out = True
    pauses: list[None] = []
    with pytest.raises(StoreUnavailable):
        follow_job(job_id, desk.services, Seen(), pause=lambda: pauses.append(None))
    assert len(pauses) == 9


def test_a_terminal_gets_a_bar(
    run: Callable[..., Result], desk: FrontDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's own way to be told that there is a terminal
    monkeypatch.setenv("TERM", "xterm")
    job_id = submitted(run)
    finish_all(desk, job_id)
    answer = run("watch", job_id)
    assert "3/3" in answer.stderr
    assert "\x1b[" in answer.stderr
    assert answer.stdout == f"job {job_id} done: traded 3\n"


# ------------------------------------------------------------------------------------------------ results


def test_results_are_a_table_for_people(run: Callable[..., Result], desk: FrontDesk) -> None:
    job_id = submitted(run)
    finish_all(desk, job_id, failures=1)
    answer = run("results", job_id)
    table = answer.stdout.splitlines()
    assert (answer.exit_code, len(table)) == (0, 4)
    assert table[0].split() == [
        "portfolio",
        "outcome",
        "reason",
        "orders",
        "drift",
        "before",
        "drift",
        "after",
        "cash",
        "after",
        "gap",
    ]
    assert table[1].split() == [
        builders.portfolio_id(1),
        "traded",
        "inside_bounds",
        "2",
        "120.50",
        "3.25",
        "17.00",
        "0.00",
    ]
    assert "failed" in table[3]


def test_results_are_json_lines_for_programs(run: Callable[..., Result], desk: FrontDesk) -> None:
    job_id = submitted(run)
    finish_all(desk, job_id, failures=1)
    documents = lines(run("results", job_id, "--json").stdout)
    assert [document["outcome"] for document in documents] == ["traded", "traded", "failed"]
    assert documents[0]["result"]["drift_before"] == "120.50"
    assert documents[2]["result"] is None


def test_results_are_filtered_by_outcome_and_limited(run: Callable[..., Result], desk: FrontDesk) -> None:
    job_id = submitted(run)
    finish_all(desk, job_id, failures=1)
    assert len(lines(run("results", job_id, "--json", "--outcome", "traded").stdout)) == 2
    assert len(lines(run("results", job_id, "--json", "--limit", "1").stdout)) == 1
    limited = run("results", job_id, "--limit", "1")
    assert len(limited.stdout.splitlines()) == 2
    assert "--json for all" in limited.stderr


def test_text_from_outside_cannot_command_a_terminal(run: Callable[..., Result], desk: FrontDesk) -> None:
    job_id = submitted(run)
    desk.start(job_id)
    desk.finish_one(job_id, result("x", drift_before="\x1b[2J[red]1[/red]"))
    answer = run("results", job_id, "--outcome", "traded")
    assert "\x1b" not in answer.stdout
    assert "?[2J[red]1[/red]" in answer.stdout


def test_a_terminal_gets_a_table_with_whole_ids(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    job_id = submitted(run)
    table = run("jobs").stdout
    assert job_id in table
    assert "\x1b[1m" in table


# ------------------------------------------------------------------------------------------------ orders


def order_set(job_id: str, portfolio: str, *orders: dict[str, Any], **changes: Any) -> bytes:
    head = {"job_id": job_id, "portfolio_id": portfolio, "outcome": "traded", "reason": "to_target"}
    return json.dumps({**head, "orders": list(orders), **changes}).encode()


ORDER = {
    "side": "SELL",
    "security_id": SECURITY,
    "ticker": "T1",
    "quantity": 10,
    "price": "5.00",
    "notional": "50.00",
}
QUEUE = (
    order_set("j1", "P1", ORDER, {**ORDER, "side": "BUY", "ticker": None}),
    order_set("j2", "P2", outcome="no_trade", reason="empty"),
)


def test_orders_are_a_table(run: Callable[..., Result], wiring: FakeWiring) -> None:
    wiring.queue = lambda: iter(QUEUE)
    table = run("orders").stdout.splitlines()
    assert table[0].split() == [
        "portfolio",
        "outcome",
        "side",
        "security",
        "ticker",
        "quantity",
        "price",
        "notional",
    ]
    assert table[1].split() == ["P1", "traded", "SELL", SECURITY, "T1", "10", "5.00", "50.00"]
    assert table[3].split() == ["P2", "no_trade", "empty"]
    assert wiring.started == [("order_sets", False)]


def test_orders_are_told_byte_for_byte_to_programs(run: Callable[..., Result], wiring: FakeWiring) -> None:
    wiring.queue = lambda: iter(QUEUE)
    assert run("orders", "--json").stdout.encode() == b"".join(body + b"\n" for body in QUEUE)


def test_orders_of_one_job_only(run: Callable[..., Result], wiring: FakeWiring) -> None:
    wiring.queue = lambda: iter(QUEUE)
    assert [document["job_id"] for document in lines(run("orders", "--json", "--job", "j2").stdout)] == ["j2"]


def test_orders_are_followed_until_ctrl_c(run: Callable[..., Result], wiring: FakeWiring) -> None:
    def queue() -> Iterator[bytes]:
        yield from QUEUE
        raise KeyboardInterrupt

    wiring.queue = queue
    answer = run("orders", "--follow")
    assert answer.exit_code == 0
    assert answer.stdout.splitlines() == [
        f"P1  traded  SELL  {SECURITY}  T1  10  5.00  50.00",
        f"P1  traded  BUY  {SECURITY}  10  5.00  50.00",
        "P2  no_trade  empty",
    ]
    assert wiring.started == [("order_sets", True)]


def test_a_result_queue_that_is_out_says_what_to_do(run: Callable[..., Result], wiring: FakeWiring) -> None:
    def queue() -> Iterator[bytes]:
        raise BrokerUnavailable("result queue", "connection refused")
        yield b""  # type: ignore[unreachable]  # it makes this a generator

    wiring.queue = queue
    answer = run("orders", "--json")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "TRIMTAB_BROKER_URL" in answer.stderr


# ------------------------------------------------------------------------------------------------ jobs and models


def test_jobs_are_listed(run: Callable[..., Result], desk: FrontDesk) -> None:
    done, waiting = submitted(run), submitted(run)
    finish_all(desk, done)
    assert {job["job_id"] for job in lines(run("jobs", "--json").stdout)} == {done, waiting}
    assert [job["job_id"] for job in lines(run("jobs", "--json", "--state", "done").stdout)] == [done]
    assert lines(run("jobs", "--json", "--model", "another").stdout) == []
    table = run("jobs").stdout
    assert "traded 3" in table
    assert "accepted" in table


def test_a_cancelled_job_is_told_as_json(run: Callable[..., Result]) -> None:
    job_id = submitted(run)
    (job,) = lines(run("cancel", job_id, "--json").stdout)
    assert (job["state"], job["reason"]) == ("stopping", "cancelled on request")


def test_a_model_is_created_shown_and_listed(run: Callable[..., Result]) -> None:
    body = {
        "model_id": "growth",
        "name": "Growth",
        "portfolios": ["P9"],
        "positions": [
            {"security_id": SECURITY, "target": "0.125", "low_drift": "0.02", "high_drift": "0.03"}
        ],
    }
    created = lines(run("models", "create", "-", "--json", stdin=json.dumps(body)).stdout)
    assert created == lines(run("models", "show", "growth", "--json").stdout)
    assert created[0]["positions"][0]["target"] == "0.125"
    shown = run("models", "show", "growth").stdout
    assert "12.5%" in shown
    assert "max_orders" not in shown
    asked = {**body, "model_id": "asked", "name": "Asked", "policy": {"max_orders": 3, "no_buy": ["A" * 24]}}
    shown = run("models", "create", "-", stdin=json.dumps(asked)).stdout
    assert re.search(r"^max_orders +3$", shown, re.MULTILINE)
    assert [model["model_id"] for model in lines(run("models", "list", "--json").stdout)] == [
        MODEL_ID,
        "asked",
        "growth",
    ]
    assert "Growth" in run("models", "list", "--portfolio", "P9").stdout
    assert lines(run("models", "list", "--json", "--security", builders.security_id(9)).stdout) == []
    assert run("models", "create", "-", stdin=json.dumps(body)).exit_code == 2


# ------------------------------------------------------------------------------------------------ solve


def document(cash: str = "10000.00", **changes: Any) -> dict[str, Any]:
    return {
        "portfolio": {"portfolio_id": "P1", "cash": cash, "positions": []},
        "model": {
            "positions": [{"security_id": SECURITY, "target": "0.5", "low_drift": "0.1", "high_drift": "0.1"}]
        },
        "prices": {SECURITY: "30"},
        **changes,
    }


def test_a_document_is_solved_without_any_service(run: Callable[..., Result], desk: FrontDesk) -> None:
    desk.outage.out = True
    answer = run("solve", "-", stdin=json.dumps(document()))
    (solved,) = lines(answer.stdout)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert (solved["portfolio_id"], solved["outcome"]) == ("P1", "traded")
    assert [(order["side"], order["quantity"]) for order in solved["orders"]] == [("BUY", 167)]
    assert solved["cash_after"] == "4990.00"
    assert solved["proof"]["gap"] in {"0", "0.00"}


def test_a_document_in_a_file_is_solved(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    file.write_text(json.dumps(document(cash="0")))
    (solved,) = lines(run("solve", str(file)).stdout)
    assert (solved["outcome"], solved["reason"]) == ("no_trade", "empty")


def test_every_line_has_its_answer_and_a_bad_one_spoils_no_other(run: Callable[..., Result]) -> None:
    tight = document(policy={"cash_floor": "0.5", "missing_price": "reject"})
    tight["portfolio"]["cash"] = "10010.00"
    bad = [b"not json", b"[]", json.dumps({"portfolio": 1}).encode(), b"[" * 100_000]
    good = json.dumps(document()).encode()
    answer = run("solve", "-", "--jsonl", stdin=b"\n".join([good, *bad, b"", b"  ", good]) + b"\n")
    answers = lines(answer.stdout)
    assert (answer.exit_code, len(answers)) == (1, 6)
    assert [("error" in each) for each in answers] == [False, True, True, True, True, False]
    assert [each["line"] for each in answers[1:5]] == [2, 3, 4, 5]
    assert answers[3]["error"]["details"][0]["field"] == "portfolio"
    assert answers[0] == answers[5]
    assert answer.stderr == "4 lines could not be solved; their answers say why\n"


def test_a_line_over_the_limit_is_refused_and_the_next_one_is_read(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "lines.jsonl"
    with file.open("wb") as out:
        out.write(b"[")
        out.seek(70 * 1024 * 1024)  # a hole: the file takes no room on disk
        out.write(b"]\n" + json.dumps(document()).encode())
    first, second = lines(run("solve", str(file), "--jsonl").stdout)
    assert (first["line"], first["error"]["code"]) == (1, "too_large")
    assert second["outcome"] == "traded"


class BrokenOnce(OnlyRung):
    """A bug that the first portfolio meets, and none after it."""

    met = False

    @property
    def time_limit_seconds(self) -> float:  # type: ignore[override]  # it is read once a portfolio
        if not self.met:
            self.met = True
            raise ZeroDivisionError("by nought")
        return 30.0


def test_a_bug_that_one_line_meets_is_answered_in_its_place_and_the_next_one_is_solved(
    run: Callable[..., Result], wiring: FakeWiring
) -> None:
    wiring.the_solver = BrokenOnce()
    line = json.dumps(document())
    with capture_logs() as log:
        answer = run("solve", "-", "--jsonl", stdin=f"{line}\n{line}\n")
    first, second = lines(answer.stdout)
    assert answer.exit_code == 1
    assert first == {
        "line": 1,
        "error": {"code": "internal_error", "message": "ZeroDivisionError: by nought", "details": []},
    }
    assert second["outcome"] == "traded"
    assert [(each["event"], each["line"]) for each in log] == [("solve.line_failed", 1)]


def test_lines_that_are_all_solved_are_status_0(run: Callable[..., Result]) -> None:
    answer = run("solve", "-", "--jsonl", stdin=json.dumps(document()))
    assert (answer.exit_code, answer.stderr, len(lines(answer.stdout))) == (0, "", 1)


def test_the_same_lines_give_the_same_bytes(run: Callable[..., Result]) -> None:
    stdin = "\n".join(json.dumps(document(cash=str(cash))) for cash in range(1000, 1010))
    assert (
        run("solve", "-", "--jsonl", stdin=stdin).stdout == run("solve", "-", "--jsonl", stdin=stdin).stdout
    )


# ------------------------------------------------------------------------------------------------ doctor


def out() -> str:
    raise BrokerUnavailable("broker", "connection refused")


def test_a_library_that_is_missing_is_named() -> None:
    with pytest.raises(RuntimeError, match="not installed: no-such-library"):
        library_versions(("numpy", "no-such-library"))


def test_a_doctor_who_finds_nothing_is_status_0(run: Callable[..., Result], wiring: FakeWiring) -> None:
    wiring.probe_list = (Probe(name="store", look=lambda: "sqlite", remedy="mend it"),)
    answer = run("doctor")
    assert answer.exit_code == 0
    assert "everything needed is in order" in answer.stdout
    assert "mend it" not in answer.stdout
    assert "pencil 1.0 solves" in answer.stdout


def test_what_is_red_is_told_with_its_remedy(run: Callable[..., Result], wiring: FakeWiring) -> None:
    wiring.probe_list = (
        Probe(name="broker", look=out, remedy="start it"),
        Probe(name="workers", look=out, remedy="start some", needed=False),
    )
    answer = run("doctor", "--json")
    (report,) = lines(answer.stdout)
    found = {check["name"]: check for check in report["checks"]}
    assert (answer.exit_code, report["ok"]) == (1, False)
    assert set(found) == {"python", "libraries", "solver", "broker", "workers"}
    assert (found["broker"]["status"], found["broker"]["remedy"]) == ("red", "start it")
    assert "connection refused" in found["broker"]["detail"]
    assert found["workers"]["status"] == "warning"
    assert (found["python"]["status"], found["python"]["remedy"]) == ("ok", None)
    assert "red: broker" in run("doctor").stdout


def test_a_warning_alone_is_status_0(run: Callable[..., Result], wiring: FakeWiring) -> None:
    wiring.probe_list = (Probe(name="workers", look=out, remedy="start some", needed=False),)
    assert run("doctor").exit_code == 0


@pytest.mark.parametrize(
    "quantity", [None, (7,), (0,)], ids=["no_answer", "a_worse_answer", "the_zero_answer"]
)
def test_a_solver_that_answers_wrongly_is_red(
    run: Callable[..., Result], wiring: FakeWiring, quantity: tuple[int] | None
) -> None:
    wiring.the_solver = OnlyRung(quantity)
    with pytest.raises(RuntimeError, match="whose answer is 8"):
        solve_tiny(wiring.solver())
    assert run("doctor").exit_code == 1


# ------------------------------------------------------------------------------------------------ processes


BOOK = BookOptions(portfolios=40, securities=30, seed=1, prices=None)


@pytest.mark.parametrize(
    ("arguments", "started"),
    [
        (["api"], ("api", (None, None))),
        (["api", "--host", "0.0.0.0", "--port", "80"], ("api", ("0.0.0.0", 80))),  # noqa: S104 - parsed, not bound
        (["worker", "--concurrency", "3"], ("worker", 3)),
        (["steward"], ("steward", None)),
        (["requests"], ("requests", None)),
        (["beat"], ("beat", None)),
        (["flower", "--port", "5555"], ("flower", (None, 5555))),
        (["sandbox"], ("sandbox", SandboxOptions(book=BOOK, host=None, port=None))),
        (["up"], ("up", UpOptions(book=BOOK, sandbox=True, port=None, concurrency=None))),
        (
            ["up", "--no-sandbox", "--port", "9", "--concurrency", "2"],
            ("up", UpOptions(book=BOOK, sandbox=False, port=9, concurrency=2)),
        ),
        (["bench"], ("bench", BenchOptions(what="all"))),
        (
            ["bench", "scale", "--json", "rows.json", "--quick", "--full"],
            ("bench", BenchOptions(what="scale", json_file=Path("rows.json"), quick=True, full=True)),
        ),
        (
            ["bench", "--mongodb", "mongodb://h"],
            ("bench", BenchOptions(what="all", mongodb_url="mongodb://h")),
        ),
        (
            ["bench", "plot", "a.json", "b.json", "--to", "images"],
            (
                "bench",
                BenchOptions(what="plot", files=(Path("a.json"), Path("b.json")), images=Path("images")),
            ),
        ),
        (["demo"], ("demo", DemoOptions(book=BOOK, keep=False, as_json=False))),
        (
            ["demo", "--portfolios", "5", "--securities", "6", "--seed", "7", "--keep", "--json"],
            (
                "demo",
                DemoOptions(
                    book=BookOptions(portfolios=5, securities=6, seed=7, prices=None), keep=True, as_json=True
                ),
            ),
        ),
    ],
)
def test_a_process_is_started_as_asked(
    run: Callable[..., Result], wiring: FakeWiring, arguments: list[str], started: tuple[str, Any]
) -> None:
    assert run(*arguments).exit_code == 0
    assert wiring.started == [started]


def test_a_price_file_must_be_there(run: Callable[..., Result], wiring: FakeWiring, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    assert run("demo", "--prices", str(file)).exit_code == 2
    file.write_text("")
    assert run("demo", "--prices", str(file)).exit_code == 0
    assert wiring.started[0][1].book.prices == file


@pytest.mark.parametrize("command", ["demo", "up", "bench"])
def test_the_status_of_a_stack_is_the_command_s(
    run: Callable[..., Result], wiring: FakeWiring, command: str
) -> None:
    wiring.status = 3
    assert run(command).exit_code == 3
