from decimal import Decimal
from itertools import islice

from worker.bench import extended
from worker.bench.extended import rows
from worker.bench.hard import FAMILIES, Family, draw


def test_every_figure_is_told_once_and_the_goals_stand_beside_theirs() -> None:
    families = (FAMILIES[0], FAMILIES[-1])
    told = list(rows(rounds=1, sizes=(20,), families=families))
    names = [row.name for row in told]
    assert len(names) == len(set(names)) == 3 * len(families) + 5
    assert {row.suite for row in told} == {extended.SUITE}
    assert [(row.goal, row.value) for row in told if row.goal is not None] == [(0.95, 1.0), (0, 0)]


def test_the_drawn_portfolios_are_the_same_every_time() -> None:
    for family in FAMILIES:
        first, again = (list(islice(draw(family, 100), 2)) for _ in range(2))
        assert first == again


def test_portfolios_without_an_answer_are_left_out() -> None:
    none = Family(name="none", policy={"max_orders": 0, "raise_cash": Decimal(10**9)})
    (*_, close, worse, _, _, exact) = rows(rounds=1, sizes=(4,), families=(none, FAMILIES[0]))
    assert (close.value, worse.value, exact.value) == (1.0, 0, 1.0)
