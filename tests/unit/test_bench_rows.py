"""What a benchmark says: medians, ratios round by round, and when a goal is reached."""

from collections.abc import Callable

import pytest

from worker.bench.report import document, figure
from worker.bench.rows import Better, Row, Sample, interleaved, measured


def row(value: float, *, better: Better = Better.LOWER, goal: float | None = None) -> Row:
    return Row(suite="s", name="n", value=value, unit="ms", better=better, goal=goal)


@pytest.mark.parametrize(
    ("value", "better", "goal", "ok"),
    [
        (5.0, Better.LOWER, 5.0, True),
        (5.1, Better.LOWER, 5.0, False),
        (45.0, Better.HIGHER, 45.0, True),
        (44.9, Better.HIGHER, 45.0, False),
        (1e9, Better.LOWER, None, True),
    ],
)
def test_a_goal_is_reached_on_its_better_side(value: float, better: Better, goal: float, ok: bool) -> None:
    assert row(value, better=better, goal=goal).ok is ok


def test_a_sample_says_its_median_and_half_of_its_inner_half() -> None:
    sample = Sample((1.0, 2.0, 3.0, 4.0, 100.0))

    assert (sample.median, sample.spread) == (3.0, 1.0)
    assert Sample((7.0,)).spread == 0.0


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round that was slow for both says nothing against either."""
    assert Sample((2.0, 20.0, 3.0)).ratio(Sample((1.0, 10.0, 1.0))) == Sample((2.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="zip"):
        Sample((1.0,)).ratio(Sample((1.0, 2.0)))


def test_contestants_take_turns_and_the_first_turn_does_not_count() -> None:
    order: list[str] = []
    ticks = iter(range(100))

    def contestant(name: str) -> Callable[[], None]:
        return lambda: order.append(name)

    samples = interleaved(
        {"a": contestant("a"), "b": contestant("b")}, rounds=2, clock=lambda: float(next(ticks))
    )

    assert order == ["a", "b", "a", "b", "a", "b"]
    assert samples == {"a": Sample((1.0, 1.0)), "b": Sample((1.0, 1.0))}


def test_a_measured_row_has_the_samples_median_and_spread() -> None:
    found = measured("s", "n", Sample((1.0, 2.0, 4.0)), "x", Better.LOWER, goal=3.0)

    assert (found.value, found.spread, found.goal, found.ok) == (2.0, 0.75, 3.0, True)


def test_a_document_has_the_agreed_keys() -> None:
    assert document(row(2.0, goal=1.0)) == {
        "suite": "s",
        "name": "n",
        "value": 2.0,
        "unit": "ms",
        "spread": 0.0,
        "goal": 1.0,
        "better": "lower",
        "ok": False,
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (0.01234, "0.0123"), (2.0, "2"), (85.26, "85.3"), (12345.6, "12,346"), (100.4, "100")],
)
def test_a_figure_has_no_digits_that_mean_nothing(value: float, shown: str) -> None:
    assert figure(value) == shown
