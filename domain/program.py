"""A mixed-integer linear program in exact integers: what the extended rules of a policy are written in.

Minimise ``cost`` @ x over whole x with ``lower`` <= x <= ``upper`` and, of each row, ``least`` <= ``weights`` @ x <=
``most``. Every number is a Python integer, so that what a solver proposes in floating point is judged exactly here,
and every row says which rule it stands for: a conflict is told, and a rule relaxed, by its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NewType

from domain.ids import SecurityId

# The place of a column in its program.
Column = NewType("Column", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleName:
    """Which rule: a stable word, and of which security or group where it stands for one of several."""

    rule: str
    security_id: SecurityId | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``least`` <= sum of weight x column <= ``most``; None where there is no such end.

    ``rule`` None: a row of the formulation itself, which no relaxation may touch. ``unit`` is what one unit of the
    row is: ``money`` (a fine unit of the problem) or ``count``.
    """

    weights: Mapping[Column, int]
    least: int | None = None
    most: int | None = None
    rule: RuleName | None = None
    unit: str = "money"

    def value(self, x: Sequence[int]) -> int:
        """The sum at ``x``."""
        return sum(weight * x[column] for column, weight in self.weights.items())

    def missed_by(self, x: Sequence[int]) -> int:
        """By how much ``x`` breaks it; 0 if it does not."""
        value = self.value(x)
        below = 0 if self.least is None else self.least - value
        above = 0 if self.most is None else value - self.most
        return max(0, below, above)


@dataclass(slots=True, kw_only=True)
class Program:
    """Columns are added first, rows then; read-only by agreement once it is solved.

    ``unit`` is how many units of ``cost``, and of the rows whose unit is ``money``, make one of the currency: a solver
    in floating point is given currency units, never parts of the market value.
    """

    unit: int = 1
    lower: list[int] = field(default_factory=list)
    upper: list[int] = field(default_factory=list)
    cost: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def column(self, lower: int, upper: int, cost: int = 0) -> Column:
        """A new whole-number variable; ``lower`` > ``upper`` makes the program infeasible, and says so nowhere else."""
        self.lower.append(lower)
        self.upper.append(upper)
        self.cost.append(cost)
        return Column(len(self.cost) - 1)

    def objective(self, x: Sequence[int]) -> int:
        """``cost`` @ x, exact."""
        return sum(cost * value for cost, value in zip(self.cost, x, strict=True))

    def allows(self, x: Sequence[int]) -> bool:
        """Whether x keeps every bound and every row, exactly."""
        inside = all(low <= value <= high for low, value, high in zip(self.lower, x, self.upper, strict=True))
        return inside and not any(row.missed_by(x) for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramAnswer:
    """What a solver says of a `Program`: proposals and claims, nothing of it checked.

    ``values`` are whole numbers by column, None if it found none; ``lower_bound`` is its own bound on the cost, in
    currency units, as a float. ``status`` is ``optimal``, ``time_limit`` or ``infeasible``. ``seconds`` is how long it took.
    """

    values: tuple[int, ...] | None
    lower_bound: float
    status: str
    seconds: float = field(default=0.0, compare=False)

    @property
    def infeasible(self) -> bool:
        """Whether the solver claims that there is no answer."""
        return self.status == INFEASIBLE


OPTIMAL = "optimal"
TIME_LIMIT = "time_limit"
INFEASIBLE = "infeasible"
