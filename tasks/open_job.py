"""Take an accepted job to work: freeze its market, write its items, start it."""

from domain.errors import Invalid, UpstreamFault, UpstreamUnavailable
from domain.item import ItemState
from domain.job import Job
from tasks.freeze_job import freeze_job
from tasks.services import Services
from tasks.tokens import tokens_of

ITEMS_AT_ONCE = 1000


def open_job(job: Job, services: Services) -> None:
    """Every step may be repeated, by any steward: what is stored stays as it is.

    The first tokens, one a seat, are sent by the caller whose write started the job; lost, they are sent again.
    An upstream that is out, or answers nonsense, leaves the job accepted with the reason and a time to try
    again; a market that can never be right (a price of 0 in the request) stops it.

    Raises:
        StoreUnavailable: repeat it.
        BrokerUnavailable: the job is started; the steward sends the tokens when the broker is back.
    """
    try:
        freeze_job(job, services)
    except (UpstreamUnavailable, UpstreamFault) as outage:
        services.jobs.wait_job(job.job_id, str(outage), services.rules.outage_delay_seconds)
        return
    except Invalid as error:
        services.jobs.stop_job(job.job_id, ItemState.FAILED, f"{error.code}: {error}", gen=job.gen)
        return
    write_items(job, services)
    if services.jobs.start_job(job.job_id):
        services.tokens.send(tokens_of(job, job.seats))


def write_items(job: Job, services: Services) -> None:
    """One item a portfolio, a page at a time: a job of any size never sits in memory."""
    for offset in range(0, job.n, ITEMS_AT_ONCE):
        members = services.jobs.members(job.members_sha256, offset, ITEMS_AT_ONCE)
        services.jobs.insert_items(job, offset, members)
