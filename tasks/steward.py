"""The steward: puts right whatever a crash, an outage or a lost message left behind.

It runs in a process of its own, in any number of copies, and keeps no state that matters: everything it does is a
compare-and-set that matches nothing when another copy was first. Only here are times compared, and only on
stamps the store's clock wrote.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from domain.errors import BrokerUnavailable, Unavailable
from domain.ids import ItemId, JobId
from domain.item import FINAL_STATES, OPEN_STATES, Item, ItemState
from domain.job import OPEN, Job, JobState
from domain.ports import Publication, Token
from tasks.broker_outage import BROKER_NOTE
from tasks.close_job import close_job_if_finished, put_back
from tasks.healing import note_healing
from tasks.job_events import tell_job_events
from tasks.open_job import open_job, write_items
from tasks.republish import republish_recent
from tasks.services import Services
from tasks.tokens import tokens_of

log = structlog.get_logger(__name__)

JOBS_AT_ONCE = 500
DUE_AT_ONCE = 1000
PUBLISHED_AT_ONCE = 50  # a command of that many order sets does not hold up a broker
QUEUE_NOTE = "result queue"  # under which the stewards note whose data they have published to
# While the queue is shorter than the number of free seats, a seat that stays free this many times
# ``lost_token_seconds`` has lost its token: sooner when nothing moves in its job than when other seats go on (a
# seat is free for a moment between two portfolios, and one sees only samples).
FREE_IDLE = 1.0
FREE_MOVING = 3.0
# And when the queue seems long enough but nothing moves, its length may lie: send again after a doubling wait. As long
# as other jobs move, this one's tokens may just wait behind theirs. A queue with twice the tokens that are needed
# lacks none but somebody who takes them.
STILL = 10.0
STILL_MAX = 160.0
PLENTY = 2
# Every round meets an outage anew, or a few more order sets of a lost queue; it is told once in so long.
TOLD_AGAIN = timedelta(seconds=10)


@dataclass(slots=True)
class _Watch:
    """What one steward remembers of a running job between two ticks. Forgetting it only costs time."""

    moved_at: datetime
    progress: object = None
    free_since: dict[int, datetime] = field(default_factory=dict)
    still: float = STILL


@dataclass(frozen=True, slots=True)
class _Seats:
    """The free seats of a job with something pending, and what changes whenever a claim of it moves on."""

    free: frozenset[int]
    progress: object


@dataclass(frozen=True, slots=True)
class _Loss:
    """The result queue is not the one the stewards know: when that was noticed, and who it is now."""

    identity: str
    noticed: datetime


class Steward:
    """``tick`` does everything once. ``opening`` runs what may wait for an upstream beside the ticks."""

    def __init__(self, services: Services, opening: Executor) -> None:
        self._services = services
        self._opening = opening
        self._opened: dict[JobId, Future[None]] = {}
        self._watched: dict[JobId, _Watch] = {}
        self._moved_at = datetime.min.replace(tzinfo=UTC)  # when anything was last seen to move, in any job
        self._queue: str | None = None  # the identity that is known to be noted
        self._loss: _Loss | None = None
        self._told: dict[str, datetime] = {}
        self._republished: Counter[JobId] = Counter()  # and not told yet
        self._broker_fault = ""  # of this tick
        self._noted_fault: str | None = None  # the one this steward knows to be noted
        # As read in this tick: one read answers several questions.
        self._upcoming: dict[JobId, ItemId | None] = {}

    def tick(self) -> None:
        """Raises StoreUnavailable: nothing was lost, tick again."""
        self._upcoming.clear()
        self._broker_fault = ""
        self._expire()
        woken = self._services.jobs.wake_items()
        now = self._services.jobs.now()
        self._heed_queue(now)
        self._publish_due()
        self._tell_of_republished()
        jobs = self._open_jobs()
        for job in jobs:
            self._tend(job, now)
        self._forget(jobs)
        running = [job for job in jobs if job.state is JobState.RUNNING]
        self._call_for_woken(running, woken)
        self._repair_tokens(running, now)
        self._tell_events()
        self._note_broker_fault()

    # -------------------------------------------------------------------------------------------- items

    def _expire(self) -> None:
        rules = self._services.rules
        for expired in self._services.jobs.expire_items(rules.lease_seconds, max_attempts=rules.max_attempts):
            note_healing(self._services, expired.job_id, "expired")
            if expired.state in FINAL_STATES:
                self._services.meter.ended(expired.state)
            log.warning("item.expired", item=expired.item_id, state=expired.state)

    def _publish_due(self) -> bool:
        """Whether nothing of it is left."""
        sent: list[Item] = []
        due = self._services.jobs.due_items(self._services.rules.due_after_seconds, DUE_AT_ONCE)
        for item in due:
            if item.order_set is None:  # the stores write both at once: never publish an empty message
                log.error(
                    "order_set.missing",
                    item=item.item_id,
                    job=item.job_id,
                    advice="broken data: report it; `trimtab results` has what was decided for the portfolio",
                )
        told = [item for item in due if item.order_set is not None]
        try:
            for start in range(0, len(told), PUBLISHED_AT_ONCE):
                part = told[start : start + PUBLISHED_AT_ONCE]
                self._services.publisher.publish(
                    *(Publication(item.item_id, item.job_id, item.order_set or b"") for item in part)
                )
                sent.extend(part)
        except BrokerUnavailable as error:
            self._tell_of_outage("order_sets.still_due", error)
        if sent:
            self._services.jobs.mark_sent([item.item_id for item in sent])
        for job_id, count in Counter(item.job_id for item in sent).items():
            note_healing(self._services, job_id, "republished", count)
            self._republished[job_id] += count
        return len(sent) == len(due) < DUE_AT_ONCE

    def _tell_of_republished(self) -> None:
        """One line a job, once in a while: a queue that forgot a day's order sets must not fill the log as well."""
        if self._republished and self._is_time_to_tell("order_sets.republished"):
            for job_id, count in self._republished.items():
                log.warning(
                    "order_sets.republished",
                    job=job_id,
                    count=count,
                    advice="nothing to do: readers drop ids they have seen; `trimtab doctor` tells how the queue is",
                )
            self._republished.clear()

    def _tell_events(self) -> None:
        """What this round, and everybody else, made happen to jobs."""
        try:
            tell_job_events(self._services)
        except BrokerUnavailable as error:
            self._tell_of_outage("job_events.untold", error)

    # -------------------------------------------------------------------------------------------- the result queue

    def _heed_queue(self, now: datetime) -> None:
        """A queue that lost its data gets the recent order sets again.

        An order set that a worker published before the loss may be marked sent after the first pass: such a mark
        is written, or the steward has published again what it is about, once everything is out that is due for
        longer than ``due_after_seconds`` since the loss was noticed. What was marked meanwhile falls due in a
        second pass. Only then is the new queue noted, so a steward that dies on the way leaves the rest to
        another; two that do it at once do it twice, which the queue drops.
        """
        try:
            identity = self._services.publisher.identity()
        except BrokerUnavailable as error:
            self._broker_fault = str(error)
            return
        if identity is None or identity == self._queue:
            return
        noted = self._services.jobs.get_note(QUEUE_NOTE)
        if noted is None or noted == identity:
            if noted == identity or self._services.jobs.swap_note(QUEUE_NOTE, None, identity):
                self._queue, self._loss = identity, None
        elif self._loss is None or self._loss.identity != identity:
            due = republish_recent(self._services)
            self._loss = _Loss(identity, now)
            log.warning("result_queue.lost", order_sets=due)
        elif now - self._loss.noticed > self._due_after and self._publish_due():
            lease = timedelta(seconds=self._services.rules.lease_seconds)
            republish_recent(self._services, since=self._loss.noticed - lease - self._due_after)
            self._services.jobs.swap_note(QUEUE_NOTE, noted, identity)

    @property
    def _due_after(self) -> timedelta:
        return timedelta(seconds=self._services.rules.due_after_seconds)

    # -------------------------------------------------------------------------------------------- jobs

    def _open_jobs(self) -> list[Job]:
        jobs: list[Job] = []
        while True:
            page = self._services.jobs.list_jobs(states=OPEN, offset=len(jobs), limit=JOBS_AT_ONCE)
            jobs.extend(page)
            if len(page) < JOBS_AT_ONCE:
                return jobs

    def _tend(self, job: Job, now: datetime) -> None:
        """One job that cannot be tended must not keep the others waiting."""
        try:
            if not self._past_deadline(job, now):
                _TENDING[job.state](self, job, now)
        except Unavailable:
            raise
        except Exception:
            log.exception(
                "job.not_tended",
                job=job.job_id,
                state=job.state,
                advice="a bug, tried again every round: report it; `trimtab cancel` ends the job",
            )

    def _past_deadline(self, job: Job, now: datetime) -> bool:
        if job.deadline is None or now < job.deadline or job.state in {JobState.STOPPING, JobState.REOPENING}:
            return False
        waited = job.reason is not None and not job.reason.startswith("internal_error")
        cause = "upstream_unavailable" if waited else "deadline_passed"
        detail = job.reason or f"not finished by {job.deadline.isoformat()}"
        return self._services.jobs.stop_job(job.job_id, ItemState.FAILED, f"{cause}: {detail}", gen=job.gen)

    def _open(self, job: Job, now: datetime) -> None:
        """In a thread of its own, since it may wait for upstreams that hang."""
        opening = self._opened.get(job.job_id)
        if opening is not None and not opening.done():
            return
        if job.probe_at is None or job.probe_at <= now:
            self._opened[job.job_id] = self._opening.submit(_open, job, self._services)

    def _close(self, job: Job, _now: datetime) -> None:
        # A worker that runs out of portfolios closes the job; this is for when that worker died.
        if self._next_pending(job) is None and not self._services.jobs.has_items(job.job_id, OPEN_STATES):
            close_job_if_finished(job.job_id, self._services)

    def _probe(self, job: Job, now: datetime) -> None:
        self._close(job, now)
        due = job.probe_at is not None and job.probe_at <= now
        if not due or self._next_pending(job) is None:
            return
        rules = self._services.rules
        distance = min(rules.outage_delay_seconds * 2.0 ** (job.probes + 1), rules.max_delay_seconds)
        if self._services.jobs.probed_job(job, distance):
            free = sorted(set(job.seats) - self._services.jobs.busy_seats(job.job_id).keys())
            self._send(tokens_of(job, free[:1], probe=True))

    def _stop(self, job: Job, _now: datetime) -> None:
        """Complete the expansion and a retry first: what has no item, or comes back late, would escape the sweep."""
        if job.started_at is None:
            write_items(job, self._services)
        put_back(job, self._services)
        self._swept(job, self._services.jobs.sweep_items(job))
        close_job_if_finished(job.job_id, self._services)

    def _swept(self, job: Job, count: int) -> None:
        if count and job.stop_to is not None:
            self._services.meter.ended(ItemState(job.stop_to), count)

    def _reopen(self, job: Job, _now: datetime) -> None:
        put_back(job, self._services)
        if self._services.jobs.get_inputs(job.job_id) is None:  # stopped before its market was frozen
            self._services.jobs.reaccept_job(job.job_id, job.gen)
        elif self._services.jobs.reopened_job(job.job_id, job.gen):
            self._send(tokens_of(job, job.seats))

    def _forget(self, jobs: Iterable[Job]) -> None:
        known = {job.job_id for job in jobs}
        for job_id in self._watched.keys() - known:
            del self._watched[job_id]
        for job_id in self._opened.keys() - known:
            del self._opened[job_id]

    # -------------------------------------------------------------------------------------------- tokens

    def _call_for_woken(self, running: Iterable[Job], woken: Mapping[JobId, int]) -> None:
        """Portfolios that woke in a job where nothing else was pending: its tokens have ended. No repair, no wait."""
        for job in running:
            count = woken.get(job.job_id, 0)
            if count and not self._has_more_pending(job, count):
                free = sorted(set(job.seats) - self._services.jobs.busy_seats(job.job_id).keys())
                self._send(tokens_of(job, free[:count]))

    def _has_more_pending(self, job: Job, count: int) -> bool:
        pending = self._services.jobs.list_items(job.job_id, states=[ItemState.PENDING], limit=count + 1)
        return len(pending) > count

    def _repair_tokens(self, jobs: list[Job], now: datetime) -> None:
        """A token has no state behind it, so that one was lost can only be inferred: see the constants above."""
        seats = {job.job_id: self._seats(job) for job in jobs}
        for job in jobs:
            self._observe(job, seats[job.job_id], now)
        free = sum(len(of_job.free) for of_job in seats.values())
        if not free:
            return
        try:
            length = self._services.tokens.length()
        except BrokerUnavailable as error:
            self._tell_of_outage("tokens.not_counted", error)
            return
        for job in jobs:
            lost = self._lost_seats(job, seats[job.job_id], now, queued=length, needed=free)
            if lost and self._send(tokens_of(job, lost)):
                note_healing(self._services, job.job_id, "resent", len(lost))
                log.warning("tokens.resent", job=job.job_id, seats=lost)

    def _next_pending(self, job: Job) -> ItemId | None:
        if job.job_id not in self._upcoming:
            self._upcoming[job.job_id] = self._services.jobs.next_pending(job.job_id)
        return self._upcoming[job.job_id]

    def _seats(self, job: Job) -> _Seats:
        jobs = self._services.jobs
        upcoming = self._next_pending(job)
        if upcoming is None:
            return _Seats(frozenset(), None)
        busy = jobs.busy_seats(job.job_id)
        return _Seats(frozenset(job.seats) - busy.keys(), (upcoming, busy))

    def _observe(self, job: Job, seats: _Seats, now: datetime) -> None:
        if seats.progress is None:  # nothing is pending: nothing can be missing
            if self._watched.pop(job.job_id, None):
                self._moved_at = now
            return
        watch = self._watched.setdefault(job.job_id, _Watch(now))
        if watch.progress != seats.progress:
            watch.progress, watch.moved_at, watch.still = seats.progress, now, STILL
            self._moved_at = now
        since = watch.free_since
        watch.free_since = {seat: since.get(seat, now) for seat in seats.free}

    def _lost_seats(self, job: Job, seats: _Seats, now: datetime, *, queued: int, needed: int) -> list[int]:
        watch = self._watched.get(job.job_id)
        if watch is None or queued > PLENTY * needed:
            return []
        if queued >= needed:
            watch.free_since.clear()
        lost = self._free_too_long(watch, now) or self._all_if_still(watch, seats, now)
        for seat in lost:
            watch.free_since.pop(seat, None)
        return lost

    def _free_too_long(self, watch: _Watch, now: datetime) -> list[int]:
        unit = self._services.rules.lost_token_seconds
        idle = (now - watch.moved_at).total_seconds() >= FREE_IDLE * unit
        needed = timedelta(seconds=unit * (FREE_IDLE if idle else FREE_MOVING))
        return sorted(seat for seat, since in watch.free_since.items() if now - since >= needed)

    def _all_if_still(self, watch: _Watch, seats: _Seats, now: datetime) -> list[int]:
        unit = self._services.rules.lost_token_seconds
        nothing_moves = (now - max(self._moved_at, watch.moved_at)).total_seconds() >= watch.still * unit
        if not nothing_moves and (now - watch.moved_at).total_seconds() < STILL_MAX * unit:
            return []
        watch.moved_at, watch.still = now, min(watch.still * 2, STILL_MAX)
        return sorted(seats.free)

    def _send(self, tokens: Iterable[Token]) -> bool:
        tokens = tuple(tokens)
        if not tokens:
            return False
        try:
            self._services.tokens.send(tokens)
        except BrokerUnavailable as error:
            self._tell_of_outage("tokens.not_sent", error)
            return False
        return True

    def _note_broker_fault(self) -> None:
        """For whoever looks at a job and wonders why nothing moves."""
        if self._noted_fault == self._broker_fault:
            return
        noted = self._services.jobs.get_note(BROKER_NOTE)
        if (noted or "") != self._broker_fault:
            self._services.jobs.swap_note(BROKER_NOTE, noted, self._broker_fault)
        self._noted_fault = self._broker_fault

    def _tell_of_outage(self, event: str, error: BrokerUnavailable) -> None:
        self._broker_fault = str(error)
        if self._is_time_to_tell(event):
            log.warning(event, error=str(error))

    def _is_time_to_tell(self, event: str) -> bool:
        now = self._services.clock.now()
        told = self._told.get(event)
        if told is not None and now - told < TOLD_AGAIN:
            return False
        self._told[event] = now
        return True


def _open(job: Job, services: Services) -> None:
    """In its own thread, whose exceptions nobody reads: each is told here, and the job says why it is not open."""
    told = {"correlation_id": job.correlation_id, "job": job.job_id}
    with (
        structlog.contextvars.bound_contextvars(**told),
        services.tracing.span("open job", parent=job.trace_parent, **told),
    ):
        try:
            open_job(job, services)
        except Unavailable as error:
            log.warning("job.not_opened", error=str(error))
        except Exception as error:
            # Nobody looks at the future: untold, it would be tried at every tick until the deadline.
            log.exception(
                "job.open_failed",
                advice="a bug, tried again until the job's deadline: report it; `trimtab cancel` ends the job",
            )
            reason = f"internal_error: {type(error).__name__}: {error}"[:500]
            services.jobs.wait_job(job.job_id, reason, services.rules.outage_delay_seconds)


_TENDING: dict[JobState, Callable[[Steward, Job, datetime], None]] = {
    JobState.ACCEPTED: Steward._open,  # noqa: SLF001 - the table of what each state needs
    JobState.RUNNING: Steward._close,  # noqa: SLF001
    JobState.WAITING: Steward._probe,  # noqa: SLF001
    JobState.STOPPING: Steward._stop,  # noqa: SLF001
    JobState.REOPENING: Steward._reopen,  # noqa: SLF001
}
