"""`trimtab bench`: what is run, shown and written, and the exit status."""

import importlib
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from adapters.inbound.cli import BenchOptions
from domain.errors import Invalid
from worker.bench.failed import BenchFailed
from worker.bench.report import read_rows, write_rows
from worker.bench.rows import Better, Row
from worker.bench.run import SUITES, Suite, bench

GOOD = Row(suite="canned", name="speed", value=9.0, unit="x", better=Better.HIGHER, spread=0.5, goal=8.0)
BAD = replace(GOOD, name="weight", value=7.0)
REPORT = replace(GOOD, name="colour", goal=None)


Canned = Callable[..., Mapping[str, Suite]]


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> Canned:
    """Suites by name, each a module of its own that yields these rows, or raises."""

    def make(**suites: tuple[Row, ...] | Exception) -> Mapping[str, Suite]:
        for name, answer in suites.items():
            monkeypatch.setitem(sys.modules, f"canned_{name}", module(name, answer))
        return {
            name: Suite(module=f"canned_{name}", quick={"rounds": 1}, full={"full": True}) for name in suites
        }

    return make


def module(name: str, answer: tuple[Row, ...] | Exception) -> ModuleType:
    made = ModuleType(f"canned_{name}")

    def rows(rounds: int = 3, *, full: bool = False, mongodb_url: str = "none") -> Iterator[Row]:
        if isinstance(answer, Exception):
            raise answer
        told = f"rounds={rounds} full={full} mongodb={mongodb_url}"
        yield from (replace(row, name=f"{row.name} {told}") for row in answer)

    made.rows = rows  # type: ignore[attr-defined]  # a module is made as it is filled
    return made


def options(what: str = "all", **more: object) -> BenchOptions:
    return replace(BenchOptions(what=what), **more)  # type: ignore[arg-type]  # the fields' own types


def test_all_runs_every_suite_and_ends_well_when_every_goal_is_reached(
    canned: Canned, capsys: pytest.CaptureFixture[str]
) -> None:
    status = bench(options(), canned(one=(GOOD,), two=(REPORT,)))

    shown = capsys.readouterr()
    assert status == 0
    assert "speed" in shown.out
    assert "pass" in shown.out
    assert "colour" in shown.out
    assert "1 of 1 goals reached" in shown.err


def test_a_missed_goal_is_named_and_ends_with_status_1(
    canned: Canned, capsys: pytest.CaptureFixture[str]
) -> None:
    status = bench(options(), canned(one=(GOOD, BAD)))

    shown = capsys.readouterr()
    assert status == 1
    assert "fail" in shown.out
    assert "missed: canned: weight" in shown.err


def test_one_suite_is_run_alone(canned: Canned, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"

    assert bench(options("one", json_file=file), canned(one=(GOOD,), two=(BAD,))) == 0
    assert [row.value for row in read_rows(file)] == [9.0]


def test_quick_and_full_reach_the_suite(canned: Canned, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"

    bench(options(json_file=file, quick=True, full=True), canned(one=(GOOD,)))

    assert [row.name for row in read_rows(file)] == ["speed rounds=1 full=True mongodb=none"]


def test_the_url_of_a_server_reaches_the_suites_that_take_one(canned: Canned, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    suites = {
        name: replace(suite, mongodb=name == "one")
        for name, suite in canned(one=(GOOD,), two=(GOOD,)).items()
    }

    bench(options(json_file=file, mongodb_url="mongodb://here"), suites)

    assert [row.name for row in read_rows(file)] == [
        "speed rounds=3 full=False mongodb=mongodb://here",
        "speed rounds=3 full=False mongodb=none",
    ]


@pytest.mark.parametrize("error", [BenchFailed("no order sets came"), TimeoutError("no order sets came")])
def test_a_suite_that_fails_costs_its_own_rows_and_the_status(
    canned: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    file = tmp_path / "deep" / "rows.json"

    assert bench(options(json_file=file), canned(one=(GOOD,), two=error, three=(REPORT,))) == 1
    assert [row.suite for row in read_rows(file)] == ["canned", "canned"]
    assert "two: no order sets came" in capsys.readouterr().err


def test_a_run_that_is_terminated_is_unwound_and_not_just_gone(canned: Canned) -> None:
    """A stack is taken down by leaving its block."""
    suites = canned(one=(GOOD,))
    unwound: list[str] = []

    def rows(**_told: object) -> Iterator[Row]:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            yield GOOD
        finally:
            unwound.append("stack")

    sys.modules["canned_one"].rows = rows  # type: ignore[attr-defined]  # as it was made
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        bench(options(), suites)
    assert unwound == ["stack"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_bug_is_not_mistaken_for_a_measurement_that_failed(canned: Canned) -> None:
    with pytest.raises(ZeroDivisionError):
        bench(options(), canned(one=ZeroDivisionError()))


def test_the_file_is_a_list_of_rows_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"

    write_rows(file, [GOOD, BAD, REPORT])

    found = json.loads(file.read_text())
    assert [each["ok"] for each in found] == [True, False, True]
    assert [each["goal"] for each in found] == [8.0, 8.0, None]
    assert {tuple(each) for each in found} == {
        ("suite", "name", "value", "unit", "spread", "goal", "better", "ok")
    }
    assert len(file.read_text().splitlines()) == len(found) + 2
    assert read_rows(file) == [GOOD, BAD, REPORT]


def test_table_writes_the_rows_as_a_page_holds_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    write_rows(file, [GOOD, replace(BAD, suite="other"), REPORT])

    assert bench(options("table", files=(file,))) == 0
    assert capsys.readouterr().out.splitlines() == [
        "### canned",
        "",
        "| name | value | spread | unit | goal |  |",
        "|---|---:|---:|---|---:|---|",
        "| speed | 9 | ± 0.5 | x | ≥ 8 | pass |",
        "| colour | 9 | ± 0.5 | x |  |  |",
        "",
        "### other",
        "",
        "| name | value | spread | unit | goal |  |",
        "|---|---:|---:|---|---:|---|",
        "| weight | 7 | ± 0.5 | x | ≥ 8 | fail |",
    ]


def test_an_unknown_suite_is_refused_by_the_names_of_those_there_are() -> None:
    with pytest.raises(
        Invalid, match=r"solve, protocol, pipeline, scale, intake.*all, plot, table, capacity"
    ):
        bench(options("pipelnie"))


def test_files_belong_to_plot_and_table(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="--json FILE"):
        bench(options("all", files=(tmp_path / "rows.json",)))
    with pytest.raises(Invalid, match="table needs a file"):
        bench(options("table"))


@pytest.mark.parametrize("body", [None, b"[", b'{"suite": "s"}', b'[{"suite": "s"}]'])
def test_what_is_no_list_of_rows_is_told(tmp_path: Path, body: bytes | None) -> None:
    file = tmp_path / "rows.json"
    if body is not None:
        file.write_bytes(body)

    with pytest.raises(Invalid, match=r"rows\.json"):
        read_rows(file)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")

    with pytest.raises(Invalid, match="cannot write"):
        write_rows(tmp_path / "taken" / "rows.json", [GOOD])


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_understands_what_quick_and_full_tell_it(name: str) -> None:
    suite = SUITES[name]
    told = inspect.signature(importlib.import_module(suite.module).rows).parameters

    assert {*suite.quick, *suite.full} <= told.keys()
    assert [each.name for each in told.values() if each.default is each.empty] == []
