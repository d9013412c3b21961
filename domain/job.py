"""A job: one request, its portfolios, and its life."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.ids import JobId, PortfolioId, SecurityId
from domain.model import InvestmentModel
from domain.policy import Policy


class JobState(StrEnum):
    """``accepted → running ⇄ waiting → done | done_with_errors | cancelled``, with two states between."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    WAITING = "waiting"  # an upstream is out; one seat probes
    STOPPING = "stopping"  # cancelled or past its deadline: what is left is being swept
    REOPENING = "reopening"  # a retry: failed items are being put back
    DONE = "done"
    DONE_WITH_ERRORS = "done_with_errors"
    CANCELLED = "cancelled"

    @property
    def closed(self) -> bool:
        return self in CLOSED


CLOSED = frozenset({JobState.DONE, JobState.DONE_WITH_ERRORS, JobState.CANCELLED})
OPEN = frozenset(JobState) - CLOSED


@dataclass(frozen=True, slots=True)
class JobMove:
    """One allowed change of a job's state; every store builds its compare-and-set from it."""

    sources: frozenset[JobState]
    target: JobState | None  # None: computed (close)


def _move(target: JobState | None, *sources: JobState) -> JobMove:
    return JobMove(frozenset(sources), target)


# The numbers are those of docs/job-protocol.md.
JOB_MOVES: Mapping[str, JobMove] = {
    "start": _move(JobState.RUNNING, JobState.ACCEPTED),  # J4
    "wait": _move(JobState.WAITING, JobState.RUNNING),  # J5
    "resume": _move(JobState.RUNNING, JobState.WAITING),  # J6
    "stop": _move(
        JobState.STOPPING, JobState.ACCEPTED, JobState.RUNNING, JobState.WAITING, JobState.REOPENING
    ),  # J7
    "close": _move(None, JobState.RUNNING, JobState.WAITING, JobState.STOPPING),  # J8
    "retry": _move(JobState.REOPENING, JobState.DONE_WITH_ERRORS),  # J9
    "reopened": _move(JobState.RUNNING, JobState.REOPENING),  # J10
    "reaccept": _move(JobState.ACCEPTED, JobState.REOPENING),  # J11
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Which of a job's failed portfolios come back: those named, and of these those whose reason begins so.

    None: no such condition. It is frozen in the job when the retry is accepted, so that every steward brings back
    the same ones.
    """

    portfolio_ids: tuple[PortfolioId, ...] | None = None
    cause: str | None = None

    def chooses(self, portfolio_id: PortfolioId, reason: str | None) -> bool:
        """Whether a failed portfolio is one of them."""
        named = self.portfolio_ids is None or portfolio_id in self.portfolio_ids
        return named and (self.cause is None or (reason or "").startswith(self.cause))


ALL_FAILED = Retry()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """``n`` portfolios, at most ``parallelism`` of them in work at once.

    ``job_id`` follows from the idempotency key; ``request_sha256`` tells a repeated request from another one.
    ``model`` is the model as it stood when the job was accepted (without its portfolio list).
    ``members_sha256`` names the stored list of portfolios. ``gen`` is +1 per retry, ``retry`` the last one's choice.
    ``parallelism`` may be changed while the job is open, ``deadline`` by a retry.
    ``healing`` counts what had to be repaired (expired, republished, resent, zombies): all 0 on a calm run.
    ``trace_parent`` is the W3C context of the request, where somebody traces: what is done later is part of it.
    ``deleted_at``: what it came to was deleted; the job stays, so that its key is never run a second time.
    """

    job_id: JobId
    key: str
    request_sha256: str
    model: InvestmentModel
    policy: Policy
    parallelism: int
    n: int
    members_sha256: str
    inline_prices: Mapping[SecurityId, Decimal] | None = None
    dry_run: bool = False
    deadline: datetime | None = None
    correlation_id: str = ""
    trace_parent: str = ""
    state: JobState = JobState.ACCEPTED
    gen: int = 0
    retry: Retry | None = None
    stop_to: str | None = None  # "cancelled" or "failed"
    reason: str | None = None  # why it waits or stopped
    probe_at: datetime | None = None
    probes: int = 0  # probes since it began to wait: they double their distance
    counts: Mapping[str, int] = field(default_factory=dict)
    healing: Mapping[str, int] = field(default_factory=dict)
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deleted_at: datetime | None = None

    @property
    def seats(self) -> range:
        """At most ``parallelism`` portfolios are in work; a job of fewer portfolios has fewer seats."""
        return range(min(self.parallelism, self.n))


class EventKind(StrEnum):
    """What is told of a job's life to whoever asked for it."""

    ACCEPTED = "accepted"  # J1
    STARTED = "started"  # J4
    WAITING = "waiting"  # J5
    RESUMED = "resumed"  # J6
    FINISHED = "finished"  # J8
    REOPENED = "reopened"  # J9: a retry brings portfolios back, and another end will be told


EVENTS_KEPT = 64  # of one job, the last ones: an upstream that comes and goes for hours makes many


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """Something that happened to a job, written in the very write that made it happen.

    ``sequence`` counts the job's events from 1 and never anew, so it names the event for good. ``at`` is the store's
    clock, ``gen`` and ``state`` those of the job afterwards, ``reason`` why it waits or was stopped. ``counts`` are the
    portfolios by state, once it is over.
    """

    sequence: int
    kind: EventKind
    at: datetime
    gen: int
    state: JobState
    reason: str | None = None
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A job with events that nobody was told of yet, oldest first."""

    job: Job
    events: tuple[JobEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is frozen for a job: the canonical snapshot bytes (JSON) and their hash. Inserted once, first wins."""

    job_id: JobId
    snapshot: bytes
    sha256: str
