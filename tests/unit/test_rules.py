"""Each rule by itself: what it makes of a problem, what it says of shares that break it, and how it says itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.model import ModelPosition
from domain.policy import Group, Lot, Policy, RunType
from domain.rules import RULES, broken_rules, build_extended, misstated, sentences
from tests.support.builders import model_position, portfolio_id, security_id

ONE, TWO, THREE = (security_id(number) for number in (1, 2, 3))


def book(
    *,
    cash: str = "1000",
    shares: Mapping[SecurityId, int] | None = None,
    fractions: Mapping[SecurityId, Decimal] | None = None,
    targets: Mapping[SecurityId, ModelPosition] | None = None,
) -> CheckedPortfolio:
    """10 shares of 1 at 100, 20 of 2 at 50, 4 of 3 (not modelled) at 250, and cash of 1,000: worth 4,000."""
    shares = {ONE: 10, TWO: 20, THREE: 4} if shares is None else shares
    prices = {ONE: Decimal(100), TWO: Decimal(50), THREE: Decimal(250)}
    fractions = fractions or {}
    value = Decimal(cash) + sum(
        prices[each] * (held + fractions.get(each, Decimal(0))) for each, held in shares.items()
    )
    if targets is None:
        wide = ("0.25", "0.25", "0.5")
        targets = {ONE: model_position(1, *wide), TWO: model_position(2, *wide)}
    return CheckedPortfolio(
        portfolio_id=portfolio_id(1),
        cash=Decimal(cash),
        market_value=value,
        shares=shares,
        fractions=fractions,
        targets=targets,
        prices=prices,
    )


def group(least: str, most: str, *members: SecurityId) -> tuple[Group, ...]:
    return (Group(name="tech", security_ids=members, min=Decimal(least), max=Decimal(most)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``shares`` of 1, 2 and 3 afterwards; ``breaks``: rule and the amount missed, and whose, or nothing."""

    policy: Mapping[str, Any]
    shares: tuple[int, int, int]
    breaks: tuple[str, str, SecurityId | str | None] | None = None


D = Decimal
AMOUNT = {"run_type": RunType.RAISE_CASH, "raise_cash": D(100)}
INVEST = {"run_type": RunType.INVEST_CASH}

CASES: Mapping[str, Case] = {
    "within all bounds": Case(policy={}, shares=(10, 20, 0)),
    "above an upper bound": Case(policy={}, shares=(9, 61, 0), breaks=("bounds", "50", TWO)),
    "at an upper bound, cash aside": Case(policy={}, shares=(0, 60, 0)),
    "kept outside the model": Case(policy={}, shares=(10, 20, 4), breaks=("bounds", "1000", THREE)),
    "kept as it may not be sold": Case(policy={"no_sell": (THREE,)}, shares=(10, 20, 4)),
    "kept as it may not be traded": Case(policy={"no_trade": (THREE,)}, shares=(10, 20, 4)),
    "more of what may not be sold": Case(
        policy={"no_sell": (THREE,)}, shares=(10, 0, 5), breaks=("bounds", "250", THREE)
    ),
    "overdrawn": Case(policy={}, shares=(20, 41, 0), breaks=("cash_floor", "50", None)),
    "at the cash floor": Case(policy={"cash_floor": D("0.5")}, shares=(0, 40, 0)),
    "below the floor's amount": Case(
        policy={"cash_floor": D("0.1"), "cash_floor_amount": D(2001)},
        shares=(0, 40, 0),
        breaks=("cash_floor", "1", None),
    ),
    "costs overdraw": Case(
        policy={"cost_rate": D("0.01"), "cost_per_order": D("2.5")},
        shares=(20, 40, 0),
        breaks=("cash_floor", "37.5", None),  # 1% of 3,000 and three orders
    ),
    "cash raised": Case(policy={"raise_cash": D(1000)}, shares=(10, 20, 0)),
    "too little cash raised": Case(
        policy={"raise_cash": D(1000)}, shares=(11, 20, 0), breaks=("raise_cash", "100", None)
    ),
    "bought what may not be": Case(
        policy={"no_buy": (ONE,)}, shares=(11, 20, 0), breaks=("no_buy", "100", ONE)
    ),
    "sold what may not be bought": Case(policy={"no_buy": (ONE,)}, shares=(9, 20, 0)),
    "sold what may not be": Case(
        policy={"no_sell": (ONE,)}, shares=(8, 20, 0), breaks=("no_sell", "200", ONE)
    ),
    "bought what may not be sold": Case(policy={"no_sell": (ONE,)}, shares=(12, 20, 0)),
    "traded what may not be": Case(
        policy={"no_trade": (TWO,)}, shares=(10, 21, 0), breaks=("no_trade", "50", TWO)
    ),
    "whole lots": Case(policy={"lot_size": 4}, shares=(14, 16, 0)),
    "half a lot": Case(policy={"lot_size": 4}, shares=(13, 20, 0), breaks=("lot_size", "100", ONE)),
    "a lot of its own": Case(
        policy={"lot_size": 2, "lot_sizes": (Lot(TWO, 5),)},
        shares=(12, 22, 0),
        breaks=("lot_size", "100", TWO),
    ),
    "closing what is no whole lot": Case(policy={"lot_size": 7}, shares=(0, 20, 0)),
    "the smallest trade": Case(policy={"min_trade": D(200)}, shares=(12, 16, 0)),
    "below the smallest trade": Case(
        policy={"min_trade": D(200)}, shares=(12, 17, 0), breaks=("min_trade", "50", TWO)
    ),
    "closing for less": Case(policy={"min_trade": D(1500)}, shares=(10, 20, 0)),
    "as many orders as there may be": Case(policy={"max_orders": 2}, shares=(11, 20, 0)),
    "an order too many": Case(policy={"max_orders": 2}, shares=(11, 21, 0), breaks=("max_orders", "1", None)),
    "as much turnover as there may be": Case(policy={"max_turnover": D("0.5")}, shares=(10, 40, 0)),
    "too much turnover": Case(
        policy={"max_turnover": D("0.5")}, shares=(11, 40, 0), breaks=("max_turnover", "100", None)
    ),
    "a group at its most": Case(policy={"groups": group("0", "0.5", ONE, TWO)}, shares=(10, 20, 0)),
    "a group above its most": Case(
        policy={"groups": group("0", "0.5", ONE, TWO)}, shares=(10, 21, 0), breaks=("group_max", "50", "tech")
    ),
    "a group below its least": Case(
        policy={"groups": group("0.5", "1", ONE, TWO)}, shares=(10, 19, 0), breaks=("group_min", "50", "tech")
    ),
    "members nobody has are worth nothing": Case(
        policy={"groups": group("0", "0.25", ONE, security_id(9))}, shares=(10, 20, 0)
    ),
    "investing leaves the lower bounds and what is not modelled": Case(policy=INVEST, shares=(10, 20, 4)),
    "investing sells nothing": Case(policy=INVEST, shares=(9, 20, 4), breaks=("run_type", "100", ONE)),
    "investing within the upper bounds": Case(policy=INVEST, shares=(20, 20, 4)),
    "investing leaves a group below": Case(
        policy={**INVEST, "groups": group("0.9", "1", ONE)}, shares=(10, 20, 4)
    ),
    "investing takes a group no higher than it is": Case(
        policy={**INVEST, "groups": group("0", "0.1", ONE)},
        shares=(11, 20, 4),
        breaks=("group_max", "100", "tech"),
    ),
    "raising keeps what is not modelled": Case(policy=AMOUNT, shares=(9, 20, 4)),
    "raising buys nothing": Case(policy=AMOUNT, shares=(9, 21, 3), breaks=("run_type", "50", TWO)),
    "raising below a lower bound that was missed already": Case(
        policy={**AMOUNT, "groups": group("0.9", "1", ONE)},
        shares=(9, 20, 4),
        breaks=("group_min", "100", "tech"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_rule_judges_by_the_inputs_alone(case: Case) -> None:
    policy = Policy(**case.policy)
    broken = broken_rules(book(), policy, dict(zip((ONE, TWO, THREE), case.shares, strict=True)))
    found = [(each.rule, each.amount, each.group or each.security_id) for each in broken]
    expected = [] if case.breaks is None else [(case.breaks[0], Fraction(case.breaks[1]), case.breaks[2])]
    assert found == expected
    assert all(each.message for each in broken)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_problem_in_integers_allows_the_same(case: Case) -> None:
    """Two ways to say each rule, without a line of code in common."""
    extended = build_extended(book(), Policy(**case.policy))
    assert extended.allows(case.shares) is (case.breaks is None)


def test_a_fraction_that_stays_breaks_no_bound_and_counts_for_its_group() -> None:
    checked = book(fractions={THREE: Decimal("0.5")})
    policy = Policy(groups=group("0", "0.02", THREE))
    after = {ONE: 10, TWO: 20, THREE: 0}
    (violation,) = broken_rules(checked, policy, after)
    assert (violation.rule, violation.amount) == ("group_max", Fraction("42.5"))  # 125 of 4,125
    assert not build_extended(checked, policy).allows((10, 20, 0))
    assert broken_rules(checked, Policy(), after) == ()


def test_a_security_too_few_or_too_many_is_told_before_any_rule() -> None:
    violations = broken_rules(book(), Policy(), {ONE: 10, TWO: 20, security_id(9): 1})
    assert [(each.rule, each.security_id) for each in violations] == [
        ("securities", THREE),
        ("securities", security_id(9)),
    ]


@pytest.mark.parametrize("shares", [-1, True, 1.0])
def test_what_is_no_whole_number_of_shares_is_told(shares: Any) -> None:
    violations = broken_rules(book(), Policy(), {ONE: shares, TWO: 20, THREE: 0})
    assert [each.rule for each in violations] == ["whole_shares"]


def test_costs_and_turnover_are_held_against_the_orders_to_the_digit() -> None:
    policy = Policy(cost_rate=Decimal("0.001"), cost_per_order=Decimal("0.95"))
    after = {ONE: 11, TWO: 20, THREE: 0}  # 1,100 traded in two orders
    right: dict[str, Any] = {"cost": Decimal(3), "turnover": Decimal(1100)}
    assert misstated(book(), policy, after, **right) == ()
    wrong = misstated(book(), policy, after, cost=Decimal("2.99"), turnover=Decimal(1000))
    assert [(each.rule, each.amount) for each in wrong] == [
        ("cost", Fraction(1, 100)),
        ("turnover", Fraction(100)),
    ]


def test_an_amount_that_never_ends_is_told_as_about() -> None:
    thin = book(
        shares={ONE: 10}, cash="0.0000000000000001", targets={ONE: model_position(1, "0.5", "0", "0")}
    )
    policy = Policy(max_turnover=Decimal("0.0000000000000001"))
    messages = [each.message for each in broken_rules(thin, policy, {ONE: 9})]
    assert any("about" in message for message in messages)


def test_a_rule_says_itself_only_where_the_policy_asks_for_it() -> None:
    assert len(sentences(Policy())) == 3  # bounds, what is minimised, cash
    asked = Policy(
        raise_cash=Decimal(10),
        lot_size=2,
        lot_sizes=(Lot(ONE, 5),),
        min_trade=Decimal(1),
        max_orders=3,
        max_turnover=Decimal(1),
        cost_rate=Decimal("0.01"),
        no_buy=(ONE,),
        no_sell=(TWO,),
        no_trade=(THREE,),
        groups=group("0", "1", ONE),
    )
    assert len(sentences(asked)) == len(RULES)


def test_each_rule_has_a_name_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
