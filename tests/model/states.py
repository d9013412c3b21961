"""What the model knows: the stored documents, the messages, the processes, and the switches that make a run.

A state is a tuple of small tuples, so that it is its own hash key. What is stored (``Job``, ``Item``, the entries of
the result queue) outlives every crash; a ``Process`` is what a worker or a steward holds in memory and loses.

Bytes are not modelled: an answer is named by the fence of the claim that computed it. Two entries of the result
queue carry the same bytes exactly when they carry the same fence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from domain.item import ITEM_MOVES, ItemState, Out
from domain.job import JOB_MOVES, JobState

NONE = -1  # no item, no seat, no fence: an int, so that processes can be sorted


class Phase(StrEnum):
    """Where a process stands: the name of the step it takes next."""

    IDLE = "idle"
    # -- worker
    CLAIM = "claim"  # it read a page of candidates and claims one by id
    WORK = "work"
    REPEAT = "repeat"  # the reply to its finish was lost
    FOLD = "fold"  # finished, and the claim that went with it is still to come
    REFOLD = "refold"  # the reply to both was lost
    OUTBOX = "outbox"  # only with the bug of two writes
    RESUME = "resume"
    FILL = "fill"
    PUBLISH = "publish"
    MARK = "mark"
    PASS_ON = "pass_on"
    WAIT = "wait"
    # -- steward
    FREEZE = "freeze"
    EXPAND = "expand"
    SEND = "send"
    SWEEP = "sweep"
    REOPEN = "reopen"
    REOPENED = "reopened"
    REACCEPT = "reaccept"  # it saw no frozen market
    EXPIRE = "expire"
    DEADLINE = "deadline"
    # -- both: closing
    LOOK = "look"
    COUNT = "count"
    CLOSE = "close"


class Item(NamedTuple):
    """A stored portfolio. ``result`` is the fence of the claim whose answer is stored."""

    state: ItemState | None = None  # None: not written yet
    fence: int = 0
    attempt: int = 0
    gen: int = 0
    seat: int = NONE
    out: Out | None = None
    result: int = NONE


class Job(NamedTuple):
    """The stored job. ``counts`` is by state, written when it closes; ``chosen`` is what its last retry is about."""

    state: JobState = JobState.ACCEPTED
    gen: int = 0
    stop_to: ItemState | None = None
    frozen: bool = False
    started: bool = False
    counts: tuple[tuple[ItemState, int], ...] = ()
    chosen: tuple[int, ...] = ()


class Token(NamedTuple):
    seat: int
    probe: bool = False


class Process(NamedTuple):
    """A worker, or one thread of a steward. Every field is something it read or claimed and may be stale.

    ``item`` and ``fence`` name the claim it holds (or the lease it found lapsed, or the row it is to mark);
    ``at`` is where a pass over the items stands; ``goal`` what that pass is for; ``marks`` the published items
    it still has to mark; ``unsent`` the answers of its slice (item, fence) that are stored and not yet published;
    ``lapsed`` that a steward has seen the lease of its claim run out.
    """

    phase: Phase = Phase.IDLE
    item: int = NONE
    fence: int = NONE
    seat: int = NONE
    probe: bool = False
    lapsed: bool = False
    gen: int = NONE
    at: int = 0
    goal: str = ""
    counts: tuple[tuple[ItemState, int], ...] = ()
    chosen: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()
    unsent: tuple[tuple[int, int], ...] = ()


IDLE = Process()


class World(NamedTuple):
    """What is nobody's memory: the upstream, the clock, what the outside may still do, the result queue.

    ``entries`` holds, for each item, the answers that stand on the result queue (a repetition counts up to two).
    ``deadline_passed`` is the gen whose deadline has passed.
    """

    outage: bool = False
    deadline_passed: int = NONE
    deadlines: int = 0
    cancels: int = 0
    retries: int = 0
    forgets: int = 0
    entries: tuple[tuple[int, ...], ...] = ()


class State(NamedTuple):
    """Workers and stewards are sorted: it does not matter which of them is which."""

    job: Job
    items: tuple[Item, ...]
    tokens: tuple[Token, ...]
    workers: tuple[Process, ...]
    stewards: tuple[Process, ...]
    world: World


class Step(NamedTuple):
    """One atomic step of one process. ``move`` is the row of the move table it carries out, if any; two with a +.

    ``fault`` steps are what may happen and need not: without them every run must still end.
    ``state`` is what is shared afterwards, ``process`` what the process holds then.
    """

    name: str
    state: State
    process: Process = IDLE
    move: str = ""
    fault: bool = False


class Fault(StrEnum):
    """What may go wrong between any two steps."""

    CRASH = "crash"  # any process, at any of its steps; marks and messages in its hands are lost
    LOSS = "loss"  # of a token
    DOUBLE = "double"  # a token that is delivered stays in the queue
    LAPSE = "lapse"  # the lease of a live worker runs out
    ERROR = "error"  # a portfolio fails for a reason of its own
    REPLY = "reply"  # a finish is stored and its reply lost
    BROKER = "broker"  # the result queue refuses a publish


ALL_FAULTS = frozenset(Fault)


class ClaimOrder(StrEnum):
    LOWEST = "lowest"  # SQLite, while nothing was given back
    ANY = "any"  # whatever the order, as long as it is one atomic step
    BY_ID = "by_id"  # MongoDB: a page is read first, the claim compares the fence it read


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The guards of the protocol. Each bug of the table in mutations.py turns one off (or two)."""

    claim_needs_a_free_seat: bool = True
    claim_counts_the_attempt: bool = True
    claim_compares_the_fence: bool = True
    finish_compares_the_fence: bool = True
    finish_compares_the_state: bool = True
    error_compares_the_fence: bool = True
    give_back_compares_the_fence: bool = True
    give_back_returns_the_attempt: bool = True
    give_back_ends_the_token: bool = True
    give_back_makes_the_job_wait: bool = True
    repeated_finish_is_recognised: bool = True
    repeated_fold_is_recognised: bool = True
    store_before_publish: bool = True
    publish_only_what_was_stored: bool = True
    publish_before_mark: bool = True
    result_and_outbox_in_one_write: bool = True
    resume_after_the_finish: bool = True
    resume_fills_the_seats: bool = True
    worker_publishes: bool = True
    worker_closes: bool = True
    token_is_passed_on: bool = True
    expire_compares_the_fence: bool = True
    expire_frees_the_seat: bool = True
    expire_of_a_stopping_job_ends_the_item: bool = True
    steward_expires: bool = True
    steward_wakes: bool = True
    steward_publishes: bool = True
    steward_sends_tokens: bool = True
    steward_probes: bool = True
    steward_closes: bool = True
    first_tokens_are_sent: bool = True
    expansion_keeps_what_is_there: bool = True
    expansion_before_start: bool = True
    expansion_before_sweep: bool = True
    sweep_compares_the_gen: bool = True
    reopen_compares_the_gen: bool = True
    reopen_items_before_the_job: bool = True
    reopen_takes_the_list_of_its_gen: bool = True
    close_compares_the_gen: bool = True
    close_counts_what_runs: bool = True
    close_expects_all_n: bool = True
    deadline_compares_the_gen: bool = True
    retry_renews_the_deadline: bool = True
    retry_accepts_again_what_was_not_frozen: bool = True
    reaccept_compares_the_gen: bool = True
    reaccept_after_the_items: bool = True
    retry_sends_tokens: bool = True
    reopen_before_sweep: bool = True
    close_waits_for_the_reopened: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Sources and targets of every move: those of the code, unless a mutation changes the table itself."""

    item_sources: Mapping[str, frozenset[ItemState]] = field(
        default_factory=lambda: {name: move.sources for name, move in ITEM_MOVES.items()}
    )
    item_targets: Mapping[str, frozenset[ItemState]] = field(
        default_factory=lambda: {name: move.targets for name, move in ITEM_MOVES.items()}
    )
    job_sources: Mapping[str, frozenset[JobState]] = field(
        default_factory=lambda: {name: move.sources for name, move in JOB_MOVES.items()}
    )
    job_targets: Mapping[str, JobState | None] = field(
        default_factory=lambda: {name: move.target for name, move in JOB_MOVES.items()}
    )

    def item_target(self, move: str) -> ItemState:
        """The one state this move ends in."""
        (target,) = self.item_targets[move]
        return target

    def job_target(self, move: str) -> JobState:
        """The one state this move ends in; not for ``close``, whose target follows from the counts."""
        target = self.job_targets[move]
        assert target is not None, f"{move} has no fixed target"
        return target


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """How big a world is explored, and what may happen in it.

    Args:
        name: of the table in configurations.py.
        n: portfolios of the job.
        parallelism: seats.
        expanded: begin with a running job whose items are written and whose tokens are sent.
        healing: whether stewards expire, publish what is due and send tokens again. A calm run needs none of it.
        batched_marks: published items are marked later, in batches; else right after the publish.
        slices: a token may go on to another portfolio, claimed with the finish of the one before.
        fold_in_one: that finish and that claim are one atomic step (SQLite); else two, in this order (MongoDB).
        scanned_count: a close counts item by item; else in one atomic step.
        add_once: the result queue drops an id it knows; else it takes every entry.
        poison: items that kill their worker.
        outcomes: what the items are decided as, in turn.
        chosen: a retry is about any of the failed items; else about all of them.
        cancels, retries, deadlines, forgets: how often each may happen; ``forgets`` is of the result queue.
    """

    name: str
    n: int = 1
    parallelism: int = 1
    workers: int = 1
    stewards: int = 1
    attempts: int = 2
    expanded: bool = False
    faults: frozenset[Fault] = frozenset()
    outages: bool = False
    cancels: int = 0
    retries: int = 0
    chosen: bool = False
    deadlines: int = 0
    forgets: int = 0
    healing: bool = True
    batched_marks: bool = False
    slices: bool = False
    fold_in_one: bool = True
    scanned_count: bool = False
    add_once: bool = True
    claim_order: ClaimOrder = ClaimOrder.ANY
    poison: frozenset[int] = frozenset()
    outcomes: tuple[ItemState, ...] = (ItemState.TRADED, ItemState.NO_TRADE)
    protocol: Protocol = field(default_factory=Protocol)
    moves: Moves = field(default_factory=Moves)

    @property
    def seats(self) -> range:
        """As ``Job.seats``: a job of fewer portfolios has fewer seats."""
        return range(min(self.parallelism, self.n))

    def outcome(self, item: int) -> ItemState:
        return self.outcomes[item % len(self.outcomes)]


def with_item(state: State, index: int, item: Item) -> State:
    return state._replace(items=(*state.items[:index], item, *state.items[index + 1 :]))


def with_tokens(state: State, *sent: Token) -> State:
    """The queue has no order and holds one copy of each token: a second one is the fault ``double``."""
    missing = [token for token in sent if token not in state.tokens]
    return state._replace(tokens=tuple(sorted((*state.tokens, *missing)))) if missing else state


def busy_seats(state: State) -> set[int]:
    return {item.seat for item in state.items if item.seat != NONE}


def all_written(state: State) -> bool:
    return all(item.state is not None for item in state.items)


def any_in(state: State, states: frozenset[ItemState]) -> bool:
    return any(item.state in states for item in state.items)
