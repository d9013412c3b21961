"""What operators ask of all jobs at once, what they do to many, and how it is noted."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from domain.errors import StoreUnavailable, UpstreamUnavailable
from domain.ids import JobId, ModelId
from domain.item import ItemState
from domain.job import Job, JobState, Retry
from domain.ports import JobStore
from tasks import audit, watch_jobs
from tasks.audit import actions_on, note_action
from tasks.watch_jobs import (
    BARS,
    Wanted,
    cancel_jobs,
    described,
    failures_in,
    failures_of,
    find_jobs,
    jobs_to_cancel,
    jobs_to_retry,
    last_hour,
    retry_jobs,
)
from tests.support import builders
from tests.support.job_page import broken_job
from tests.support.lives import job
from tests.support.world import World

pytestmark = pytest.mark.usefixtures("quiet")


def keys(jobs: object) -> list[str]:
    assert isinstance(jobs, (list, tuple))
    return [each.key for each in jobs]


def shown(jobs: Iterable[Job]) -> list[JobId]:
    return [each.job_id for each in jobs]


# ------------------------------------------------------------------------------------------------ finding


def test_jobs_are_found_newest_first_and_in_pages(world: World) -> None:
    world.book(1)
    for number in range(3):
        world.submit(f"k{number}")
    first = find_jobs(Wanted(), world.services, limit=2)
    assert (len(first.jobs), first.next_offset) == (2, 2)
    rest = find_jobs(Wanted(), world.services, offset=2, limit=2)
    assert (len(rest.jobs), rest.next_offset) == (1, None)
    assert {*keys(first.jobs), *keys(rest.jobs)} == {"k0", "k1", "k2"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), {"calm", "broken", "open"}),
        (Wanted(state=JobState.DONE), {"calm"}),
        (Wanted(model_id=ModelId("OTHER1")), set()),
        (
            Wanted(portfolio_id=builders.portfolio_id(1)),
            {"calm", "broken"},
        ),  # the open one is not expanded yet
        (Wanted(outcome=ItemState.FAILED), {"broken"}),
        (Wanted(outcome=ItemState.TRADED), {"calm", "broken"}),
        (Wanted(outcome=ItemState.FAILED, cause="upstream_fault"), {"broken"}),
        (Wanted(outcome=ItemState.TRADED, cause="upstream_fault"), set()),
        (Wanted(cause="upstream_fault"), {"broken"}),
        (Wanted(state=JobState.DONE, cause="upstream_fault"), set()),
    ],
)
def test_jobs_are_found_by_state_model_portfolio_outcome_and_cause(
    world: World, wanted: Wanted, found: set[str]
) -> None:
    world.book(3)
    world.finish(world.submit("calm"))
    broken_job(world, key="broken")
    world.submit("open")
    assert set(keys(find_jobs(wanted, world.services).jobs)) == found


# ------------------------------------------------------------------------------------------------ what failed


def test_failures_are_told_by_cause_those_to_retry_first(world: World) -> None:
    world.book(5)
    broken = broken_job(world, broken=(2, 3))
    (failure,) = failures_of(broken, world.services)
    assert (failure.state, failure.cause, failure.portfolios) == (ItemState.FAILED, "upstream_fault", 2)


def test_failures_of_several_jobs_are_added_up(world: World) -> None:
    world.book(4)
    jobs = [broken_job(world, broken=(2, 3), key="a"), broken_job(world, broken=(3,), key="b")]
    (failure,) = failures_in(jobs, world.services)
    assert (failure.portfolios, failure.jobs, failure.retryable) == (3, 2, 2)
    assert failure.example.startswith("upstream_fault: ")


def test_a_job_without_failures_costs_no_question(world: World) -> None:
    world.book(2)
    calm = world.finish(world.submit())
    silent = replace(world.services, jobs=_Nobody())  # type: ignore[arg-type]  # nothing of it is called
    assert failures_in([calm], silent) == []


class _Nobody:
    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"asked for {name}")


# ------------------------------------------------------------------------------------------------ many at once


def test_every_open_job_of_a_filter_is_cancelled_and_noted(world: World) -> None:
    world.book(2)
    over = world.finish(world.submit("over"))
    world.submit("a")
    world.submit("b")
    assert set(keys(jobs_to_cancel(Wanted(), world.services))) == {"a", "b"}
    assert jobs_to_cancel(Wanted(state=JobState.DONE), world.services) == ()
    done = cancel_jobs(
        shown(jobs_to_cancel(Wanted(model_id=ModelId("MODEL1")), world.services)),
        "ops (0123)",
        world.services,
    )
    assert len(done.job_ids) == 2
    assert all(world.store.get_job(job_id).state is JobState.STOPPING for job_id in done.job_ids)
    assert [(each.what, each.who) for each in actions_on(done.job_ids[0], world.services)] == [
        ("cancel, with others", "ops (0123)")
    ]
    assert world.job(over).state is JobState.DONE
    assert jobs_to_cancel(Wanted(), world.services) == []  # stopping already


def test_failed_portfolios_of_a_cause_come_back_in_every_job_of_a_filter(world: World) -> None:
    world.book(4)
    jobs = [broken_job(world, key=key) for key in ("a", "b")]
    wanted = Wanted(outcome=ItemState.FAILED, cause="upstream_fault")
    assert set(keys(jobs_to_retry(wanted, world.services))) == {"a", "b"}
    done = retry_jobs(shown(jobs_to_retry(wanted, world.services)), wanted, "ops (0123)", world.services)
    assert (set(done.job_ids), done.refused) == ({each.job_id for each in jobs}, ())
    for each in jobs:
        assert world.finish(each).state is JobState.DONE
        (action,) = actions_on(each.job_id, world.services)
        assert action.what == "retry all failed portfolios of cause upstream_fault, with others"
    assert jobs_to_retry(wanted, world.services) == []


def test_a_job_without_such_a_failure_is_left_alone_and_told(world: World) -> None:
    world.book(3)
    broken = broken_job(world)
    wanted = Wanted(portfolio_id=builders.portfolio_id(1))
    done = retry_jobs(shown(jobs_to_retry(wanted, world.services)), wanted, "ops", world.services)
    assert done.job_ids == ()
    ((job_id, why),) = done.refused
    assert job_id == broken.job_id
    assert "no failed portfolio" in why
    assert actions_on(broken.job_id, world.services) == ()


@pytest.mark.parametrize(
    ("retry", "words"),
    [
        (Retry(), "retry all failed portfolios"),
        (Retry(cause="poison"), "retry all failed portfolios of cause poison"),
        (Retry(portfolio_ids=(builders.portfolio_id(1),)), f"retry {builders.portfolio_id(1)}"),
        (
            Retry(portfolio_ids=tuple(builders.portfolio_id(n) for n in range(5))),
            f"retry {', '.join(builders.portfolio_id(n) for n in range(3))} ...",
        ),
    ],
)
def test_a_retry_is_told_in_words(retry: Retry, words: str) -> None:
    assert described(retry) == words


# ------------------------------------------------------------------------------------------------ who and when


def test_actions_are_kept_in_order_and_the_oldest_let_go(world: World) -> None:
    for number in range(audit.KEPT + 2):
        note_action(JobId("j1"), f"act {number}", "ops", world.services)
    kept = actions_on(JobId("j1"), world.services)
    assert [each.what for each in (kept[0], kept[-1])] == ["act 2", f"act {audit.KEPT + 1}"]
    assert len(kept) == audit.KEPT
    assert kept[0].at <= kept[-1].at
    assert kept[0].at.utcoffset() == timedelta(0)
    assert actions_on(JobId("j2"), world.services) == ()


def test_an_action_that_others_note_at_the_same_moment_is_not_lost(world: World) -> None:
    class Contended:
        """Somebody else writes between the reading and the writing, once."""

        def __init__(self, store: JobStore) -> None:
            self.store, self.times = store, 1

        def __getattr__(self, name: str) -> object:
            return getattr(self.store, name)

        def swap_note(self, name: str, old: str | None, new: str) -> bool:
            if self.times:
                self.times -= 1
                note_action(JobId("j1"), "theirs", "them", world.services)
            return self.store.swap_note(name, old, new)

    note_action(
        JobId("j1"),
        "ours",
        "us",
        replace(world.services, jobs=Contended(world.store)),  # type: ignore[arg-type]  # it answers as the store
    )
    assert [each.what for each in actions_on(JobId("j1"), world.services)] == ["theirs", "ours"]


@pytest.mark.parametrize("answer", [False, StoreUnavailable("store", "gone")], ids=["others", "out"])
def test_an_action_that_cannot_be_noted_stands_all_the_same_and_is_in_the_log(
    world: World, answer: object
) -> None:
    class Stubborn:
        def __getattr__(self, name: str) -> object:
            return getattr(world.store, name)

        def swap_note(self, name: str, old: str | None, new: str) -> bool:
            if isinstance(answer, Exception):
                raise answer
            return False

    with capture_logs() as logs:
        note_action(JobId("j1"), "cancel", "ops", replace(world.services, jobs=Stubborn()))  # type: ignore[arg-type]  # it answers as the store
    assert [entry["event"] for entry in logs] == ["job.action", "job.action_not_noted"]
    assert all(entry["who"] == "ops" for entry in logs)


# ------------------------------------------------------------------------------------------------ the last hour


def test_the_last_hour_counts_what_ended_and_what_runs(world: World) -> None:
    world.book(4)
    broken_job(world, key="a")
    running = world.submit("b")
    world.tick(2).work(at_most=2)
    hour = last_hour(world.services)
    assert (hour.ended, hour.with_errors, hour.more) == (1, 1, False)
    finished = sum(
        n for state, n in world.counts(running).items() if state not in {"pending", "running", "delayed"}
    )
    assert hour.portfolios == 4 + finished
    assert sum(hour.bars[-2:]) == pytest.approx(hour.portfolios)


def test_a_retried_job_does_not_count_twice(world: World) -> None:
    world.book(3)
    broken = broken_job(world)
    retry_jobs(shown(jobs_to_retry(Wanted(), world.services)), Wanted(), "ops", world.services)
    world.finish(broken)
    assert last_hour(world.services).portfolios == 0


@pytest.mark.parametrize(
    ("began", "ended", "bars"),
    [
        (60, 0, dict.fromkeys(range(BARS), 10.0)),  # 120 over the whole hour
        (120, 0, dict.fromkeys(range(BARS), 5.0)),  # only the half of it within the hour
        (5, 0, {11: 120.0}),
        (15, 5, {9: 60.0, 10: 60.0}),
        (62, 58, {0: 60.0}),
        (30, 30, {5: 120.0}),  # in no time at all: ended where the bar begins
        (300, 120, {}),
    ],
)
def test_a_jobs_portfolios_are_spread_over_the_time_it_ran(
    began: float, ended: float, bars: dict[int, float]
) -> None:
    run = replace(job(), started_at=builders.MORNING - timedelta(minutes=began))
    spread = [0.0] * BARS
    watch_jobs._spread(spread, run, 120, builders.MORNING - timedelta(minutes=ended), builders.MORNING)
    assert {bar: value for bar, value in enumerate(spread) if value} == pytest.approx(bars)


def test_what_waits_for_an_upstream_is_no_failure(world: World) -> None:
    world.book(2)
    world.upstreams.broken[builders.portfolio_id(1)] = UpstreamUnavailable("accounting", "refused")
    waiting = world.submit()
    world.tick(2).work(at_most=1)
    assert failures_in([world.job(waiting)], world.services) == []
