"""Repairs are told twice: with their job, for whoever looks at it, and to the meter, for whoever watches all of them."""

from domain.ids import JobId
from tasks.services import Services


def note_healing(services: Services, job_id: JobId, kind: str, count: int = 1) -> None:
    """Raises StoreUnavailable: the repair stands, its note is lost."""
    services.jobs.note_healing(job_id, kind, count)
    services.meter.healed(kind, count)
