"""The suites of `trimtab bench` on real stacks, as short as can be: do they measure, and do the figures agree?"""

from collections.abc import Iterator

import pytest

from worker.bench import intake, pipeline, scale
from worker.bench.pipeline import ONE
from worker.bench.rig import CHILDREN, PARENT
from worker.bench.rows import Row

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

COUNTED = 25


def _quick() -> Iterator[Row]:
    return pipeline.rows(rounds=1, seconds=0.5, variants=(ONE,), counted=COUNTED, tasks=100)


def test_a_short_run_measures_every_part_of_a_portfolio_and_counts_its_upstream_calls() -> None:
    rows = {row.name: row for row in _quick()}

    assert {row.suite for row in rows.values()} == {"pipeline"}
    calls = rows[f"upstream calls of a job of {COUNTED} portfolios"]
    assert calls.value == 2 + COUNTED
    assert next(row.value for name, row in rows.items() if name.startswith(f"throughput, {ONE}")) > 0
    worker = [rows[f"CPU by process, {ONE}: {name}"].value for name in (PARENT, CHILDREN)]
    assert min(worker) > 0
    assert rows[f"worker CPU by part, {ONE}: all"].value == pytest.approx(sum(worker))
    parts = {name: row.value for name, row in rows.items() if name.startswith("worker CPU by part")}
    assert parts[f"worker CPU by part, {ONE}: fetch"] > 0
    assert parts[f"worker CPU by part, {ONE}: solve"] > 0
    assert rows["no-op Celery task, worker CPU"].value > 0


@pytest.mark.timeout(300)
def test_growth_is_measured_on_jobs_that_are_cancelled_but_for_the_full_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scale, "SIZES", (100, 150, 200))
    monkeypatch.setattr(scale, "TURN_SECONDS", 0.3)
    monkeypatch.setattr(scale, "TURN_PORTFOLIOS", 1000)

    rows = {row.name: row for row in scale.rows(rounds=1, worked=20, full=True)}

    for figure in scale.FIGURES:
        assert min(rows[f"{figure.name}, {size} portfolios"].value for size in (100, 150, 200)) > 0
    assert rows["CPU of a portfolio, all 200 worked ÷ 100"].goal == 1.1
    assert rows["throughput, 2 worker processes ÷ 1"].value > 0


def test_every_door_is_measured() -> None:
    rows = list(intake.rows(rounds=1, requests=20))

    assert len({row.name for row in rows}) == 3
    assert min(row.value for row in rows) > 0
