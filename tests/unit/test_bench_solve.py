from itertools import islice

from domain.cash_bound import certify
from worker.bench.bare_highs import BareHighs
from worker.bench.drawn import Prices, draw
from worker.bench.rows import Better
from worker.bench.solve import FULLY_INVESTED, rows


def test_every_figure_is_told_once_and_the_goals_stand_beside_theirs() -> None:
    told = list(rows(rounds=1, sizes=(4,), population=3))
    names = [row.name for row in told]
    assert len(names) == len(set(names))
    assert {row.suite for row in told} == {"solve"}
    assert all(row.value > 0 for row in told)
    rates = {row.goal for row in told if row.unit == "portfolios/s" and row.better is Better.HIGHER}
    assert rates == {10_000, 500, 100}


def test_the_gates_at_100_securities_are_those_of_the_goals() -> None:
    told = rows(rounds=1, sizes=(100,), population=1)
    assert [(row.name.split(": ")[1], row.goal) for row in told if row.unit == "ratio" and row.goal] == [
        ("closed form, verified / bare HiGHS", 1 / 20),
        ("exact search, verified / bare HiGHS", 1 / 4),
        ("CVXPY re-solve / bare HiGHS", 1.5),
        ("nearest shares, held against the floor / bare HiGHS", 1 / 200),
    ]


def test_the_drawn_portfolios_are_the_same_every_time_and_of_both_kinds() -> None:
    first, again = (list(islice(draw(20, floor=FULLY_INVESTED), 12)) for _ in range(2))
    assert [each.checked for each in first] == [each.checked for each in again]
    assert {each.binds for each in first} == {True, False}
    dear = [max(each.checked.prices.values()) for each in islice(draw(100, prices=Prices.WILD), 5)]
    assert max(dear) > 400_000


def test_more_securities_than_a_model_has_share_the_same_weight() -> None:
    drawn = next(draw(200))
    assert sum(each.target for each in drawn.checked.targets.values()) * 100 == 95


def test_bare_highs_answers_the_same_problem() -> None:
    drawn = next(each for each in draw(10, floor=FULLY_INVESTED) if each.binds)
    problem = drawn.problem
    quantity = BareHighs(problem, time_limit_seconds=10.0).solve()
    best = certify(problem, problem.min_quantity)
    assert problem.allows(quantity)
    assert best.optimal
    cent = 10 ** (problem.fine_places - 2)
    assert 0 <= problem.drift(quantity) - best.objective <= cent
