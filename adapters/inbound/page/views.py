"""What the pages show: from stored jobs and results to what the templates print. Numbers to draw are floats, no others."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import ceil
from typing import Any, Final, Generic, TypeVar

from adapters.inbound.answers import stored_result
from adapters.inbound.keys import Role
from adapters.inbound.page import advice
from adapters.inbound.page.door import Viewer
from adapters.inbound.page.render import Pages, Region
from adapters.inbound.schedule_answers import ScheduleAnswer, schedules_answer
from domain.ids import JobId, PortfolioId, item_id
from domain.item import Item, ItemState
from domain.job import JOB_MOVES, Job, JobState
from tasks.audit import actions_on
from tasks.broker_outage import why_it_waits
from tasks.services import Services
from tasks.start_run import RUN_KEYS
from tasks.watch_jobs import (
    FAILURES,
    HOUR,
    JOBS_LOOKED_AT,
    RETRYABLE,
    Wanted,
    failures_in,
    failures_of,
    find_jobs,
    finished_of,
    last_hour,
)

_T = TypeVar("_T")

JOBS_A_PAGE: Final = 25
ITEMS_A_PAGE: Final = 50

# In the order in which bars and legends show them.
STATES: Final = (
    ItemState.TRADED,
    ItemState.NO_TRADE,
    ItemState.INFEASIBLE,
    ItemState.REJECTED,
    ItemState.FAILED,
    ItemState.CANCELLED,
    ItemState.RUNNING,
    ItemState.DELAYED,
    ItemState.PENDING,
)
_KEEP_HOUR_SECONDS: Final = 5.0
_KEEP_SCHEDULES_SECONDS: Final = 10.0
_LEAST_AXIS: Final = 0.01


# ------------------------------------------------------------------------------------------------ one job


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a job's bar: ``x`` and ``width`` are percent of it."""

    state: ItemState
    count: int
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobShown:
    """A job, and how far it is. ``rate`` is portfolios a second since it started, ``left`` the time at that rate."""

    job: Job
    counts: Mapping[str, int]
    reason: str | None
    advice: str
    now: datetime

    @property
    def finished(self) -> int:
        return finished_of(self.counts)

    @property
    def segments(self) -> Sequence[Segment]:
        counted = {state: self.counts.get(state, 0) for state in STATES}
        counted[ItemState.PENDING] += max(self.job.n - sum(counted.values()), 0)  # not written yet
        ends = [0.0]
        for count in counted.values():
            ends.append(ends[-1] + 100 * count / max(self.job.n, 1))
        return [
            Segment(state, count, start, end - start)
            for (state, count), (start, end) in zip(counted.items(), pairwise(ends), strict=True)
            if count
        ]

    @property
    def ran(self) -> timedelta | None:
        """How long it has been at work; None: it did not start."""
        if self.job.started_at is None:
            return None
        return max((self.job.finished_at or self.now) - self.job.started_at, timedelta(0))

    @property
    def rate(self) -> float | None:
        if self.job.gen or self.ran is None or not self.finished or self.ran < timedelta(milliseconds=100):
            return None
        return self.finished / self.ran.total_seconds()

    @property
    def left(self) -> float | None:
        if self.rate is None or self.job.state is not JobState.RUNNING:
            return None
        return (self.job.n - self.finished) / self.rate

    @property
    def tries_in(self) -> int | None:
        """Whole seconds until a waiting job tries again."""
        if self.job.probe_at is None or self.job.state not in {JobState.WAITING, JobState.ACCEPTED}:
            return None
        return max(ceil((self.job.probe_at - self.now).total_seconds()), 0)

    @property
    def may_be_cancelled(self) -> bool:
        return self.job.state in JOB_MOVES["stop"].sources

    @property
    def may_be_retried(self) -> bool:
        return self.job.state is RETRYABLE and self.job.deleted_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which portfolios of a job are listed. ``after``: those behind this place."""

    outcome: ItemState | None = None
    cause: str | None = None
    after: int = -1


# ------------------------------------------------------------------------------------------------ one portfolio


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftBar:
    """One security: weights before and after beside its bounds. All in percent of the axis, for drawing only."""

    low: float
    high: float
    target: float
    before: float | None
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionShown:
    """Weights are exact decimals. ``before`` None: the value of the portfolio is not known."""

    row: Mapping[str, Any]
    low: Decimal
    high: Decimal
    before: Decimal | None
    after: Decimal
    bar: DriftBar

    @property
    def was_inside(self) -> bool | None:
        return None if self.before is None else self.low <= self.before <= self.high

    @property
    def is_inside(self) -> bool:
        return self.low <= self.after <= self.high


def positions_shown(result: Mapping[str, Any]) -> Sequence[PositionShown]:
    """The positions of a stored result, the largest change first."""
    rows = [_weights(row, result.get("market_value")) for row in result.get("positions") or ()]
    axis = max((float(max(high, after, before or 0)) for _, _, high, before, after in rows), default=0.0)
    axis = max(axis * 1.05, _LEAST_AXIS)
    shown = [
        PositionShown(
            row=row,
            low=low,
            high=high,
            before=before,
            after=after,
            bar=DriftBar(
                low=_on(max(low, Decimal(0)), axis),
                high=_on(high, axis),
                target=_on(Decimal(row["target"]), axis),
                before=None if before is None else _on(before, axis),
                after=_on(after, axis),
            ),
        )
        for row, low, high, before, after in rows
    ]
    return sorted(shown, key=lambda each: (-abs(each.after - (each.before or 0)), each.row["security_id"]))


def _weights(
    row: Mapping[str, Any], market_value: str | None
) -> tuple[Mapping[str, Any], Decimal, Decimal, Decimal | None, Decimal]:
    target, low, high = (Decimal(row[name]) for name in ("target", "low_drift", "high_drift"))
    worth = Decimal(market_value or 0)
    held = Decimal(row["price"]) * Decimal(row["original_quantity"])
    before = (held / worth).quantize(Decimal("0.0001")) if worth > 0 else None
    return row, target - low, target + high, before, Decimal(row["actual"])


def _on(weight: Decimal, axis: float) -> float:
    return min(max(100 * float(weight) / axis, 0.0), 100.0)


# ------------------------------------------------------------------------------------------------ the pages


class Views:
    """Regions and pages, each of the moment."""

    def __init__(self, pages: Pages, services: Services) -> None:
        self._pages = pages
        self._services = services
        self._hour = _Kept(lambda: last_hour(services), _KEEP_HOUR_SECONDS)
        self._schedules = _Kept(lambda: schedules_answer(services).schedules, _KEEP_SCHEDULES_SECONDS)

    # -- all jobs

    def overview(self, wanted: Wanted, offset: int, viewer: Viewer) -> Mapping[str, Region]:
        """Raises StoreUnavailable."""
        found = find_jobs(wanted, self._services, offset=offset, limit=JOBS_A_PAGE)
        shown = [self._shown(job) for job in found.jobs]
        asked = asked_for(wanted)
        operates = viewer.may(Role.OPERATE)
        return {
            "vitals": self._pages.region(
                "_vitals.html",
                open=self._services.jobs.open_work(JOBS_LOOKED_AT),
                waiting=[each for each in shown if each.reason is not None and not each.job.state.closed],
                hour=self._hour(),
                hour_label=f"{round(HOUR / timedelta(minutes=1))} min",
            ),
            "failures": self._pages.region(
                "_failures.html",
                failures=failures_in(found.jobs, self._services),
                advice=advice.for_failure,
                asked=asked,
                operates=operates,
            ),
            "jobs": self._pages.region(
                "_jobs.html",
                jobs=shown,
                next_offset=found.next_offset,
                offset=offset,
                looked_at=JOBS_LOOKED_AT if wanted.looks_inside else None,
                asked=asked,
                operates=operates,
                some_open=any(each.may_be_cancelled for each in shown),
                some_failed=any(each.may_be_retried for each in shown),
            ),
            "schedules": self._pages.region(
                "_schedules.html", schedules=self._schedules(), operates=operates
            ),
        }

    # -- one job

    def job(self, job_id: JobId, chosen: Chosen, viewer: Viewer) -> Mapping[str, Region]:
        """Raises NotFound: no such job. StoreUnavailable."""
        jobs = self._services.jobs
        job = jobs.get_job(job_id)
        shown = self._shown(job)
        states = () if chosen.outcome is None else (chosen.outcome,)
        items = jobs.list_items(
            job_id, states=states, after_seq=chosen.after, cause=chosen.cause, limit=ITEMS_A_PAGE + 1
        )
        operates = viewer.may(Role.OPERATE)
        failed_any = any(shown.counts.get(state, 0) for state in FAILURES)
        return {
            "head": self._pages.region("_job_head.html", shown=shown),
            "actions": self._pages.region(
                "_job_actions.html",
                shown=shown,
                operates=operates,
            ),
            "causes": self._pages.region(
                "_job_causes.html",
                shown=shown,
                causes=failures_of(job, self._services) if failed_any else (),
                advice=advice.for_failure,
                operates=operates,
                failed=ItemState.FAILED,
            ),
            "portfolios": self._pages.region(
                "_job_portfolios.html",
                shown=shown,
                items=items[:ITEMS_A_PAGE],
                next_after=items[ITEMS_A_PAGE - 1].seq if len(items) > ITEMS_A_PAGE else None,
                chosen=chosen,
                operates=operates,
                failed=ItemState.FAILED,
            ),
            "history": self._pages.region(
                "_job_history.html", actions=list(reversed(actions_on(job_id, self._services)))
            ),
            "facts": self._pages.region("_job_facts.html", shown=shown, schedules=self._schedules_of(job)),
        }

    def _schedules_of(self, job: Job) -> Sequence[ScheduleAnswer]:
        """Those that will start its model again; that of every model tells only of the jobs that it started."""
        started_by = (
            job.key.removeprefix(RUN_KEYS).partition(":")[0] if job.key.startswith(RUN_KEYS) else None
        )
        return [
            each
            for each in self._schedules()
            if each.model_id == job.model.model_id or each.schedule_id == started_by
        ]

    def _shown(self, job: Job) -> JobShown:
        services = self._services
        counts = job.counts if job.state.closed else services.jobs.count_items(job.job_id)
        return JobShown(
            job=job,
            counts=counts,
            reason=why_it_waits(job, services),
            advice=advice.for_job(job),
            now=services.jobs.now(),
        )

    # -- one portfolio

    def portfolio(self, job_id: JobId, portfolio_id: PortfolioId) -> dict[str, Any]:
        """What its page shows. Raises NotFound: no such job, or no such portfolio in it. StoreUnavailable."""
        job = self._services.jobs.get_job(job_id)
        item = self._services.jobs.get_item(item_id(job_id, portfolio_id))
        result = stored_result(item)
        return {
            "shown": self._shown(job),
            "item": item,
            "result": result,
            "positions": positions_shown(result),
            "attempts": list(attempts_shown(item)),
            "advice": advice.for_failure(item.state, (item.reason or "").partition(":")[0]),
            "inline": None if item.inline is None else json.dumps(json.loads(item.inline), indent=1),
            "failed": ItemState.FAILED,
        }


def attempts_shown(item: Item) -> Iterator[Mapping[str, Any]]:
    """The attempts, the last one first, with how long each took."""
    for attempt in reversed(item.attempts):
        done = attempt.started is not None and attempt.ended is not None
        yield {
            "attempt": attempt,
            "took": attempt.ended - attempt.started if done else None,  # type: ignore[operator]  # both are there
        }


def asked_for(wanted: Wanted) -> dict[str, str]:
    """The filter as the fields of its form, for links and for forms that act on all of it."""
    given = {
        "state": wanted.state,
        "model": wanted.model_id,
        "portfolio": wanted.portfolio_id,
        "outcome": wanted.outcome,
        "cause": wanted.cause,
    }
    return {name: str(value) for name, value in given.items() if value is not None}


class _Kept(Generic[_T]):
    """What took a while to find out, for everybody who asks within some seconds. Safe from several threads."""

    def __init__(self, find: Callable[[], _T], seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._lock = threading.Lock()
        self._found: tuple[float, _T] | None = None

    def __call__(self) -> _T:
        with self._lock:
            if self._found is None or time.monotonic() > self._found[0]:
                self._found = (time.monotonic() + self._seconds, self._find())
            return self._found[1]
