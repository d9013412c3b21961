"""`trimtab bench pipeline` on a real stack, as short as it can be: does it measure at all, and is it consistent?"""

from collections.abc import Iterator

import pytest

from worker.bench import pipeline
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
