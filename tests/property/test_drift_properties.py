from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from domain import money
from domain.drift import DriftReport, PositionDrift, measure_drift
from domain.ids import SecurityId
from domain.model import ModelPosition
from tests.support.builders import model_position, prices, security_id
from tests.support.decimals import decimals, hostile_context

SECURITIES = range(1, 6)

market_values = decimals(low="0", high="100000000000").filter(bool)
holdings = st.dictionaries(
    st.sampled_from(SECURITIES),
    st.one_of(st.integers(-5, 5000).map(Decimal), decimals(low="-10", high="1000000")),
).map(lambda held: {security_id(number): quantity for number, quantity in held.items()})
weights = st.integers(0, 1000).map(lambda thousandths: Decimal(thousandths).scaleb(-3))
targets = st.dictionaries(
    st.sampled_from(SECURITIES),
    st.tuples(st.integers(0, 190).map(lambda steps: Decimal(steps * 5).scaleb(-3)), weights, weights),
).map(
    lambda wanted: {security_id(number): model_position(number, *three) for number, three in wanted.items()}
)
markets = st.fixed_dictionaries(
    {number: decimals(low="0", high="500000").filter(bool) for number in SECURITIES}
).map(prices)
rates = st.integers(0, 10000).map(lambda points: Decimal(points).scaleb(-4))

Holdings = dict[SecurityId, Decimal]
Targets = dict[SecurityId, ModelPosition]


def measure(
    market_value: Decimal, held: Holdings, wanted: Targets, market: Holdings, rate: Decimal = Decimal(0)
) -> DriftReport:
    return measure_drift(
        market_value=market_value, quantities=held, targets=wanted, prices=market, commission_rate=rate
    )


def exact_excess(position: PositionDrift, quantity: Fraction) -> Fraction:
    return Fraction(position.price) * quantity - Fraction(position.market_value) * Fraction(position.target)


@given(market_values, holdings, targets, markets, rates)
def test_the_report_agrees_with_fractions_in_any_decimal_context(
    market_value: Decimal, held: Holdings, wanted: Targets, market: Holdings, rate: Decimal
) -> None:
    with hostile_context():
        report = measure(market_value, held, wanted, market, rate)
        excesses = [position.excess for position in report.positions]

    exact = [exact_excess(position, Fraction(position.quantity)) for position in report.positions]
    assert [Fraction(excess) for excess in excesses] == exact
    assert Fraction(report.total) == sum(map(abs, exact))
    assert Fraction(report.total_weight) == round(
        sum(map(abs, exact), Fraction(0)) / Fraction(market_value), 4
    )
    assert Fraction(report.estimated_cost) == Fraction(rate) * sum(
        abs(position.trade) * Fraction(position.price) for position in report.positions
    )
    assert report.trades_required == sum(position.trade != 0 for position in report.positions)
    assert {position.security_id for position in report.positions} == held.keys() | wanted.keys()


@given(market_values, holdings, targets, markets)
def test_outside_its_bounds_means_outside_its_bounds(
    market_value: Decimal, held: Holdings, wanted: Targets, market: Holdings
) -> None:
    report = measure(market_value, held, wanted, market)

    for position in report.positions:
        weight = Fraction(position.value) / Fraction(market_value)
        low = Fraction(position.target) - Fraction(position.low_drift)
        high = Fraction(position.target) + Fraction(position.high_drift)
        assert (position.security_id in report.outside_bounds) == (not low <= weight <= high)


@given(market_values, holdings, targets, markets)
def test_no_other_whole_share_trade_comes_nearer_to_target(
    market_value: Decimal, held: Holdings, wanted: Targets, market: Holdings
) -> None:
    for position in measure(market_value, held, wanted, market).positions:
        quantity, trade = Fraction(position.quantity), position.trade

        def distance(
            shares: int, position: PositionDrift = position, quantity: Fraction = quantity
        ) -> Fraction:
            return abs(exact_excess(position, quantity + shares))

        assert quantity + trade >= 0, "never short afterwards"
        assert distance(trade) <= distance(trade + 1)
        assert quantity + trade - 1 < 0 or distance(trade) <= distance(trade - 1)


@given(market_values, holdings, targets, markets)
def test_after_the_required_trades_nothing_more_is_required(
    market_value: Decimal, held: Holdings, wanted: Targets, market: Holdings
) -> None:
    before = measure(market_value, held, wanted, market)
    traded = {
        position.security_id: money.add(position.quantity, Decimal(position.trade))
        for position in before.positions
    }
    after = measure(market_value, traded, wanted, market)

    assert after.trades_required == 0
    if all(quantity >= 0 for quantity in held.values()):
        assert after.total <= before.total


@given(market_values, holdings, targets, markets)
def test_the_report_does_not_depend_on_the_order_of_input(
    market_value: Decimal, held: Holdings, wanted: Targets, market: Holdings
) -> None:
    backwards = measure(
        market_value,
        dict(reversed(held.items())),
        dict(reversed(wanted.items())),
        dict(reversed(market.items())),
    )

    assert backwards == measure(market_value, held, wanted, market)


@given(market_values, targets)
def test_a_portfolio_exactly_on_its_targets_has_no_drift(market_value: Decimal, wanted: Targets) -> None:
    # At a price of 1 the quantity that is exactly the target's value exists.
    held = {key: money.multiply(market_value, position.target) for key, position in wanted.items()}
    report = measure(market_value, held, wanted, dict.fromkeys(wanted, Decimal(1)))

    assert report.total == 0
    assert report.outside_bounds == ()
    assert report.percent == "0.0%"
