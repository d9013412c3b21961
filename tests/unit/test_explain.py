"""Where the rules leave no answer: what is said, and what the answer of least relaxation is."""

import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.checks import CheckedPortfolio, Market, StatedValueRange, check_portfolio
from domain.errors import SolverFailed
from domain.explain.infeasible import Infeasible, unaccounted
from domain.explain.told import Relaxed
from domain.extended_answer import decide_infeasible
from domain.ids import SecurityId
from domain.policy import (
    Group,
    Lot,
    NegativeCash,
    OnInfeasible,
    Policy,
    RunType,
    ShortHolding,
)
from domain.ports import Solver
from domain.problem import build_problem
from domain.program import ProgramAnswer
from domain.rebalance import Outcome, Rebalance, rebalance
from domain.rules import build_extended
from domain.terms import Terms
from domain.verify import Violation
from tasks.documents import encode, rebalance_document
from tests.support.builders import Number, model, portfolio, portfolio_id, prices, security_id
from tests.support.problems import NeverAsked, OutOfTime

ONE, TWO, THREE = map(security_id, (1, 2, 3))
RELAX = OnInfeasible.RELAX


def answered(
    cash: Number,
    held: Mapping[int, Number],
    targets: Mapping[int, tuple[Number, Number, Number]],
    by_price: Mapping[int, Number],
    policy: Policy,
    solver: Solver | None = None,
) -> Rebalance:
    return rebalance(
        portfolio_id(1),
        portfolio(cash, held),
        model(targets),
        prices(by_price),
        policy,
        solver or CvxpySolver(time_limit_seconds=5.0),
    )


def gave_way(answer: Rebalance) -> dict[tuple[str, SecurityId | str | None], Decimal]:
    return {(each.rule, each.security_id or each.group): each.amount for each in answer.relaxed}


def traded(answer: Rebalance) -> list[tuple[str, SecurityId, int]]:
    return [(each.side.value, each.security_id, each.quantity) for each in answer.orders]


def rules_in_conflict(answer: Rebalance) -> list[set[tuple[str, SecurityId | str | None]]]:
    assert answer.explanation is not None
    return [
        {(rule.rule, rule.security_id or rule.group) for rule in each.rules}
        for each in answer.explanation.conflicts
    ]


# ------------------------------------------------------------------------------------------------ relaxing


def test_a_share_dearer_than_its_window_ends_nearest_to_it() -> None:
    """450 to 550 of 1,000, and a share of 700: 150 too much is nearer than 450 too little."""
    policy = Policy(on_infeasible=RELAX)
    answer = answered(1000, {}, {1: ("0.5", "0.05", "0.05")}, {1: 700}, policy, NeverAsked())
    assert (answer.outcome, answer.reason) == (Outcome.TRADED, "relaxed")
    assert traded(answer) == [("BUY", ONE, 1)]
    assert gave_way(answer) == {("upper_bound", ONE): 150}
    (told,) = answer.relaxed
    assert told.unit == "money"
    assert "must not be worth more than its upper bound of 550.00: it gives way by 150.00" in told.message
    assert answer.explanation is not None
    assert answer.explanation.relaxation_proved_by == "exact"


def test_what_fits_is_rebalanced_as_if_nothing_had_been_relaxed() -> None:
    """Security 2 has an answer of its own and gets it."""
    policy = Policy(on_infeasible=RELAX)
    targets = {1: ("0.3", "0.02", "0.02"), 2: ("0.4", "0.02", "0.02")}
    answer = answered(1000, {}, targets, {1: 250, 2: 40}, policy, NeverAsked())
    assert traded(answer) == [("BUY", ONE, 1), ("BUY", TWO, 10)]
    assert gave_way(answer) == {("lower_bound", ONE): 30}
    assert answer.proof is not None
    assert (answer.proof.gap, answer.proof.bound_by) == (Decimal(0), "exact")


def test_a_relaxed_answer_may_be_to_trade_nothing() -> None:
    policy = Policy(on_infeasible=RELAX)
    answer = answered(300, {1: 1}, {1: ("0.5", "0.05", "0.05")}, {1: 700}, policy, NeverAsked())
    assert (answer.outcome, answer.reason, answer.orders) == (Outcome.NO_TRADE, "relaxed", ())
    assert gave_way(answer) == {("upper_bound", ONE): 150}


def test_a_policy_that_can_be_kept_is_not_relaxed() -> None:
    answer = answered(
        1000, {}, {1: ("0.5", "0.1", "0.1")}, {1: 100}, Policy(on_infeasible=RELAX), NeverAsked()
    )
    assert (answer.reason, answer.relaxed, answer.explanation) == ("rebalanced", (), None)


def test_restrictions_lots_and_least_trades_are_never_relaxed() -> None:
    policy = Policy(
        on_infeasible=RELAX,
        no_sell=(ONE,),
        no_buy=(TWO,),
        lot_sizes=(Lot(THREE, 10),),
        min_trade=Decimal(150),
    )
    targets = dict.fromkeys((1, 2, 3), ("0.2", "0.05", "0.05"))
    answer = answered(500, {1: 5}, targets, {1: 100, 2: 10, 3: 16}, policy)
    # 1 is above and may not be sold, 2 below and may not be bought; ten of 3 are 160.
    assert traded(answer) == [("BUY", THREE, 10)]
    assert gave_way(answer) == {("upper_bound", ONE): 250, ("lower_bound", TWO): 150}


def test_an_order_too_many_counts_what_an_order_is_worth_making_for() -> None:
    """Two windows of 10 to miss, one order: an order counts 1 (a thousandth), so both are bought."""
    targets = {1: ("0.5", "0.01", "0.01"), 2: ("0.4", "0.01", "0.01")}
    asked: dict[str, Any] = {"max_orders": 1, "on_infeasible": RELAX}
    answer = answered(500, {1: 48, 2: 2}, targets, {1: 10, 2: 10}, Policy(**asked))
    assert gave_way(answer) == {("max_orders", None): 1}
    assert answer.relaxed[0].unit == "orders"
    # A least trade of 30 makes an order count 30: the 10 that are missing of security 1 are left.
    answer = answered(500, {1: 48, 2: 2}, targets, {1: 10, 2: 10}, Policy(**asked, min_trade=Decimal(30)))
    assert gave_way(answer) == {("lower_bound", ONE): 10}


def test_of_floor_and_cash_to_raise_both_are_told_where_both_are_missed() -> None:
    policy = Policy(
        on_infeasible=RELAX,
        run_type=RunType.RAISE_CASH,
        raise_cash=Decimal(500),
        cash_floor=Decimal("0.4"),
        no_sell=(ONE,),
    )
    answer = answered(100, {1: 9}, {1: ("0.5", "0.5", "0.5")}, {1: 100}, policy)
    assert gave_way(answer) == {("raise_cash", None): 500, ("cash_floor", None): 300}


def test_cash_is_never_overdrawn_by_a_relaxation() -> None:
    """The lower bound alone would take 900 of the 500 there are."""
    policy = Policy(on_infeasible=RELAX, no_sell=(TWO,), no_buy=(TWO,))
    answer = answered(500, {2: 1}, {1: ("0.9", "0", "0.1")}, {1: 100, 2: 500}, policy)
    assert traded(answer) == [("BUY", ONE, 5)]
    assert answer.cash_after == 0


def test_what_was_overdrawn_before_ends_no_deeper() -> None:
    policy = Policy(on_infeasible=RELAX, negative_cash=NegativeCash.RAISE, no_sell=(ONE,))
    answer = answered(-100, {1: 10}, {1: ("0.9", "0.5", "0.1")}, {1: 100}, policy)
    assert (answer.orders, answer.cash_after) == ((), Decimal(-100))
    assert ("cash_floor", None) in gave_way(answer)


def test_firm_rules_that_leave_nothing_are_reported_even_where_relaxing_is_asked_for() -> None:
    policy = Policy(on_infeasible=RELAX, short_holding=ShortHolding.COVER, no_buy=(ONE,))
    answer = answered(1000, {1: -1}, {1: ("0.5", "0.5", "0.5")}, {1: 100}, policy)
    assert (answer.outcome, answer.reason) == (Outcome.INFEASIBLE, "no_buy")
    assert rules_in_conflict(answer) == [{("no_buy", ONE)}]
    assert answer.explanation is not None
    assert answer.explanation.least_relaxation == ()


# ------------------------------------------------------------------------------------------------ reporting


def test_a_window_without_a_whole_lot_is_told_with_the_nearest_ones() -> None:
    policy = Policy(lot_size=20, min_trade=Decimal(50))
    answer = answered(10000, {1: 3}, {1: ("0.1", "0.005", "0.005")}, {1: 30}, policy, NeverAsked())
    assert answer.reason == "no_whole_share"
    (conflict,) = answer.conflicts
    assert (conflict.security_id, conflict.amount) == (ONE, Decimal("230.55"))
    assert conflict.message == (
        f"no whole share of security {ONE} in lots of 20 fits its bounds of 958.55 to 1059.45: "
        "23 shares are worth 690.00 and 43 shares are worth 1290.00; "
        "the nearest bound would have to give way by 230.55"
    )


@pytest.mark.parametrize(
    ("policy", "reason", "rules"),
    [
        (
            {"no_sell": (ONE,), "groups": (Group(name="tech", security_ids=(ONE,), max=Decimal("0.45")),)},
            "group_max",
            {("group_max", "tech"), ("no_sell", ONE)},
        ),
        ({"max_turnover": Decimal("0.01")}, "max_turnover", {("max_turnover", None), ("lower_bound", TWO)}),
        ({"max_orders": 0}, "max_orders", {("max_orders", None), ("lower_bound", TWO)}),
        (
            {"run_type": RunType.RAISE_CASH, "raise_cash": Decimal(200)},
            "raise_cash",
            {("raise_cash", None), ("lower_bound", ONE)},
        ),
        (
            {"groups": (Group(name="bonds", security_ids=(TWO,), min=Decimal("0.5")),)},
            "group_min",
            {("group_min", "bonds"), ("upper_bound", TWO)},
        ),
        ({"no_trade": (TWO,)}, "lower_bound", {("lower_bound", TWO), ("no_trade", TWO)}),
        (
            {"run_type": RunType.INVEST_CASH, "cash_floor": Decimal("0.6")},
            "cash_floor",
            {("cash_floor", None), ("run_type", ONE)},
        ),
    ],
)
def test_the_rules_in_conflict_are_named(
    policy: dict[str, Any], reason: str, rules: set[tuple[str, SecurityId | str | None]]
) -> None:
    targets = {1: ("0.5", "0.1", "0.1"), 2: ("0.2", "0.05", "0.05")}
    answer = answered(500, {1: 5}, targets, {1: 100, 2: 10}, Policy(**policy))
    assert answer.outcome is Outcome.INFEASIBLE
    assert rules in rules_in_conflict(answer)
    assert reason in {each.rule for each in answer.conflicts}
    assert answer.reason == answer.conflicts[0].rule
    assert all(each.message for each in answer.conflicts)


def hopeless(count: int) -> tuple[CheckedPortfolio, Policy]:
    """Three parts, of which any two are to be 0.52 together, and cash a quarter: each row can be kept, not all.

    ``count`` securities a part, with room for a third of everything in each part.
    """
    part = {
        name: tuple(security_id(number) for number in range(first, first + count))
        for name, first in (("a", 1), ("b", 1 + count), ("c", 1 + 2 * count))
    }
    least = Decimal("0.52")
    policy = Policy(
        groups=tuple(
            Group(name=f"{one} and {other}", security_ids=(*part[one], *part[other]), min=least)
            for one, other in (("a", "b"), ("b", "c"), ("a", "c"))
        ),
        cash_floor=Decimal("0.25"),
    )
    weight = Decimal("0.25") / count
    numbers = range(1, 3 * count + 1)
    market = Market(
        model(dict.fromkeys(numbers, (weight, weight, weight))), prices(dict.fromkeys(numbers, 10))
    )
    checked = check_portfolio(portfolio(1000, {}), market, policy, StatedValueRange())
    assert isinstance(checked, CheckedPortfolio)
    return checked, policy


def infeasible(count: int, solver: Solver) -> Infeasible:
    checked, policy = hopeless(count)
    return Infeasible(checked, policy, build_extended(checked, policy), solver)


@pytest.mark.parametrize(
    ("count", "solver", "proved_by"), [(1, OutOfTime(), "exact"), (10, CvxpySolver(), "HiGHS")]
)
def test_a_conflict_of_several_rows_is_proved_in_integers_or_told_as_the_claim_of_the_solver(
    count: int, solver: Solver, proved_by: str
) -> None:
    (conflict,) = infeasible(count, solver).report().explanation.conflicts
    assert {rule.rule for rule in conflict.rules} == {"group_min", "cash_floor"}
    assert len(conflict.rules) == 4
    assert conflict.irreducible
    assert proved_by in conflict.proved_by


class Contrary:
    """A solver that fails, or lies, as it is told to."""

    name = "contrary"
    time_limit_seconds = 30.0

    def __init__(self, answer: ProgramAnswer | None) -> None:
        self._answer = answer

    def solve(self, problem: object, time_limit: float | None = None) -> Any:
        raise AssertionError("not asked for the base problem")

    def solve_program(
        self, program: object, start: object = None, time_limit: object = None
    ) -> ProgramAnswer:
        if self._answer is None:
            raise SolverFailed(self.name)
        return self._answer


@pytest.mark.parametrize(
    "solver",
    [
        OutOfTime(),
        Contrary(None),
        Contrary(ProgramAnswer(values=None, lower_bound=float("-inf"), status="time_limit")),
    ],
)
def test_an_explanation_comes_though_the_solver_has_no_time(solver: Solver) -> None:
    hard = infeasible(10, solver)
    report = hard.report()
    assert report.explanation.least_relaxation
    answer = hard.relaxed()
    assert answer is not None
    assert answer.problem.allows(answer.best.quantity)


def test_amounts_that_nobody_proved_the_least_are_never_told_as_the_least() -> None:
    """Three groups and cash that ask for too much: what would do is found, that nothing less would is not."""
    hard = infeasible(10, OutOfTime())
    report = hard.report()
    assert report.conflicts
    assert [each.amount for each in report.conflicts] == [None] * len(report.conflicts)
    assert all(each.message.endswith("(not proved the least)") for each in report.conflicts)
    assert report.explanation.relaxation_proved_by is None
    assert all(
        each.amount > 0 and each.message.endswith("(not proved the least)")
        for each in report.explanation.least_relaxation
    )
    answer = hard.relaxed()
    assert answer is not None
    assert answer.proved_by is None
    assert all(each.message.endswith("(not proved the least)") for each in answer.relaxed)


def test_shares_that_a_solver_only_says_to_be_good_are_not_taken() -> None:
    said = ProgramAnswer(values=(0,) * 1000, lower_bound=10.0**9, status="optimal")
    answer = infeasible(10, Contrary(said)).relaxed()
    assert answer is not None
    assert answer.problem.allows(answer.best.quantity)
    assert answer.best.lower_bound <= answer.best.objective


def test_a_portfolio_that_was_wrongly_called_infeasible_gets_its_answer() -> None:
    terms = Terms.of(model({1: ("0.5", "0.1", "0.1")}), prices({1: 100}), Policy(max_orders=1))
    checked = check_portfolio(portfolio(1000, {}), terms.market, terms.policy, StatedValueRange())
    assert isinstance(checked, CheckedPortfolio)
    problem = build_problem(checked, terms.policy)
    answer = decide_infeasible(checked, terms, problem, OutOfTime(), lambda: None)
    assert (answer.outcome, answer.reason, answer.relaxed) == (Outcome.TRADED, "rebalanced", ())
    assert traded(answer) == [("BUY", ONE, 5)]


def test_what_physics_alone_forbids_is_told_as_such() -> None:
    """Buying the short back costs more than all there is, with what the order costs."""
    policy = Policy(short_holding=ShortHolding.COVER, cost_per_order=Decimal(500), on_infeasible=RELAX)
    answer = answered(1000, {1: -6}, {1: ("0", "0", "1")}, {1: 100}, policy)
    assert (answer.outcome, answer.reason) == (Outcome.INFEASIBLE, "overdraft")
    assert answer.conflicts[0].amount == 100


def test_what_physics_alone_forbids_is_told_though_firm_rules_leave_a_security_no_choice_either() -> None:
    """A short cannot stay, a firm rule forbids covering it, and what sells pays more than it brings in."""
    targets = {1: ("0.5", "0.5", "0.45"), 2: ("0.4", "0.4", "0.5")}
    by_price = {1: 100, 2: 50}
    cover = ShortHolding.COVER
    no_buy = Policy(short_holding=cover, no_buy=(ONE,), cost_per_order=Decimal(60))
    no_trade = Policy(short_holding=cover, no_trade=(ONE,), cost_per_order=Decimal(500))
    raising = Policy(
        short_holding=cover,
        run_type=RunType.RAISE_CASH,
        raise_cash=Decimal(10),
        cost_per_order=Decimal(200),
    )
    # The short is covered for 100 and the fee; the three others bring in 150 less the fee, or nothing.
    for policy, overdrawn in ((no_buy, 70), (no_trade, 600), (raising, 300)):
        answer = answered(0, {1: -1, 2: 3}, targets, by_price, policy)
        assert answer.outcome is Outcome.INFEASIBLE
        conflict = answer.conflicts[-1]
        assert (conflict.rule, conflict.amount) == ("overdraft", Decimal(overdrawn))
        assert f"cash ends overdrawn by {overdrawn}" in conflict.message


def test_a_rule_of_one_security_that_cash_alone_forbids_is_in_conflict_by_itself() -> None:
    """A share would have to be bought, and is dearer than what there is: that none fits the window says too much."""
    targets = {1: ("0.1", "0", "0"), 2: ("0", "0", "1")}
    policy = Policy(no_sell=(TWO,), negative_cash=NegativeCash.RAISE, cost_per_order=Decimal(60))
    answer = answered(-50, {2: 1}, targets, {1: 100, 2: 100}, policy)
    assert answer.explanation is not None
    first, *_ = answer.explanation.conflicts
    assert [(rule.rule, rule.security_id) for rule in first.rules] == [("lower_bound", ONE)]
    assert (first.irreducible, first.proved_by) == (True, "exact")
    told = next(each for each in answer.conflicts if each.security_id == ONE)
    assert told.rule == "lower_bound"
    assert "no whole share" not in told.message


def test_where_physics_alone_leaves_nothing_no_rule_is_blamed() -> None:
    """The short costs more to cover than there is, and no share of the other fits its window either."""
    targets = {1: ("0", "0", "1"), 2: ("0.5", "0", "0")}
    policy = Policy(short_holding=ShortHolding.COVER, cost_per_order=Decimal(500))
    answer = answered(1000, {1: -6}, targets, {1: 100, 2: 150}, policy)
    assert answer.explanation is not None
    assert [(each.rules, each.irreducible) for each in answer.explanation.conflicts] == [((), True)]
    assert [each.rule for each in answer.conflicts] == ["overdraft"]


# ------------------------------------------------------------------------------------------------ verifying


def violation(rule: str, amount: int, security: SecurityId | None = None) -> Violation:
    return Violation(rule=rule, message=rule, security_id=security, amount=Fraction(amount))


def relaxed(rule: str, amount: int, security: SecurityId | None = None) -> Relaxed:
    return Relaxed(rule=rule, amount=Decimal(amount), unit="money", message=rule, security_id=security)


def test_a_violation_is_accounted_for_by_its_own_amount_only() -> None:
    broken = [violation("bounds", 20, ONE), violation("cash_floor", 5)]
    stated = [relaxed("lower_bound", 20, ONE), relaxed("cash_floor", 5)]
    assert unaccounted(broken, stated) == ()
    assert unaccounted(broken, stated[:1]) == (broken[1],)
    assert unaccounted(broken, [stated[0], relaxed("cash_floor", 6)]) == (broken[1],)
    assert unaccounted([violation("no_sell", 1, ONE)], []) != ()


def test_a_rule_that_is_said_to_give_way_and_does_not_is_found() -> None:
    (found,) = unaccounted([], [relaxed("max_turnover", 7)])
    assert (found.rule, found.message) == (
        "max_turnover",
        "max_turnover is said to give way by 7, and is kept",
    )


# ------------------------------------------------------------------------------------------------ documents


def document(answer: Rebalance) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(encode(rebalance_document(answer)))
    return told


def test_a_relaxed_answer_is_told_with_every_amount() -> None:
    policy = Policy(on_infeasible=RELAX)
    told = document(answered(1000, {}, {1: ("0.5", "0.05", "0.05")}, {1: 700}, policy))
    assert told["reason"] == "relaxed"
    (row,) = told["relaxed"]
    assert {**row, "message": ""} == {
        "rule": "upper_bound",
        "security_id": ONE,
        "group": None,
        "amount": "150.00",
        "unit": "money",
        "message": "",
    }
    assert told["explanation"] == {
        "orders": [
            {
                "security_id": ONE,
                "reason": "below_target",
                "group": None,
                "drift_before": "500.00",
                "drift_after": "200.00",
                "message": f"{ONE} is below its target: 500.00 from its target before, 200.00 after",
            }
        ],
        "lowest_cash": "300.00",
        "slip_covered": "0.4285",
        "relaxation_proved_by": "exact",
    }


def test_an_infeasible_answer_is_told_with_its_conflicts_and_the_least_relaxation() -> None:
    policy = Policy(no_trade=(ONE,))
    told = document(answered(1000, {}, {1: ("0.5", "0.05", "0.05")}, {1: 100}, policy))["explanation"]
    (conflict,) = told["conflicts"]
    assert [(rule["rule"], rule["security_id"]) for rule in conflict["rules"]] == [
        ("lower_bound", ONE),
        ("no_trade", ONE),
    ]
    assert (conflict["irreducible"], conflict["proved_by"]) == (True, "exact")
    assert [(row["rule"], row["amount"]) for row in told["least_relaxation"]] == [("lower_bound", "450.00")]
    assert told["relaxation_proved_by"] == "exact"


def test_a_base_answer_says_nothing_of_all_this() -> None:
    told = document(answered(1000, {}, {1: ("0.5", "0.1", "0.1")}, {1: 100}, Policy()))
    assert not {"relaxed", "explanation", "cost", "turnover"} & told.keys()
    told = document(answered(1000, {}, {1: ("0.5", "0.05", "0.05")}, {1: 700}, Policy()))
    assert (told["outcome"], told["reason"]) == ("infeasible", "no_whole_share")
    assert not {"relaxed", "explanation", "cost", "turnover"} & told.keys()
