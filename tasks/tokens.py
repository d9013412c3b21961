"""The tokens of a job's seats."""

from collections.abc import Iterable

from domain.job import Job
from domain.ports import Token


def tokens_of(job: Job, seats: Iterable[int], *, probe: bool = False) -> list[Token]:
    """One a seat; each says of which request it is a part."""
    return [Token(job.job_id, seat, probe, job.trace_parent) for seat in seats]
