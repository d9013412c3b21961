"""The least relaxation: by how much which rules have to give way so that there is an answer at all.

Of all whole shares that keep the firm rules and physics, those are wanted that miss the soft rules least:

    minimise  sum over securities  max(0, LO - u P) + max(0, u P - HI)
            + sum over rows        weight x max(0, row(u) - most)

all in money. A row in money weighs 1; an order too many weighs what an order is worth making for (`Rulebook.weight`).

Two rungs. *Exact*: with a multiplier of 0 or ``weight`` on each row the sum falls apart into securities, each minimised
over its few candidates; that is a lower bound for any multipliers, and where a row with multiplier 0 is kept and
one with ``weight`` is used up, the answer reaches the bound. Nearly all portfolios end here. *Solver*: the same as a
program. Misses of a bound are steps of whole shares with rising slopes, so no large number stands in for them; what a
row may be exceeded by reaches as far as it could be and no further. Its answer is taken if it is better in integers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from domain.errors import SolverFailed
from domain.explain.conflict import EXACT, without_objective
from domain.explain.rulebook import Amounts, Rulebook, misses
from domain.extended import Choices, Coupling, Extended, Window
from domain.extended_program import Formulation, build_program
from domain.ports import Solver
from domain.program import Column, Program, Row

RELAX_SECONDS = 5.0
_ROUNDS = 8
_DOUBLINGS = 64  # of the price of cash: more than any amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """Shares that keep the firm rules and physics, and what they miss of the soft ones.

    ``total`` counts the amounts together (fine units of money). ``least``: nothing less would do, and ``proved_by`` is
    what proved it: ``exact``, or the name of a solver; None where nothing did.
    """

    quantity: tuple[int, ...]
    amounts: Amounts
    total: int
    proved_by: str | None

    @property
    def least(self) -> bool:
        return self.proved_by is not None


def least_relaxation(rulebook: Rulebook, solver: Solver) -> Relaxation | None:
    """The least that the soft rules have to give way; None: firm rules and physics alone leave no answer, proved."""
    elastic = rulebook.elastic()
    if not all(elastic.choices):
        return None
    table = _Table(rulebook, elastic)
    found = table.solved()
    if found is None:
        return None
    quantity, is_least = found
    proved_by = EXACT if is_least else None
    if not is_least:
        quantity, proved_by = _asked(rulebook, elastic, quantity, solver)
    amounts = rulebook.missed(quantity)
    return Relaxation(quantity=quantity, amounts=amounts, total=rulebook.total(amounts), proved_by=proved_by)


# ------------------------------------------------------------------------------------------------ exact


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Shares of one security: what they miss, what they add to each row (``rows``) and to the objective."""

    shares: int
    missed: int
    rows: tuple[int, ...]
    objective: int


class _Table:
    """The candidates of every security, weighed anew for other multipliers."""

    def __init__(self, rulebook: Rulebook, elastic: Extended) -> None:
        self._rulebook = rulebook
        # Physics is the first row and never exceeded; the others may be, each at its weight.
        self._rows = (rulebook.overdraft, *rulebook.extended.couplings)
        self._weights = [rulebook.weight(each) for each in self._rows]
        self._lines = [
            [self._candidate(place, shares) for shares in candidates(window, choices)]
            for place, (window, choices) in enumerate(
                zip(rulebook.extended.windows, elastic.choices, strict=True)
            )
        ]

    def _candidate(self, place: int, shares: int) -> _Candidate:
        window = self._rulebook.extended.windows[place]
        return _Candidate(
            shares,
            sum(misses(window, shares)),
            tuple(each.of(place, shares, window.held) for each in self._rows),
            self._rulebook.extended.of(place, shares),
        )

    def solved(self) -> tuple[tuple[int, ...], bool] | None:
        """The best that was found and whether nothing less would do; None: cash is overdrawn whatever is done."""
        prices = [0] * len(self._rows)
        best: list[_Candidate] | None = None
        bound = 0
        tried: set[tuple[int, ...]] = set()
        while tuple(prices) not in tried and len(tried) < _ROUNDS:
            tried.add(tuple(prices))
            picked = self._picked(prices)
            bound = max(bound, self._bound(picked, prices))
            best = self._better(best, picked)
            beyond = self._beyond(picked)
            prices = [0 if by <= 0 else weight for by, weight in zip(beyond, self._weights, strict=True)]
        if best is None:
            best = self._afforded(prices)
        if best is None:
            return None
        return tuple(each.shares for each in best), self._total(best) == bound

    def _picked(self, prices: Sequence[int]) -> list[_Candidate]:
        """What each security does by itself at these prices of the rows."""

        def cost(each: _Candidate) -> tuple[int, int, int, int]:
            priced = sum(price * row for price, row in zip(prices, each.rows, strict=True) if price)
            return each.missed + priced, each.missed, each.objective, each.shares

        return [min(line, key=cost) for line in self._lines]

    def _sums(self, picked: Sequence[_Candidate]) -> list[int]:
        return [sum(each.rows[row] for each in picked) for row in range(len(self._rows))]

    def _beyond(self, picked: Sequence[_Candidate]) -> list[int]:
        return [total - row.most for total, row in zip(self._sums(picked), self._rows, strict=True)]

    def _bound(self, picked: Sequence[_Candidate], prices: Sequence[int]) -> int:
        """No answer misses less: the multipliers of soft rows are at most their weights, that of physics anything."""
        priced = sum(price * by for price, by in zip(prices, self._beyond(picked), strict=True))
        return sum(each.missed for each in picked) + priced

    def _total(self, picked: Sequence[_Candidate]) -> int:
        beyond = self._beyond(picked)[1:]
        over = sum(weight * max(0, by) for weight, by in zip(self._weights[1:], beyond, strict=True))
        return over + sum(each.missed for each in picked)

    def _better(self, best: list[_Candidate] | None, picked: list[_Candidate]) -> list[_Candidate] | None:
        if self._beyond(picked)[0] > 0:
            return best
        if best is None or self._total(picked) < self._total(best):
            return picked
        return best

    def _afforded(self, prices: Sequence[int]) -> list[_Candidate] | None:
        """Cash made dearer until it suffices, so that at least one answer is known."""
        cash = 1
        for _ in range(_DOUBLINGS):
            picked = self._picked([cash, *prices[1:]])
            if self._beyond(picked)[0] <= 0:
                return picked
            cash *= 2
        return None


def candidates(window: Window, choices: Choices) -> list[int]:
    """Shares among which is the best of a sum of misses and rows: it bends at the bounds, the target and the holding."""
    found = {window.held} if choices.stays else set()
    if choices.closes:
        found.add(0)
    bends = {bend for bend in (window.lower, window.upper, window.target) if bend is not None}
    for side in (choices.sells, choices.buys):
        if side:
            found |= {side[0], side[-1]}
            for bend in bends:
                below = (bend // window.price - side.start) // side.step
                found |= {side[place] for place in (below, below + 1) if 0 <= place < len(side)}
    return sorted(found)


# ------------------------------------------------------------------------------------------------ solver


def _asked(
    rulebook: Rulebook, elastic: Extended, known: tuple[int, ...], solver: Solver
) -> tuple[tuple[int, ...], str | None]:
    """What the solver makes of it, or what is known if that is no worse; and who proved it the least, if anybody."""
    program = _ElasticProgram(rulebook, elastic)
    try:
        answer = solver.solve_program(program.formulation.program, program.columns(known), RELAX_SECONDS)
    except SolverFailed:
        return known, None
    least = rulebook.total(rulebook.missed(known))
    best, proved_by = known, None
    if answer.values is not None:
        proposed = tuple(program.formulation.quantity(answer.values))
        total = rulebook.total(rulebook.missed(proposed))
        if total < least and _keeps_the_firm(rulebook, elastic, proposed):
            best, least = proposed, total
    # Rows are exceeded in whole cents, and floats are floats: a cent for each is what they may be off by.
    slack = 0.01 * (1 + len(rulebook.extended.couplings))
    if answer.lower_bound + program.constant / elastic.unit >= least / elastic.unit - slack:
        proved_by = solver.name
    return best, proved_by


def _keeps_the_firm(rulebook: Rulebook, elastic: Extended, quantity: Sequence[int]) -> bool:
    allowed = all(shares in choices for choices, shares in zip(elastic.choices, quantity, strict=True))
    return allowed and elastic.row(rulebook.overdraft, quantity) <= rulebook.overdraft.most


class _ElasticProgram:
    """The program of firm rules and physics, with what is missed of the others as its cost.

    A security's misses are a convex function of its shares, so they are whole-number columns with rising slopes, tied
    to its shares by one row. A row's excess is one column of whole cents (or orders).
    """

    def __init__(self, rulebook: Rulebook, elastic: Extended) -> None:
        self._rulebook = rulebook
        self._elastic = elastic
        self.formulation: Formulation = build_program(without_objective(elastic))
        self._program: Program = self.formulation.program
        self.constant = 0  # what is missed with the fewest shares of each: the columns count from there
        self._steps: list[tuple[int, int, list[tuple[Column, int]]]] = []
        self._excess: list[tuple[Column, Coupling, int]] = []
        own = len(self._program.rows) - len(elastic.couplings)
        for place in range(len(elastic.windows)):
            self._add_misses(place)
        for index, coupling in enumerate(elastic.couplings):
            if coupling is not rulebook.overdraft:
                self._add_excess(own + index, coupling)

    def columns(self, quantity: Sequence[int]) -> list[int]:
        """Where the solver may start from."""
        x = self.formulation.columns(quantity)
        x += [0] * (len(self._program.cost) - len(x))
        for place, start, steps in self._steps:
            left = quantity[place] - start
            for column, most in steps:
                x[column] = min(left, most)
                left -= x[column]
        for column, coupling, step in self._excess:
            over = self._elastic.row(coupling, quantity) - coupling.most
            x[column] = max(0, -(-over // step))
        return x

    def _add_misses(self, place: int) -> None:
        window, choices = self._rulebook.extended.windows[place], self._elastic.choices[place]
        points = list(_bends(window, choices))
        missed = [sum(misses(window, shares)) for shares in points]
        if not any(missed):
            return
        self.constant += missed[0]
        steps: list[tuple[Column, int]] = []
        row = {column: -shares for column, shares in self._moves(place)}
        for (start, end), (before, after) in zip(pairwise(points), pairwise(missed), strict=True):
            column = self._program.column(0, end - start, (after - before) // (end - start))
            steps.append((column, end - start))
            row[column] = 1
        constant = window.held - points[0]
        self._program.rows.append(Row(weights=row, least=constant, most=constant, unit="count"))
        self._steps.append((place, points[0], steps))

    def _moves(self, place: int) -> Iterator[tuple[Column, int]]:
        """The columns that move a security's shares, and by how much each unit does."""
        held = self._elastic.windows[place].held
        for branch in self.formulation.branches[place]:
            if branch.chosen is not None:
                yield branch.chosen, branch.start - held
            for steps in branch.steps:
                yield steps.column, steps.shares

    def _add_excess(self, index: int, coupling: Coupling) -> None:
        """As far as the row can be exceeded at all, in cents: a fine unit would be more digits than a float has."""
        row = self._program.rows[index]
        step = max(1, self._elastic.unit // 100) if row.unit == "money" else 1
        most = self._most(coupling) - coupling.most
        column = self._program.column(0, max(0, -(-most // step)), step * self._rulebook.weight(coupling))
        self._program.rows[index] = replace(row, weights={**row.weights, column: -step})
        self._excess.append((column, coupling, step))

    def _most(self, coupling: Coupling) -> int:
        """The greatest value the row can have."""
        return sum(
            max(coupling.of(place, shares, window.held) for shares in _ends(choices))
            for place, (window, choices) in enumerate(
                zip(self._elastic.windows, self._elastic.choices, strict=True)
            )
        )


def _ends(choices: Choices) -> set[int]:
    found = {choices.held} if choices.stays else set()
    if choices.closes:
        found.add(0)
    for side in (choices.sells, choices.buys):
        if side:
            found |= {side[0], side[-1]}
    return found


def _bends(window: Window, choices: Choices) -> Iterator[int]:
    """Where the misses bend between the fewest and the most shares, these included; rising, none twice."""
    ends = _ends(choices)
    fewest, most = min(ends), max(ends)
    inner = set()
    for bound in (window.lower, window.upper):
        if bound is not None:
            below = bound // window.price
            inner |= {below, below + 1}
    yield from sorted({fewest, most} | {shares for shares in inner if fewest < shares < most})
