"""What a rebalance answers for one portfolio: the words and the numbers of the result."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from domain.ids import PortfolioId, SecurityId


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalance:
    r"""The decided answer for one portfolio: always one of the four decided outcomes, always with a reason.

    Drift is the sum of \|MV x target - quantity x price\| over held and modelled securities, in money.
    The numbers are None where the input did not allow them to be computed (``rejected``).
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
    positions: tuple[PositionOutcome, ...] = ()
    orders: tuple[Order, ...] = ()
    proof: Proof | None = None
