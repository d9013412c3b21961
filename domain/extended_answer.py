"""The answer for one portfolio whose policy asks for more than targets, bounds and the cash floors."""

from decimal import Decimal

import numpy as np

from domain import money
from domain.answer import (
    AT_LEAST_DRIFT,
    INSIDE_BOUNDS,
    REBALANCED,
    Conflict,
    Order,
    Outcome,
    Proof,
    Rebalance,
    Side,
)
from domain.checks import CheckedPortfolio
from domain.errors import SolverFailed
from domain.extended import COUNT, Extended
from domain.ladder import Best, NoAnswer, best_answer
from domain.orders import orders_between
from domain.policy import RunType
from domain.ports import Solver
from domain.positions import positions_of
from domain.problem import IntArray, Problem
from domain.program import RuleName
from domain.rules import broken_rules, build_extended, misstated
from domain.terms import Terms
from domain.verify import verify_orders

CONFLICT = "conflict"


def decide_extended(checked: CheckedPortfolio, terms: Terms, problem: Problem, solver: Solver) -> Rebalance:
    """Decide a portfolio under all the rules of its policy; see `domain.rebalance.decide`.

    Args:
        checked: the portfolio.
        terms: model, policy and market.
        problem: the base problem, in whose scale positions and drift are told.
        solver: asked only where the exact rungs leave a gap.

    Raises:
        SolverTimeout: the time limit passed without any answer.
        SolverFailed: nothing that can be used, or an answer that did not pass the verification.
    """
    extended = build_extended(checked, terms.policy)
    if _is_left_alone(terms, extended):
        return _answer(checked, terms, problem, extended, extended.held, reason=INSIDE_BOUNDS)
    best = best_answer(extended, solver)
    if isinstance(best, NoAnswer):
        return _infeasible(checked, terms, problem, extended, best)
    reason = REBALANCED
    if best.quantity == extended.held:
        reason = INSIDE_BOUNDS if terms.policy.run_type is RunType.TO_BAND else AT_LEAST_DRIFT
    return _answer(
        checked, terms, problem, extended, best.quantity, reason=reason, proof=_proof(extended, best)
    )


def _is_left_alone(terms: Terms, extended: Extended) -> bool:
    """Whether the run type asks for trades only if something is outside, and nothing is."""
    policy = terms.policy
    if policy.run_type is not RunType.IF_OUTSIDE or policy.raise_cash:
        return False
    return extended.allows(extended.held)


def _answer(
    checked: CheckedPortfolio,
    terms: Terms,
    problem: Problem,
    extended: Extended,
    quantity: tuple[int, ...],
    *,
    reason: str,
    proof: Proof | None = None,
) -> Rebalance:
    """The answer, if it stands up to every rule held against the inputs.

    Raises:
        SolverFailed: it does not.
    """
    after = _array(problem, quantity)
    orders = orders_between(checked, problem, after)
    spent = problem.spend(after - problem.held)
    cost = money.from_units(extended.cost(quantity), extended.places)
    paid = money.add(money.from_units(spent, problem.money_places), cost)
    answer = Rebalance(
        portfolio_id=checked.portfolio_id,
        outcome=Outcome.TRADED if orders else Outcome.NO_TRADE,
        reason=reason,
        notes=checked.notes,
        market_value=checked.market_value,
        cash_before=checked.cash,
        cash_after=money.subtract(checked.cash, paid),
        drift_before=money.from_units(problem.drift(problem.held), problem.fine_places),
        drift_after=money.from_units(problem.drift(after), problem.fine_places),
        positions=positions_of(checked, terms, problem, after),
        orders=orders,
        proof=proof,
        cost=cost,
        turnover=money.from_units(extended.turnover(quantity), extended.places),
    )
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


def _infeasible(
    checked: CheckedPortfolio, terms: Terms, problem: Problem, extended: Extended, found: NoAnswer
) -> Rebalance:
    """Nothing is traded: everything stays as it is."""
    drift = money.from_units(problem.drift(problem.held), problem.fine_places)
    in_the_way = tuple(_conflicts(extended, found))
    return Rebalance(
        portfolio_id=checked.portfolio_id,
        outcome=Outcome.INFEASIBLE,
        reason=in_the_way[0].rule,
        conflicts=in_the_way,
        notes=checked.notes,
        market_value=checked.market_value,
        cash_before=checked.cash,
        cash_after=checked.cash,
        drift_before=drift,
        drift_after=drift,
        positions=positions_of(checked, terms, problem, problem.held),
    )


def _conflicts(extended: Extended, found: NoAnswer) -> list[Conflict]:
    told = [_alone(extended, rule, by) for rule, by in found.missed]
    return told or [
        Conflict(
            rule=CONFLICT,
            message=f"each rule can be kept, but no shares keep all of them together (found by: {found.bound_by})",
        )
    ]


def _alone(extended: Extended, rule: RuleName, by: int | None) -> Conflict:
    """A rule that cannot be kept whatever becomes of the others; ``by`` in its own unit."""
    if by is None:
        message = f"no whole number of shares of {rule.security_id} keeps all rules for it"
        return Conflict(rule=rule.rule, message=message, security_id=rule.security_id)
    what = rule.rule if rule.group is None else f"{rule.rule} of {rule.group}"
    row = next(each for each in extended.couplings if each.rule == rule)
    if row.unit == COUNT:
        return Conflict(rule=rule.rule, message=f"{what} cannot be kept: it takes {by} orders more")
    amount = money.from_units(by, extended.places)
    message = f"{what} cannot be kept: it is missed by {money.plain(amount)} at the least"
    return Conflict(rule=rule.rule, message=message, amount=amount)


def _verify(checked: CheckedPortfolio, terms: Terms, answer: Rebalance) -> None:
    """Hold it against the inputs by code that knows nothing of how it was found."""
    shares = {**dict.fromkeys(checked.targets, 0), **checked.shares}
    for order in answer.orders:
        shares[order.security_id] += _change(order)
    before, after = answer.positions.before_and_after()
    cost, turnover = answer.cost or Decimal(0), answer.turnover or Decimal(0)
    violations = broken_rules(checked, terms.policy, shares)
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
