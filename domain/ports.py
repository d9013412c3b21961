"""What the use cases need from the world, in the domain's words. Adapters implement these.

Every store method is one atomic step. A compare-and-set that matches nothing did nothing: somebody else was
first, and the caller drops what it holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from domain.answer import Rebalance
from domain.ids import ItemId, JobId, ModelId, PortfolioId, SecurityId
from domain.item import Item, ItemState
from domain.job import ALL_FAILED, Inputs, Job, JobState, Retry, Untold
from domain.model import InvestmentModel
from domain.portfolio import Portfolio
from domain.problem import Problem, SolverAnswer
from domain.program import Program, ProgramAnswer


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, UTC."""


# ------------------------------------------------------------------------------------------------ upstream


class PriceSource(Protocol):
    def prices(self) -> Mapping[str, Decimal]:
        """Every price there is, by ticker, in one call.

        Raises:
            UpstreamUnavailable: out of reach after the retries.
            UpstreamFault: an answer that cannot be used (a NaN, a negative price, HTML).
        """


class SecurityMaster(Protocol):
    def tickers(self, wanted: Iterable[SecurityId]) -> Mapping[SecurityId, str]:
        """Tickers of all securities in one call, with single look-ups for what of ``wanted`` is missing.

        A wanted security nobody knows is simply not in the answer.

        Raises:
            UpstreamUnavailable, UpstreamFault: as above.
        """


class PortfolioAccounting(Protocol):
    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        """Cash and positions, in one call where the source allows it. None: no balance of any kind.

        Raises:
            UpstreamUnavailable, UpstreamFault: as above.
        """


class PortfolioDirectory(Protocol):
    def name(self, portfolio_id: PortfolioId) -> str | None:
        """The portfolio's name; None when nobody knows such a portfolio.

        Raises:
            UpstreamUnavailable, UpstreamFault: as above.
        """


# ------------------------------------------------------------------------------------------------ solver


class Solver(Protocol):
    @property
    def name(self) -> str:
        """Library and version, as they stand in the proof."""

    @property
    def time_limit_seconds(self) -> float:
        """The longest search for one portfolio; `domain.solver_time` shares it among the questions about it."""

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        """The coupled problem, in floating point: the caller verifies the answer exactly.

        Args:
            problem: one that has an answer, as far as integers can tell.
            time_limit: seconds; None: the solver's own limit.

        Raises:
            SolverTimeout: the time limit passed without an incumbent.
            SolverFailed: any other end without an answer or a proof that there is none.
        """

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        """Any program, in floating point: the caller verifies the answer exactly and believes no status.

        Args:
            program: bounded columns only.
            start: values by column to begin from, allowed by the program.
            time_limit: seconds; None: the solver's own limit.

        Raises:
            SolverFailed: any other end than an answer, the time limit or the claim that there is none.
        """


# ------------------------------------------------------------------------------------------------ results


@dataclass(frozen=True, slots=True)
class Publication:
    """One entry of a queue that goes out: its own id, its job's, and the exact bytes.

    Of an order set the id is the item's, and the bytes are those that were stored with the result.
    """

    entry_id: str
    job_id: JobId
    body: bytes


class OrderSetPublisher(Protocol):
    def publish(self, *publications: Publication) -> None:
        """Add each entry unless its id was added before: an atomic step for each where the broker allows it.

        Raises:
            BrokerUnavailable: nothing is known about any of them; publish the same bytes again later.
        """

    def identity(self) -> str | None:
        """Changes whenever the queue may have forgotten what was added to it. None: this kind cannot tell.

        Raises:
            BrokerUnavailable: nothing is known.
        """

    def ping(self) -> None:
        """Raises BrokerUnavailable when the broker does not answer."""


class JobEventPublisher(Protocol):
    def publish(self, *publications: Publication) -> None:
        """As `OrderSetPublisher.publish`, to the queue of job events on the same broker."""


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """Try one portfolio on this seat. It carries no state: lost, doubled or late, it does no harm.

    ``trace_parent`` is that of its job, for whoever traces: two tokens that differ in it are the same.
    """

    job_id: JobId
    seat: int
    probe: bool = False
    trace_parent: str = field(default="", compare=False)


class TokenQueue(Protocol):
    def send(self, tokens: Sequence[Token]) -> None:
        """Raises BrokerUnavailable: some or all were not sent."""

    def length(self) -> int:
        """How many tokens wait in the queue. Raises BrokerUnavailable."""


# ------------------------------------------------------------------------------------------------ models


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuery:
    """What to list. ``sort_by`` is one of model_id, name, last_rebalance_date, each with + or - before it."""

    portfolio_id: PortfolioId | None = None
    security_id: SecurityId | None = None
    name: str | None = None
    rebalanced_on: datetime | None = None  # exactly this UTC day
    needing_rebalance_since: datetime | None = None  # never rebalanced, or before this moment
    sort_by: tuple[str, ...] = ("+model_id",)
    offset: int = 0
    limit: int = 10


@dataclass(frozen=True, slots=True)
class ModelCounts:
    models: int
    positions: int
    portfolios: int


class ModelStore(Protocol):
    def create_model(self, model: InvestmentModel) -> InvestmentModel:
        """Raises AlreadyExists: the id or the name is taken."""

    def get_model(self, model_id: ModelId) -> InvestmentModel:
        """Raises NotFound."""

    def list_models(self, query: ModelQuery) -> Sequence[InvestmentModel]:
        """The page that ``query`` names, in a total order (ties broken by model id)."""

    def count_models(self, query: ModelQuery) -> ModelCounts:
        """How many models match (paging ignored), and their positions and portfolios added up."""

    def update_model(self, model: InvestmentModel) -> InvestmentModel:
        """Replace the model at ``model.version`` by one atomic filter; the answer has the next version.

        Raises:
            NotFound: no such model.
            StaleVersion: it is not at that version.
            AlreadyExists: the new name is taken.
        """

    def delete_model(self, model_id: ModelId, version: int) -> None:
        """Raises NotFound, StaleVersion."""

    def note_rebalanced(self, model_id: ModelId, moment: datetime) -> None:
        """Set the last rebalance date unless it is later already. Not an edit: the version stays. Unknown: no-op."""


# ------------------------------------------------------------------------------------------------ jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One portfolio of a request, with its data where the request carried it (JSON bytes)."""

    portfolio_id: PortfolioId
    inline: bytes | None = None


class ClaimMiss(StrEnum):
    SEAT_BUSY = "seat_busy"
    NOTHING_PENDING = "nothing_pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What a finished item is written as: a decided state, its answer, and the order set that falls due."""

    item_id: ItemId
    fence: int
    state: ItemState
    reason: str
    result: bytes
    order_set: bytes | None  # None: nothing to publish (a dry run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """What became of a finish and a claim that went to the store together: each as its own method answers."""

    stored: bool
    claimed: Item | ClaimMiss


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """An item whose lease ran out, and what became of it."""

    item_id: ItemId
    job_id: JobId
    state: ItemState


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWork:
    """What is not closed yet. ``oldest_seconds``: the age of the oldest job, retried ones aside; 0 without any."""

    jobs: int = 0
    portfolios: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How much is open at one moment, by the store's clock. A state of which there is nothing may be left out.

    ``oldest_jobs``: seconds since the oldest job of each state was accepted, retried ones aside. ``portfolios``:
    those not over, by state. ``due``: order sets still to be published, the oldest for ``oldest_due`` seconds.
    """

    jobs: Mapping[JobState, int]
    oldest_jobs: Mapping[JobState, float]
    portfolios: Mapping[ItemState, int]
    due: int
    oldest_due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseCount:
    """How many items of one state ended by one cause: what stands in their reason before the first colon.

    ``example`` is the whole reason of one of them.
    """

    state: ItemState
    cause: str
    portfolios: int
    example: str


class JobStore(Protocol):
    """Jobs, frozen inputs, items and the outbox inside them. The protocol is docs/job-protocol.md.

    All stamps (``touched``, ``created_at`` ...) are written by the store's clock, and all times are compared
    on it: no other clock can break anything. Every way out of ``running`` frees the seat.

    Every method raises StoreUnavailable when the store is out of reach.
    """

    def prepare(self) -> None:
        """Create collections or tables and indexes. Repeatable.

        Raises:
            Invalid: what is there was made by another version, and cannot be used.
        """

    def ping(self) -> None:
        """Raises StoreUnavailable when the store does not answer."""

    def now(self) -> datetime:
        """The store's clock, UTC."""

    # -- jobs

    def put_members(self, members_sha256: str, members: Iterable[Member]) -> None:
        """Store a request's portfolios under their hash, in chunks. Repeatable; done before the job is inserted."""

    def members(self, members_sha256: str, offset: int, limit: int) -> Sequence[Member]:
        """Part of a stored list, in the order it was put."""

    def insert_job(self, job: Job) -> Job:
        """J1. Insert, or answer the job stored under this id (first wins)."""

    def get_job(self, job_id: JobId) -> Job:
        """Raises NotFound."""

    def list_jobs(
        self,
        *,
        states: Iterable[JobState] = (),
        model_id: ModelId | None = None,
        finished_since: datetime | None = None,
        portfolio_ids: Sequence[PortfolioId] = (),
        deleted: bool = True,
        dry_run: bool | None = None,
        offset: int = 0,
        limit: int = 50,
    ) -> Sequence[Job]:
        """Newest first. No states: all of them. ``finished_since`` leaves out what is open, and what ended before.

        ``portfolio_ids``: jobs with an item of any of these. ``deleted`` False leaves those out (J12). ``dry_run``: only
        dry runs, or only others; None: both.
        """

    def open_work(self, limit: int) -> OpenWork:
        """How much is open, and how old it is by the store's clock. Never looks at more than ``limit`` jobs."""

    def survey(self, limit: int) -> Survey:
        """How much is open, for whoever watches. Looks at nothing that is over; counts at most ``limit`` of each."""

    def freeze_inputs(self, inputs: Inputs) -> Inputs:
        """J2. Insert once, first wins: the answer is what is stored."""

    def get_inputs(self, job_id: JobId) -> Inputs | None: ...

    def insert_items(self, job: Job, seq: int, members: Sequence[Member]) -> None:
        """I1. Insert items seq, seq+1, ... as pending at the job's gen; those that exist stay as they are.

        When the stored job is stopping they are inserted pending all the same and swept afterwards.
        """

    def start_job(self, job_id: JobId) -> bool:
        """J4."""

    def wait_job(self, job_id: JobId, reason: str, probe_seconds: float) -> bool:
        """J5. ``probe_at`` = now + probe_seconds; ``probes`` = 0. An accepted job keeps its state and notes why."""

    def probed_job(self, job: Job, probe_seconds: float) -> bool:
        """A probe is being sent: ``probes`` + 1 and the next ``probe_at``, unless ``probes`` moved meanwhile."""

    def resume_job(self, job_id: JobId) -> bool:
        """J6."""

    def stop_job(self, job_id: JobId, stop_to: ItemState, reason: str, *, gen: int | None = None) -> bool:
        """J7. ``stop_to`` is CANCELLED or FAILED: what unfinished items become.

        ``gen``: only while the job is at this one. Who decided from what it read (a deadline) must give it, or a
        slow decision would stop a job that was retried meanwhile.
        """

    def close_job(self, job_id: JobId, gen: int) -> Job | None:
        """J8. Close when all n items are final: cancelled if any item is, else done_with_errors if any failed,
        else done; with the counts by state. None: not yet, or somebody else did. Ask only when nothing is open.
        """

    def retry_job(
        self, job_id: JobId, gen: int, retry: Retry = ALL_FAILED, *, deadline: datetime | None = None
    ) -> bool:
        """J9. The choice is frozen in the job. ``deadline``: its new one; None leaves it."""

    def reopen_items(self, job_id: JobId, gen: int, retry: Retry = ALL_FAILED) -> int:
        """I11. Failed items of an earlier gen that are chosen become pending, attempt 0, at ``gen``. How many."""

    def reopened_job(self, job_id: JobId, gen: int) -> bool:
        """J10."""

    def reaccept_job(self, job_id: JobId, gen: int) -> bool:
        """J11. Instead of J10, where the job's market was never frozen."""

    def delete_job(self, job_id: JobId, gen: int) -> bool:
        """J12. A closed job at this gen is marked as deleted; no retry brings it back. Its items go afterwards."""

    def set_parallelism(self, job_id: JobId, parallelism: int) -> int | None:
        """The parallelism an open job had until now; None: it is closed, or nobody knows it."""

    # -- what is told of jobs. J1, J4, J5, J6, J8 and J9 each write an event with the change itself.

    def untold(self, limit: int = 100) -> Sequence[Untold]:
        """Jobs with events that were not marked as told, oldest job first, each with all of those events.

        A job keeps its last EVENTS_KEPT events: what is older was told, or is lost to a broker that was out for
        hundreds of outages of an upstream.
        """

    def mark_told(self, job_id: JobId, sequence: int) -> bool:
        """The job's events up to this one were told. False: they were marked already."""

    def tell_again(self, job_id: JobId) -> bool:
        """Every event the job still keeps is to be told once more. False: none of them was told yet."""

    def note_healing(self, job_id: JobId, kind: str, count: int = 1) -> None:
        """Add to ``healing[kind]`` of the job. Called only when something had to be repaired."""

    # -- items, by workers

    def claim(self, job_id: JobId, seat: int, owner: str) -> Item | ClaimMiss:
        """I2. A pending item becomes running on this seat, fence + 1, attempt + 1.

        Those an outage gave back least often come first, then the lowest: one portfolio whose own record is
        out cannot stand in the way of the others. Among those never given back, a store may deal a stripe
        (``seq`` modulo the parallelism) to each seat, to keep claimers apart.
        """

    def finish(self, finish: Finish) -> bool:
        """I3. Result, outcome and outbox in one write. False: the fence has moved, drop the result.

        After a lost reply the write is repeated and recognised as its own.
        """

    def finish_and_claim(self, finish: Finish, job_id: JobId, seat: int, owner: str) -> Folded:
        """I3 of one item, then I2 of the job's next one on the same seat, in one round trip where the store can.

        Both stay compare-and-sets of their own, in this order: a store that dies on the way did both, neither, or
        the finish alone, and never claims on a seat that the finish has still to free. The claim does not depend
        on the finish: who lost its lease may find its seat free. ``touched`` of what was claimed may be None.

        After a lost reply it is repeated: the finish is recognised, and the seat is held under ``owner``.
        """

    def fail_attempt(
        self, item_id: ItemId, fence: int, reason: str, *, max_attempts: int, delay_seconds: float
    ) -> ItemState | None:
        """I4. Delayed by ``delay_seconds``, or failed when the attempts are used up. None: the fence has moved."""

    def give_back(self, item_id: ItemId, fence: int, reason: str, *, delay_seconds: float) -> bool:
        """I5. Delayed, attempt - 1, given_back + 1: an outage burns nothing and does not come first again."""

    def mark_sent(self, item_ids: Sequence[ItemId]) -> int:
        """I7. due → sent for each."""

    # -- items, by the steward

    def expire_items(
        self, lease_seconds: float, *, max_attempts: int, limit: int = 1000
    ) -> Sequence[Expired]:
        """I8. Running and untouched for longer than the lease: delayed (``lost_worker``, at once due to wake) or
        failed (``poison``) when the attempts are used up; ``stop_to`` when the job is stopping.
        """

    def wake_items(self, limit: int = 1000) -> Mapping[JobId, int]:
        """I9. Delayed items whose time has come become pending. How many of which job."""

    def due_items(self, older_than_seconds: float, limit: int = 1000) -> Sequence[Item]:
        """I6. Decided items whose order set is due for longer than this (``order_set`` included)."""

    def due_again(self, job_id: JobId, *, since: datetime | None = None) -> int:
        """Sent → due for the job's order sets, or for those decided since then. Nothing else changes. How many."""

    def sweep_items(self, job: Job) -> int:
        """I10. Pending and delayed items of a stopping job, up to its gen, become ``job.stop_to``. How many."""

    def busy_seats(self, job_id: JobId) -> Mapping[int, ItemId]:
        """The seats that are taken, and by which item."""

    def next_pending(self, job_id: JobId) -> ItemId | None:
        """The item the next claim would take."""

    def has_items(self, job_id: JobId, states: Iterable[ItemState]) -> bool:
        """Whether any item is in one of these states (limit 1, never a count)."""

    def has_due(self, job_id: JobId) -> bool:
        """Whether any order set of the job is still to be published (limit 1, never a count)."""

    def delete_items(self, job_id: JobId) -> int:
        """Items of a deleted job with all they hold, and its frozen inputs. Repeatable. How many items went."""

    # -- items, for people

    def get_item(self, item_id: ItemId) -> Item:
        """Raises NotFound."""

    def list_items(
        self,
        job_id: JobId,
        *,
        states: Iterable[ItemState] = (),
        after_seq: int = -1,
        cause: str | None = None,
        limit: int = 100,
        bodies: bool = False,
    ) -> Sequence[Item]:
        """In seq order, after ``after_seq``. ``cause``: those whose reason begins so.

        ``bodies`` False: without inline, result and order_set.
        """

    def count_items(self, job_id: JobId) -> Mapping[str, int]:
        """How many items are in each state."""

    def count_causes(self, job_id: JobId, states: Iterable[ItemState], *, limit: int) -> Sequence[CauseCount]:
        """How many items of these states by cause, the most frequent first. Never looks at more than ``limit``."""

    # -- what stewards tell each other

    def get_note(self, name: str) -> str | None: ...

    def swap_note(self, name: str, old: str | None, new: str) -> bool:
        """Write a note unless it moved: ``old`` is what was read. False: somebody else wrote it first."""


# ------------------------------------------------------------------------------------------------ watching


class Stage(StrEnum):
    """What the time of a portfolio goes into."""

    FETCH = "fetch"
    SOLVE = "solve"
    VERIFY = "verify"
    STORE = "store"
    PUBLISH = "publish"


class Stopwatch(Protocol):
    def lap(self, stage: Stage) -> None:
        """What went on since the last lap, or since the watch was started, was this stage."""


class Meter(Protocol):
    """Is told what happens, so that somebody can count it. It answers nothing and never raises.

    A process that dies between a write and its count takes the count with it: the store tells how many, a meter
    how fast.
    """

    def watch(self) -> Stopwatch:
        """Started now."""

    def job_accepted(self) -> None: ...

    def job_refused(self, code: str) -> None:
        """For want of room."""

    def job_closed(self, job: Job) -> None:
        """With its end and its times."""

    def decided(self, rebalance: Rebalance) -> None:
        """An answer was found; it is not stored yet."""

    def ended(self, state: ItemState, count: int = 1) -> None:
        """Portfolios whose end is stored."""

    def attempt_failed(self, cause: str) -> None:
        """``cause``: the code of the error."""

    def given_back(self, service: str) -> None:
        """A portfolio that comes back without having lost an attempt, since this service is out."""

    def healed(self, kind: str, count: int = 1) -> None:
        """Something was repaired: as `JobStore.note_healing`."""


class Tracing(Protocol):
    """Follows one request through all processes. Without anybody who listens nothing is followed."""

    def parent(self) -> str:
        """What goes on now, as W3C ``traceparent``, for what will be done later because of it; "": nothing."""

    def span(self, name: str, *, parent: str = "", **attributes: str) -> AbstractContextManager[object]:
        """What happens inside is one step, of what goes on now or of ``parent``."""

    def entry(self, name: str, **attributes: str) -> AbstractContextManager[object]:
        """Something came in by a way of our own: from here on it is followed."""
