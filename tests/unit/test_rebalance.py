from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from domain import rebalance as ladder
from domain.cash_bound import Certificate, certify
from domain.checks import CheckedPortfolio, StatedValueRange
from domain.closed_form import nearest_quantities
from domain.errors import SolverFailed, SolverTimeout
from domain.policy import FractionalHolding, MissingPrice, NegativeCash, Policy, ShortHolding
from domain.ports import Solver
from domain.problem import IntArray, Problem, Scales, SolverAnswer, build_problem
from domain.rebalance import Outcome, Rebalance, Side, rebalance
from tests.support.builders import Number, model, portfolio, portfolio_id, prices, security_id
from tests.support.problems import NeverAsked, NoPrograms, Scripted


def answered(
    cash: Number,
    held: Mapping[int, Number],
    targets: Mapping[int, tuple[Number, Number, Number]],
    by_price: Mapping[int, Number],
    *,
    policy: Policy | None = None,
    solver: Solver | None = None,
) -> Rebalance:
    return rebalance(
        portfolio_id(1),
        portfolio(cash, held),
        model(targets),
        prices(by_price),
        policy or Policy(),
        solver or NeverAsked(),
    )


def orders(answer: Rebalance) -> list[tuple[Side, str, int, str]]:
    return [(each.side, each.security_id, each.quantity, each.reason) for each in answer.orders]


WIDE = ("0.5", "0.5", "0.5")


# ------------------------------------------------------------------------------------------------ closed form


def test_where_the_cash_suffices_the_closed_form_decides_and_is_its_own_proof() -> None:
    answer = answered(
        500, {1: 1, 2: 6, 3: 2}, {1: ("0.3", "0.1", "0.1"), 2: ("0.2", "0.1", "0.1")}, {1: 100, 2: 50, 3: 50}
    )  # 1000: 1 to 300, 2 to 200, 3 out
    assert (answer.outcome, answer.reason) == (Outcome.TRADED, "rebalanced")
    assert orders(answer) == [
        (Side.SELL, security_id(2), 2, "above_target"),
        (Side.SELL, security_id(3), 2, "not_in_model"),
        (Side.BUY, security_id(1), 2, "below_target"),
    ]
    assert [each.notional for each in answer.orders] == [100, 100, 200]
    assert (answer.market_value, answer.cash_before, answer.cash_after) == (
        Decimal(1000),
        Decimal(500),
        Decimal(500),
    )
    assert (answer.drift_before, answer.drift_after) == (Decimal(400), Decimal(0))
    proof = answer.proof
    assert proof is not None
    assert (proof.method, proof.bound_by, proof.solver) == ("closed_form", "exact", "trimtab")
    assert (proof.objective, proof.lower_bound, proof.gap) == (Decimal(0), Decimal(0), Decimal(0))


def test_every_position_is_told_before_and_after() -> None:
    answer = answered(700, {2: 3}, {1: ("0.335", "0.1", "0.2")}, {1: "99.99", 2: 100})
    one, two = answer.positions
    assert (one.security_id, one.original_quantity, one.adjusted_quantity) == (
        security_id(1),
        Decimal(0),
        Decimal(3),
    )
    assert (one.price, one.target, one.low_drift, one.high_drift) == (
        Decimal("99.99"),
        Decimal("0.335"),
        Decimal("0.1"),
        Decimal("0.2"),
    )
    assert one.actual == Decimal("0.3000")
    assert (two.original_quantity, two.adjusted_quantity, two.target, two.actual) == (
        Decimal(3),
        Decimal(0),
        Decimal(0),
        Decimal(0),
    )


def test_a_holding_at_the_least_drift_is_left_alone() -> None:
    answer = answered(700, {1: 3}, {1: ("0.295", "0.1", "0.1")}, {1: 100})
    assert (answer.outcome, answer.reason, answer.orders) == (Outcome.NO_TRADE, "at_least_drift", ())
    assert answer.cash_after == answer.cash_before
    assert answer.drift_after == answer.drift_before == 5


def test_a_portfolio_of_cash_without_a_model_has_nothing_to_do() -> None:
    answer = answered(700, {}, {}, {})
    assert (answer.outcome, answer.reason) == (Outcome.NO_TRADE, "at_least_drift")


# ------------------------------------------------------------------------------------------------ unfit


def test_no_balance_at_all_is_no_trade_and_empty() -> None:
    answer = rebalance(portfolio_id(7), None, model({1: WIDE}), {}, Policy(), NeverAsked())
    assert (answer.portfolio_id, answer.outcome, answer.reason) == (
        portfolio_id(7),
        Outcome.NO_TRADE,
        "empty",
    )
    assert (answer.market_value, answer.cash_before, answer.cash_after) == (
        Decimal(0),
        Decimal(0),
        Decimal(0),
    )
    assert (answer.drift_before, answer.drift_after) == (Decimal(0), Decimal(0))


def test_an_unfit_portfolio_is_rejected_with_every_reason() -> None:
    answer = answered(100, {1: 1, 2: 1}, {}, {})
    assert (answer.outcome, answer.reason) == (Outcome.REJECTED, "missing_price")
    assert [each.security_id for each in answer.conflicts] == [security_id(1), security_id(2)]
    assert (answer.drift_before, answer.drift_after, answer.proof) == (None, None, None)


def test_the_range_of_the_stated_value_is_passed_on() -> None:
    given = portfolio(100, {}, stated_market_value=150)
    assert rebalance(portfolio_id(1), given, model(), {}, Policy(), NeverAsked()).outcome is Outcome.REJECTED
    wide = StatedValueRange(low=Decimal(0), high=Decimal(2))
    answer = rebalance(portfolio_id(1), given, model(), {}, Policy(), NeverAsked(), wide)
    assert answer.outcome is Outcome.NO_TRADE


def test_notes_of_a_policy_reach_the_answer() -> None:
    answer = answered(700, {1: 3}, {}, {}, policy=Policy(missing_price=MissingPrice.EXCLUDE))
    assert len(answer.notes) == 1


# ------------------------------------------------------------------------------------------------ policies


def test_a_fraction_stays_and_only_whole_shares_are_traded() -> None:
    policy = Policy(fractional_holding=FractionalHolding.KEEP_FRACTION)
    answer = answered(
        "650", {1: "3.25", 2: "0.5"}, {1: ("0.1", "0.1", "0.1")}, {1: 100, 2: 50}, policy=policy
    )
    assert orders(answer) == [(Side.SELL, security_id(1), 2, "above_target")]
    assert [each.adjusted_quantity for each in answer.positions] == [Decimal("1.25"), Decimal("0.5")]
    assert answer.cash_after == 850
    assert answer.drift_after == 25 + 25


def test_a_short_holding_is_bought_back() -> None:
    policy = Policy(short_holding=ShortHolding.COVER)
    answer = answered(1000, {1: -3}, {}, {1: 10}, policy=policy)
    assert orders(answer) == [(Side.BUY, security_id(1), 3, "not_in_model")]
    assert (answer.cash_after, answer.drift_after) == (Decimal(970), Decimal(0))


def test_an_overdrawn_portfolio_sells_until_the_floor_holds_again() -> None:
    policy = Policy(negative_cash=NegativeCash.RAISE)
    answer = answered(-50, {1: 10}, {1: ("0.95", "0.2", "0.2")}, {1: 100}, policy=policy)
    assert answer.outcome is Outcome.TRADED
    assert answer.cash_after is not None
    assert answer.cash_after >= 0


# ------------------------------------------------------------------------------------------------ infeasible


def test_no_whole_share_names_security_window_neighbours_and_least_change() -> None:
    answer = answered(1000, {}, {1: ("0.35", "0.03", "0.04"), 2: ("0.2", "0.1", "0.1")}, {1: 100, 2: 100})
    assert (answer.outcome, answer.reason, answer.orders) == (Outcome.INFEASIBLE, "no_whole_share", ())
    (conflict,) = answer.conflicts
    assert (conflict.rule, conflict.security_id, conflict.amount) == (
        "no_whole_share",
        security_id(1),
        Decimal(10),
    )
    assert conflict.message == (
        f"no whole share of security {security_id(1)} fits its bounds of 320.00 to 390.00: 3 shares are worth "
        "300.00 and 4 shares are worth 400.00; the nearest bound would have to give way by 10.00"
    )


def test_a_fraction_above_its_bounds_names_the_one_way_out() -> None:
    policy = Policy(fractional_holding=FractionalHolding.KEEP_FRACTION)
    answer = answered(955, {1: "0.9"}, {1: ("0.005", "0.005", "0.005")}, {1: 50}, policy=policy)
    (conflict,) = answer.conflicts
    assert conflict.amount == 35
    assert "0 shares are worth 0.00;" in conflict.message


def test_a_cash_floor_out_of_reach_names_what_is_missing() -> None:
    policy = Policy(cash_floor=Decimal("0.8"))
    answer = answered(1000, {}, {1: ("0.35", "0.05", "0.05")}, {1: 100}, policy=policy)
    assert (answer.outcome, answer.reason) == (Outcome.INFEASIBLE, "cash_floor")
    (conflict,) = answer.conflicts
    assert (conflict.rule, conflict.security_id, conflict.amount) == ("cash_floor", None, Decimal(100))
    assert "at least 300.00" in conflict.message
    assert "leaves 200.00" in conflict.message


def test_every_rule_in_the_way_is_named_at_once() -> None:
    policy = Policy(cash_floor=Decimal("0.8"))
    targets = {
        1: ("0.35", "0.03", "0.04"),
        2: ("0.15", "0.02", "0.02"),
        3: ("0.1", "0", "0"),
    }
    answer = answered(1000, {}, targets, {1: 100, 2: 100, 3: 50}, policy=policy)
    assert [(each.rule, each.amount) for each in answer.conflicts] == [
        ("no_whole_share", Decimal(10)),
        ("no_whole_share", Decimal(30)),
        ("cash_floor", Decimal(400 + 100 + 100 - 200)),
    ]


def test_an_infeasible_portfolio_stays_as_it_is() -> None:
    answer = answered(700, {1: 3}, {1: ("0.35", "0.03", "0.04")}, {1: 100})
    assert answer.cash_after == answer.cash_before == 700
    assert answer.drift_after == answer.drift_before == 50
    assert answer.proof is None
    (only,) = answer.positions
    assert only.adjusted_quantity == only.original_quantity == 3


# ------------------------------------------------------------------------------------------------ the cash binds

# 1000, two securities of 100 at 45 % each: 5 and 5 would be nearest, but the floor leaves 900 of it.
COUPLED = {1: ("0.455", "0.3", "0.3"), 2: ("0.46", "0.3", "0.3")}
PRICED = {1: 100, 2: 100}
FLOOR = Policy(cash_floor=Decimal("0.1"))


def coupled(solver: Solver, held: Mapping[int, Number] | None = None, cash: Number = 1000) -> Rebalance:
    return answered(cash, held or {}, COUPLED, PRICED, policy=FLOOR, solver=solver)


def test_the_exact_search_answers_where_the_cash_row_binds_and_no_solver_is_asked() -> None:
    answer = coupled(NeverAsked())
    assert [each.adjusted_quantity for each in answer.positions] == [4, 5]
    assert answer.cash_after == 100
    proof = answer.proof
    assert proof is not None
    assert (proof.method, proof.solver, proof.bound_by) == ("cash_bound", "trimtab", "exact")
    assert (proof.objective, proof.gap) == (Decimal(95), Decimal(0))


@pytest.fixture
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that looks at nothing: it keeps what it is given and proves no more than that drift is not below 0."""

    def certify(problem: Problem, incumbent: IntArray) -> Certificate:
        return Certificate(quantity=incumbent, objective=problem.drift(incumbent), lower_bound=0, nodes=0)

    monkeypatch.setattr(ladder, "certify", certify)


@pytest.mark.usefixtures("short_search")
def test_the_solver_is_asked_where_the_search_ends_without_a_proof() -> None:
    answer = coupled(Scripted([4, 5]))
    assert [each.adjusted_quantity for each in answer.positions] == [4, 5]
    proof = answer.proof
    assert proof is not None
    assert (proof.method, proof.solver, proof.bound_by) == ("cvxpy", "scripted 1.0", "exact")
    assert (proof.objective, proof.lower_bound, proof.gap) == (Decimal(95), Decimal(0), Decimal(95))


@pytest.mark.usefixtures("short_search")
@pytest.mark.parametrize("no_better", [[2, 2], [2, 1], [1, 2]])
def test_a_proposal_that_is_no_better_than_what_is_known_is_not_taken(no_better: list[int]) -> None:
    answer = coupled(Scripted(no_better))
    assert [each.adjusted_quantity for each in answer.positions] == [2, 2]
    assert answer.proof is not None
    assert (answer.proof.method, answer.proof.solver) == ("cash_bound", "trimtab")


def test_the_search_goes_on_from_a_better_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends without a proof until it starts from five shares of the first."""

    def certify_from_five(problem: Problem, incumbent: IntArray) -> Certificate:
        if incumbent[0] == 5:
            return certify(problem, incumbent)
        return Certificate(quantity=incumbent, objective=problem.drift(incumbent), lower_bound=0, nodes=0)

    monkeypatch.setattr(ladder, "certify", certify_from_five)
    answer = coupled(Scripted([5, 4]))
    assert [each.adjusted_quantity for each in answer.positions] == [4, 5]
    assert answer.proof is not None
    assert (answer.proof.method, answer.proof.solver, answer.proof.gap) == (
        "cash_bound",
        "trimtab",
        Decimal(0),
    )


@pytest.mark.usefixtures("short_search")
def test_a_quantity_outside_its_window_is_moved_into_it() -> None:
    answer = coupled(Scripted([-1, 99], [4, 5]))
    assert [each.adjusted_quantity for each in answer.positions] == [2, 7]


@pytest.mark.usefixtures("short_search")
def test_what_is_not_below_its_target_is_never_bought_whatever_a_solver_proposes() -> None:
    """Five shares are above the target already: the sixth would be told as below it, and nobody would need it."""
    answer = coupled(Scripted([6, 2]), {1: 5, 2: 5}, cash=0)
    assert [(each.side, each.security_id, each.quantity, each.reason) for each in answer.orders] == [
        (Side.SELL, security_id(2), 3, "above_target")
    ]
    assert [each.adjusted_quantity for each in answer.positions] == [5, 2]


@pytest.mark.usefixtures("short_search")
def test_an_overdrawn_answer_tightens_the_budget_by_exactly_that_much() -> None:
    solver = Scripted([5, 5], [4, 5])
    answer = coupled(solver)
    unit = solver.budgets[0] // 900
    assert solver.budgets == [900 * unit, 800 * unit]
    assert [each.adjusted_quantity for each in answer.positions] == [4, 5]
    assert answer.proof is not None
    assert answer.proof.method == "cvxpy"


@pytest.mark.usefixtures("short_search")
@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([[5, 5], [5, 5], [5, 5], [5, 5]], id="it_never_keeps_to_it"),
        pytest.param([[5, 5], None], id="the_tightened_problem_has_no_answer"),
    ],
)
def test_when_tightening_leads_nowhere_the_answer_of_the_search_stands(
    answers: list[list[int] | None],
) -> None:
    answer = coupled(Scripted(*answers))
    assert [each.adjusted_quantity for each in answer.positions] == [2, 2]
    assert answer.proof is not None
    assert answer.proof.method == "cash_bound"


@pytest.mark.usefixtures("short_search")
def test_a_solver_that_calls_a_feasible_problem_infeasible_has_failed() -> None:
    with pytest.raises(SolverFailed, match=r"scripted 1\.0 calls a problem infeasible"):
        coupled(Scripted(None))


@pytest.mark.usefixtures("short_search")
@pytest.mark.parametrize("fault", [SolverTimeout("too slow"), SolverFailed("no idea")])
def test_the_solvers_failures_are_passed_on(fault: SolverFailed) -> None:
    class Fails(NoPrograms):
        name = "fails"

        def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
            raise fault

    with pytest.raises(type(fault), match=str(fault)):
        coupled(Fails())


def test_a_holding_as_good_as_the_optimum_is_kept() -> None:
    """4 and 5 and 5 and 4 are equally far where both targets are 455."""
    even = {1: COUPLED[1], 2: COUPLED[1]}
    for held in ({1: 5, 2: 4}, {1: 4, 2: 5}):
        answer = answered(100, held, even, PRICED, policy=FLOOR)
        assert (answer.outcome, answer.reason) == (Outcome.NO_TRADE, "at_least_drift")


def test_a_holding_that_is_worse_is_traded() -> None:
    answer = coupled(NeverAsked(), {1: 5, 2: 4}, cash=100)
    assert [(each.side, each.quantity) for each in answer.orders] == [(Side.SELL, 1), (Side.BUY, 1)]


def test_a_sale_from_below_the_target_is_made_for_the_cash() -> None:
    answer = answered(
        0,
        {1: 4, 2: 6},
        {1: ("0.45", "0.3", "0.3"), 2: ("0.5", "0", "0.3")},
        PRICED,
        policy=Policy(cash_floor=Decimal("0.2")),
    )
    assert [(each.side, each.quantity, each.reason) for each in answer.orders] == [
        (Side.SELL, 1, "cash_floor"),
        (Side.SELL, 1, "above_target"),
    ]


# ------------------------------------------------------------------------------------------------ verification


def test_no_answer_leaves_that_does_not_pass_the_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault planted in the closed form: one share too many of everything, still within the integers' budget."""
    monkeypatch.setattr(ladder, "nearest_quantities", lambda problem: nearest_quantities(problem) + 1)
    with pytest.raises(SolverFailed, match="does not pass the verification"):
        answered(1000, {}, {1: ("0.2", "0.05", "0.05")}, {1: 100})


def test_an_answer_for_another_portfolio_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault planted between the input checks and the problem: the cash is counted twice."""

    def doubled(checked: CheckedPortfolio, policy: Policy, scales: Scales) -> Problem:
        return build_problem(replace(checked, market_value=2 * checked.market_value), policy, scales)

    monkeypatch.setattr(ladder, "build_problem", doubled)
    with pytest.raises(SolverFailed, match="does not pass the verification"):
        answered(1000, {}, {1: ("0.2", "0.05", "0.05")}, {1: 100})


# ------------------------------------------------------------------------------------------------ open ends


class Least(NoPrograms):
    """Proposes the least the windows allow."""

    name = "least"

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        return SolverAnswer(quantity=problem.min_quantity, lower_bound=0.0, status="scripted")


def test_where_the_proof_stays_open_the_gap_is_told_and_asking_again_trades_nothing() -> None:
    """Wide windows, a floor far above what the targets leave, prices in hundredths of a cent."""
    targets = {
        1: ("0.385", "1", "0.2"),
        2: ("0.18", "1", "0.03"),
        3: ("0.15", "0.2", "0.2"),
        4: ("0.235", "0.01", "0.03"),
    }
    by_price = {1: "0.51", 2: "64.66", 3: "0.53", 4: "33.0688", 6: "33.0688"}
    policy = Policy(cash_floor=Decimal("0.3"))
    answer = answered(
        "31.24", {1: 275, 2: 275, 3: 200, 6: 2}, targets, by_price, policy=policy, solver=Least()
    )
    proof = answer.proof
    assert proof is not None
    assert (proof.method, proof.bound_by) == ("cash_bound", "exact")
    assert proof.gap == proof.objective - proof.lower_bound
    assert 0 < proof.gap < Decimal("0.01")
    held = {int(each.security_id[3:]): each.adjusted_quantity for each in answer.positions}
    assert answer.cash_after is not None
    again = answered(answer.cash_after, held, targets, by_price, policy=policy, solver=Least())
    assert (again.outcome, again.orders) == (Outcome.NO_TRADE, ())
    assert again.proof is not None
    assert again.proof.objective == proof.objective
