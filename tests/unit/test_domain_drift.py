from decimal import Decimal

import pytest

from domain.drift import DriftReport, PositionDrift, measure_drift
from domain.errors import Invalid
from domain.model import ModelPosition
from tests.support.builders import Number, model_position, prices, security_id
from tests.support.decimals import hostile_context

D = Decimal


def measure(
    held: dict[int, Number],
    targets: dict[int, tuple[Number, Number, Number]],
    market: dict[int, Number],
    *,
    market_value: Number = 1000,
    commission_rate: Number = 0,
) -> DriftReport:
    return measure_drift(
        market_value=D(market_value),
        quantities={security_id(number): D(quantity) for number, quantity in held.items()},
        targets={
            security_id(number): model_position(number, *weights) for number, weights in targets.items()
        },
        prices=prices(market),
        commission_rate=D(commission_rate),
    )


def one(
    quantity: Number, price: Number, target: Number, low: Number = "0.02", high: Number = "0.02"
) -> PositionDrift:
    """A single position of a portfolio worth 1000."""
    return measure({1: quantity}, {1: (target, low, high)}, {1: price}).positions[0]


def test_drift_is_actual_weight_less_target_with_its_sign() -> None:
    over, under = one(30, 10, "0.25"), one(20, 10, "0.25")

    assert (over.actual, over.drift, over.excess, over.percent) == (D("0.3"), D("0.05"), D(50), "5.0%")
    assert (under.actual, under.drift, under.excess, under.percent) == (D("0.2"), D("-0.05"), D(-50), "-5.0%")


@pytest.mark.parametrize(
    ("quantity", "printed"),
    [(40, "15.0%"), (25, "0.0%"), ("37.5", "12.5%"), (20, "-5.0%"), ("25.004", "0.0%")],
)
def test_percentages_print_for_people(quantity: Number, printed: str) -> None:
    assert one(quantity, 10, "0.25").percent == printed


def test_weights_have_four_decimals() -> None:
    thirds = one(1, "333.33333", "0.3")

    assert (str(thirds.actual), str(thirds.drift)) == ("0.3333", "0.0333")


def test_total_drift_counts_held_and_modelled_securities_in_money() -> None:
    report = measure({1: 30, 3: 10}, {1: ("0.25", 0, 0), 2: ("0.1", 0, 0)}, {1: 10, 2: 7, 3: 5})

    assert [position.excess for position in report.positions] == [D(50), D(-100), D(50)]
    assert report.total == 200
    assert report.total_weight == D("0.2")
    assert report.percent == "20.0%"


def test_a_holding_outside_the_model_has_target_and_bounds_of_zero() -> None:
    report = measure({3: 1}, {}, {3: 5})

    assert report.positions == (
        PositionDrift(security_id=security_id(3), price=D(5), quantity=D(1), market_value=D(1000)),
    )
    assert report.outside_bounds == (security_id(3),)
    assert report.positions[0].trade == -1


def test_positions_stand_in_order_of_security_id() -> None:
    report = measure({9: 1, 2: 1}, {5: ("0.1", 0, 0)}, {2: 1, 5: 1, 9: 1})

    assert [position.security_id for position in report.positions] == [security_id(n) for n in (2, 5, 9)]


@pytest.mark.parametrize("quantity", [23, 25, 26])
def test_a_position_on_its_bound_is_inside(quantity: Number) -> None:
    assert not one(quantity, 10, "0.25", "0.02", "0.01").outside_bounds


@pytest.mark.parametrize("quantity", ["22.99999", "26.00001"])
def test_a_position_past_its_bound_is_outside(quantity: Number) -> None:
    assert one(quantity, 10, "0.25", "0.02", "0.01").outside_bounds


def test_the_positions_outside_their_bounds_are_named() -> None:
    wide, tight = ("0.25", "0.5", "0.5"), ("0.25", "0.01", "0.01")
    report = measure({1: 10, 2: 10, 3: 25}, {1: wide, 2: tight, 3: tight}, {1: 10, 2: 10, 3: 10})

    assert report.outside_bounds == (security_id(2),)


@pytest.mark.parametrize(
    ("quantity", "price", "target", "trade"),
    [
        pytest.param(20, 10, "0.25", 5, id="buys up to the target"),
        pytest.param(30, 10, "0.25", -5, id="sells down to the target"),
        pytest.param(25, 10, "0.25", 0, id="stays on the target"),
        pytest.param(0, 40, "0.25", 6, id="nearest from below"),
        pytest.param(0, 90, "0.25", 3, id="nearest from above"),
        pytest.param(0, 500, "0.25", 0, id="a tie stays"),
        pytest.param(6, 100, "0.65", 0, id="a tie below the target stays"),
        pytest.param(7, 100, "0.65", 0, id="a tie above the target stays"),
        pytest.param("0.7", 10, "0", 0, id="a fraction cannot be sold"),
        pytest.param("2.7", 10, "0", -2, id="no more is sold than whole shares are held"),
        pytest.param(-3, 10, "0.25", 28, id="a short is covered on the way to the target"),
        pytest.param("-0.2", 10, "0", 1, id="a short is covered at least"),
    ],
)
def test_a_required_trade_comes_as_near_to_target_as_whole_shares_can(
    quantity: Number, price: Number, target: Number, trade: int
) -> None:
    assert one(quantity, price, target).trade == trade


def test_trades_required_counts_securities_and_the_cost_is_a_rate_on_their_notional() -> None:
    report = measure(
        {1: 20, 2: 25, 3: 4},
        {1: ("0.25", 0, 0), 2: ("0.25", 0, 0)},
        {1: 10, 2: 10, 3: 5},
        commission_rate="0.0015",
    )

    assert [position.notional for position in report.positions] == [D(50), D(0), D(20)]
    assert report.trades_required == 2
    assert report.estimated_cost == D("0.105")


def test_a_portfolio_on_its_targets_needs_nothing() -> None:
    report = measure({1: 25}, {1: ("0.25", 0, 0)}, {1: 10}, commission_rate=1)

    assert (report.total, report.trades_required, report.estimated_cost, report.outside_bounds) == (
        D(0),
        0,
        D(0),
        (),
    )
    assert report.percent == "0.0%"


def test_nothing_held_and_nothing_modelled_is_no_drift() -> None:
    report = measure({}, {}, {})

    assert (report.positions, report.total, report.total_weight) == ((), D(0), D(0))


@pytest.mark.parametrize("market_value", ["0", "-1", "NaN", "Infinity"])
def test_there_is_no_drift_without_a_market_value(market_value: str) -> None:
    with pytest.raises(Invalid, match="market value above 0"):
        measure({}, {}, {}, market_value=market_value)


@pytest.mark.parametrize("rate", ["-0.01", "1.01", "NaN"])
def test_a_commission_rate_is_a_fraction(rate: str) -> None:
    with pytest.raises(Invalid, match="commission rate"):
        measure({}, {}, {}, commission_rate=rate)


def test_a_security_without_a_price_cannot_be_measured() -> None:
    with pytest.raises(KeyError, match=security_id(1)):
        measure({1: 1}, {}, {})


def test_drift_is_exact_in_any_decimal_context() -> None:
    def measured() -> tuple[object, ...]:
        report = measure_drift(
            market_value=D("123456789.12345678"),
            quantities={security_id(1): D("12345.6789")},
            targets={
                security_id(1): ModelPosition(
                    security_id=security_id(1), target=D("0.335"), low_drift=D("0.01"), high_drift=D("0.01")
                )
            },
            prices={security_id(1): D("4321.8765")},
            commission_rate=D("0.00125"),
        )
        position = report.positions[0]
        return (
            report,
            report.percent,
            position.actual,
            position.drift,
            position.trade,
            position.outside_bounds,
        )

    usual = measured()
    with hostile_context():
        assert measured() == usual
