"""Positions are kept by column and looked at one by one: both must tell the same."""

from decimal import Decimal

from domain.answer import NO_POSITIONS, PositionOutcome
from domain.money import plain
from domain.policy import FractionalHolding, Policy
from domain.rebalance import Rebalance, rebalance
from tests.support.builders import model, portfolio, portfolio_id, prices, security_id
from tests.support.problems import NeverAsked

LENIENT = Policy(fractional_holding=FractionalHolding.KEEP_FRACTION)


def answer(held: str = "1.25") -> Rebalance:
    """One security of the model, one outside it, both held; of the first a part of a share."""
    return rebalance(
        portfolio_id(1),
        portfolio("650.00", {1: held, 2: 5}),
        model({1: ("0.3", "0.1", "0.1")}),
        prices({1: "100.50", 2: "50.00"}),
        LENIENT,
        NeverAsked(),
    )


def test_positions_are_read_like_any_sequence_of_outcomes() -> None:
    positions = answer().positions
    first, second = positions
    assert first == PositionOutcome(
        security_id=security_id(1),
        price=Decimal("100.50"),
        original_quantity=Decimal("1.25"),
        adjusted_quantity=Decimal("3.25"),
        target=Decimal("0.3"),
        low_drift=Decimal("0.1"),
        high_drift=Decimal("0.1"),
        actual=Decimal("0.3185"),
    )
    assert {second.adjusted_quantity, second.target, second.actual} == {Decimal(0)}
    assert len(positions) == 2
    assert (positions[0], positions[-1], positions[:1]) == (first, second, (first,))
    assert second in positions


def test_what_is_printed_is_what_is_read() -> None:
    for positions in (answer().positions, answer("2").positions):
        read = [
            (each.security_id, *(plain(value) for value in each if isinstance(value, Decimal)))
            for each in positions
        ]
        assert list(positions.printed()) == read


def test_equal_positions_are_equal_wherever_they_come_from() -> None:
    one, same, other = answer().positions, answer().positions, answer("2").positions
    assert (one == same, hash(one) == hash(same), repr(one) == repr(same)) == (True, True, True)
    assert one == tuple(one)
    assert one != other
    assert one != 1
    assert (len(NO_POSITIONS), list(NO_POSITIONS), list(NO_POSITIONS.printed())) == (0, [], [])
