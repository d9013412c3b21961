import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from domain.cash_bound import certify
from domain.closed_form import impossible_securities, nearest_quantities
from domain.problem import IntArray, Problem
from tests.support.problems import in_python_integers, problem


def least_drift(given: Problem) -> int:
    """By trying everything."""
    windows = [
        range(int(low), int(high) + 1)
        for low, high in zip(given.min_quantity, given.max_quantity, strict=True)
    ]
    vectors = (np.array(each, dtype=given.price.dtype) for each in product(*windows))
    return min(given.drift(each) for each in vectors if given.spend(each) <= given.budget)


def random_problem(rng: random.Random) -> Problem | None:
    """The cash binds; None if a window came out empty or there is nothing to raise."""
    rows = []
    for _ in range(rng.randint(1, 5)):
        price = rng.choice([rng.randint(1, 9), rng.randint(10, 400), rng.randint(5_000, 9_000)])
        target = rng.randint(0, 5 * price)
        rows.append((price, target, target - rng.randint(0, 3 * price), target + rng.randint(0, 3 * price)))
    given = problem(rows, scale=rng.choice([1, 10, 1000]))
    if impossible_securities(given):
        return None
    most, least = given.spend(nearest_quantities(given)), given.spend(given.min_quantity)
    if most <= least:
        return None
    given = replace(given, budget=rng.randint(least, most - 1))
    return in_python_integers(given) if rng.random() < 0.3 else given


@pytest.fixture(scope="module")
def coupled() -> list[Problem]:
    rng = random.Random(20260302)
    drawn = (random_problem(rng) for _ in range(900))
    return [each for each in drawn if each is not None]


def test_it_finds_the_optimum_from_the_worst_start_and_proves_it(coupled: list[Problem]) -> None:
    assert len(coupled) >= 500
    for given in coupled:
        certificate = certify(given, given.min_quantity)
        assert certificate.objective == certificate.lower_bound == least_drift(given)
        assert certificate.optimal
        assert given.allows(certificate.quantity)
        assert given.drift(certificate.quantity) == certificate.objective


def test_an_optimal_incumbent_is_returned_itself(coupled: list[Problem]) -> None:
    for given in coupled:
        optimum = certify(given, given.min_quantity).quantity
        certificate = certify(given, optimum)
        assert certificate.quantity is optimum
        assert certificate.optimal


@pytest.mark.parametrize("max_nodes", [0, 1, 5, 20])
def test_under_a_cap_the_bound_is_still_a_bound(coupled: list[Problem], max_nodes: int) -> None:
    open_ends = 0
    for given in coupled:
        certificate = certify(given, given.min_quantity, max_nodes=max_nodes)
        assert certificate.lower_bound <= least_drift(given) <= certificate.objective
        assert given.allows(certificate.quantity)
        open_ends += not certificate.optimal
    assert open_ends > 0


def test_int64_and_python_integers_give_the_same_certificate(coupled: list[Problem]) -> None:
    for given in coupled:
        small = certify(given, given.min_quantity)
        big = certify(in_python_integers(given), given.min_quantity.astype(object))
        assert list(small.quantity) == list(big.quantity)
        assert (small.objective, small.lower_bound) == (big.objective, big.lower_bound)


def test_numbers_beyond_int64_are_as_exact() -> None:
    huge = 10**30
    given = problem(
        [
            (3 * huge, 8 * huge, 0, 20 * huge),
            (2 * huge, 7 * huge, 0, 20 * huge),
            (huge + 1, huge, 0, 9 * huge),
        ],
        budget=14 * huge,
        big=True,
    )
    certificate = certify(given, given.min_quantity)
    assert certificate.optimal
    assert certificate.objective == least_drift(given)


def large(rng: random.Random, count: int) -> tuple[Problem, IntArray]:
    """A book as large as real ones, and its separable optimum, which is over budget."""
    rows = []
    for _ in range(count):
        price = int(100 * 10 ** rng.uniform(0.7, 2.8))
        target = rng.randint(3 * price, 300 * price)
        rows.append((price, target, target - 3 * price, target + 3 * price))
    given = problem(rows, scale=1000)
    best = nearest_quantities(given)
    return replace(given, budget=given.spend(best) - rng.randint(1, 400_000)), best


def test_a_hundred_liquid_securities_are_proved_within_a_few_thousand_nodes() -> None:
    rng = random.Random(100)
    for _ in range(20):
        given, _ = large(rng, 100)
        certificate = certify(given, given.min_quantity)
        assert certificate.optimal
        assert certificate.nodes < 20_000


def test_where_the_cash_suffices_the_separable_optimum_is_the_answer() -> None:
    given, best = large(random.Random(7), 30)
    given = replace(given, budget=given.spend(best))
    certificate = certify(given, given.min_quantity)
    assert list(certificate.quantity) == list(best)
    assert certificate.optimal
    assert certify(given, best).quantity is best


def test_a_tie_that_costs_nothing_is_found() -> None:
    """Both 3 and 4 shares are 50 away from the target; held are 4, but the cash is there for 3 only."""
    given = problem([(100, 350, 0, 900, 4)], budget=399)
    certificate = certify(given, given.min_quantity)
    assert list(certificate.quantity) == [3]
    assert certificate.objective == certificate.lower_bound == 50


def test_a_budget_below_the_windows_is_refused() -> None:
    given = problem([(100, 350, 200, 900)], budget=199)
    with pytest.raises(ValueError, match="budget"):
        certify(given, given.min_quantity)


def wide(rng: random.Random, count: int) -> Problem:
    """Windows so wide that the excess is raised in shares of one rate: a subset sum."""
    rows = []
    for _ in range(count):
        price = rng.randint(50, 60_000)
        shares = rng.randint(5, 400)
        rows.append((price, price * shares + rng.randint(0, price - 1), 0, price * (shares + 3)))
    given = problem(rows, scale=1000)
    return replace(given, budget=given.spend(nearest_quantities(given)) * rng.randint(30, 95) // 100)


@pytest.mark.parametrize(("count", "proved"), [(2, 12), (4, 8), (12, 12), (60, 12)])
def test_wide_windows_are_a_subset_sum_solved_to_the_cent(count: int, proved: int) -> None:
    rng = random.Random(count)
    gaps = []
    for _ in range(12):
        given = wide(rng, count)
        certificate = certify(given, given.min_quantity)
        assert given.allows(certificate.quantity)
        assert certificate.objective == given.drift(certificate.quantity)
        gaps.append(certificate.objective - certificate.lower_bound)
    assert sum(gap == 0 for gap in gaps) >= proved


def test_one_share_worth_more_than_the_whole_excess_is_decided_exactly() -> None:
    """The dear one may only go as a whole; the light ones together are cheaper."""
    given = problem(
        [(1_000_000, 2_900_000, 0, 9_000_000), *[(1_00, 50_40, 0, 90_00)] * 40], scale=1000, budget=3_190_000
    )
    certificate = certify(given, given.min_quantity)
    assert certificate.optimal
    assert int(certificate.quantity[0]) == 3
