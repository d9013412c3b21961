import pytest

from domain.closed_form import cash_shortfall, impossible_securities, nearest_quantities
from domain.problem import Problem
from tests.support.problems import problem

ANYWHERE = (0, 10**6)


def shares(given: Problem) -> list[int]:
    return [int(each) for each in nearest_quantities(given)]


@pytest.mark.parametrize("big", [False, True], ids=["int64", "python_integers"])
@pytest.mark.parametrize(
    ("price", "target", "lower", "upper", "held", "expected"),
    [
        pytest.param(100, 340, *ANYWHERE, 0, 3, id="below_the_middle_goes_down"),
        pytest.param(100, 360, *ANYWHERE, 0, 4, id="above_the_middle_goes_up"),
        pytest.param(100, 300, *ANYWHERE, 9, 3, id="a_whole_share_on_target_is_taken"),
        pytest.param(100, 350, *ANYWHERE, 0, 3, id="a_tie_goes_towards_a_smaller_holding"),
        pytest.param(100, 350, *ANYWHERE, 3, 3, id="a_tie_keeps_the_lower_when_held"),
        pytest.param(100, 350, *ANYWHERE, 4, 4, id="a_tie_keeps_the_upper_when_held"),
        pytest.param(100, 350, *ANYWHERE, 50, 4, id="a_tie_goes_towards_a_larger_holding"),
        pytest.param(100, 350, *ANYWHERE, -5, 3, id="a_tie_goes_down_when_short"),
        pytest.param(100, 360, 0, 390, 0, 3, id="the_upper_bound_stops_rounding_up"),
        pytest.param(100, 340, 310, 500, 0, 4, id="the_lower_bound_stops_rounding_down"),
        pytest.param(100, 300, 300, 300, 0, 3, id="bounds_without_width_allow_the_exact_share"),
        pytest.param(100, 0, 0, 0, 7, 0, id="outside_the_model_everything_goes"),
        pytest.param(100, -40, -40, 0, 7, 0, id="a_fraction_that_stays_leaves_no_whole_share"),
        pytest.param(1, 10**6, *ANYWHERE, 0, 10**6, id="penny_shares_hit_the_target"),
    ],
)
def test_the_nearest_whole_share_in_the_window_is_taken(
    price: int, target: int, lower: int, upper: int, held: int, expected: int, *, big: bool
) -> None:
    assert shares(problem([(price, target, lower, upper, held)], big=big)) == [expected]


def test_each_security_is_decided_on_its_own() -> None:
    given = problem([(100, 340, 0, 900), (7, 20, 0, 900), (1000, 1600, 0, 1500)])
    assert shares(given) == [3, 3, 1]


def test_a_window_between_two_shares_is_impossible_and_names_both_sides() -> None:
    given = problem([(100, 300, 0, 900), (100, 350, 320, 390)], scale=10)
    (found,) = impossible_securities(given)
    assert found.security_id == given.security_ids[1]
    assert (found.lower, found.upper) == (3200, 3900)
    assert (found.below, found.below_misses) == (3, 200)
    assert (found.above, found.above_misses) == (4, 100)
    assert (found.least_change, found.cheapest_repair) == (100, 4)


@pytest.mark.parametrize(
    ("lower", "upper", "least_change", "cheapest_repair"),
    [
        pytest.param(310, 380, 10, 3, id="the_lower_side_is_nearer"),
        pytest.param(320, 390, 10, 4, id="the_upper_side_is_nearer"),
        pytest.param(320, 380, 20, 3, id="of_two_equal_sides_the_lower"),
        pytest.param(40, 80, 20, 1, id="less_than_one_share_may_be_made_one"),
        pytest.param(30, 80, 20, 1, id="one_share_may_be_nearer_than_none"),
        pytest.param(20, 70, 20, 0, id="none_may_be_nearer_than_one"),
    ],
)
def test_the_least_change_is_that_of_the_nearer_side(
    lower: int, upper: int, least_change: int, cheapest_repair: int
) -> None:
    (found,) = impossible_securities(problem([(100, lower, lower, upper)]))
    assert (found.least_change, found.cheapest_repair) == (least_change, cheapest_repair)


def test_a_fraction_above_its_bounds_can_only_be_mended_by_raising_the_upper_one() -> None:
    (found,) = impossible_securities(problem([(100, -30, -50, -20)]))
    assert (found.below, found.below_misses) == (None, None)
    assert (found.above, found.above_misses) == (0, 20)
    assert (found.least_change, found.cheapest_repair) == (20, 0)


@pytest.mark.parametrize(
    ("budget", "shortfall"),
    [
        pytest.param(1000, 0, id="more_than_enough"),
        pytest.param(430, 0, id="to_the_cent"),
        pytest.param(429, 1, id="a_cent_too_little"),
        pytest.param(-70, 500, id="a_floor_above_the_market_value"),
    ],
)
def test_the_cash_is_short_of_what_the_lower_bounds_demand(budget: int, shortfall: int) -> None:
    given = problem([(100, 350, 310, 500), (10, 30, 25, 40)], budget=budget)
    assert cash_shortfall(given) == shortfall


def test_impossible_securities_count_with_their_cheapest_repair() -> None:
    given = problem([(100, 350, 320, 390), (10, 30, 25, 40)], budget=400)
    assert cash_shortfall(given, impossible_securities(given)) == 30
