"""Small books with the truth about each, found by trying everything."""

import random
from functools import cache

from domain.checks import CheckedPortfolio, Market, StatedValueRange, check_portfolio
from tests.support import brute_force
from tests.support.small_books import FAMILIES, Book, draw

CASES_A_FAMILY = 150  # 12 families: 1,800 cases


@cache
def cases(name: str) -> list[tuple[Book, CheckedPortfolio, brute_force.Truth]]:
    """Always the same cases, whatever order the tests run in; drawn and tried out once."""
    rng = random.Random(f"trimtab {name}")
    found: list[tuple[Book, CheckedPortfolio, brute_force.Truth]] = []
    while len(found) < CASES_A_FAMILY:
        book = draw(FAMILIES[name], rng)
        checked = check_portfolio(
            book.portfolio, Market(book.model, book.prices), book.policy, StatedValueRange()
        )
        assert isinstance(checked, CheckedPortfolio)
        try:
            found.append((book, checked, brute_force.solve(checked, book.policy, limit=4_000)))
        except brute_force.TooLarge:
            continue
    return found
