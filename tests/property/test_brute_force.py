"""On every small case the answer is the best there is, and where there is none, there is none."""

from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.problem import build_problem
from domain.rebalance import Outcome, Rebalance, rebalance
from tests.support.small_books import FAMILIES, Book
from tests.support.small_cases import cases


@pytest.fixture(scope="module")
def solver() -> CvxpySolver:
    return CvxpySolver()


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
