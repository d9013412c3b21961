"""What a worker process keeps between two portfolios: who it is, the frozen markets, the marks to write."""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from domain.errors import BrokerUnavailable, NotFound, StoreUnavailable
from domain.ids import ItemId, JobId
from domain.job import Job, JobState
from domain.ports import JobStore, OrderSetPublisher, Publication, Token
from domain.prices import PriceSnapshot, thaw
from domain.terms import Terms
from tasks.inline_portfolio import decode_policy

log = structlog.get_logger(__name__)

SEATS_KNOWN_FOR = timedelta(seconds=1)
POLICIES_KEPT = 32  # of one job, each with the terms of its model: some hundred KB


@dataclass(frozen=True, slots=True)
class FrozenJob:
    """A job's part that never changes while it runs: its model, policy and market. Nothing else of ``job`` is fresh.

    ``terms`` are these made ready for solving, once for all of its portfolios that have no policy of their own.
    """

    job: Job
    snapshot: PriceSnapshot
    terms: Terms
    _own_terms: OrderedDict[bytes, Terms] = field(
        default_factory=OrderedDict, init=False, compare=False, repr=False
    )

    def terms_of(self, policy: bytes) -> Terms:
        """Those of portfolios with this policy of their own (`tasks.inline_portfolio.encode_policy`; empty: none).

        The last few are kept: the portfolios of a job that have one often share it, and 50,000 may not.
        """
        if not policy:
            return self.terms
        terms = self._own_terms.pop(policy, None)
        if terms is None:
            own = self.job.policy.with_changes(decode_policy(policy))
            terms = Terms.of(self.job.model, self.snapshot.prices, own)
        self._own_terms[policy] = terms
        if len(self._own_terms) > POLICIES_KEPT:
            self._own_terms.popitem(last=False)
        return terms


class FrozenJobs:
    """The last few frozen jobs, so that a portfolio costs no read for what is the same for all of them."""

    def __init__(self, jobs: JobStore, *, keep: int = 8) -> None:
        self._jobs = jobs
        self._keep = keep
        self._frozen: OrderedDict[JobId, FrozenJob] = OrderedDict()
        self._seats: OrderedDict[JobId, tuple[datetime, range]] = OrderedDict()

    def get(self, job_id: JobId) -> FrozenJob:
        """Raises NotFound: no such job, or nothing was frozen for it."""
        if job_id not in self._frozen:
            self._frozen[job_id] = self._read(job_id)
            if len(self._frozen) > self._keep:
                self._frozen.popitem(last=False)
        self._frozen.move_to_end(job_id)
        return self._frozen[job_id]

    def has_seat(self, token: Token, now: datetime) -> bool:
        """Whether the token's seat is one of its job's, as it was read at most a second ago. One that stops has none.

        Reading it for every token would add a third to a portfolio's round trips to the store. A seat that was not
        there is looked for again: it may be new, and its token, once dropped, is back only when the steward
        misses it.
        """
        read_at, seats = self._seats.get(token.job_id, (None, range(0)))
        fresh = read_at is not None and read_at <= now < read_at + SEATS_KNOWN_FOR
        if not fresh or token.seat not in seats:
            try:
                job = self._jobs.get_job(token.job_id)
            except NotFound:
                return True  # a stray token: the claim tells
            seats = range(0) if job.state is JobState.STOPPING else job.seats
            self._seats[token.job_id] = (now, seats)
            self._seats.move_to_end(token.job_id)
            if len(self._seats) > self._keep:
                self._seats.popitem(last=False)
        return token.seat in seats

    def _read(self, job_id: JobId) -> FrozenJob:
        job = self._jobs.get_job(job_id)
        inputs = self._jobs.get_inputs(job_id)
        if inputs is None:
            raise NotFound("inputs", job_id)
        snapshot = thaw(inputs.snapshot)
        return FrozenJob(job, snapshot, Terms.of(job.model, snapshot.prices, job.policy))


class Marks:
    """Order sets that were published and are still to be marked sent: written in batches.

    A timer of its own writes them, so that a worker that falls idle does not leave them due: the steward would
    publish everything once more.
    """

    def __init__(self, jobs: JobStore, *, every_seconds: float = 0.25, at_most: int = 256) -> None:
        self._jobs = jobs
        self._every_seconds = every_seconds
        self._at_most = at_most
        self._lock = threading.Lock()
        self._waiting: list[ItemId] = []
        self._timer: threading.Timer | None = None

    def add(self, item_id: ItemId) -> None:
        with self._lock:
            self._waiting.append(item_id)
            full = len(self._waiting) >= self._at_most
            if self._timer is None and not full:
                self._timer = threading.Timer(self._every_seconds, self.flush)
                self._timer.daemon = True
                self._timer.start()
        if full:
            self.flush()

    def flush(self) -> None:
        """Write what waits. A store that is out of reach costs nothing: the steward publishes and marks again."""
        with self._lock:
            batch, self._waiting = self._waiting, []
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if not batch:
            return
        try:
            self._jobs.mark_sent(batch)
        except StoreUnavailable:
            return


class Outgoing:
    """Order sets that are stored and still to be published: those of a slice go out together.

    A slow portfolio must not hold up those before it in its slice: a timer of its own publishes what waits for longer
    than a moment. What is lost here with its process is due in the store, and the steward publishes it.
    """

    def __init__(self, publisher: OrderSetPublisher, marks: Marks, *, every_seconds: float = 0.25) -> None:
        self._publisher = publisher
        self._marks = marks
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._waiting: list[Publication] = []
        self._timer: threading.Timer | None = None

    def add(self, publication: Publication, *, is_last: bool) -> None:
        """``is_last``: of its slice, at whose end a flush comes at once."""
        with self._lock:
            self._waiting.append(publication)
            if self._timer is None and not is_last:
                self._timer = threading.Timer(self._every_seconds, self._on_time)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Publish what waits. A broker that is out of reach costs nothing: it stays due, and the steward publishes it."""
        with self._lock:
            batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            self._publisher.publish(*batch)
        except BrokerUnavailable as error:
            log.warning("order_sets.still_due", items=[each.entry_id for each in batch], error=str(error))
            return
        except Exception:
            log.exception(
                "order_sets.not_published",
                items=[each.entry_id for each in batch],
                advice="a bug: report it; nothing is lost, they stay due and the steward publishes them",
            )
            return
        for published in batch:
            self._marks.add(ItemId(published.entry_id))

    def close(self) -> None:
        """Publish what waits, and start no timer's thread on what is gone."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.flush()

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
        self.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One worker process's own things. ``owner`` names it in the store (host, pid, start)."""

    owner: str
    frozen: FrozenJobs
    marks: Marks
    outgoing: Outgoing
    claims: Iterator[int] = field(default_factory=itertools.count)

    def next_owner(self) -> str:
        """A name for one claim: it tells this claim from every other, of this process too."""
        return f"{self.owner}:{next(self.claims)}"

    def close(self) -> None:
        """Publish and mark what waits."""
        self.outgoing.close()
        self.marks.flush()
