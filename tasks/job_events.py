"""Tell of jobs: the events that the store wrote with each change, as messages, in order, until each was told.

Nothing is told that the store does not have, and what it has is told again and again until it is marked: a crash
between the two repeats an event, under the same id and with the same bytes.
"""

from typing import Annotated, Final, Literal

import msgspec

from domain.job import EventKind, Job, JobEvent, JobState
from domain.ports import Publication
from tasks.services import Services

JOB_EVENT_SCHEMA: Final = "trimtab.job-event.v1"
JOBS_AT_ONCE = 200

_ENCODER = msgspec.json.Encoder()


class JobEventMessage(msgspec.Struct, kw_only=True, gc=False):
    """Something that happened to a job. Its fields in the order they are written."""

    schema: Literal["trimtab.job-event.v1"] = JOB_EVENT_SCHEMA
    id: Annotated[str, msgspec.Meta(description="job:sequence; drop what you have seen.", max_length=64)]
    event: Annotated[EventKind, msgspec.Meta(description="What happened.")]
    sequence: Annotated[int, msgspec.Meta(ge=1, description="Counts the job's events, retries included.")]
    at: Annotated[
        str,
        msgspec.Meta(description="When, by the store's clock.", extra_json_schema={"format": "date-time"}),
    ]
    job_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{24}$")]
    key: Annotated[str, msgspec.Meta(description="The request's idempotency key, or the one it was given.")]
    model_id: str
    state: Annotated[JobState, msgspec.Meta(description="Of the job, when it had happened.")]
    reason: Annotated[str | None, msgspec.Meta(description="Why it waits, or was stopped.")]
    portfolios: Annotated[int, msgspec.Meta(ge=1, description="How many the job has.")]
    counts: Annotated[
        dict[str, int] | None, msgspec.Meta(description="Portfolios by outcome, once the job is over.")
    ]
    retries: Annotated[int, msgspec.Meta(ge=0, description="How many retries the job had had.")]
    dry_run: bool
    correlation_id: str


def job_event(job: Job, event: JobEvent) -> Publication:
    """The event as it goes out: nothing in it depends on when or by whom it is told, so the bytes are always the same."""
    told = JobEventMessage(
        id=f"{job.job_id}:{event.sequence}",
        event=event.kind,
        sequence=event.sequence,
        at=event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        job_id=job.job_id,
        key=job.key,
        model_id=job.model.model_id,
        state=event.state,
        reason=event.reason,
        portfolios=job.n,
        counts=None if event.counts is None else {state: n for state, n in sorted(event.counts.items()) if n},
        retries=event.gen,
        dry_run=job.dry_run,
        correlation_id=job.correlation_id,
    )
    return Publication(told.id, job.job_id, _ENCODER.encode(told))


def tell_job_events(services: Services) -> int:
    """Publish what nobody was told of yet, each job's events in their order. How many.

    Raises:
        BrokerUnavailable: the rest stays untold.
        StoreUnavailable: what was published last may be published again.
    """
    told = 0
    for untold in services.jobs.untold(JOBS_AT_ONCE):
        services.events.publish(*(job_event(untold.job, event) for event in untold.events))
        services.jobs.mark_told(untold.job.job_id, untold.events[-1].sequence)
        told += len(untold.events)
    return told
