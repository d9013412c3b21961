"""Cancel a job: what is in work ends within one portfolio's time, the rest is swept by the steward."""

from domain.ids import JobId
from domain.item import ItemState
from domain.job import Job
from tasks.services import Services


def cancel_job(job_id: JobId, services: Services, *, reason: str = "cancelled on request") -> Job:
    """Harmless when repeated, and when the job is over already: the answer is the job as it stands.

    Raises:
        NotFound: no such job.
    """
    services.jobs.stop_job(job_id, ItemState.CANCELLED, reason)
    return services.jobs.get_job(job_id)
