"""Publish stored order sets and job events again: what a result queue forgot, byte for byte."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from domain.ids import JobId
from domain.job import OPEN, Job
from tasks.services import Services

_PAGE = 500


def republish_job(job_id: JobId, services: Services) -> int:
    """Every order set of the job falls due; the steward publishes what the queue does not have. How many.

    The job's events are told once more likewise.

    Raises:
        NotFound: no such job.
    """
    services.jobs.get_job(job_id)
    services.jobs.tell_again(job_id)
    return services.jobs.due_again(job_id)


def republish_recent(services: Services, *, since: datetime | None = None) -> int:
    """The order sets, and the events, of every open job and of those that ended within the window. How many fell due.

    Which of them were consumed the queue cannot say once it lost its data, so all of them are published; a
    consumer knows an id it has seen. ``since`` leaves out what was decided before that moment.
    """
    job_ids = sorted({job.job_id for job in _recent(services)})
    for job_id in job_ids:
        services.jobs.tell_again(job_id)
    return sum(services.jobs.due_again(job_id, since=since) for job_id in job_ids)


def _recent(services: Services) -> Iterator[Job]:
    """Some twice: what is open is listed again, for a job that a retry took out of the others meanwhile."""
    list_jobs = services.jobs.list_jobs
    start = services.jobs.now() - timedelta(seconds=services.rules.republish_window_seconds)
    still_open, over = partial(list_jobs, states=OPEN), partial(list_jobs, finished_since=start)
    for listed in (still_open, over, still_open):
        offset = 0
        while page := listed(offset=offset, limit=_PAGE):
            yield from page
            offset += len(page)
