r"""The extended problem as a mixed-integer linear program: the rung that knows every rule at once.

Each side of the shares held is a convex piecewise linear function of the number of lots traded, with its one kink
at the target: steps towards it, one step over it, steps away from it. So a side is at most three whole-number columns
whose slopes rise, and nothing has to say in which order they are used. What an order costs by being one (a fee, a
place among the orders, the smallest trade) hangs on a column of 0 or 1 for the side, and the steps of the side are
at most their number times it: the exact width of what may be chosen, never a large number, so that the relaxation of
one security is the convex hull of its choices. Where neither side needs such a column, there is none.

Everything is whole and exact; only the solver behind `domain.ports.Solver` makes floats of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from domain.extended import MONEY, Choices, Extended, Window, length
from domain.program import Column, Program, Row, RuleName

BOUNDS = "bounds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Lots of one slope: up to ``most`` steps of ``shares`` each (below 0: sold) lead on from where the last ended."""

    column: Column
    shares: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One way to trade a security: be at ``start`` if ``chosen`` is 1, and go on from there by ``steps``.

    ``chosen`` None: no trade and this side are one convex function that begins at ``start``, the shares held.
    """

    start: int
    chosen: Column | None
    steps: tuple[Steps, ...] = ()

    def reaches(self, shares: int) -> bool:
        """Whether these shares lie on it."""
        if not self.steps:
            return shares == self.start
        step = self.steps[0].shares
        count, rest = divmod(shares - self.start, step)
        return rest == 0 and 0 <= count <= sum(each.most for each in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formulation:
    """A program and what its columns mean. Its cost plus ``constant`` is the objective in fine units.

    Rules may be relaxed by adding columns to ``program``: those it has keep their places.
    """

    program: Program
    constant: int
    held: tuple[int, ...]
    branches: tuple[tuple[Branch, ...], ...]

    def quantity(self, x: Sequence[int]) -> list[int]:
        """The shares that these values of the columns stand for."""
        return [
            held + sum(_moved(branch, held, x) for branch in branches)
            for held, branches in zip(self.held, self.branches, strict=True)
        ]

    def columns(self, quantity: Sequence[int]) -> list[int]:
        """Values of the columns for shares that the problem allows: where a solver may start from."""
        x = [0] * len(self.program.cost)
        for shares, held, branches in zip(quantity, self.held, self.branches, strict=True):
            if shares == held:
                continue
            branch = next(each for each in branches if each.reaches(shares))
            if branch.chosen is not None:
                x[branch.chosen] = 1
            left = shares - branch.start
            for steps in branch.steps:
                x[steps.column] = min(left // steps.shares, steps.most)
                left -= x[steps.column] * steps.shares
        return x


def _moved(branch: Branch, held: int, x: Sequence[int]) -> int:
    start = 0 if branch.chosen is None else (branch.start - held) * x[branch.chosen]
    return start + sum(steps.shares * x[steps.column] for steps in branch.steps)


def build_program(extended: Extended, *, windows_as_rows: bool = False) -> Formulation:
    """The program of a problem each of whose securities has a choice.

    Args:
        extended: the problem.
        windows_as_rows: bounds and what may not be bought or sold become rows that name their rule, so that each
            can be found in a conflict or relaxed, and the columns reach as far as the whole market value does. Lots,
            smallest trades and that nothing is short stay as they are: no trade and closing are always possible.
    """
    return _Builder(extended, windows_as_rows=windows_as_rows).built()


class _Builder:
    def __init__(self, extended: Extended, *, windows_as_rows: bool) -> None:
        self._extended = extended
        self._program = Program(unit=extended.unit)
        self._windows_as_rows = windows_as_rows
        self._weights: list[dict[Column, int]] = [{} for _ in extended.couplings]
        self._fixed = [0] * len(extended.couplings)
        # An order is something by itself: its count or fee stands in the objective or in a row.
        self._orders_count = bool(extended.objective.per_order) or any(
            each.per_order for each in extended.couplings
        )
        self._constant = extended.objective.constant

    def built(self) -> Formulation:
        extended, program = self._extended, self._program
        branches = tuple(self._security(place) for place in range(len(extended.windows)))
        for coupling, weights, fixed in zip(extended.couplings, self._weights, self._fixed, strict=True):
            program.rows.append(
                Row(weights=weights, most=coupling.most - fixed, rule=coupling.rule, unit=coupling.unit)
            )
        return Formulation(program=program, constant=self._constant, held=extended.held, branches=branches)

    def _security(self, place: int) -> tuple[Branch, ...]:
        extended = self._extended
        window = extended.windows[place]
        choices = Choices.of(self._reaching_all(window)) if self._windows_as_rows else extended.choices[place]
        held = window.held
        self._constant += extended.of(place, held)
        for row, coupling in enumerate(extended.couplings):
            self._fixed[row] += coupling.of(place, held, held)
        branches = self._branches(place, choices)
        if self._windows_as_rows:
            self._window_rows(place, branches)
        return branches

    def _branches(self, place: int, choices: Choices) -> tuple[Branch, ...]:
        window, held = self._extended.windows[place], choices.held
        sides = [
            (side, lot)
            for side, lot in ((choices.sells[::-1], -window.lot), (choices.buys, window.lot))
            if side
        ]
        convex = (
            choices.stays
            and not choices.closes
            and not self._orders_count
            and all(side[0] == held + lot for side, lot in sides)
        )
        if convex:
            return tuple(
                Branch(start=held, chosen=None, steps=self._steps(place, held, lot, length(side), None))
                for side, lot in sides
            )
        branches = [self._branch(place, side, lot) for side, lot in sides]
        if choices.closes:
            branches.append(Branch(start=0, chosen=self._chosen(place, 0)))
        one = {each.chosen: 1 for each in branches if each.chosen is not None}
        if len(one) > 1 or not choices.stays:
            self._program.rows.append(
                Row(weights=one, least=None if choices.stays else 1, most=1, unit="count")
            )
        return tuple(branches)

    def _branch(self, place: int, side: range, lot: int) -> Branch:
        chosen = self._chosen(place, side[0])
        return Branch(
            start=side[0], chosen=chosen, steps=self._steps(place, side[0], lot, length(side) - 1, chosen)
        )

    def _chosen(self, place: int, shares: int) -> Column:
        """A column of 0 or 1 that puts a security at these shares."""
        extended, held = self._extended, self._extended.windows[place].held
        column = self._program.column(0, 1, extended.of(place, shares) - extended.of(place, held))
        for coupling, weights in zip(extended.couplings, self._weights, strict=True):
            weights[column] = coupling.of(place, shares, held) - coupling.of(place, held, held)
        return column

    def _steps(
        self, place: int, start: int, lot: int, count: int, chosen: Column | None
    ) -> tuple[Steps, ...]:
        """``count`` lots on from ``start``: up to the target, over it, and away from it."""
        extended = self._extended
        window = extended.windows[place]
        towards = count
        if extended.objective.drift:
            distance = (window.target - start * window.price) * (1 if lot > 0 else -1)
            towards = max(0, min(count, distance // (window.price * abs(lot))))
        over = min(1, count - towards)
        steps, reached = [], start
        for most in (towards, over, count - towards - over):
            if not most:
                continue
            slope = self._slope(place, reached, lot)
            column = self._program.column(0, most, slope)
            self._weigh(place, column, lot)
            if chosen is not None:
                self._program.rows.append(Row(weights={column: 1, chosen: -most}, most=0, unit="count"))
            steps.append(Steps(column=column, shares=lot, most=most))
            reached += most * lot
        return tuple(steps)

    def _slope(self, place: int, start: int, lot: int) -> int:
        """What one more lot adds to the objective, the order itself left out."""
        window, objective = self._extended.windows[place], self._extended.objective
        before = abs(window.target - start * window.price)
        after = abs(window.target - (start + lot) * window.price)
        return objective.drift * (after - before) + objective.traded[place] * abs(lot)

    def _weigh(self, place: int, column: Column, lot: int) -> None:
        for coupling, weights in zip(self._extended.couplings, self._weights, strict=True):
            weights[column] = coupling.shares[place] * lot + coupling.traded[place] * abs(lot)

    # -- windows as rows

    def _reaching_all(self, window: Window) -> Window:
        """As far as all money there is would buy, and one lot or smallest trade more."""
        extended = self._extended
        worth = max(extended.market_value, abs(window.held) * window.price, window.upper or 0)
        more = window.lot * window.price + window.min_trade
        return replace(window, lower=None, upper=worth + more, no_buy=None, no_sell=None)

    def _window_rows(self, place: int, branches: Sequence[Branch]) -> None:
        """The bounds, and what may not be bought or sold, each a row in money under its rule's name."""
        window, security_id = self._extended.windows[place], self._extended.security_ids[place]
        price, held = window.price, window.held
        weights: dict[Column, int] = {}
        for branch in branches:
            if branch.chosen is not None:
                weights[branch.chosen] = (branch.start - held) * price
            weights.update((steps.column, steps.shares * price) for steps in branch.steps)
        if not weights:
            return
        ends = {
            "least": None if window.lower is None else window.lower - held * price,
            "most": None if window.upper is None else window.upper - held * price,
        }
        if any(end is not None for end in ends.values()):
            rule = RuleName(rule=BOUNDS, security_id=security_id)
            self._program.rows.append(Row(weights=weights, rule=rule, unit=MONEY, **ends))
        if window.no_buy is not None:
            self._program.rows.append(Row(weights=weights, most=0, rule=window.no_buy, unit=MONEY))
        if window.no_sell is not None:
            self._program.rows.append(Row(weights=weights, least=0, rule=window.no_sell, unit=MONEY))
