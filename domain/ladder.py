"""The best answer to an extended problem, rung by rung, and what is proved about it.

1. Every security by itself (`domain.lagrangian.separable`): if the coupling rows hold too, nothing is better.
2. Multipliers on the coupling rows: a bound in integers, and from there an answer, repaired and polished. The present
   holding counts where it is allowed. So an answer that holds exactly is there before any solver is asked.
3. What could be better than it, listed in integers (`domain.core`): often few things, and then the best is proved.
4. A mixed-integer program: a moment over the likeliest choices, then over all, from the answer known and for as long as the
   solver's time limit lets it. What it proposes counts only if it holds exactly, mended where it does not, and is better;
   what it says of its bound is told as its word.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from domain.core import Losses, listed
from domain.errors import SolverFailed, SolverTimeout
from domain.extended import Extended
from domain.extended_program import Formulation, build_program
from domain.lagrangian import (
    Board,
    Priced,
    chosen_at,
    impossible_rows,
    polished,
    priced,
    repaired,
    separable,
)
from domain.ports import Solver
from domain.problem import IntArray
from domain.program import TIME_LIMIT, ProgramAnswer, Row, RuleName

CLOSED_FORM = "closed_form"
LAGRANGIAN = "lagrangian"
LISTING = "listing"
PROGRAM = "program"

EXACT = "exact"
FLOATING_POINT = "solver"

OWN = "trimtab"

# A float answer may miss a row by its tolerance; the row is tightened by as much and solved again.
MAX_TIGHTENINGS = 3

# The first look: choices that lose no more than an eighth of the gap, and about as long as all before it took.
LIKELY_SHIFT = 3
FIRST_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Shares that keep every rule, their objective, and what no answer can go below (fine units).

    ``method`` is the rung that found them, ``solver`` who that was, and ``bound_by`` who says that nothing is below
    ``lower_bound``: integers, or a solver in floating point.
    """

    quantity: tuple[int, ...]
    objective: int
    lower_bound: int
    method: str
    solver: str
    bound_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """No shares keep every rule; ``bound_by`` says who found that out.

    ``missed`` are the rules that cannot be kept even by themselves, and by how much each would have to give way (fine
    units or orders; None where that is not known). Empty: each can be kept, but not all together.
    """

    bound_by: str
    missed: tuple[tuple[RuleName, int | None], ...] = ()


def best_answer(extended: Extended, solver: Solver, known: Sequence[int] | None = None) -> Best | NoAnswer:
    """The best answer that can be found, or that there is none. ``known``: shares that keep every rule, if any are.

    Raises:
        SolverTimeout: the time limit passed without any answer.
        SolverFailed: the solver gave nothing that can be used, and there was no answer before.
    """
    without = [place for place, choices in enumerate(extended.choices) if not choices]
    if without:
        names = (RuleName(rule="no_whole_share", security_id=extended.security_ids[each]) for each in without)
        return NoAnswer(bound_by=EXACT, missed=tuple((name, None) for name in names))
    board = Board(extended)
    alone = _plain(separable(board))
    if extended.allows(alone):
        value = extended.value(alone)
        return _kept(extended, _exact(alone, value, value, CLOSED_FORM))
    impossible = impossible_rows(board)
    if impossible:
        return NoAnswer(bound_by=EXACT, missed=tuple((row.rule, by) for row, by in impossible))
    return _Search(extended, board).run(solver, extended.held if known is None else known)


def _exact(quantity: Sequence[int], objective: int, bound: int, method: str) -> Best:
    return Best(
        quantity=tuple(quantity),
        objective=objective,
        lower_bound=bound,
        method=method,
        solver=OWN,
        bound_by=EXACT,
    )


def _kept(extended: Extended, best: Best) -> Best:
    """The present holding instead, where it is as good."""
    held = extended.held
    if best.quantity != held and extended.allows(held) and extended.value(held) == best.objective:
        return replace(best, quantity=held)
    return best


def _plain(quantity: IntArray) -> tuple[int, ...]:
    return tuple(int(each) for each in quantity.tolist())


class _Search:
    """Rungs 2 to 4 on one problem: the best answer known and the best bound proved so far."""

    def __init__(self, extended: Extended, board: Board) -> None:
        self._extended = extended
        self._board = board
        self._best: Best | None = None
        self._bound = 0

    def run(self, solver: Solver, known: Sequence[int]) -> Best | NoAnswer:
        """From an answer that may be known already."""
        self._offer(known, LAGRANGIAN)
        prices = priced(self._board, None if self._best is None else self._best.objective)
        self._search_near(chosen_at(self._board, prices), prices)
        if self._best is not None:
            self._search_near(self._array(self._best.quantity), prices)
        losses = Losses(prices)
        self._bound = prices.bound
        if self._list(losses):
            return NoAnswer(bound_by=EXACT) if self._best is None else self._ended(None)
        if self._first_look(solver, losses) and self._list(losses):
            return self._ended(None)
        return self._by_program(solver, losses)

    # -- answers

    def _offer(self, quantity: Sequence[int], method: str, solver: str = OWN) -> bool:
        """Take it, if it keeps every rule and is better than what there is. Whether it keeps every rule."""
        extended = self._extended
        if not extended.allows(quantity):
            return False
        value = extended.value(quantity)
        if self._best is None or value < self._best.objective:
            self._best = replace(_exact(quantity, value, value, method), solver=solver)
        return True

    def _array(self, quantity: Sequence[int]) -> IntArray:
        return np.array(quantity, dtype=self._board.points.dtype)

    def _search_near(
        self, start: IntArray, prices: Priced, method: str = LAGRANGIAN, solver: str = OWN
    ) -> bool:
        """An answer near ``start``, if mending finds one: offered as good as trades and pairs of them make it."""
        mended = repaired(self._board, start, prices)
        if mended is None:
            return False
        self._offer(_plain(mended), method, solver)
        return self._offer(_plain(polished(self._board, mended, prices)), method, solver)

    def _list(self, losses: Losses) -> bool:
        """List what could be better than the answer known. Whether that proves the best, or that there is none."""
        found = listed(losses, None if self._best is None else self._best.objective)
        if found.quantity is not None:
            self._offer(found.quantity, LISTING)
        self._bound = max(self._bound, found.bound)
        if found.complete and self._best is not None:
            self._bound = self._best.objective
        return found.complete

    # -- the program

    def _first_look(self, solver: Solver, losses: Losses) -> bool:
        """A moment's search among the likeliest choices: often there is the best, which then leaves little to list.

        Whether it found anything better than the answer known.
        """
        known = self._best
        if known is None:
            return False
        likely = losses.within((known.objective - losses.priced.bound) >> LIKELY_SHIFT)
        if not all(likely):
            return False
        formulation = build_program(replace(self._extended, choices=likely))
        inside = all(shares in each for shares, each in zip(known.quantity, likely, strict=True))
        start = formulation.columns(known.quantity) if inside else None
        try:
            answer = solver.solve_program(formulation.program, start, FIRST_LOOK_SECONDS)
        except SolverFailed:
            return False
        self._take(answer, formulation, solver, losses.priced)
        return self._best is not known

    def _by_program(self, solver: Solver, losses: Losses) -> Best | NoAnswer:
        """The mixed-integer program over what an answer better than the one known can be made of."""
        extended, known = self._extended, self._best
        if known is not None:
            extended = replace(extended, choices=losses.within(known.objective - losses.priced.bound))
        formulation = build_program(extended)
        start = None if known is None else formulation.columns(known.quantity)
        try:
            answer = solver.solve_program(formulation.program, start)
            if known is None and answer.values is None:
                return _without_answer(answer, solver)
            if not self._take(answer, formulation, solver, losses.priced):
                self._tighten(answer, formulation, solver)
        except SolverFailed:
            if self._best is None:
                raise
            return self._ended(None)
        if self._best is not known:
            self._list(losses)
        return self._ended(_claimed(answer, formulation))

    def _take(self, answer: ProgramAnswer, formulation: Formulation, solver: Solver, prices: Priced) -> bool:
        """Offer what is proposed and what is near it. Whether that gave an answer that keeps every rule."""
        if answer.values is None:
            return True
        start = self._array(formulation.quantity(answer.values))
        return self._search_near(start, prices, PROGRAM, solver.name)

    def _tighten(self, answer: ProgramAnswer, formulation: Formulation, solver: Solver) -> None:
        """A proposal that misses rows by a tolerance, and cannot be mended: tighten them by as much, solve again.

        Raises:
            SolverFailed: it never keeps the rules exactly, and there was no answer before.
        """
        program = formulation.program
        for _ in range(MAX_TIGHTENINGS):
            if answer.values is None:
                break
            quantity = formulation.quantity(answer.values)
            missed = {coupling.rule: by for coupling, by in self._extended.missed(quantity)}
            if not missed:  # beside a choice by a tolerance: no row to tighten
                break
            program.rows[:] = [_tightened(row, missed) for row in program.rows]
            answer = solver.solve_program(program, None)
            if answer.values is not None and self._offer(
                formulation.quantity(answer.values), PROGRAM, solver.name
            ):
                break
        if self._best is None:
            raise SolverFailed(f"{solver.name} proposed nothing that keeps the rules exactly")

    # -- the end

    def _ended(self, claimed: int | None) -> Best:
        """The best answer with the best bound there is."""
        best = self._best
        if best is None:
            raise SolverFailed("a search ended without an answer")
        if claimed is not None and claimed > self._bound:
            best = replace(best, lower_bound=min(best.objective, claimed), bound_by=FLOATING_POINT)
        else:
            best = replace(best, lower_bound=min(best.objective, self._bound))
        return _kept(self._extended, best)


def _without_answer(answer: ProgramAnswer, solver: Solver) -> NoAnswer:
    """What it means that a solver found nothing where nothing was known before.

    Raises:
        SolverTimeout: it had no time to.
        SolverFailed: it does not say why.
    """
    if answer.infeasible:
        return NoAnswer(bound_by=FLOATING_POINT)
    if answer.status == TIME_LIMIT:
        raise SolverTimeout(f"{solver.name} found no answer within its time")
    raise SolverFailed(f"{solver.name} ended with status {answer.status!r} and no answer")


def _tightened(row: Row, missed: Mapping[RuleName, int]) -> Row:
    if row.rule is None or row.most is None or row.rule not in missed:
        return row
    return replace(row, most=row.most - missed[row.rule])


def _claimed(answer: ProgramAnswer, formulation: Formulation) -> int | None:
    """The solver's bound on the whole objective in fine units; None where it has none.

    "There is no answer", said of a problem that has one, is none.
    """
    if not math.isfinite(answer.lower_bound):
        return None
    return math.floor(Fraction(answer.lower_bound) * formulation.program.unit) + formulation.constant
