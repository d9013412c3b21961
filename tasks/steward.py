"""The steward: puts right whatever a crash, an outage or a lost message left behind.

It runs in a process of its own, in any number of copies, and keeps no state that matters: everything it does is a
compare-and-set that matches nothing when another copy was first. Only here are times compared, and only on
stamps the store's clock wrote.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from domain.errors import BrokerUnavailable, Unavailable
from domain.ids import JobId
from domain.item import Item, ItemState
from domain.job import OPEN, Job, JobState
from domain.ports import Publication, Token
from tasks.close_job import close_job_if_finished
from tasks.open_job import open_job, write_items
from tasks.services import Services

log = structlog.get_logger(__name__)

JOBS_AT_ONCE = 500
# While the queue is shorter than the number of free seats, a seat that stays free this many times
# ``lost_token_seconds`` has lost its token: sooner when nothing moves in its job than when other seats go on (a
# seat is free for a moment between two portfolios, and one sees only samples).
FREE_IDLE = 1.0
FREE_MOVING = 3.0
# And when the queue seems long enough but nothing moves, its length may lie: send again after a doubling wait.
STILL = 10.0
STILL_MAX = 160.0
# Every round meets an outage anew; it is told once in so long.
OUTAGE_TOLD = timedelta(seconds=10)


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


class Steward:
    """``tick`` does everything once. ``opening`` runs what may wait for an upstream beside the ticks."""

    def __init__(self, services: Services, opening: Executor) -> None:
        self._services = services
        self._opening = opening
        self._opened: dict[JobId, Future[None]] = {}
        self._watched: dict[JobId, _Watch] = {}
        self._told: dict[str, datetime] = {}

    def tick(self) -> None:
        """Raises StoreUnavailable: nothing was lost, tick again."""
        self._expire()
        self._services.jobs.wake_items()
        self._publish_due()
        now = self._services.jobs.now()
        jobs = self._services.jobs.list_jobs(states=OPEN, limit=JOBS_AT_ONCE)
        for job in jobs:
            self._tend(job, now)
        self._forget(jobs)
        self._repair_tokens([job for job in jobs if job.state is JobState.RUNNING], now)

    # -------------------------------------------------------------------------------------------- items

    def _expire(self) -> None:
        rules = self._services.rules
        for expired in self._services.jobs.expire_items(rules.lease_seconds, max_attempts=rules.max_attempts):
            self._services.jobs.note_healing(expired.job_id, "expired")
            log.warning("item.expired", item=expired.item_id, state=expired.state)

    def _publish_due(self) -> None:
        sent: list[Item] = []
        try:
            for item in self._services.jobs.due_items(self._services.rules.due_after_seconds):
                self._services.publisher.publish(
                    Publication(item.item_id, item.job_id, item.order_set or b"")
                )
                sent.append(item)
                log.warning("order_set.republished", item=item.item_id)
        except BrokerUnavailable as error:
            self._tell_of_outage("order_sets.still_due", error)
        if sent:
            self._services.jobs.mark_sent([item.item_id for item in sent])
        for job_id in {item.job_id for item in sent}:
            self._services.jobs.note_healing(
                job_id, "republished", sum(item.job_id == job_id for item in sent)
            )

    # -------------------------------------------------------------------------------------------- jobs

    def _tend(self, job: Job, now: datetime) -> None:
        if self._past_deadline(job, now):
            return
        _TENDING[job.state](self, job, now)

    def _past_deadline(self, job: Job, now: datetime) -> bool:
        if job.deadline is None or now < job.deadline or job.state in {JobState.STOPPING, JobState.REOPENING}:
            return False
        cause = "upstream_unavailable" if job.reason else "deadline_passed"
        detail = job.reason or f"not finished by {job.deadline.isoformat()}"
        return self._services.jobs.stop_job(job.job_id, ItemState.FAILED, f"{cause}: {detail}")

    def _open(self, job: Job, now: datetime) -> None:
        """In a thread of its own, since it may wait for upstreams that hang."""
        opening = self._opened.get(job.job_id)
        if opening is not None and not opening.done():
            return
        if job.probe_at is None or job.probe_at <= now:
            self._opened[job.job_id] = self._opening.submit(_open, job, self._services)

    def _close(self, job: Job, _now: datetime) -> None:
        # A worker that runs out of portfolios closes the job; this is for when that worker died.
        if not self._services.jobs.has_items(
            job.job_id, {ItemState.PENDING, ItemState.RUNNING, ItemState.DELAYED}
        ):
            close_job_if_finished(job.job_id, self._services)

    def _probe(self, job: Job, now: datetime) -> None:
        self._close(job, now)
        due = job.probe_at is not None and job.probe_at <= now
        if not due or not self._services.jobs.has_items(job.job_id, {ItemState.PENDING}):
            return
        rules = self._services.rules
        distance = min(rules.outage_delay_seconds * 2.0 ** (job.probes + 1), rules.max_delay_seconds)
        if self._services.jobs.probed_job(job, distance):
            free = sorted(set(job.seats) - self._services.jobs.busy_seats(job.job_id).keys())
            self._send([Token(job.job_id, seat, probe=True) for seat in free[:1]])

    def _stop(self, job: Job, _now: datetime) -> None:
        """Complete the expansion first: a portfolio without an item would vanish from the counts."""
        if job.started_at is None:
            write_items(job, self._services)
        self._services.jobs.sweep_items(job)
        close_job_if_finished(job.job_id, self._services)

    def _reopen(self, job: Job, _now: datetime) -> None:
        self._services.jobs.reopen_items(job.job_id, job.gen)
        if self._services.jobs.reopened_job(job.job_id, job.gen):
            self._send([Token(job.job_id, seat) for seat in job.seats])

    def _forget(self, jobs: Iterable[Job]) -> None:
        known = {job.job_id for job in jobs}
        for job_id in self._watched.keys() - known:
            del self._watched[job_id]
        for job_id in self._opened.keys() - known:
            del self._opened[job_id]

    # -------------------------------------------------------------------------------------------- tokens

    def _repair_tokens(self, jobs: list[Job], now: datetime) -> None:
        """A token has no state behind it, so that one was lost can only be inferred: see the constants above."""
        seats = {job.job_id: self._seats(job) for job in jobs}
        free = sum(len(of_job.free) for of_job in seats.values())
        if not free:
            return
        try:
            missing = free - self._services.tokens.length()
        except BrokerUnavailable as error:
            self._tell_of_outage("tokens.not_counted", error)
            return
        for job in jobs:
            lost = self._lost_seats(job, seats[job.job_id], now, queue_is_short=missing > 0)
            if lost and self._send([Token(job.job_id, seat) for seat in lost]):
                self._services.jobs.note_healing(job.job_id, "resent", len(lost))
                log.warning("tokens.resent", job=job.job_id, seats=lost)

    def _seats(self, job: Job) -> _Seats:
        jobs = self._services.jobs
        upcoming = jobs.next_pending(job.job_id)
        if upcoming is None:
            self._watched.pop(job.job_id, None)
            return _Seats(frozenset(), None)
        busy = jobs.busy_seats(job.job_id)
        return _Seats(frozenset(job.seats) - busy.keys(), (upcoming, busy))

    def _lost_seats(self, job: Job, seats: _Seats, now: datetime, *, queue_is_short: bool) -> list[int]:
        watch = self._watched.setdefault(job.job_id, _Watch(now))
        if watch.progress != seats.progress:
            watch.progress, watch.moved_at, watch.still = seats.progress, now, STILL
        since = watch.free_since
        watch.free_since = {seat: since.get(seat, now) for seat in seats.free} if queue_is_short else {}
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
        if (now - watch.moved_at).total_seconds() < watch.still * self._services.rules.lost_token_seconds:
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

    def _tell_of_outage(self, event: str, error: Unavailable) -> None:
        now = self._services.clock.now()
        told = self._told.get(event)
        if told is None or now - told >= OUTAGE_TOLD:
            self._told[event] = now
            log.warning(event, error=str(error))


def _open(job: Job, services: Services) -> None:
    try:
        open_job(job, services)
    except Unavailable as error:
        log.warning("job.not_opened", job=job.job_id, error=str(error))


_TENDING: dict[JobState, Callable[[Steward, Job, datetime], None]] = {
    JobState.ACCEPTED: Steward._open,  # noqa: SLF001 - the table of what each state needs
    JobState.RUNNING: Steward._close,  # noqa: SLF001
    JobState.WAITING: Steward._probe,  # noqa: SLF001
    JobState.STOPPING: Steward._stop,  # noqa: SLF001
    JobState.REOPENING: Steward._reopen,  # noqa: SLF001
}
