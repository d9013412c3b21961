from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from domain.errors import Invalid
from domain.ids import ModelId, PortfolioId, SecurityId
from domain.model import InvestmentModel, ModelPosition
from domain.policy import Policy
from tests.support.builders import model, model_position, portfolio_id, security_id
from tests.support.decimals import hostile_context

D = Decimal


def fields(refused: pytest.ExceptionInfo[Invalid]) -> list[str]:
    return [detail["field"] for detail in refused.value.details]


def test_a_model_within_the_rules_stands() -> None:
    made = model(
        {1: "0.5", 2: ("0.3", "0.01", "0.05"), 3: ("0.15", 0, 1), 4: 0},
        portfolios=(1, 2),
        policy=Policy(cash_floor=D("0.05")),
        version=7,
        last_rebalance_date=datetime(2026, 3, 2, tzinfo=UTC),
    )

    assert [position.target for position in made.positions] == [D("0.5"), D("0.3"), D("0.15"), 0]
    assert made.portfolios == (portfolio_id(1), portfolio_id(2))


def test_a_model_without_positions_and_portfolios_stands() -> None:
    assert model().positions == ()


@pytest.mark.parametrize("name", ["", " ", "\t \n", "x" * 101, "a\x00b", "a\nb"], ids=ascii)
def test_a_blank_long_or_unprintable_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        model(name=name)
    assert set(fields(refused)) == {"name"}


@pytest.mark.parametrize("name", ["A", "x" * 100, "Growth & Income (Übersee) 60/40"])
def test_a_name_of_1_to_100_printable_characters_stands(name: str) -> None:
    assert model(name=name).name == name


@pytest.mark.parametrize("text", ["", "a" * 23, "a" * 25, "a" * 23 + "-", "a" * 23 + "\u00e9"], ids=ascii)
def test_a_security_id_that_is_not_24_letters_and_digits_is_refused(text: str) -> None:
    wrong = replace(model_position(1, "0.1"), security_id=SecurityId(text))

    with pytest.raises(Invalid, match="24 ASCII letters and digits") as refused:
        InvestmentModel(model_id=ModelId("M"), name="M", positions=(wrong,))
    assert fields(refused) == ["positions[0].security_id"]


@pytest.mark.parametrize("target", ["0", "0.000", "0.005", "0.010", "0.5", "0.945", "0.95", "0.9500"])
def test_a_target_is_0_or_a_multiple_of_half_a_percent(target: str) -> None:
    assert model({1: target}).positions[0].target == D(target)


@pytest.mark.parametrize(
    "target",
    ["0.001", "0.0049", "0.0051", "0.00500001", "-0.005", "0.955", "1", "NaN", "Infinity", "1E+1000000"],
)
def test_any_other_target_is_refused(target: str) -> None:
    with pytest.raises(Invalid, match=r"multiple of 0\.005 up to 0\.95") as refused:
        model({1: target})
    assert fields(refused)[0] == "positions[0].target"


def test_targets_may_add_up_to_95_percent_and_no_more() -> None:
    assert model({1: "0.5", 2: "0.45"}).positions

    with pytest.raises(Invalid, match=r"add up to 0\.955") as refused:
        model({1: "0.5", 2: "0.455"})
    assert fields(refused) == ["positions"]


def test_a_hundred_positions_above_0_stand_and_one_more_is_refused() -> None:
    zeros = dict.fromkeys(range(200, 250), "0")
    assert len(model(dict.fromkeys(range(100), "0.005") | zeros).positions) == 150

    with pytest.raises(Invalid, match="101 positions") as refused:
        model(dict.fromkeys(range(101), "0.005") | zeros)
    assert fields(refused) == ["positions"]


def test_a_security_twice_is_refused_and_named() -> None:
    twice = (model_position(5, "0.1"), model_position(6, "0.1"), model_position(5, "0.2"))

    with pytest.raises(Invalid, match=f"{security_id(5)} is in the model twice") as refused:
        InvestmentModel(model_id=ModelId("M"), name="M", positions=twice)
    assert fields(refused) == ["positions[2].security_id"]


@pytest.mark.parametrize("drift", ["-0.0001", "1.0001", "NaN", "Infinity"])
def test_a_drift_outside_0_to_1_is_refused_on_either_side(drift: str) -> None:
    with pytest.raises(Invalid, match="not a weight from 0 to 1") as refused:
        model({1: ("0.1", drift, drift)})
    assert fields(refused) == ["positions[0].low_drift", "positions[0].high_drift"]


def test_the_low_drift_may_be_wider_than_the_high_drift_and_than_the_target() -> None:
    assert model({1: ("0.1", "0.5", "0.01")}).positions[0].low_drift == D("0.5")


def test_a_portfolio_twice_is_refused_and_named() -> None:
    with pytest.raises(Invalid, match=portfolio_id(4)) as refused:
        model(portfolios=(4, 5, 4))
    assert fields(refused) == ["portfolios[2]"]


@pytest.mark.parametrize("text", ["", "a:b", "a b", "x" * 65], ids=["empty", "colon", "space", "long"])
def test_a_malformed_portfolio_id_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="a portfolio id is") as refused:
        InvestmentModel(model_id=ModelId("M"), name="M", positions=(), portfolios=(PortfolioId(text),))
    assert fields(refused) == ["portfolios[0]"]


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1"], ids=repr)
def test_a_version_is_a_whole_number_from_1_up(version: int) -> None:
    with pytest.raises(Invalid) as refused:
        model(version=version)
    assert fields(refused) == ["version"]


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 3, 2), datetime(2026, 3, 2, tzinfo=timezone(timedelta(hours=1)))],  # noqa: DTZ001  # the fault itself
    ids=["no zone", "another zone"],
)
def test_a_last_rebalance_date_that_is_not_utc_is_refused(moment: datetime) -> None:
    with pytest.raises(Invalid, match="UTC") as refused:
        model(last_rebalance_date=moment)
    assert fields(refused) == ["last_rebalance_date"]


def test_every_broken_rule_is_told_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        InvestmentModel(
            model_id=ModelId("M"),
            name=" ",
            positions=(
                ModelPosition(
                    security_id=SecurityId("short"), target=D("0.9"), low_drift=D(2), high_drift=D(-1)
                ),
                model_position(1, "0.0501"),
            ),
            portfolios=(PortfolioId("a b"),),
            version=0,
        )
    assert fields(refused) == [
        "name",
        "positions[0].security_id",
        "positions[0].low_drift",
        "positions[0].high_drift",
        "positions[1].target",
        "positions",
        "portfolios[0]",
        "version",
    ]
    assert refused.value.code == "invalid"


def test_saving_drops_zero_targets_and_keeps_the_order_of_the_rest() -> None:
    made = model({3: "0.1", 1: "0.000", 2: "0.2", 4: 0}, version=3, portfolios=(1,))
    saved = made.without_zero_targets()

    assert [position.security_id for position in saved.positions] == [security_id(3), security_id(2)]
    assert replace(saved, positions=made.positions) == made
    assert saved.without_zero_targets() == saved


def test_the_rules_hold_in_any_decimal_context() -> None:
    targets = dict.fromkeys(range(99), "0.005") | {100: "0.455"}
    with hostile_context():
        assert len(model(targets).positions) == 100
        with pytest.raises(Invalid, match=r"add up to 0\.955"):
            model(targets | {100: "0.46"})
        with pytest.raises(Invalid, match="multiple"):
            model({1: "0.12345"})
