"""Change how many portfolios of an open job may be in work at once."""

import structlog

from domain.errors import BrokerUnavailable, Invalid, WrongState
from domain.ids import JobId
from domain.job import Job, JobState
from domain.ports import Token
from tasks.services import Services
from tasks.tokens import tokens_of

log = structlog.get_logger(__name__)


def change_parallelism(job_id: JobId, parallelism: int, services: Services) -> Job:
    """More: the new seats get their tokens at once. Fewer: a token of a seat that is gone ends.

    What is in work ends in peace. A worker learns of it within a second; from then on, and once what was in work
    has ended, there are never more than the new number. Harmless when repeated.

    Raises:
        NotFound: no such job.
        WrongState: the job is over.
        Invalid: out of range.
    """
    most = services.rules.max_parallelism
    if not 1 <= parallelism <= most:
        raise Invalid(
            f"parallelism {parallelism} is not within 1..{most}",
            details=({"field": "parallelism", "message": f"must be within 1..{most}"},),
        )
    services.jobs.get_job(job_id)
    before = services.jobs.set_parallelism(job_id, parallelism)
    job = services.jobs.get_job(job_id)
    if before is None:
        raise WrongState(f"job {job_id} is {job.state}: it works on nothing any more", code="job_over")
    if job.state is JobState.RUNNING:
        _fill(tokens_of(job, (seat for seat in job.seats if seat >= before)), services)
    return job


def _fill(tokens: list[Token], services: Services) -> None:
    """What cannot be sent the steward sends, once it notices."""
    try:
        services.tokens.send(tokens)
    except BrokerUnavailable as error:
        log.warning("tokens.not_sent", tokens=len(tokens), error=str(error))
