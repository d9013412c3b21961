"""Where the ladder says, by integers alone, that many rules together leave no answer, trying everything finds none."""

import random
from dataclasses import replace

import pytest

from domain.checks import CheckedPortfolio, StatedValueRange, check_portfolio
from domain.errors import Invalid, SolverFailed, SolverTimeout
from domain.ladder import NoAnswer, best_answer
from domain.policy import Bounds, Policy
from domain.rebalance import Outcome, rebalance
from domain.rules import build_extended
from domain.terms import Terms
from tests.support import brute_force_policies, builders, policy_books
from tests.support.problems import OutOfTime
from tests.support.small_books import Book

DRAWS = 700


def drawn(rng: random.Random) -> Book | None:
    """A small book under three to eight policies; None where those do not go together."""
    features = {*rng.sample(list(policy_books.FEATURES), rng.randint(3, 8))}
    if rng.random() < 0.6:
        features.add("max_orders")
    if not policy_books.go_together(sorted(features)):
        return None
    try:
        return policy_books.draw(sorted(features), rng)
    except Invalid:
        return None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_answer_means_that_there_is_none(seed: int) -> None:
    rng, looked_into = random.Random(seed), 0
    for _ in range(DRAWS):
        book = drawn(rng)
        if book is None:
            continue
        terms = Terms.of(book.model, book.prices, book.policy)
        checked = check_portfolio(book.portfolio, terms.market, book.policy, StatedValueRange())
        if not isinstance(checked, CheckedPortfolio):
            continue
        problem = build_extended(checked, book.policy)
        try:
            answer = best_answer(problem, OutOfTime()) if all(problem.choices) else None
        except (SolverFailed, SolverTimeout):
            continue
        if not isinstance(answer, NoAnswer) or answer.bound_by != "exact" or answer.missed:
            continue
        try:
            truth = brute_force_policies.solve(
                checked, replace(book.policy, bounds=Bounds.ABSOLUTE), limit=1_000
            )
        except brute_force_policies.TooLarge:
            continue
        looked_into += 1
        assert truth.objective is None, book.policy
    assert looked_into > 10


def test_more_shares_than_a_machine_word_counts_are_answered() -> None:
    answer = rebalance(
        builders.portfolio_id(1),
        builders.portfolio("999999999999999999", {}),
        builders.model({1: ("0.5", "0.1", "0.1")}),
        builders.prices({1: "0.0000000000000001"}),
        Policy(max_orders=5),
        OutOfTime(),
    )

    assert answer.outcome is Outcome.TRADED
    assert answer.orders[0].quantity > 2**63
