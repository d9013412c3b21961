"""On every small case the answer is the best there is, and where there is none, there is none."""

import random
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pytest

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.checks import CheckedPortfolio, StatedValueRange, check_portfolio
from domain.problem import build_problem
from domain.rebalance import Outcome, Rebalance, rebalance
from tests.support import brute_force
from tests.support.small_books import FAMILIES, Book, draw

CASES_A_FAMILY = 150  # 12 families: 1,800 cases


@pytest.fixture(scope="module")
def solver() -> CvxpySolver:
    return CvxpySolver()


@cache
def cases(name: str) -> list[tuple[Book, CheckedPortfolio, brute_force.Truth]]:
    """Always the same cases, whatever order the tests run in; drawn and tried out once."""
    rng = random.Random(f"trimtab {name}")
    found: list[tuple[Book, CheckedPortfolio, brute_force.Truth]] = []
    while len(found) < CASES_A_FAMILY:
        book = draw(FAMILIES[name], rng)
        checked = check_portfolio(book.portfolio, book.model, book.prices, book.policy, StatedValueRange())
        assert isinstance(checked, CheckedPortfolio)
        try:
            found.append((book, checked, brute_force.solve(checked, book.policy, limit=4_000)))
        except brute_force.TooLarge:
            continue
    return found


def solved(book: Book, solver: CvxpySolver) -> Rebalance:
    return rebalance(
        book.portfolio.portfolio_id, book.portfolio, book.model, book.prices, book.policy, solver
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_the_answer_is_the_best_of_all_whole_share_vectors(name: str, solver: CvxpySolver) -> None:
    for number, (book, checked, truth) in enumerate(cases(name)):
        answer = solved(book, solver)
        if truth.drift is None:
            assert (answer.outcome, answer.reason) == (Outcome.INFEASIBLE, truth.reason), number
            assert answer.conflicts, number
            assert not answer.orders, number
            continue
        assert answer.drift_after is not None
        assert answer.proof is not None
        assert Fraction(answer.drift_after) == truth.drift, number
        assert (answer.proof.gap, answer.proof.bound_by) == (Decimal(0), "exact"), number
        assert {each.security_id: each.adjusted_quantity for each in answer.positions} in truth.answers, (
            number
        )
        assert set(checked.shares) <= {each.security_id for each in answer.positions}, number


@pytest.mark.parametrize("name", FAMILIES)
def test_cvxpy_by_itself_finds_the_best_where_the_cash_binds(name: str) -> None:
    solver = CvxpySolver(absolute_gap=0.0)
    for number, (book, checked, truth) in enumerate(cases(name)):
        if truth.drift is None or truth.separable:
            continue
        problem = build_problem(checked, book.policy)
        quantity = solver.solve(problem).quantity
        assert quantity is not None, number
        assert problem.allows(quantity), number
        assert Fraction(problem.drift(quantity), 10**problem.fine_places) == truth.drift, number


def test_the_cases_cover_what_they_are_meant_to_cover() -> None:
    """Every family has answers, and together they reach every rung and every reason often."""
    seen: Counter[str] = Counter()
    for name in FAMILIES:
        ends = Counter(
            truth.reason or ("separable" if truth.separable else "cash_binds") for _, _, truth in cases(name)
        )
        assert ends["separable"] + ends["cash_binds"] > 0, name
        seen += ends
    assert seen.total() >= 1_000
    assert seen["separable"] >= 200
    assert seen["cash_binds"] >= 200
    assert seen["no_whole_share"] >= 100
    assert seen["cash_floor"] >= 20
