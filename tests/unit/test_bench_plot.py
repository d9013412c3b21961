"""`trimtab bench plot`: PNG files where there is something to draw, and a word where there is not."""

import sys
from pathlib import Path

import pytest

from adapters.inbound.cli import BenchOptions
from domain.errors import Invalid
from worker.bench.plot import plot
from worker.bench.report import write_rows
from worker.bench.rows import Better, Row
from worker.bench.run import bench

PNG = b"\x89PNG\r\n\x1a\n"


def row(name: str, value: float, unit: str, *, goal: float | None = None) -> Row:
    return Row(
        suite="s", name=name, value=value, unit=unit, better=Better.HIGHER, spread=value / 10, goal=goal
    )


RATES = [
    row("throughput, one a token (370/s)", 310.0, "portfolios/s", goal=200.0),
    row("jobs accepted, HTTP", 900.0, "jobs/s"),
]
COSTS = [
    row("CPU by process, one a token: API", 0.0, "ms"),
    row("CPU by process, one a token: broker", 0.4, "ms"),
    row("CPU by process, one a token: all", 0.4, "ms"),
    row("worker CPU by part, one a token: fetch", 1.0, "ms"),
    row("worker CPU by part, slice of 8: fetch", 0.9, "ms"),
]
GROWTH = [
    row("time to expand, 1,000 portfolios", 0.1, "s"),
    row("time to expand, 50,000 portfolios", 1.1, "s"),
    row("measured at one size, 1,000 portfolios", 1.0, "s"),
]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([*RATES, *COSTS, *GROWTH], ["throughput", "cost", "growth"]),
        (RATES, ["throughput"]),
        (COSTS[:3], ["cost"]),
        (GROWTH, ["growth"]),
        ([row("CPU by process, one a token: API", 0.0, "ms")], ["cost"]),
    ],
)
def test_what_was_measured_is_drawn(tmp_path: Path, rows: list[Row], names: list[str]) -> None:
    written = plot(rows, tmp_path / "images")

    assert [path.name for path in written] == [f"{name}.png" for name in names]
    assert all(path.read_bytes().startswith(PNG) for path in written)


def test_the_same_rows_make_the_same_picture(tmp_path: Path) -> None:
    """So that a picture in the repository changes only with what it shows."""
    (first,), (second,) = plot(RATES, tmp_path / "a"), plot(RATES, tmp_path / "b")

    assert first.read_bytes() == second.read_bytes()


def test_the_command_puts_the_pictures_beside_the_file_unless_told_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    write_rows(file, RATES)

    assert bench(BenchOptions(what="plot", files=(file,))) == 0
    assert bench(BenchOptions(what="plot", files=(file,), images=tmp_path / "there")) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "throughput.png"),
        str(tmp_path / "there" / "throughput.png"),
    ]


def test_rows_that_belong_to_no_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="none of these rows"):
        plot([row("a", 1.0, "x"), GROWTH[2]], tmp_path)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")

    with pytest.raises(Invalid, match="cannot write to"):
        plot(RATES, tmp_path / "taken")


def test_without_matplotlib_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(Invalid, match=r"pip install 'trimtab\[plot\]'"):
        plot(RATES, tmp_path)
