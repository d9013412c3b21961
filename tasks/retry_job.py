"""Retry: failed portfolios of a job that is over come back as new attempts, under the same ids."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from domain.errors import Invalid, WrongState
from domain.ids import JobId
from domain.item import Item, ItemState
from domain.job import ALL_FAILED, JOB_MOVES, Job, Retry
from tasks.deadline import deadline_of
from tasks.services import Services

NOTHING_TO_RETRY = "nothing_to_retry"
JOB_NOT_OVER = "job_not_over"

_PAGE = 1000
_NAMED_IN_AN_ERROR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryJob:
    """``deadline`` None: as long as a new job has by default, from now. The old one is likely to have passed."""

    job_id: JobId
    retry: Retry = ALL_FAILED
    deadline: datetime | None = None


def retry_job(command: RetryJob, services: Services) -> Job:
    """The job, reopening. What is decided stays; cancelled portfolios stay cancelled.

    Repeated while that very retry is under way it changes nothing and answers with the job: a caller whose answer
    was lost asks again.

    Raises:
        NotFound: no such job.
        WrongState: the job is not over, was cancelled, or has no failed portfolio of this choice.
        Invalid: a chosen portfolio has not failed in this job, or the deadline has passed.
        StoreUnavailable: ask again.
    """
    job = services.jobs.get_job(command.job_id)
    if not job.state.closed:
        return _under_way(job, command)
    if job.state not in JOB_MOVES["retry"].sources:
        raise WrongState(f"job {job.job_id} is {job.state}: it has nothing to retry", code=NOTHING_TO_RETRY)
    _require_failed(job, command.retry, services)
    deadline = deadline_of(command.deadline, services)
    if services.jobs.retry_job(job.job_id, job.gen, command.retry, deadline=deadline):
        return services.jobs.get_job(job.job_id)
    return _under_way(services.jobs.get_job(job.job_id), command)


def _under_way(job: Job, command: RetryJob) -> Job:
    if job.retry != command.retry:
        raise WrongState(f"job {job.job_id} is {job.state}: retry it when it is over", code=JOB_NOT_OVER)
    return job


def _require_failed(job: Job, retry: Retry, services: Services) -> None:
    failed = {
        item.portfolio_id
        for item in _failed(job.job_id, services)
        if retry.chooses(item.portfolio_id, item.reason)
    }
    if not failed:
        raise WrongState(f"job {job.job_id} has no failed portfolio of this choice", code=NOTHING_TO_RETRY)
    strangers = [portfolio for portfolio in retry.portfolio_ids or () if portfolio not in failed]
    if strangers:
        named = ", ".join(strangers[:_NAMED_IN_AN_ERROR])
        more = len(strangers) - _NAMED_IN_AN_ERROR
        raise Invalid(
            f"not among the failed portfolios of this choice: {named}{f' and {more} more' if more > 0 else ''}",
            code="not_failed",
        )


def _failed(job_id: JobId, services: Services) -> Iterator[Item]:
    after = -1
    while page := services.jobs.list_items(job_id, states=[ItemState.FAILED], after_seq=after, limit=_PAGE):
        yield from page
        after = page[-1].seq
