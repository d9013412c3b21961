"""What an operator asks of all jobs at once: which ones, what failed in them, and how the last hour went.

Every question is bounded: it looks at so many jobs or portfolios and says when there were more.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from domain.errors import Conflict, NotFound
from domain.ids import JobId, ModelId, PortfolioId
from domain.item import FINAL_STATES, ItemState
from domain.job import OPEN, Job, JobState, Retry
from domain.ports import CauseCount
from tasks.audit import note_action
from tasks.cancel_job import cancel_job
from tasks.retry_job import RetryJob, retry_job
from tasks.services import Services

FAILURES: Final = (ItemState.FAILED, ItemState.REJECTED, ItemState.INFEASIBLE)
RETRYABLE: Final = JobState.DONE_WITH_ERRORS
CANCELLABLE: Final = OPEN - {JobState.STOPPING}

JOBS_LOOKED_AT: Final = 400  # by one question; as many as may be open
RUNNING_COUNTED: Final = 50  # jobs whose portfolios are counted anew for the last hour
ITEMS_LOOKED_AT: Final = 20_000  # of one job, for the causes of its failures

HOUR: Final = timedelta(hours=1)
BARS: Final = 12  # of five minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which jobs. ``outcome`` and ``cause``: those with such a portfolio; both mean the same portfolio."""

    state: JobState | None = None
    model_id: ModelId | None = None
    portfolio_id: PortfolioId | None = None
    outcome: ItemState | None = None
    cause: str | None = None

    @property
    def looks_inside(self) -> bool:
        """Whether the jobs' portfolios have to be asked."""
        return self.outcome is not None or self.cause is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page of jobs, newest first. ``more``: there is another one, at ``next_offset``."""

    jobs: tuple[Job, ...]
    next_offset: int | None


def find_jobs(wanted: Wanted, services: Services, *, offset: int = 0, limit: int = 25) -> Found:
    """Jobs as ``wanted``. One that looks inside asks at most JOBS_LOOKED_AT jobs and has a single page.

    Raises:
        StoreUnavailable: the store is out of reach.
    """
    if wanted.looks_inside:
        jobs = (job for job in _listed(wanted, services, limit=JOBS_LOOKED_AT) if _has(job, wanted, services))
        return Found(jobs=tuple(islice(jobs, limit)), next_offset=None)
    jobs_and_one = _listed(wanted, services, offset=offset, limit=limit + 1)
    return Found(
        jobs=tuple(jobs_and_one[:limit]), next_offset=offset + limit if len(jobs_and_one) > limit else None
    )


def _listed(wanted: Wanted, services: Services, *, offset: int = 0, limit: int) -> Sequence[Job]:
    return services.jobs.list_jobs(
        states=() if wanted.state is None else (wanted.state,),
        model_id=wanted.model_id,
        portfolio_ids=() if wanted.portfolio_id is None else (wanted.portfolio_id,),
        offset=offset,
        limit=limit,
    )


def _has(job: Job, wanted: Wanted, services: Services) -> bool:
    if wanted.cause is None and job.state.closed:  # counted when it was closed
        return job.counts.get(str(wanted.outcome), 0) > 0
    states = () if wanted.outcome is None else (wanted.outcome,)
    return bool(services.jobs.list_items(job.job_id, states=states, cause=wanted.cause, limit=1))


# ------------------------------------------------------------------------------------------------ what failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What several jobs failed by: portfolios and jobs of one state and cause."""

    state: ItemState
    cause: str
    portfolios: int
    jobs: int
    retryable: int  # jobs that are over, where these portfolios may come back
    example: str


def failures_of(job: Job, services: Services) -> Sequence[CauseCount]:
    """What portfolios of a job failed by, were rejected or infeasible for: what may be retried first, then by number."""
    counted = services.jobs.count_causes(job.job_id, FAILURES, limit=ITEMS_LOOKED_AT)
    return sorted(counted, key=lambda each: (FAILURES.index(each.state), -each.portfolios, each.cause))


def failures_in(jobs: Iterable[Job], services: Services) -> Sequence[Failures]:
    """The same of several jobs together. What must be retried first, then the most frequent.

    Raises:
        StoreUnavailable: the store is out of reach.
    """
    by_cause: dict[tuple[ItemState, str], list[tuple[Job, CauseCount]]] = defaultdict(list)
    for job in jobs:
        if job.state.closed and not any(job.counts.get(state, 0) for state in FAILURES):
            continue
        for count in failures_of(job, services):
            by_cause[count.state, count.cause].append((job, count))
    failures = [
        Failures(
            state=state,
            cause=cause,
            portfolios=sum(count.portfolios for _, count in found),
            jobs=len(found),
            retryable=sum(1 for job, _ in found if state is ItemState.FAILED and job.state is RETRYABLE),
            example=found[0][1].example,
        )
        for (state, cause), found in by_cause.items()
    ]
    return sorted(failures, key=lambda each: (FAILURES.index(each.state), -each.portfolios, each.cause))


# ------------------------------------------------------------------------------------------------ to many at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a change to many jobs. ``refused``: those whose state no longer fitted, and why."""

    job_ids: tuple[JobId, ...]
    refused: tuple[tuple[JobId, str], ...]


def jobs_to_cancel(wanted: Wanted, services: Services) -> Sequence[Job]:
    """The open ones, at most JOBS_LOOKED_AT."""
    return _changeable(wanted, CANCELLABLE, services)


def jobs_to_retry(wanted: Wanted, services: Services) -> Sequence[Job]:
    """Those that are over with failed portfolios, at most JOBS_LOOKED_AT."""
    return _changeable(wanted, {RETRYABLE}, services)


def _changeable(wanted: Wanted, states: Iterable[JobState], services: Services) -> Sequence[Job]:
    fitting = [state for state in states if wanted.state in {None, state}]
    if not fitting:
        return ()
    jobs = services.jobs.list_jobs(
        states=fitting,
        model_id=wanted.model_id,
        portfolio_ids=() if wanted.portfolio_id is None else (wanted.portfolio_id,),
        limit=JOBS_LOOKED_AT,
    )
    return [job for job in jobs if not wanted.looks_inside or _has(job, wanted, services)]


def cancel_jobs(job_ids: Iterable[JobId], who: str, services: Services) -> Done:
    """Cancel these jobs, as somebody saw them; what is over or stopping meanwhile is left alone. Each is noted.

    Raises:
        StoreUnavailable: some may be cancelled already; do it again.
    """

    def cancel(job_id: JobId) -> str:
        state = services.jobs.get_job(job_id).state
        if state not in CANCELLABLE or (state := cancel_job(job_id, services).state).closed:
            raise Conflict(f"it is {state} meanwhile")
        return "cancel"

    return _each(job_ids, cancel, who, services)


def retry_jobs(job_ids: Iterable[JobId], wanted: Wanted, who: str, services: Services) -> Done:
    """Retry the failed portfolios of these jobs; of ``wanted`` its cause and its portfolio. Each is noted.

    Raises:
        StoreUnavailable: some may be retried already; do it again.
    """
    retry = Retry(
        cause=wanted.cause,
        portfolio_ids=None if wanted.portfolio_id is None else (wanted.portfolio_id,),
    )

    def retry_one(job_id: JobId) -> str:
        retry_job(RetryJob(job_id=job_id, retry=retry), services)
        return described(retry)

    return _each(job_ids, retry_one, who, services)


def _each(job_ids: Iterable[JobId], act: Callable[[JobId], str], who: str, services: Services) -> Done:
    """Each once. ``act`` says in words what it did, or raises Conflict or NotFound."""
    done, refused = list[JobId](), list[tuple[JobId, str]]()
    for job_id in dict.fromkeys(job_ids):
        try:
            did = act(job_id)
        except (Conflict, NotFound) as error:
            refused.append((job_id, str(error)))
        else:
            note_action(job_id, f"{did}, with others", who, services)
            done.append(job_id)
    return Done(job_ids=tuple(done), refused=tuple(refused))


def described(retry: Retry) -> str:
    """A retry in words."""
    of = "" if retry.cause is None else f" of cause {retry.cause}"
    if retry.portfolio_ids is None:
        return f"retry all failed portfolios{of}"
    return f"retry {', '.join(retry.portfolio_ids[:3])}{of}{' ...' if len(retry.portfolio_ids) > 3 else ''}"


# ------------------------------------------------------------------------------------------------ the last hour


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHour:
    """Throughput as the jobs tell it.

    ``portfolios`` got their outcome within the hour, ``bars`` are they by five minutes, oldest first. A job's
    portfolios are spread evenly over the time it ran. ``ended`` jobs, ``with_errors`` among them. Retried jobs are
    left out of ``portfolios``: how many came back is known to no job. ``more``: there were more jobs than were
    looked at.
    """

    portfolios: int
    bars: tuple[float, ...]
    ended: int
    with_errors: int
    more: bool


def last_hour(services: Services) -> LastHour:
    """Raises StoreUnavailable: the store is out of reach."""
    now = services.jobs.now()
    ended = services.jobs.list_jobs(finished_since=now - HOUR, limit=JOBS_LOOKED_AT + 1)
    running = services.jobs.list_jobs(states=(JobState.RUNNING, JobState.WAITING), limit=RUNNING_COUNTED)
    bars = [0.0] * BARS
    for job in ended[:JOBS_LOOKED_AT]:
        _spread(bars, job, finished_of(job.counts), job.finished_at or now, now)
    for job in running:
        _spread(bars, job, finished_of(services.jobs.count_items(job.job_id)), now, now)
    return LastHour(
        portfolios=round(sum(bars)),
        bars=tuple(bars),
        ended=len(ended),
        with_errors=sum(1 for job in ended if job.state is JobState.DONE_WITH_ERRORS),
        more=len(ended) > JOBS_LOOKED_AT,
    )


def finished_of(counts: Mapping[str, int]) -> int:
    """How many portfolios have their outcome."""
    return sum(counts.get(state, 0) for state in FINAL_STATES)


def _spread(bars: list[float], job: Job, portfolios: int, end: datetime, now: datetime) -> None:
    if job.gen or job.started_at is None or not portfolios:
        return
    step = HOUR / BARS
    began, ended = (now - job.started_at) / step, (now - end) / step  # in bars before now
    took = began - ended
    for bar in range(BARS):
        newest = BARS - 1 - bar  # how many bars ago it ends
        if took <= 0:
            share = 1.0 if newest <= ended < newest + 1 else 0.0
        else:
            share = max(0.0, min(began, newest + 1) - max(ended, newest)) / took
        bars[bar] += portfolios * share
