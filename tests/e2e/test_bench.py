"""The suites of `trimtab bench` on real stacks, as short as can be: do they measure, and do the figures agree?"""

from collections.abc import Iterator

import pytest

from domain.job import JobState
from worker.bench import intake, pipeline, scale
from worker.bench.pipeline import ONE
from worker.bench.rig import CHILDREN, PARENT, open_rig
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


def test_a_turn_of_growth_leaves_the_job_cancelled_and_knows_what_it_cost() -> None:
    with open_rig(portfolios=400) as rig:
        cost = scale._turn(rig, 400, worked=50)
        jobs = rig.services.jobs.list_jobs()

    assert [job.state for job in jobs] == [JobState.CANCELLED]
    assert cost.worked.portfolios >= 50
    assert min(cost.accept, cost.expand, cost.cancel) > 0
    assert min(cost.store, cost.result, cost.queued, cost.api, cost.worker) > 0
    assert cost.api_peak >= cost.api


def test_every_door_is_measured() -> None:
    rows = list(intake.rows(rounds=1, requests=20))

    assert len({row.name for row in rows}) == 3
    assert min(row.value for row in rows) > 0
