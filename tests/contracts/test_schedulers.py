"""Several schedulers on one real store: one job a night."""

import threading
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from adapters.stores.open import open_store
from tasks.scheduler import Scheduler
from tests.support.schedules import StoreAt, schedule, there
from tests.support.world import World

NIGHTS = ("2026-11-23", "2026-11-24", "2026-11-25", "2026-11-27", "2026-11-30")
COPIES = 4


def test_any_number_of_schedulers_start_one_job_a_night(tmp_path: Path, store_url: str) -> None:
    """Each in a thread with a connection of its own, all of them at the same moment."""
    world = World.create(tmp_path, store_url=store_url)
    world.book(1)
    stores = [open_store(store_url, synchronous="off") for _ in range(COPIES)]
    clocks = [StoreAt(store, there(NIGHTS[0], "12:00")) for store in stores]
    together = threading.Barrier(COPIES)

    def look(clock: StoreAt) -> None:
        services = replace(
            world.services, jobs=clock.as_jobs, models=clock.store, schedules=lambda: (schedule(),)
        )
        scheduler = Scheduler(services)
        scheduler.tick()
        for night in NIGHTS:
            together.wait(10)
            clock.time = there(night, "22:00")
            scheduler.tick()

    with capture_logs() as logs:
        threads = [threading.Thread(target=look, args=(clock,)) for clock in clocks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    jobs = sorted(job.key for job in world.store.list_jobs())
    for store in (*stores, world.store):
        store.close()

    assert jobs == [f"schedule:nightly:{night}" for night in NIGHTS]
    events = [entry["event"] for entry in logs]
    assert (events.count("schedule.started"), events.count("schedule.missed")) == (len(NIGHTS), 0)
    skipped = [entry["day"] for entry in logs if entry["event"] == "schedule.skipped"]
    assert skipped == ["2026-11-26", "2026-11-28", "2026-11-29"]
