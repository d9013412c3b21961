"""A broker that is out makes no job wait in the store's eyes; what the stewards see of it is told with the job."""

from domain.job import Job
from tasks.services import Services

BROKER_NOTE = "broker outage"  # "" or none: as far as the stewards can tell, it answers


def why_it_waits(job: Job, services: Services) -> str | None:
    """The job's own reason; without one, and as long as the job is open, that of the broker's outage.

    Raises:
        StoreUnavailable: the store is out of reach.
    """
    if job.reason is not None or job.state.closed:
        return job.reason
    return services.jobs.get_note(BROKER_NOTE) or None
