"""What an answer tells beside its numbers: why each order is there, what gave way, and which rules are in conflict."""

from dataclasses import dataclass
from decimal import Decimal

from domain.ids import SecurityId


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """A rule that had to give way, or would have to, and by how much. ``unit`` is ``money`` or ``orders``."""

    rule: str
    amount: Decimal
    unit: str
    message: str
    security_id: SecurityId | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExplained:
    """Why one order is there: its reason in words, and the drift of its security before and after (money)."""

    security_id: SecurityId
    reason: str
    drift_before: Decimal
    drift_after: Decimal
    message: str
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTold:
    """A rule of a conflict, and what it asks for in a sentence."""

    rule: str
    message: str
    security_id: SecurityId | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictTold:
    """Rules that cannot be kept together.

    ``irreducible``: without any one of them the others can be kept. ``proved_by``: ``exact`` or the name of a solver.
    """

    rules: tuple[RuleTold, ...]
    irreducible: bool
    proved_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Of an answer: ``orders``, the ``lowest_cash`` while they execute one after the other at the stated prices, and the
    slip against those prices up to which the cash floor holds (``slip_covered``; None without orders).

    Where the rules leave no answer: the ``conflicts`` and the ``least_relaxation`` that would leave one.
    ``relaxation_proved_by`` is who proved that nothing less would do; None where nobody did.
    """

    orders: tuple[OrderExplained, ...] = ()
    lowest_cash: Decimal | None = None
    slip_covered: Decimal | None = None
    conflicts: tuple[ConflictTold, ...] = ()
    least_relaxation: tuple[Relaxed, ...] = ()
    relaxation_proved_by: str | None = None
