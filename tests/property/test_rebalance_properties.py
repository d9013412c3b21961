"""What holds of every answer, whatever the portfolio."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.cash_bound import certify
from domain.checks import CheckedPortfolio, Market, StatedValueRange, check_portfolio
from domain.closed_form import cash_shortfall, impossible_securities, nearest_quantities
from domain.ids import SecurityId
from domain.model import InvestmentModel
from domain.policy import FractionalHolding, NegativeCash, Policy, ShortHolding
from domain.portfolio import Portfolio, Position
from domain.problem import Problem, build_problem
from domain.rebalance import Outcome, Rebalance, Side, rebalance
from domain.verify import verify_orders, verify_quantities
from tasks.documents import encode, rebalance_document
from tests.support import builders
from tests.support.problems import in_python_integers

SOLVER = CvxpySolver()
TO_THE_LAST_DIGIT = CvxpySolver(time_limit_seconds=1.0, absolute_gap=0.0)
# What is drawn is often infeasible, and some properties are about the other ones.
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question, and its answer."""

    portfolio: Portfolio
    model: InvestmentModel
    prices: Mapping[SecurityId, Decimal]
    policy: Policy

    def answer(self) -> Rebalance:
        return rebalance(
            self.portfolio.portfolio_id, self.portfolio, self.model, self.prices, self.policy, SOLVER
        )

    def checked(self) -> CheckedPortfolio:
        checked = check_portfolio(
            self.portfolio, Market(self.model, self.prices), self.policy, StatedValueRange()
        )
        assume(isinstance(checked, CheckedPortfolio))
        assert isinstance(checked, CheckedPortfolio)
        return checked


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    step = Decimal(1).scaleb(-places)
    return st.integers(int(Decimal(low) / step), int(Decimal(high) / step)).map(lambda units: units * step)


PRICES = st.one_of(decimals("0.01", "0.99", 2), decimals("1", "400", 2), decimals("1", "90", 4))
QUANTITIES = st.one_of(st.integers(0, 300).map(Decimal), decimals("-20", "100", 2))
POLICIES = st.builds(
    Policy,
    cash_floor=st.sampled_from([Decimal(0), Decimal("0.05"), Decimal("0.0123"), Decimal("0.3")]),
    cash_floor_amount=st.sampled_from([Decimal(0), Decimal("100.005")]),
    fractional_holding=st.just(FractionalHolding.KEEP_FRACTION),
    short_holding=st.just(ShortHolding.COVER),
    negative_cash=st.just(NegativeCash.RAISE),
)


ANY_DRIFT = tuple(map(Decimal, ("0", "0.01", "0.03", "0.2", "1")))
WIDE_DRIFT = tuple(map(Decimal, ("0.1", "0.2", "1")))


@st.composite
def questions(draw: st.DrawFn, drifts: tuple[Decimal, ...] = ANY_DRIFT) -> Asked:
    """1 to 9 securities, some held, some modelled, some both; fractional, short and overdrawn ones among them."""
    count = draw(st.integers(1, 9))
    numbers = range(1, count + 1)
    modelled = draw(st.sets(st.sampled_from(numbers)))
    steps = draw(st.sampled_from([190, 190, 150]))
    targets = {}
    for position, number in enumerate(sorted(modelled), start=1):
        last = position == len(modelled)
        step = steps if last else draw(st.integers(0, steps))
        steps -= step
        drift = st.sampled_from(drifts)
        targets[number] = (step * Decimal("0.005"), draw(drift), draw(drift))
    return Asked(
        portfolio=builders.portfolio(
            draw(decimals("-500", "20000", 2)),
            draw(st.dictionaries(st.sampled_from(numbers), QUANTITIES)),
        ),
        model=builders.model(targets),
        prices=builders.prices({number: draw(PRICES) for number in numbers}),
        policy=draw(POLICIES),
    )


def holdings(portfolio: Portfolio) -> dict[SecurityId, Fraction]:
    return {each.security_id: Fraction(each.quantity) for each in portfolio.positions}


def signed(answer: Rebalance) -> dict[SecurityId, int]:
    return {
        each.security_id: each.quantity if each.side is Side.BUY else -each.quantity for each in answer.orders
    }


@MANY
@given(questions())
def test_cash_and_trades_are_conserved(asked: Asked) -> None:
    answer = asked.answer()
    if answer.cash_before is None or answer.cash_after is None:
        assert not answer.orders
        return
    spent = sum(count * Fraction(asked.prices[security]) for security, count in signed(answer).items())
    assert Fraction(answer.cash_before) - spent == Fraction(answer.cash_after)
    if answer.positions:
        after = sum(Fraction(each.price) * Fraction(each.adjusted_quantity) for each in answer.positions)
        assert after + Fraction(answer.cash_after) == Fraction(answer.market_value or 0)


@MANY
@given(questions())
def test_whole_shares_bounds_and_the_cash_floor_hold(asked: Asked) -> None:
    answer = asked.answer()
    assume(answer.outcome in {Outcome.TRADED, Outcome.NO_TRADE} and answer.proof is not None)
    assert answer.market_value is not None
    assert answer.cash_after is not None
    value = Fraction(answer.market_value)
    traded = signed(answer)
    modelled = {each.security_id: each for each in asked.model.positions}
    for each in answer.positions:
        held = holdings(asked.portfolio).get(each.security_id, Fraction(0)) + traded.get(each.security_id, 0)
        assert held == Fraction(each.adjusted_quantity)
        assert held >= 0
        model = modelled.get(each.security_id)
        if model is None:
            assert held < 1  # a fraction may stay
            continue
        low = value * (Fraction(model.target) - Fraction(model.low_drift))
        high = value * (Fraction(model.target) + Fraction(model.high_drift))
        assert low <= held * Fraction(each.price) <= high
    floor = max(value * Fraction(asked.policy.cash_floor), Fraction(asked.policy.cash_floor_amount))
    assert Fraction(answer.cash_after) >= floor


@MANY
@given(questions())
def test_an_infeasible_answer_changes_nothing_and_names_what_is_in_the_way(asked: Asked) -> None:
    answer = asked.answer()
    assume(answer.outcome is Outcome.INFEASIBLE)
    assert answer.conflicts
    assert answer.reason == answer.conflicts[0].rule
    assert all(each.amount is not None and each.amount > 0 for each in answer.conflicts)
    assert not answer.orders
    assert answer.drift_before == answer.drift_after


@MANY
@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(asked: Asked, rng: random.Random) -> None:
    positions, targets = list(asked.portfolio.positions), list(asked.model.positions)
    quotes = list(asked.prices.items())
    for each in (positions, targets, quotes):
        rng.shuffle(each)
    shuffled = replace(
        asked,
        portfolio=replace(asked.portfolio, positions=tuple(positions)),
        model=replace(asked.model, positions=tuple(targets)),
        prices=dict(quotes),
    )
    assert encode(rebalance_document(shuffled.answer())) == encode(rebalance_document(asked.answer()))


@MANY
@given(questions())
def test_solving_the_answer_again_trades_nothing(asked: Asked) -> None:
    answer = asked.answer()
    assume(answer.outcome is Outcome.TRADED)
    assert answer.cash_after is not None
    after = Portfolio(
        portfolio_id=asked.portfolio.portfolio_id,
        cash=answer.cash_after,
        positions=tuple(
            Position(security_id=each.security_id, quantity=each.adjusted_quantity)
            for each in answer.positions
        ),
    )
    again = replace(asked, portfolio=after).answer()
    assert (again.outcome, again.reason, again.orders) == (Outcome.NO_TRADE, "at_least_drift", ())
    assert again.drift_after == again.drift_before == answer.drift_after
    assert again.cash_after == answer.cash_after


@MANY
@given(questions())
def test_trading_never_makes_a_portfolio_worse_unless_it_broke_a_rule(asked: Asked) -> None:
    answer = asked.answer()
    kept_the_rules = answer.proof is not None and not verify_quantities(
        asked.checked(),
        asked.policy,
        {each.security_id: int(each.original_quantity) for each in answer.positions},
    )
    if kept_the_rules:
        assert answer.drift_after is not None
        assert answer.drift_before is not None
        assert answer.drift_after <= answer.drift_before


def solvable(asked: Asked) -> Problem:
    problem = build_problem(asked.checked(), asked.policy)
    assume(not impossible_securities(problem) and not cash_shortfall(problem))
    return problem


@MANY
@given(questions(WIDE_DRIFT))
def test_cvxpy_agrees_with_the_closed_form_wherever_both_apply(asked: Asked) -> None:
    problem = solvable(asked)
    nearest = nearest_quantities(problem)
    problem = replace(problem, budget=max(problem.budget, problem.spend(nearest)))
    quantity = TO_THE_LAST_DIGIT.solve(problem).quantity
    assert quantity is not None
    assert problem.allows(quantity)
    assert problem.drift(quantity) == problem.drift(nearest)


@MANY
@given(questions(WIDE_DRIFT), st.integers(0, 100))
def test_cvxpy_agrees_with_the_exact_search_where_the_cash_binds(asked: Asked, percent: int) -> None:
    problem = solvable(asked)
    most, least = problem.spend(nearest_quantities(problem)), problem.spend(problem.min_quantity)
    assume(most > least)
    problem = replace(problem, budget=least + (most - least) * percent // 101)
    answer = TO_THE_LAST_DIGIT.solve(problem)
    assert answer.quantity is not None
    overdrawn = max(0, problem.spend(answer.quantity) - problem.budget)
    assert overdrawn <= 10**problem.money_places // 1000  # its tolerance: why the ladder tightens and repeats
    problem = replace(problem, budget=problem.budget + overdrawn)
    assert problem.allows(answer.quantity)
    certificate = certify(problem, problem.min_quantity)
    assert certificate.lower_bound <= problem.drift(answer.quantity)
    if certificate.optimal and answer.status == "optimal" and not overdrawn:
        assert problem.drift(answer.quantity) == certificate.objective


@MANY
@given(questions())
def test_int64_and_python_integers_agree(asked: Asked) -> None:
    problem = solvable(asked)
    big = in_python_integers(problem)
    assert list(nearest_quantities(problem)) == list(nearest_quantities(big))
    small_answer = certify(problem, problem.min_quantity)
    big_answer = certify(big, big.min_quantity)
    assert (small_answer.objective, small_answer.lower_bound) == (
        big_answer.objective,
        big_answer.lower_bound,
    )


@MANY
@given(questions(), st.data())
def test_a_mutated_answer_does_not_pass_the_verification(asked: Asked, data: st.DataObject) -> None:
    answer = asked.answer()
    assume(answer.orders)
    assert answer.cash_after is not None
    orders = list(answer.orders)
    index = data.draw(st.integers(0, len(orders) - 1))
    mutated = data.draw(
        st.sampled_from(
            [
                orders[index]._replace(quantity=orders[index].quantity + 1),
                orders[index]._replace(notional=orders[index].notional + Decimal("0.01")),
                orders[index]._replace(side=Side.BUY if orders[index].side is Side.SELL else Side.SELL),
            ]
        )
    )
    orders[index] = mutated
    assert verify_orders(
        cash_before=asked.portfolio.cash,
        cash_after=answer.cash_after,
        before={each.security_id: each.original_quantity for each in answer.positions},
        after={each.security_id: each.adjusted_quantity for each in answer.positions},
        prices=asked.prices,
        orders=orders,
    )


@pytest.mark.parametrize("beyond", [-1, 1])
@MANY
@given(asked=questions())
def test_a_share_beyond_either_end_of_the_window_does_not_pass_the_verification(
    asked: Asked, beyond: int
) -> None:
    problem = solvable(asked)
    edge = problem.min_quantity - 1 if beyond < 0 else problem.max_quantity + 1
    for index, security_id in enumerate(problem.security_ids):
        quantities = dict(zip(problem.security_ids, problem.min_quantity.tolist(), strict=True))
        assert not verify_quantities(asked.checked(), asked.policy, quantities)
        quantities[security_id] = int(edge[index])
        assert verify_quantities(asked.checked(), asked.policy, quantities)
