"""The answer for one portfolio whose policy asks for more than targets, bounds and the cash floors."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from domain import money
from domain.answer import (
    AT_LEAST_DRIFT,
    INSIDE_BOUNDS,
    REBALANCED,
    Order,
    Outcome,
    Proof,
    Rebalance,
    Side,
)
from domain.checks import CheckedPortfolio
from domain.errors import SolverFailed
from domain.execution import TradingCosts, lowest_cash, slip_covered
from domain.explain.infeasible import RELAXED, Infeasible, Report, needed, unaccounted
from domain.explain.told import Explanation, Relaxed
from domain.extended import Extended
from domain.ladder import Best, NoAnswer, best_answer
from domain.orders import explained_orders
from domain.policy import OnInfeasible, RunType
from domain.ports import Solver
from domain.positions import positions_of
from domain.problem import IntArray, Problem
from domain.rules import broken_rules, build_extended, misstated
from domain.terms import Terms
from domain.verify import verify_orders


def decide_extended(
    checked: CheckedPortfolio, terms: Terms, problem: Problem, solver: Solver, solved: Callable[[], None]
) -> Rebalance:
    """Decide a portfolio under all the rules of its policy; see `domain.rebalance.decide`.

    Args:
        checked: the portfolio.
        terms: model, policy and market.
        problem: the base problem, in whose scale positions and drift are told.
        solver: asked only where the exact rungs leave a gap, or a conflict open.
        solved: called between the answer and its verification.

    Raises:
        SolverTimeout: the time limit passed without any answer.
        SolverFailed: nothing that can be used, or an answer that did not pass the verification.
    """
    extended = build_extended(checked, terms.policy)
    if _is_left_alone(terms, extended):
        chosen = _Chosen(extended, extended.held, INSIDE_BOUNDS)
        return _answer(checked, terms, problem, chosen, solved)
    best = best_answer(extended, solver)
    if isinstance(best, NoAnswer):
        return decide_infeasible(checked, terms, problem, solver, solved)
    best = needed(extended, best)
    reason = REBALANCED
    if best.quantity == extended.held:
        reason = INSIDE_BOUNDS if terms.policy.run_type is RunType.TO_BAND else AT_LEAST_DRIFT
    chosen = _Chosen(extended, best.quantity, reason, _proof(extended, best))
    return _answer(checked, terms, problem, chosen, solved)


def decide_infeasible(
    checked: CheckedPortfolio, terms: Terms, problem: Problem, solver: Solver, solved: Callable[[], None]
) -> Rebalance:
    """What becomes of a portfolio whose rules, base or extended, leave no answer: a report, or the least relaxation.

    A solver that said so may have been wrong: then the answer that was found is the answer.
    """
    infeasible = Infeasible(checked, terms.policy, build_extended(checked, terms.policy), solver)
    if infeasible.is_not or terms.policy.on_infeasible is OnInfeasible.RELAX:
        found = infeasible.relaxed()
        if found is not None:
            quantity, proof = found.best.quantity, _proof(found.problem, found.best)
            reason = RELAXED if found.relaxed else REBALANCED
            chosen = _Chosen(found.problem, quantity, reason, proof, found.relaxed, found.proved_by)
            return _answer(checked, terms, problem, chosen, solved)
    return _report(checked, terms, problem, infeasible.report())


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Shares that keep all rules of ``extended``, and what is said of them. ``relaxed`` is how those were loosened."""

    extended: Extended
    quantity: tuple[int, ...]
    reason: str
    proof: Proof | None = None
    relaxed: tuple[Relaxed, ...] = ()
    relaxation_proved_by: str | None = None


def _is_left_alone(terms: Terms, extended: Extended) -> bool:
    """Whether the run type asks for trades only if something is outside, and nothing is."""
    policy = terms.policy
    if policy.run_type is not RunType.IF_OUTSIDE or policy.raise_cash:
        return False
    return extended.allows(extended.held)


def _answer(
    checked: CheckedPortfolio, terms: Terms, problem: Problem, chosen: _Chosen, solved: Callable[[], None]
) -> Rebalance:
    """The answer, if it stands up to every rule held against the inputs.

    Raises:
        SolverFailed: it does not.
    """
    extended, quantity, policy = chosen.extended, chosen.quantity, terms.policy
    after = _array(problem, quantity)
    costs = TradingCosts(rate=policy.cost_rate, per_order=policy.cost_per_order)
    told = explained_orders(checked, extended, quantity, costs)
    spent = problem.spend(after - problem.held)
    cost = money.from_units(extended.cost(quantity), extended.places)
    paid = money.add(money.from_units(spent, problem.money_places), cost)
    cash_after = money.subtract(checked.cash, paid)
    # A floor that gave way is not there to be held: what is left of it is, and that it gave way stands in `relaxed`.
    floor = min(policy.cash_floor_money(checked.market_value), cash_after)
    answer = Rebalance(
        portfolio_id=checked.portfolio_id,
        outcome=Outcome.TRADED if told.orders else Outcome.NO_TRADE,
        reason=chosen.reason,
        notes=checked.notes,
        market_value=checked.market_value,
        cash_before=checked.cash,
        cash_after=cash_after,
        drift_before=money.from_units(problem.drift(problem.held), problem.fine_places),
        drift_after=money.from_units(problem.drift(after), problem.fine_places),
        positions=positions_of(checked, terms, problem, after),
        orders=told.orders,
        proof=chosen.proof,
        cost=cost,
        turnover=money.from_units(extended.turnover(quantity), extended.places),
        relaxed=chosen.relaxed,
        explanation=Explanation(
            orders=told.explained,
            lowest_cash=money.tidy(lowest_cash(told.orders, checked.cash, costs)),
            slip_covered=slip_covered(told.orders, checked.cash, floor, costs),
            relaxation_proved_by=chosen.relaxation_proved_by,
        ),
    )
    solved()
    _verify(checked, terms, answer)
    return answer


def _array(problem: Problem, quantity: tuple[int, ...]) -> IntArray:
    return np.array(quantity, dtype=problem.price.dtype)


def _proof(extended: Extended, best: Best) -> Proof:
    objective = money.from_units(best.objective, extended.places)
    lower_bound = money.from_units(best.lower_bound, extended.places)
    return Proof(
        method=best.method,
        objective=objective,
        lower_bound=lower_bound,
        gap=money.subtract(objective, lower_bound),
        solver=best.solver,
        bound_by=best.bound_by,
    )


def _report(checked: CheckedPortfolio, terms: Terms, problem: Problem, report: Report) -> Rebalance:
    """Nothing is traded: everything stays as it is."""
    drift = money.from_units(problem.drift(problem.held), problem.fine_places)
    return Rebalance(
        portfolio_id=checked.portfolio_id,
        outcome=Outcome.INFEASIBLE,
        reason=report.conflicts[0].rule,
        conflicts=report.conflicts,
        notes=checked.notes,
        market_value=checked.market_value,
        cash_before=checked.cash,
        cash_after=checked.cash,
        drift_before=drift,
        drift_after=drift,
        positions=positions_of(checked, terms, problem, problem.held),
        explanation=report.explanation,
    )


def _verify(checked: CheckedPortfolio, terms: Terms, answer: Rebalance) -> None:
    """Hold it against the inputs by code that knows nothing of how it was found: rules hold, or give way as stated."""
    shares = {**dict.fromkeys(checked.targets, 0), **checked.shares}
    for order in answer.orders:
        shares[order.security_id] += _change(order)
    before, after = answer.positions.before_and_after()
    cost, turnover = answer.cost or Decimal(0), answer.turnover or Decimal(0)
    violations = unaccounted(broken_rules(checked, terms.policy, shares), answer.relaxed)
    violations += misstated(checked, terms.policy, shares, cost=cost, turnover=turnover)
    violations += verify_orders(
        cash_before=checked.cash,
        cash_after=checked.cash if answer.cash_after is None else answer.cash_after,
        before=before,
        after=after,
        prices=checked.prices,
        orders=answer.orders,
        cost=cost,
    )
    if violations:
        raise SolverFailed(f"the answer does not pass the verification: {violations[0].message}")


def _change(order: Order) -> int:
    return order.quantity if order.side is Side.BUY else -order.quantity
