"""Cash while the orders of an answer execute, in fractions that share no code with the product.

The promise (docs/optimisation.md, "The orders"): in the order given, at stated prices that are worse by a slip of
``slip_covered`` or less, cash is at the floor or above once the sells are done, and until then at the lower of floor and cash
before, or above. A floor that gave way, or was missed before and could not be mended, is what cash ends with.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from domain.policy import OnInfeasible, Policy
from domain.rebalance import Rebalance, rebalance
from tests.support.policy_books import PAIRS, SINGLES, draw
from tests.support.problems import OutOfTime

STEP = Fraction(1, 10_000)
SETS = [
    features for features in (*SINGLES, *PAIRS) if {"negative_cash", "cash_floor", "cost_rate"} & {*features}
]


def cash_path(answer: Rebalance, policy: Policy, slip: Fraction) -> list[Fraction]:
    """Before the first order, and after each."""
    path = [Fraction(answer.cash_before or 0)]
    for order in answer.orders:
        sells = order.side == "SELL"
        notional = order.quantity * Fraction(order.price) * (1 - slip if sells else 1 + slip)
        cost = Fraction(policy.cost_rate) * notional + Fraction(policy.cost_per_order)
        path.append(path[-1] + (notional if sells else -notional) - cost)
    return path


def floor_of(answer: Rebalance, policy: Policy) -> Fraction:
    """The greater of both floors, or what cash ends with where that is less."""
    of_value = Fraction(policy.cash_floor) * Fraction(answer.market_value or 0)
    return min(max(of_value, Fraction(policy.cash_floor_amount)), Fraction(answer.cash_after or 0))


def is_kept(path: Sequence[Fraction], sells: int, floor: Fraction) -> bool:
    """``path`` has cash before as its first; the first ``sells`` orders are sells."""
    least = min(floor, path[0])
    return all(cash >= least for cash in path[1:sells]) and all(
        cash >= floor for cash in path[max(sells, 1) :]
    )


def assert_promise(answer: Rebalance, policy: Policy) -> str:
    """Of an answer with orders and an explanation; what it was a case of."""
    told = answer.explanation
    assert told is not None
    assert told.slip_covered is not None
    sides = [str(order.side) for order in answer.orders]
    sells, floor, covered = sides.count("SELL"), floor_of(answer, policy), Fraction(told.slip_covered)
    assert sides == ["SELL"] * sells + ["BUY"] * (len(sides) - sells)
    stated = cash_path(answer, policy, Fraction(0))
    assert stated[-1] == Fraction(answer.cash_after or 0)
    assert min(stated) == Fraction(told.lowest_cash or 0) == min(stated[0], stated[-1])
    assert 0 <= covered <= 1
    for slip in (Fraction(0), covered / 3, covered):
        assert is_kept(cash_path(answer, policy, slip), sells, floor), (slip, floor)
    if covered < 1:
        assert not is_kept(cash_path(answer, policy, covered + STEP), sells, floor), (covered, floor)
    return "below the floor before" if stated[0] < floor else "above the floor before"


def test_up_to_the_slip_that_is_told_cash_keeps_to_the_floor_and_a_step_further_it_does_not() -> None:
    rng = random.Random(7)
    seen: Counter[str] = Counter()
    for place in range(240):
        book = draw(SETS[place % len(SETS)], rng)
        policy = replace(book.policy, on_infeasible=OnInfeasible.RELAX) if place % 3 == 0 else book.policy
        answer = rebalance(
            book.portfolio.portfolio_id, book.portfolio, book.model, book.prices, policy, OutOfTime()
        )
        if answer.orders and answer.explanation is not None:
            seen[assert_promise(answer, policy)] += 1
    assert seen["below the floor before"] > 10, seen
    assert seen["above the floor before"] > 50, seen
