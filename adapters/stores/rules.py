"""What both stores must decide alike: sort orders, pages, how a job closes, which states a caller may name."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from adapters.stores.codecs import at_millis
from domain.errors import Invalid
from domain.item import FINAL_STATES, ITEM_MOVES, ItemState
from domain.job import JobState
from domain.ports import ModelQuery

LOST_WORKER = "lost_worker"  # the reason of an item whose lease ran out, and the cause its attempt ended by
DUE_COUNTED = 10_000  # at most: beyond that it is as bad as it can be, and counting costs

_SORT_FIELDS = ("model_id", "name", "last_rebalance_date")
_DIRECTIONS: Mapping[str, int] = {"+": 1, "-": -1}


def sort_keys(query: ModelQuery) -> list[tuple[str, int]]:
    """Fields and directions (1 up, -1 down) of a total order: the model id breaks what ties are left.

    Raises:
        Invalid: an unknown field, or no direction before it.
    """
    keys: dict[str, int] = {}
    for wanted in query.sort_by:
        direction, field = _DIRECTIONS.get(wanted[:1]), wanted[1:]
        if direction is None or field not in _SORT_FIELDS:
            allowed = ", ".join(f"+{name} or -{name}" for name in _SORT_FIELDS)
            raise Invalid(f"cannot sort by {wanted!r}: use {allowed}")
        keys.setdefault(field, direction)
    keys.setdefault("model_id", 1)
    return list(keys.items())


def check_page(offset: int, limit: int) -> None:
    """Raises Invalid for a negative number, which the databases would each read in another way."""
    if offset < 0 or limit < 0:
        raise Invalid(f"a page starts and ends at or after 0, not offset {offset}, limit {limit}")


def day_of(moment: datetime) -> tuple[datetime, datetime]:
    """The moment's UTC day: its first moment and that of the next."""
    start = at_millis(moment).replace(hour=0, minute=0, second=0, microsecond=0)
    return start, start + timedelta(days=1)


def closed_state(counts: Mapping[str, int], n: int) -> JobState | None:
    """How a job of ``n`` portfolios ends, or None while they are not all final.

    Final states are absorbing, so a sum taken while items move may be too low, never wrong when it is ``n``.
    """
    if sum(counts.get(state, 0) for state in FINAL_STATES) != n:
        return None
    if counts.get(ItemState.CANCELLED, 0):
        return JobState.CANCELLED
    return JobState.DONE_WITH_ERRORS if counts.get(ItemState.FAILED, 0) else JobState.DONE


def check_target(move: str, state: str | None) -> ItemState:
    """The state an item is moved to, if the move may end there.

    Raises:
        ValueError: a mistake of the caller's code, not of its user.
    """
    if state not in ITEM_MOVES[move].targets:
        raise ValueError(f"{move} cannot end in {state}")
    return ItemState(state)


def expired_state(attempt: int, max_attempts: int, stop_to: str | None) -> ItemState:
    """What an item becomes whose lease ran out; ``stop_to`` is that of its job, if the job is stopping."""
    if stop_to is not None:
        return check_target("expire", stop_to)
    return ItemState.FAILED if attempt >= max_attempts else ItemState.DELAYED


def expired_reason(attempt: int, state: ItemState) -> str:
    """Why an item of a job that goes on is what ``expired_state`` says: what ends its last worker too is poison."""
    if state is not ItemState.FAILED:
        return LOST_WORKER
    return f"poison: attempt {attempt}, the last, ended with its worker lost or silent beyond the lease"
