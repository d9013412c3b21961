"""An item: one portfolio of one job. It holds a seat only while it is in work."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.ids import ItemId, JobId, PortfolioId


class ItemState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DELAYED = "delayed"  # not before a time; keeps clocks out of the claim
    TRADED = "traded"
    NO_TRADE = "no_trade"
    INFEASIBLE = "infeasible"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


DECIDED_STATES = frozenset({ItemState.TRADED, ItemState.NO_TRADE, ItemState.INFEASIBLE, ItemState.REJECTED})
FINAL_STATES = DECIDED_STATES | {ItemState.FAILED, ItemState.CANCELLED}
OPEN_STATES = frozenset(ItemState) - FINAL_STATES


@dataclass(frozen=True, slots=True)
class ItemMove:
    """One allowed change of an item's state; every store builds its compare-and-set from it."""

    sources: frozenset[ItemState]
    targets: frozenset[ItemState]


def _move(sources: set[ItemState], targets: set[ItemState]) -> ItemMove:
    return ItemMove(frozenset(sources), frozenset(targets))


# The numbers are those of docs/job-protocol.md.
ITEM_MOVES: Mapping[str, ItemMove] = {
    "claim": _move({ItemState.PENDING}, {ItemState.RUNNING}),  # I2
    "finish": _move({ItemState.RUNNING}, set(DECIDED_STATES)),  # I3
    "error": _move({ItemState.RUNNING}, {ItemState.DELAYED, ItemState.FAILED}),  # I4
    "give_back": _move({ItemState.RUNNING}, {ItemState.DELAYED}),  # I5
    "expire": _move({ItemState.RUNNING}, {ItemState.DELAYED, ItemState.FAILED, ItemState.CANCELLED}),  # I8
    "wake": _move({ItemState.DELAYED}, {ItemState.PENDING}),  # I9
    "sweep": _move({ItemState.PENDING, ItemState.DELAYED}, {ItemState.FAILED, ItemState.CANCELLED}),  # I10
    "reopen": _move({ItemState.FAILED}, {ItemState.PENDING}),  # I11
}


class Out(StrEnum):
    """The outbox, inside the item: set with the result in one write, marked after the publish."""

    DUE = "due"
    SENT = "sent"


ATTEMPTS_KEPT = 16  # of one item, the last ones: an outage of hours gives the same item back again and again


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One time somebody worked on an item, on the store's clock. In work: no ``ended``, no ``cause``.

    ``number`` counts within ``gen``; one that an outage gave back has the number of the next. ``cause`` is how it
    ended: the outcome, the error, the outage, or the lost worker.
    """

    gen: int
    number: int
    owner: str | None
    started: datetime | None
    ended: datetime | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """``fence`` is +1 at every claim and never reset: it tells a live worker from one that lost its lease.

    ``past_attempts`` are the last ATTEMPTS_KEPT that ended, oldest first.
    ``touched`` is the store's clock at the last change. ``inline`` is the portfolio as the request gave it.
    ``result`` is the whole answer and ``order_set`` the bytes that are published, both JSON, written once.
    """

    item_id: ItemId
    job_id: JobId
    portfolio_id: PortfolioId
    seq: int
    state: ItemState = ItemState.PENDING
    fence: int = 0
    attempt: int = 0
    gen: int = 0
    given_back: int = 0
    owner: str | None = None
    seat: int | None = None
    touched: datetime | None = None
    not_before: datetime | None = None
    reason: str | None = None
    inline: bytes | None = None
    result: bytes | None = None
    order_set: bytes | None = None
    out: Out | None = None
    past_attempts: tuple[Attempt, ...] = ()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The past attempts, and the one in work. A claim writes no entry: what it would say stands in the item."""
        if self.state is not ItemState.RUNNING:
            return self.past_attempts
        running = Attempt(gen=self.gen, number=self.attempt, owner=self.owner, started=self.touched)
        return (*self.past_attempts, running)
