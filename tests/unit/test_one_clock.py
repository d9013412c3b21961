"""Leases compare stamps of the store with the store's clock: no clock of a process, right or wrong, can reach them."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from domain.job import JobState
from tests.support.world import SHORT_RULES, World

ROOT = Path(__file__).parents[2]
STORES = sorted((ROOT / "adapters" / "stores").rglob("*.py"))
CLOCK_CALLS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "localtime", "gmtime"}
CLOCKS = {"datetime", "date", "time"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path, replace(SHORT_RULES, lease_seconds=60.0, lost_token_seconds=60.0))
    yield world
    world.store.close()


def clock_reads(source: str) -> Iterator[str]:
    """Every reading of this process's own clock: ``datetime.now()``, ``time.time()``, and any import of ``time``."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)) if owner in CLOCKS:
                if name in CLOCK_CALLS:
                    yield f"{owner}.{name}()"
            case ast.Import(names=names) if any(alias.name == "time" for alias in names):
                yield "import time"
            case ast.ImportFrom(module="time"):
                yield "from time import"
            case _:
                pass


@pytest.mark.parametrize("path", STORES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_store_reads_the_clock_of_its_process(path: Path) -> None:
    assert list(clock_reads(path.read_text())) == []


@pytest.mark.parametrize(
    "source", ["import time", "from time import time", "datetime.now(UTC)", "date.today()"]
)
def test_a_reading_of_the_clock_would_be_seen(source: str) -> None:
    assert list(clock_reads(source))


def test_a_worker_whose_clock_is_hours_off_does_its_part_and_the_steward_judges_leases_by_the_store(
    world: World,
) -> None:
    world.book(4)
    job = world.submit(parallelism=2)
    for hours in (-9, 9):
        world.tick()
        world.clock.time += timedelta(hours=hours)
        world.work(at_most=1)

    done = world.finish(job)

    assert (done.state, dict(done.counts), dict(done.healing)) == (JobState.DONE, {"traded": 4}, {})
    for item in world.items(job.job_id):
        (told,) = item.attempts
        assert abs(told.ended - world.store.now()) < timedelta(minutes=1)
