"""What a rebalance answers for one portfolio: the words and the numbers of the result."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, TypeAlias, overload

from domain import money
from domain.explain.told import Explanation, Relaxed
from domain.ids import PortfolioId, SecurityId
from domain.model import ModelPosition

# An int where they are whole.
Shares: TypeAlias = int | Decimal


class Outcome(StrEnum):
    """How a portfolio's rebalance ended. The first four carry an answer and are published."""

    TRADED = "traded"
    NO_TRADE = "no_trade"
    INFEASIBLE = "infeasible"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def decided(self) -> bool:
        """Whether this outcome is an answer: it never changes and is published as an order set."""
        return self in DECIDED


DECIDED = frozenset({Outcome.TRADED, Outcome.NO_TRADE, Outcome.INFEASIBLE, Outcome.REJECTED})


# Reasons of a portfolio that was decided under its rules. Stable words.
REBALANCED = "rebalanced"
AT_LEAST_DRIFT = "at_least_drift"
INSIDE_BOUNDS = "inside_bounds"


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class Order(NamedTuple):
    """Buy or sell a whole number of shares. ``notional`` = quantity x price; ``reason`` is a stable word.

    A tuple, as `PositionOutcome`: they are made by the hundred for every portfolio, at a third of the cost.
    """

    side: Side
    security_id: SecurityId
    quantity: int
    price: Decimal
    notional: Decimal
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One rule that stands in the way. ``rule`` is a stable word, ``message`` a sentence for people.

    ``amount`` is the least change, in money, that would satisfy the rule, where that is known.
    """

    rule: str
    message: str
    security_id: SecurityId | None = None
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How good the answer is. ``gap`` = ``objective`` - ``lower_bound`` in money; 0 means proved optimal.

    ``method`` names the rung of the ladder, ``solver`` the library and version that found the answer, and
    ``bound_by`` what proved the bound: exact integer arithmetic or the solver's own floating-point bound.
    """

    method: str
    objective: Decimal
    lower_bound: Decimal
    gap: Decimal
    solver: str
    bound_by: str


class PositionOutcome(NamedTuple):
    """One security before and after. ``actual`` is the weight after trading, 4 decimals."""

    security_id: SecurityId
    price: Decimal
    original_quantity: Decimal
    adjusted_quantity: Decimal
    target: Decimal
    low_drift: Decimal
    high_drift: Decimal
    actual: Decimal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listing:
    """What positions say of some securities however much of them is held, a column each; one for a whole job.

    ``printed`` are price, target and both drifts as they stand in a document.
    """

    security_ids: tuple[SecurityId, ...]
    prices: tuple[Decimal, ...]
    targets: tuple[Decimal, ...]
    low_drifts: tuple[Decimal, ...]
    high_drifts: tuple[Decimal, ...]
    printed: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, rows: Iterable["Listed"]) -> "Listing":
        columns = tuple(zip(*rows, strict=True)) or ((),) * len(Listed._fields)
        security_ids, prices, targets, low_drifts, high_drifts, *printed = columns
        return cls(
            security_ids=security_ids,
            prices=prices,
            targets=targets,
            low_drifts=low_drifts,
            high_drifts=high_drifts,
            printed=tuple(printed),
        )


class Listed(NamedTuple):
    """One security of a `Listing`."""

    security_id: SecurityId
    price: Decimal
    target: Decimal
    low_drift: Decimal
    high_drift: Decimal
    printed_price: str
    printed_target: str
    printed_low_drift: str
    printed_high_drift: str

    @classmethod
    def of(cls, position: ModelPosition, price: Decimal) -> "Listed":
        numbers = (price, position.target, position.low_drift, position.high_drift)
        return cls(position.security_id, *numbers, *map(money.plain, numbers))


class Positions(Sequence[PositionOutcome]):
    """Every security before and after, in order of id: kept by column, made into an outcome for whoever looks at one.

    They are written far more often than looked at, by the hundred for every portfolio. ``before`` and ``after`` are
    shares, as a Decimal where a part of one is among them; ``weights`` are ten-thousandths of the market value.
    """

    __slots__ = ("_weights", "after", "before", "listing")

    def __init__(
        self, listing: Listing, before: Sequence[Shares], after: Sequence[Shares], weights: Sequence[int]
    ) -> None:
        self.listing = listing
        self.before = before
        self.after = after
        self._weights = weights

    def __len__(self) -> int:
        return len(self.before)

    def __iter__(self) -> Iterator[PositionOutcome]:
        listing = self.listing
        columns = zip(
            listing.security_ids,
            listing.prices,
            map(Decimal, self.before),
            map(Decimal, self.after),
            listing.targets,
            listing.low_drifts,
            listing.high_drifts,
            map(money.from_ten_thousandths, self._weights),
            strict=True,
        )
        return map(PositionOutcome._make, columns)

    @overload
    def __getitem__(self, index: int) -> PositionOutcome: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PositionOutcome]: ...
    def __getitem__(self, index: int | slice) -> PositionOutcome | Sequence[PositionOutcome]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def before_and_after(self) -> tuple[dict[SecurityId, Shares], dict[SecurityId, Shares]]:
        """Shares by security."""
        security_ids = self.listing.security_ids
        return dict(zip(security_ids, self.before, strict=True)), dict(
            zip(security_ids, self.after, strict=True)
        )

    def printed(self) -> Iterator[tuple[str, ...]]:
        """Each field of each position as it stands in a document."""
        price, *weights = self.listing.printed
        return zip(
            self.listing.security_ids,
            price,
            _printed(self.before),
            _printed(self.after),
            *weights,
            map(money.ten_thousandths_text, self._weights),
            strict=True,
        )


NO_POSITIONS = Positions(Listing.of(()), (), (), ())


def _printed(shares: Sequence[Shares]) -> list[str]:
    return [str(each) if type(each) is int else money.plain(Decimal(each)) for each in shares]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalance:
    r"""The decided answer for one portfolio: always one of the four decided outcomes, always with a reason.

    Drift is the sum of \|MV x target - quantity x price\| over held and modelled securities, in money.
    The numbers are None where the input did not allow them to be computed (``rejected``). ``cost`` is what the orders
    cost together and ``turnover`` what they buy and sell together: None where the policy asks nothing beyond the
    model's targets, bounds and the cash floors. ``relaxed`` are the rules that gave way. ``explanation`` is None where
    ``cost`` is, but for rules that leave no answer.
    """

    portfolio_id: PortfolioId
    outcome: Outcome
    reason: str
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()
    market_value: Decimal | None = None
    cash_before: Decimal | None = None
    cash_after: Decimal | None = None
    drift_before: Decimal | None = None
    drift_after: Decimal | None = None
    positions: Positions = NO_POSITIONS
    orders: tuple[Order, ...] = ()
    proof: Proof | None = None
    cost: Decimal | None = None
    turnover: Decimal | None = None
    relaxed: tuple[Relaxed, ...] = ()
    explanation: Explanation | None = None
