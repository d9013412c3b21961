"""Close a job once every portfolio of it has ended."""

from domain.ids import JobId
from domain.item import DECIDED_STATES, OPEN_STATES
from domain.job import ALL_FAILED, JOB_MOVES, Job, JobState
from tasks.services import Services


def close_job_if_finished(job_id: JobId, services: Services) -> Job | None:
    """The closed job when this call closed it. Harmless at any time and from anywhere.

    The model's last rebalance date is written first: dying between the two repeats a write that changes
    nothing, while the other order could lose the date.

    Raises:
        StoreUnavailable: the steward closes it later.
    """
    job = services.jobs.get_job(job_id)
    if job.state not in JOB_MOVES["close"].sources:
        return None
    if job.state is JobState.STOPPING:
        put_back(job, services)
    if services.jobs.has_items(job_id, OPEN_STATES):
        return None
    if not job.dry_run and services.jobs.has_items(job_id, DECIDED_STATES):
        services.models.note_rebalanced(job.model.model_id, services.jobs.now())
    closed = services.jobs.close_job(job_id, job.gen)
    if closed is not None:
        services.meter.job_closed(closed)
    return closed


def put_back(job: Job, services: Services) -> None:
    """Put back the failed portfolios that the job's last retry chose. Nothing, once they are.

    A job that is stopped while they come back is not over before all of them did: else a steward that is slow to put
    one back would do it in a job that is closed already.
    """
    services.jobs.reopen_items(job.job_id, job.gen, job.retry or ALL_FAILED)
