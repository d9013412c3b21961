"""Every policy and every pair of policies against trying everything: the same objective, proved, by a best answer."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest

from domain.ids import SecurityId
from domain.rebalance import Outcome, Rebalance, Side, rebalance
from tests.support import policy_books
from tests.support.policy_books import PAIRS, SINGLES, Case
from tests.support.problems import OutOfTime

CASES_OF_ONE = 30
CASES_OF_A_PAIR = 6


def books(kinds: tuple[tuple[str, ...], ...], count: int) -> Iterator[Case]:
    for features in kinds:
        yield from policy_books.kept_cases(features, count)


def answered(case: Case) -> Rebalance:
    """Small books are proved in integers: no solver is needed, and an explanation comes without one."""
    book = case.book
    return rebalance(
        book.portfolio.portfolio_id, book.portfolio, book.model, book.prices, book.policy, OutOfTime()
    )


def after(case: Case, answer: Rebalance) -> dict[SecurityId, int]:
    held = {each: case.checked.shares.get(each, 0) for each in case.checked.prices}
    for order in answer.orders:
        held[order.security_id] += order.quantity if order.side is Side.BUY else -order.quantity
    return held


def is_right(case: Case) -> None:
    answer, truth = answered(case), case.truth
    if truth.objective is None:
        assert answer.outcome is Outcome.INFEASIBLE
        assert answer.conflicts
        assert not answer.orders
        return
    assert answer.outcome in {Outcome.TRADED, Outcome.NO_TRADE}
    assert after(case, answer) in truth.answers
    if truth.inside:
        assert (answer.reason, answer.proof) == ("inside_bounds", None)
        return
    proof = answer.proof
    assert proof is not None
    assert Fraction(proof.objective) == truth.objective
    assert (proof.gap, proof.bound_by) == (Decimal(0), "exact")


@pytest.mark.parametrize("feature", [name for (name,) in SINGLES])
def test_one_policy_gives_what_trying_everything_gives(feature: str) -> None:
    for case in books(((feature,),), CASES_OF_ONE):
        is_right(case)


@pytest.mark.parametrize("first", sorted({pair[0] for pair in PAIRS}))
def test_two_policies_together_give_what_trying_everything_gives(first: str) -> None:
    for case in books(tuple(pair for pair in PAIRS if pair[0] == first), CASES_OF_A_PAIR):
        is_right(case)
