"""Job events on their way out: each once and in order where the queue knows ids, never lost, always the same bytes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.errors import StoreUnavailable, UpstreamFault
from domain.job import Job
from tasks.cancel_job import cancel_job
from tasks.job_events import tell_job_events
from tasks.republish import republish_job
from tasks.retry_job import RetryJob, retry_job
from tests.support import builders
from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.create(tmp_path)


def told(world: World) -> list[dict[str, Any]]:
    return [json.loads(body) for body in world.events.entries.values()]


def told_of(world: World) -> list[str]:
    return [event["event"] for event in told(world)]


def test_a_job_is_told_from_its_acceptance_to_its_end(world: World) -> None:
    world.book(2)
    job = world.submit(key="nightly-1", correlation_id="desk-7")
    world.finish(job)
    world.tick()

    first, started, last = told(world)
    assert [event["event"] for event in (first, started, last)] == ["accepted", "started", "finished"]
    assert first == {
        "schema": "trimtab.job-event.v1",
        "id": f"{job.job_id}:1",
        "event": "accepted",
        "sequence": 1,
        "at": first["at"],
        "job_id": job.job_id,
        "key": "nightly-1",
        "model_id": "MODEL1",
        "state": "accepted",
        "reason": None,
        "portfolios": 2,
        "counts": None,
        "retries": 0,
        "dry_run": False,
        "correlation_id": "desk-7",
    }
    assert (last["state"], last["counts"]) == ("done", {"traded": 2})
    assert world.events.repeats == []
    assert list(world.events.entries) == [f"{job.job_id}:{n}" for n in (1, 2, 3)]


def test_an_outage_is_told_and_its_end(world: World) -> None:
    world.book(2)
    job = world.submit()
    world.tick(2)
    world.upstreams.out = True
    world.work()
    world.tick()
    world.upstreams.out = False
    world.finish(job)
    world.tick()

    assert told_of(world) == ["accepted", "started", "waiting", "resumed", "finished"]
    assert "accounting" in told(world)[2]["reason"]
    assert [event["state"] for event in told(world)] == ["accepted", "running", "waiting", "running", "done"]


def test_failed_and_cancelled_portfolios_are_told_by_the_counts_of_the_end(world: World) -> None:
    world.book(2)
    world.upstreams.broken[builders.portfolio_id(2)] = UpstreamFault("accounting", "not JSON")
    failing = world.finish(world.submit())
    world.tick()
    assert told(world)[-1]["counts"] == {"failed": 1, "traded": 1}

    world.upstreams.broken.clear()
    retry_job(RetryJob(job_id=failing.job_id), world.services)
    world.finish(failing)
    world.tick()

    assert told_of(world)[3:] == ["reopened", "finished"]
    assert (told(world)[-1]["counts"], told(world)[-1]["retries"]) == ({"traded": 2}, 1)

    cancelled = world.submit(key="k2")
    world.tick()
    cancel_job(cancelled.job_id, world.services)
    world.finish(cancelled)
    world.tick()
    assert (told(world)[-1]["state"], told(world)[-1]["counts"]) == ("cancelled", {"cancelled": 2})
    assert told(world)[-1]["reason"] == "cancelled on request"


def test_a_broker_that_is_out_delays_what_is_told_and_loses_nothing(world: World) -> None:
    world.book(1)
    world.events.out = True
    world.finish(world.submit())
    assert world.events.entries == {}

    world.events.out = False
    world.tick()

    assert told_of(world) == ["accepted", "started", "finished"]


def test_who_dies_between_telling_and_marking_is_repeated_with_the_same_bytes(world: World) -> None:
    world.book(1)
    job = world.submit()

    class DiesHere:
        def __getattr__(self, name: str) -> Any:
            if name == "mark_told":
                raise StoreUnavailable("store", "killed")
            return getattr(world.store, name)

    with pytest.raises(StoreUnavailable):
        tell_job_events(replace(world.services, jobs=DiesHere()))
    tell_job_events(world.services)

    (repeat,) = world.events.repeats
    assert world.events.entries == {repeat.entry_id: repeat.body}
    assert repeat.entry_id == f"{job.job_id}:1"
    assert world.store.untold() == []


def test_a_queue_that_forgot_is_told_everything_of_the_recent_jobs_again(world: World) -> None:
    world.book(1)
    world.finish(world.submit())
    world.tick(2)
    before = dict(world.events.entries)
    world.publisher.forget()
    world.events.forget()

    world.tick(3)

    assert world.events.entries == before


def test_republishing_a_job_tells_of_it_again(world: World) -> None:
    world.book(1)
    job = world.finish(world.submit())
    world.tick(2)
    before = dict(world.events.entries)
    world.events.entries.clear()

    republish_job(job.job_id, world.services)
    world.tick()

    assert world.events.entries == before


def test_nothing_is_written_while_nothing_happens(world: World) -> None:
    world.book(1)
    job: Job = world.finish(world.submit())
    world.tick()

    assert tell_job_events(world.services) == 0
    assert world.store.untold() == []
    assert world.job(job).healing == {}
