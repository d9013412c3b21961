"""The model of docs/scaling.md: rate times measured cost, part by part."""

from pathlib import Path

import pytest

from adapters.inbound.cli import BenchOptions
from domain.errors import Invalid
from worker.bench.capacity import Costs, Night, capacity, costs_of, need_of
from worker.bench.pipeline import ONE, SLICE
from worker.bench.report import write_rows
from worker.bench.rows import Better, Row
from worker.bench.run import bench


def row(name: str, value: float, unit: str = "ms") -> Row:
    return Row(suite="s", name=name, value=value, unit=unit, better=Better.LOWER)


def measured(variant: str, *, worker: float) -> list[Row]:
    return [
        row(f"worker CPU by part, {variant}: all", worker),
        row(f"CPU by process, {variant}: broker", 0.5),
        row(f"CPU by process, {variant}: steward", 0.1),
    ]


SHARED = [
    row("store, before any result, 50,000 portfolios", 50_000 / 1024, "MiB"),
    row("store growth of a worked portfolio, 50,000 portfolios", 15.0, "KiB"),
    row("broker memory of a published portfolio, 50,000 portfolios", 8.0, "KiB"),
    row("throughput, 2 worker processes ÷ ideal (twice one, or what the cores allow)", 80.0, "%"),
]
ROWS = [
    *measured(ONE, worker=4.0),
    *SHARED,
    row("one portfolio a token, store without fsync", 2.0, "store round trips/portfolio"),
    row("one portfolio a token, store without fsync", 900.0, "/s"),
]


def test_costs_come_from_the_rows() -> None:
    assert costs_of(ROWS, ONE) == Costs(
        worker_ms=4.0,
        broker_ms=0.5,
        steward_ms=0.1,
        stored_kib=pytest.approx(16.0),  # type: ignore[arg-type]  # an approximate float
        queued_kib=8.0,
        scaling=0.8,
        tokens=1.0,
        writes=2.0,
    )


def test_a_night_needs_its_rate_times_the_costs() -> None:
    need = need_of(costs_of(ROWS, ONE), Night(portfolios=3_600_000, minutes=30))

    assert need.worker_cores == pytest.approx(2000 * 4.0 / 1000 / 0.8)
    assert need.steward_cores == pytest.approx(0.2)
    assert need.broker_cores == pytest.approx(1.0)
    assert need.brokers == 2  # one thread is full before it is busy all the time
    assert need.writes_per_second == pytest.approx(4000)
    assert need.tokens_per_second == 2000
    assert need.store_gib == pytest.approx(3_600_000 * 16 / 1024**2)
    assert need.queue_gib == pytest.approx(3_600_000 * 8 / 1024**2)


def test_a_slice_sends_a_token_for_eight_and_an_unmeasured_store_is_said_to_be_so() -> None:
    rows = [*ROWS[:-2], *measured(SLICE, worker=2.0)]

    need = need_of(costs_of(rows, SLICE), Night(portfolios=480_000, minutes=1))
    page = capacity(rows)

    assert need.tokens_per_second == 1000
    assert need.writes_per_second is None
    assert "| store writes | not measured | not measured |" in page
    assert "| worker CPU, ms | 4 | 2 |" in page
    assert "| a worker core carries, portfolios/s | 200 | 400 |" in page


def test_the_command_writes_the_model_s_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    write_rows(file, ROWS)

    assert bench(BenchOptions(what="capacity", files=(file,))) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("| of one portfolio | one a token |\n")
    assert "| 10,000,000 | 8 h | 347 | one a token | 1.74 | 0.174 (1) |" in shown


def test_a_figure_that_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match="store, before any result"):
        costs_of(measured(ONE, worker=1.0), ONE)
    with pytest.raises(Invalid, match="worker CPU by part"):
        capacity(SHARED)
