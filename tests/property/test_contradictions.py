"""What is refused at intake has no answer: not at these prices, and not at any others."""

import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from domain.checks import CheckedPortfolio, Market, StatedValueRange, check_portfolio
from domain.contradictions import Contradictions, ModelWeights
from domain.policy import MissingPrice, OnInfeasible, Policy
from tests.support import brute_force_policies, builders
from tests.support.policy_books import FEATURES, PAIRS, SINGLES, draw
from tests.support.small_books import Book

PRICES_TRIED = 3
BOOKS_A_KIND = 8

# What makes contradictions likely, besides whatever a kind of book has.
PUSHES: tuple[dict[str, Any], ...] = (
    {},
    {"max_orders": 0},
    {"max_orders": 1},
    {"max_turnover": Decimal(0)},
    {"max_turnover": Decimal("0.2")},
    {"cash_floor": Decimal("0.6")},
    {"cash_floor_amount": Decimal(100_000)},
    {"cost_rate": Decimal(1)},
    {"no_trade": tuple(map(builders.security_id, range(1, 7)))},
    {"missing_price": MissingPrice.EXCLUDE},
)


def books(features: tuple[str, ...]) -> list[Book]:
    rng = random.Random(f"contradictions {features}")
    found = []
    for _ in range(BOOKS_A_KIND):
        book = draw(features, rng)
        if rng.random() < 0.3:  # nothing but cash
            book = replace(
                book, portfolio=replace(book.portfolio, positions=(), cash=Decimal(rng.randint(500, 90_000)))
            )
        found.append(replace(book, policy=replace(book.policy, **rng.choice(PUSHES))))
    return found


def refused(book: Book) -> bool:
    contradictions = Contradictions(ModelWeights(book.model.positions), book.policy)
    return bool(contradictions.of_every_portfolio or contradictions.of(book.portfolio))


def answered(book: Book, rng: random.Random) -> bool:
    """Whether an answer exists at other prices; some of them unknown, where that is allowed."""
    prices = {
        each: price * Decimal(rng.choice(["0.2", "0.7", "1", "1.9", "6"]))
        for each, price in book.prices.items()
    }
    if book.policy.missing_price is MissingPrice.EXCLUDE:
        prices = {each: price for each, price in prices.items() if rng.random() < 0.7}
    checked = check_portfolio(book.portfolio, Market(book.model, prices), book.policy, StatedValueRange())
    if not isinstance(checked, CheckedPortfolio):
        return False
    try:
        return brute_force_policies.solve(checked, book.policy, limit=3_000).objective is not None
    except brute_force_policies.TooLarge:
        return False


@pytest.mark.parametrize("part", range(4))
def test_what_is_refused_at_intake_has_no_answer_at_any_price(part: int) -> None:
    seen: Counter[str] = Counter()
    for features in [*SINGLES, *PAIRS][part::4]:
        for number, book in enumerate(books(features)):
            if not refused(book):
                seen["accepted"] += 1
                continue
            seen["refused"] += 1
            rng = random.Random(number)
            for _ in range(PRICES_TRIED):
                assert not answered(book, rng), (features, number)
    assert seen["refused"] >= 50
    assert seen["accepted"] >= 50


def test_every_kind_of_book_is_among_those_tried() -> None:
    assert {name for names in (*SINGLES, *PAIRS) for name in names} == set(FEATURES)


def test_a_policy_that_relaxes_rules_is_never_refused() -> None:
    for features in PAIRS[::7]:
        for book in books(features):
            relaxed = replace(book, policy=replace(book.policy, on_infeasible=OnInfeasible.RELAX))
            assert not refused(relaxed)


def test_an_ordinary_policy_has_no_contradictions() -> None:
    for features in SINGLES:
        for book in books(features):
            assert not refused(replace(book, policy=Policy()))
