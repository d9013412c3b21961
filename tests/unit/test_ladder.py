"""The rungs under every rule, and what is made of a solver's proposals: nothing is believed that does not hold exactly."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product

import numpy as np
import pytest

from adapters.solver.cvxpy_solver import CvxpySolver
from domain import ladder
from domain.checks import CheckedPortfolio
from domain.core import Listed, Losses, listed
from domain.errors import SolverFailed, SolverTimeout
from domain.explain.infeasible import needed
from domain.extended import Extended
from domain.extended_program import build_program
from domain.ladder import Best, NoAnswer, best_answer
from domain.lagrangian import Board, priced
from domain.policy import Policy
from domain.problem import Problem, SolverAnswer
from domain.program import INFEASIBLE, OPTIMAL, TIME_LIMIT, Program, ProgramAnswer
from domain.rules import build_extended
from tests.support.builders import model_position, portfolio_id, security_id
from tests.support.problems import NeverAsked, OutOfTime
from worker.bench.hard import FAMILIES, draw

WORTH = 100_000
FEES = {"cost_rate": Decimal("0.001"), "cost_per_order": Decimal("4.95"), "min_trade": Decimal(200)}


def book(seed: int, count: int, **policy: object) -> Extended:
    """Worth about 100,000, held at 0.95 to 1.15 of the targets: no cash."""
    rng = random.Random(seed)
    ids = [security_id(number) for number in range(1, count + 1)]
    prices = {each: Decimal(rng.randint(500, 50_000)) / 100 for each in ids}
    weight = (Decimal("0.95") / count).quantize(Decimal("0.001"))
    shares = {each: int(WORTH * weight / prices[each] * Decimal(rng.uniform(0.95, 1.15))) for each in ids}
    invested = sum((prices[each] * held for each, held in shares.items()), Decimal(0))
    cash = max(Decimal(0), WORTH - invested)
    checked = CheckedPortfolio(
        portfolio_id=portfolio_id(1),
        cash=cash,
        market_value=cash + invested,
        shares=shares,
        fractions={},
        targets={
            each: model_position(number, weight, "0.05", "0.05") for number, each in enumerate(ids, start=1)
        },
        prices=prices,
    )
    return build_extended(checked, Policy(**policy))  # type: ignore[arg-type]  # whatever a test sets


def few(held: dict[int, tuple[int, str]], *, cash: object) -> CheckedPortfolio:
    """Shares held and price of a few securities, each to be 45 %, within any bounds."""
    ids = {number: security_id(number) for number in held}
    prices = {ids[number]: Decimal(price) for number, (_, price) in held.items()}
    shares = {ids[number]: count for number, (count, _) in held.items()}
    money_left = Decimal(str(cash))
    return CheckedPortfolio(
        portfolio_id=portfolio_id(1),
        cash=money_left,
        market_value=money_left + sum((prices[each] * count for each, count in shares.items()), Decimal(0)),
        shares=shares,
        fractions={},
        targets={ids[number]: model_position(number, "0.45", "0.45", "0.55") for number in held},
        prices=prices,
    )


def coupled(seed: int = 1, count: int = 12) -> Extended:
    """Cash, turnover and orders all bind."""
    return book(
        seed, count, cash_floor=Decimal("0.05"), max_turnover=Decimal("0.1"), max_orders=count // 2, **FEES
    )


def sees_nothing(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
    return ProgramAnswer(values=None, lower_bound=-math.inf, status=TIME_LIMIT)


class Proposes:
    """Answers each program in turn as the given functions do."""

    name = "proposes 1.0"
    time_limit_seconds = 30.0

    def __init__(
        self,
        *answers: Callable[[Program, Sequence[int] | None], ProgramAnswer],
        first_look: Callable[[Program, Sequence[int] | None], ProgramAnswer] | None = None,
    ) -> None:
        self._answers = list(answers)
        self._first_look = first_look or sees_nothing

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        raise AssertionError("the base problem was to be solved")

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        if time_limit is not None:  # the first look
            return self._first_look(program, start)
        return self._answers.pop(0)(program, start)


def real(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
    return CvxpySolver(time_limit_seconds=10.0).solve_program(program, start)


@pytest.fixture
def no_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is too much to list: nothing is found, and nothing proved."""

    def too_much(losses: Losses, known: int | None) -> Listed:
        return Listed(quantity=None, bound=losses.priced.bound, complete=False)

    monkeypatch.setattr(ladder, "listed", too_much)


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch, no_listing: None) -> None:
    """As where repairing never gets anywhere either."""
    monkeypatch.setattr(ladder, "repaired", lambda *_: None)


def solved(extended: Extended, solver: Proposes) -> Best:
    best = best_answer(extended, solver)
    assert isinstance(best, Best)
    assert extended.allows(best.quantity)
    assert best.objective == extended.value(best.quantity)
    assert best.lower_bound <= best.objective
    return best


# ------------------------------------------------------------------------------------------------ rungs


def test_where_no_coupling_row_is_broken_every_security_is_best_by_itself() -> None:
    extended = book(1, 5, lot_size=3)
    best = best_answer(extended, NeverAsked())
    assert isinstance(best, Best)
    assert (best.method, best.bound_by, best.lower_bound) == ("closed_form", "exact", best.objective)


@pytest.mark.parametrize("seed", range(4))
def test_a_coupled_problem_is_proved_in_integers_without_a_solver(seed: int) -> None:
    best = best_answer(coupled(seed), NeverAsked())
    assert isinstance(best, Best)
    assert (best.lower_bound, best.bound_by, best.solver) == (best.objective, "exact", "trimtab")


@pytest.mark.usefixtures("no_listing")
@pytest.mark.parametrize("seed", range(4))
def test_the_program_finds_what_the_listing_proves(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    extended = coupled(seed)
    best = solved(extended, Proposes(real))
    monkeypatch.undo()
    proved = best_answer(extended, NeverAsked())
    assert isinstance(proved, Best)
    assert best.objective == proved.objective
    assert best.lower_bound <= proved.objective


@pytest.mark.usefixtures("no_listing")
def test_an_answer_that_holds_is_there_before_the_solver_and_it_starts_from_it() -> None:
    extended = coupled()

    def gives_up(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        assert start is not None
        assert program.allows(start)
        return ProgramAnswer(values=None, lower_bound=-math.inf, status=TIME_LIMIT)

    best = solved(extended, Proposes(gives_up))
    assert (best.method, best.bound_by) == ("lagrangian", "exact")
    assert 0 < best.objective - best.lower_bound < best.objective // 20


@pytest.mark.usefixtures("no_listing")
def test_a_solver_that_fails_leaves_what_was_found_before() -> None:
    def fails(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        raise SolverFailed("no idea")

    assert solved(coupled(), Proposes(fails)).bound_by == "exact"


@pytest.mark.usefixtures("no_listing")
def test_a_first_look_that_fails_is_no_more_than_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        raise SolverFailed("no idea")

    extended = coupled()
    seen = solved(extended, Proposes(real, first_look=fails))
    monkeypatch.undo()
    proved = best_answer(extended, NeverAsked())
    assert isinstance(proved, Best)
    assert seen.objective == proved.objective


@pytest.mark.parametrize("place", [3, 5])
def test_what_is_too_large_to_list_ends_close_to_its_bound_within_the_time(place: int) -> None:
    """No proof, or one by floats: told so, and never worse than what integers alone find."""
    checked, policy = next(draw(FAMILIES[place], 100))
    extended = build_extended(checked, policy)
    alone = best_answer(extended, Proposes(sees_nothing))
    best = best_answer(extended, CvxpySolver(time_limit_seconds=0.4))
    assert isinstance(alone, Best)
    assert isinstance(best, Best)
    assert extended.allows(best.quantity)
    assert alone.lower_bound <= best.lower_bound <= best.objective <= alone.objective
    assert best.objective - best.lower_bound < best.objective / 100
    assert (alone.bound_by, alone.solver) == ("exact", "trimtab")


def test_a_holding_as_good_as_the_best_is_kept() -> None:
    """With cash of 300 kept, 3 and 4 shares are as far from 4 and 4 as 4 and 3 are."""
    ids = [security_id(1), security_id(2)]
    wide = ("0.4", "0.4", "0.5")
    checked = CheckedPortfolio(
        portfolio_id=portfolio_id(1),
        cash=Decimal(300),
        market_value=Decimal(1000),
        shares={ids[0]: 3, ids[1]: 4},
        fractions={},
        targets={each: model_position(number, *wide) for number, each in enumerate(ids, start=1)},
        prices=dict.fromkeys(ids, Decimal(100)),
    )
    best = best_answer(build_extended(checked, Policy(cash_floor=Decimal("0.3"), max_orders=2)), NeverAsked())
    assert isinstance(best, Best)
    assert best.quantity == (3, 4)


@pytest.mark.usefixtures("no_listing")
def test_a_bound_above_ours_is_told_as_the_solvers_word() -> None:
    extended = coupled()
    before = priced(Board(extended)).bound

    def claims(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        assert start is not None
        cost = program.objective(start) / program.unit
        return ProgramAnswer(values=tuple(start), lower_bound=cost, status=OPTIMAL)

    best = solved(extended, Proposes(claims))
    assert best.bound_by == "solver"
    assert before < best.lower_bound <= best.objective


@pytest.mark.usefixtures("no_listing")
@pytest.mark.parametrize(("claimed", "left"), [(0, 0), (10**30, None)])
def test_a_claimed_bound_is_never_told_above_an_answer_that_lost_a_needless_order(
    claimed: int, left: int | None
) -> None:
    """A solver claims its answer the best, and one order less is better: then the claim goes no further than that."""
    extended = book(1, 4)
    held = extended.held
    assert extended.allows(held)
    moved = (
        (*held[:place], held[place] + by, *held[place + 1 :]) for place in range(len(held)) for by in (-1, 1)
    )
    worse = next(
        each for each in moved if extended.allows(each) and extended.value(each) > extended.value(held)
    )
    value = extended.value(worse)
    best = needed(
        extended,
        Best(
            quantity=worse,
            objective=value,
            lower_bound=min(claimed, value),
            method="program",
            solver="claims 1.0",
            bound_by="solver",
        ),
    )
    assert (best.quantity, best.objective) == (held, extended.value(held))
    assert best.lower_bound == (best.objective if left is None else left)


def test_a_problem_that_has_an_answer_is_not_infeasible_because_a_solver_says_so() -> None:
    def denies(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        return ProgramAnswer(values=None, lower_bound=math.inf, status=INFEASIBLE)

    assert solved(coupled(), Proposes(denies)).bound_by == "exact"


# ------------------------------------------------------------------------------------------------ no answer before


@pytest.mark.usefixtures("no_search")
def test_a_row_that_is_missed_by_a_tolerance_is_tightened_by_as_much() -> None:
    extended = coupled()
    formulation = build_program(extended)
    cash = next(row for row in extended.couplings if row.rule.rule == "cash_floor")
    proposed: list[int] = []

    def overdraws(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        """The best without the cash row: overdrawn."""
        without = replace(extended, couplings=tuple(each for each in extended.couplings if each != cash))
        loose = best_answer(without, CvxpySolver(10.0))
        assert isinstance(loose, Best)
        proposed.append(extended.row(cash, loose.quantity) - cash.most)
        return ProgramAnswer(
            values=tuple(formulation.columns(loose.quantity)), lower_bound=-math.inf, status=OPTIMAL
        )

    def tightened(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        (row,) = (each for each in program.rows if each.rule == cash.rule)
        (given,) = (each for each in formulation.program.rows if each.rule == cash.rule)
        assert row.most is not None
        assert given.most is not None
        assert proposed[0] > 0
        assert row.most == given.most - proposed[0]
        return real(program, start)

    best = solved(extended, Proposes(overdraws, tightened))
    assert (best.method, best.solver) == ("program", "proposes 1.0")


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize(("status", "fault"), [(TIME_LIMIT, SolverTimeout), ("lost its way", SolverFailed)])
def test_no_answer_at_all_is_never_an_answer(status: str, fault: type[SolverFailed]) -> None:
    def nothing(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        assert start is None
        return ProgramAnswer(values=None, lower_bound=-math.inf, status=status)

    with pytest.raises(fault):
        best_answer(coupled(), Proposes(nothing))


@pytest.mark.usefixtures("no_search")
def test_that_there_is_no_answer_is_the_solvers_word_where_integers_do_not_show_it() -> None:
    def denies(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        return ProgramAnswer(values=None, lower_bound=math.inf, status=INFEASIBLE)

    assert best_answer(coupled(), Proposes(denies)) == NoAnswer(bound_by="solver")


@pytest.mark.usefixtures("no_search")
def test_a_failure_without_an_answer_before_is_passed_on() -> None:
    def fails(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        raise SolverFailed("no idea")

    with pytest.raises(SolverFailed, match="no idea"):
        best_answer(coupled(), Proposes(fails))


@pytest.mark.usefixtures("no_search")
def test_proposals_beside_what_a_security_may_have_are_refused() -> None:
    """Steps of a side that was not chosen: within a solver's tolerance, and no answer."""
    extended = coupled()

    def between(program: Program, start: Sequence[int] | None) -> ProgramAnswer:
        values = [0] * len(program.cost)
        steps = next(
            steps
            for branches in build_program(extended).branches
            for branch in branches
            for steps in branch.steps
            if branch.chosen is not None
        )
        values[steps.column] = 1
        return ProgramAnswer(values=tuple(values), lower_bound=-math.inf, status=OPTIMAL)

    with pytest.raises(SolverFailed, match="exactly"):
        best_answer(extended, Proposes(between, between, between, between))


# ------------------------------------------------------------------------------------------------ integers


def test_numbers_beyond_64_bits_are_as_good_as_small_ones() -> None:
    """Prices and rates to sixteen places."""
    fine = {"cost_rate": Decimal("0.0010000000000001"), "cost_per_order": Decimal("4.9500000000000001")}
    coarse = best_answer(coupled(2, 8), NeverAsked())
    extended = book(
        2, 8, cash_floor=Decimal("0.05"), max_turnover=Decimal("0.1"), max_orders=4, **{**FEES, **fine}
    )
    best = best_answer(extended, NeverAsked())
    assert isinstance(best, Best)
    assert isinstance(coarse, Best)
    assert Board(extended).worth.dtype == object
    assert best.quantity == coarse.quantity


def test_a_least_trade_of_more_shares_than_64_bits_count_leaves_a_side_empty() -> None:
    """An order of 10^12 of something that costs 10^-7: no side has a share, and where it would begin is 10^19."""
    checked = few({1: (5, "0.0000001"), 2: (0, "100")}, cash="1000")
    extended = build_extended(checked, Policy(min_trade=Decimal(10) ** 12))
    board = Board(extended)
    assert [bool(each.buys) for each in extended.choices] == [False, False]
    assert board.allowed(np.array([[5], [0]])).all()
    assert not board.allowed(np.array([[6], [1]])).any()
    best = best_answer(extended, NeverAsked())
    assert isinstance(best, Best)
    assert best.quantity == extended.held


def test_a_listing_counts_more_shares_than_64_bits() -> None:
    """Cash of 10^17 at a price of 10^-16: the edge of what is cheap lies 10^32 shares away."""
    checked = few({1: (0, "0.0000000000000001"), 2: (0, "100")}, cash=10**17)
    policy = Policy(min_trade=Decimal(10) ** 5, max_turnover=Decimal("0.3"))
    extended = build_extended(checked, policy)
    best = best_answer(extended, OutOfTime())
    assert isinstance(best, Best)
    assert extended.allows(best.quantity)


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_is_below_every_answer_and_losses_add_up_to_less_than_what_an_answer_is_above_it(
    seed: int,
) -> None:
    extended = book(
        seed, 3, cash_floor=Decimal("0.05"), max_turnover=Decimal("0.6"), min_trade=Decimal(2000), lot_size=20
    )
    prices = priced(Board(extended))
    allowed = [each for each in product(*extended.choices) if extended.allows(each)]
    assert allowed
    for quantity in allowed:
        lost = sum(prices.loss(place, shares) for place, shares in enumerate(quantity))
        assert 0 <= lost <= extended.value(quantity) - prices.bound


def test_a_listing_that_is_cut_short_proves_only_what_it_listed() -> None:
    extended = coupled(3, 40)
    losses = Losses(priced(Board(extended)))
    best = best_answer(extended, NeverAsked())
    assert isinstance(best, Best)
    known = best.objective * 2
    found = listed(losses, known, max_parts=40)
    assert not found.complete
    assert losses.priced.bound <= found.bound <= best.objective


def test_nothing_held_or_modelled_is_an_answer_of_no_shares() -> None:
    checked = CheckedPortfolio(
        portfolio_id=portfolio_id(1),
        cash=Decimal(100),
        market_value=Decimal(100),
        shares={},
        fractions={},
        targets={},
        prices={},
    )
    best = best_answer(build_extended(checked, Policy(max_orders=1)), NeverAsked())
    assert isinstance(best, Best)
    assert best.quantity == ()
    none = best_answer(build_extended(checked, Policy(raise_cash=Decimal(1))), NeverAsked())
    assert isinstance(none, NoAnswer)
    assert [(rule.rule, by) for rule, by in none.missed] == [("raise_cash", 1)]
