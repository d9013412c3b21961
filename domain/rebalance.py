"""The answer for one portfolio, and how it is found: check, solve, verify, prove.

The ladder, every rung proved:

1. The input checks. A portfolio that is not fit ends here, with every reason named.
2. Securities of which no whole share fits the bounds, and a cash floor that leaves less than the bounds demand:
   decided in integers, so ``infeasible`` is never an opinion of a solver.
3. The best whole shares of each security on its own (`closed_form`). If the cash suffices, that is the optimum.
4. Otherwise the exact search (`cash_bound`), from the present holding or the least the windows allow. Nearly always
   it finds the optimum and proves it.
5. Where it ends without a proof, the solver, whose answer is only a proposal: rounded, moved into the windows and
   held against the cash row in integers. If it is better, the search goes on from there; what is proved is said.
6. A present holding that is as good as the answer is kept, so that solving an answer again trades nothing.
7. The answer and its orders are verified against the inputs by code that shares nothing with all this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from domain import conflicts, money
from domain.answer import (
    AT_LEAST_DRIFT,
    REBALANCED,
    Conflict,
    Order,
    Outcome,
    PositionOutcome,
    Proof,
    Rebalance,
    Side,
)
from domain.cash_bound import Certificate, certify
from domain.checks import CheckedPortfolio, StatedValueRange, Unfit, check_portfolio
from domain.closed_form import cash_shortfall, impossible_securities, nearest_quantities
from domain.errors import SolverFailed, SolverTimeout
from domain.extended_answer import decide_extended, decide_infeasible
from domain.ids import PortfolioId, SecurityId
from domain.model import InvestmentModel
from domain.orders import orders_between
from domain.policy import OnInfeasible, Policy
from domain.portfolio import Portfolio
from domain.ports import Solver
from domain.positions import positions_of
from domain.problem import IntArray, Problem, build_problem
from domain.solver_time import OnePortfolio
from domain.terms import Terms
from domain.verify import verify_orders, verify_quantities

__all__ = [
    "AT_LEAST_DRIFT",
    "REBALANCED",
    "Conflict",
    "Order",
    "Outcome",
    "PositionOutcome",
    "Proof",
    "Rebalance",
    "Side",
    "Solution",
    "decide",
    "rebalance",
    "solve",
]

CLOSED_FORM = "closed_form"
CVXPY = "cvxpy"
CASH_BOUND = "cash_bound"
EXACT = "exact"

# Who found the answer where it was not a library.
OWN = "trimtab"

_ZERO = Decimal(0)
_STATED_VALUE = StatedValueRange()

# A float answer may overdraw by its tolerance: 2 of 1,566 random problems did, by 0.0002 at the most. Once tightened
# by that, it does not do so again.
MAX_TIGHTENINGS = 3

MAX_REPETITIONS = 8


def rebalance(
    portfolio_id: PortfolioId,
    portfolio: Portfolio | None,
    model: InvestmentModel,
    prices: Mapping[SecurityId, Decimal],
    policy: Policy,
    solver: Solver,
    stated_value: StatedValueRange | None = None,
) -> Rebalance:
    """Decide one portfolio by itself; see `decide`. ``prices``: of every held and modelled security, at least."""
    return decide(portfolio_id, portfolio, Terms.of(model, prices, policy), solver, stated_value)


def _nobody_asked() -> None: ...


def decide(
    portfolio_id: PortfolioId,
    portfolio: Portfolio | None,
    terms: Terms,
    solver: Solver,
    stated_value: StatedValueRange | None = None,
    *,
    solved: Callable[[], None] = _nobody_asked,
) -> Rebalance:
    """Decide one portfolio. The same inputs give the same answer, in whatever order they come.

    Args:
        portfolio_id: whose answer it is, also where there is no balance at all (``portfolio`` None).
        portfolio: cash and positions as the source states them.
        terms: the model, the policy that counts for this job (the model's own with the request's changes) and the
            prices; one for all portfolios of a job.
        solver: asked only if the cash row binds and the exact search ends without a proof.
        stated_value: how far the source's own market value may be from the computed one.
        solved: called between the answer and its verification, for whoever times the two.

    Raises:
        SolverTimeout: the time limit passed without any answer.
        SolverFailed: the solver gave nothing that can be used, or an answer did not pass the verification.
    """
    checked = check_portfolio(portfolio, terms.market, terms.policy, stated_value or _STATED_VALUE)
    if isinstance(checked, Unfit):
        return _unfit(portfolio_id, portfolio, checked)
    problem = build_problem(checked, terms.policy, terms.scales)
    solver = OnePortfolio(solver)
    if not terms.policy.is_plain:
        return decide_extended(checked, terms, problem, solver, solved)
    in_the_way = _conflicts(problem)
    if in_the_way and terms.policy.on_infeasible is OnInfeasible.RELAX:
        return decide_infeasible(checked, terms, problem, solver, solved)
    if in_the_way:
        return _infeasible(checked, terms, problem, in_the_way)
    answer = _answer(checked, terms, problem, solve(problem, solver))
    solved()
    return _verified(checked, terms, answer)


# ------------------------------------------------------------------------------------------------ solving


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Whole shares that the problem allows, their drift and what no answer can go below (fine units)."""

    quantity: IntArray
    objective: int
    lower_bound: int
    method: str
    solver: str


def solve(problem: Problem, solver: Solver) -> Solution:
    """The best answer to a problem that has one."""
    nearest = nearest_quantities(problem)
    if problem.spend(nearest) <= problem.budget:
        drift = problem.drift(nearest)
        return Solution(quantity=nearest, objective=drift, lower_bound=drift, method=CLOSED_FORM, solver=OWN)
    certificate = _certified(problem, _best_of(problem, problem.held, problem.min_quantity))
    if certificate.optimal:
        return _solution(certificate, CASH_BOUND, OWN)
    proposal = _proposal(problem, solver)
    if proposal is None or problem.drift(proposal) >= certificate.objective:
        return _solution(certificate, CASH_BOUND, OWN)
    better = _certified(problem, proposal)
    if better.quantity is proposal:
        return _solution(better, CVXPY, solver.name)
    return _solution(better, CASH_BOUND, OWN)


def _solution(certificate: Certificate, method: str, solver: str) -> Solution:
    return Solution(
        quantity=certificate.quantity,
        objective=certificate.objective,
        lower_bound=certificate.lower_bound,
        method=method,
        solver=solver,
    )


def _best_of(problem: Problem, *answers: IntArray) -> IntArray:
    """The first of the best among those that the problem allows; the least of the windows is always one."""
    return min((each for each in answers if problem.allows(each)), key=problem.drift)


def _certified(problem: Problem, start: IntArray) -> Certificate:
    """``start``, or something better, with what is proved about it.

    Where the search ends without a proof, a better start may take it further. It is repeated until it does not, so
    that an answer that is asked again stays, proved or not.
    """
    certificate = certify(problem, start)
    for _ in range(MAX_REPETITIONS):
        if certificate.optimal or certificate.quantity is start:
            break
        start = certificate.quantity
        certificate = certify(problem, start)
    return certificate


def _proposal(problem: Problem, solver: Solver) -> IntArray | None:
    """What the solver proposes, made exact; None if it could not be.

    A quantity outside its window by a tolerance is moved into it. Where the cash row is overdrawn, it is tightened
    by exactly that much and solved again: the answer keeps to the real one.
    """
    tightened = problem
    for _ in range(1 + MAX_TIGHTENINGS):
        try:
            quantity = solver.solve(tightened).quantity
        except SolverTimeout:
            if tightened is problem:
                raise
            break  # it has answered once, and what the search had before stands
        if quantity is None and tightened is problem:
            raise SolverFailed(f"{solver.name} calls a problem infeasible that has an answer")
        if quantity is None:
            break
        quantity = np.minimum(np.maximum(quantity, problem.min_quantity), problem.max_quantity)
        quantity = _without_buys_above_target(problem, quantity)
        overdrawn = problem.spend(quantity) - problem.budget
        if overdrawn <= 0:
            return quantity
        tightened = replace(tightened, budget=tightened.budget - overdrawn)
    return None


def _without_buys_above_target(problem: Problem, quantity: IntArray) -> IntArray:
    """What is at its target or above is not bought: as held it drifts less, costs less, and is above its lower bound."""
    is_bought_above = (quantity > problem.held) & (problem.held * problem.fine_price >= problem.target)
    return np.where(is_bought_above, problem.held, quantity)


# ------------------------------------------------------------------------------------------------ answering


def _unfit(portfolio_id: PortfolioId, portfolio: Portfolio | None, unfit: Unfit) -> Rebalance:
    """Rejected, or without any balance: then every sum is nothing, and so is its drift."""
    cash = _ZERO if portfolio is None else portfolio.cash
    drift = _ZERO if unfit.outcome is Outcome.NO_TRADE else None
    return Rebalance(
        portfolio_id=portfolio_id,
        outcome=unfit.outcome,
        reason=unfit.reason,
        conflicts=unfit.conflicts,
        market_value=unfit.market_value,
        cash_before=cash,
        cash_after=cash,
        drift_before=drift,
        drift_after=drift,
    )


def _conflicts(problem: Problem) -> tuple[Conflict, ...]:
    """Every rule that no answer can satisfy, each with the least change that would mend it; empty: there is one."""
    impossible = impossible_securities(problem)
    shortfall = cash_shortfall(problem, impossible)
    return (
        *(conflicts.no_whole_share(problem, each) for each in impossible),
        *((conflicts.cash_floor(problem, shortfall),) if shortfall else ()),
    )


def _infeasible(
    checked: CheckedPortfolio, terms: Terms, problem: Problem, in_the_way: tuple[Conflict, ...]
) -> Rebalance:
    """Nothing is traded: everything stays as it is."""
    drift = money.from_units(problem.drift(problem.held), problem.fine_places)
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


def _answer(checked: CheckedPortfolio, terms: Terms, problem: Problem, solution: Solution) -> Rebalance:
    orders = orders_between(checked, problem, solution.quantity)
    spent = problem.spend(solution.quantity - problem.held)
    objective = money.from_units(solution.objective, problem.fine_places)
    lower_bound = money.from_units(solution.lower_bound, problem.fine_places)
    return Rebalance(
        portfolio_id=checked.portfolio_id,
        outcome=Outcome.TRADED if orders else Outcome.NO_TRADE,
        reason=REBALANCED if orders else AT_LEAST_DRIFT,
        notes=checked.notes,
        market_value=checked.market_value,
        cash_before=checked.cash,
        cash_after=money.subtract(checked.cash, money.from_units(spent, problem.money_places)),
        drift_before=money.from_units(problem.drift(problem.held), problem.fine_places),
        drift_after=objective,
        positions=positions_of(checked, terms, problem, solution.quantity),
        orders=orders,
        proof=Proof(
            method=solution.method,
            objective=objective,
            lower_bound=lower_bound,
            gap=money.subtract(objective, lower_bound),
            solver=solution.solver,
            bound_by=EXACT,
        ),
    )


# ------------------------------------------------------------------------------------------------ verifying


def _verified(checked: CheckedPortfolio, terms: Terms, answer: Rebalance) -> Rebalance:
    """The answer, if its orders stand up to a verification that knows nothing of how they were found.

    Raises:
        SolverFailed: they do not.
    """
    shares = {**dict.fromkeys(checked.targets, 0), **checked.shares}
    buy = Side.BUY
    for side, security_id, quantity, _, _, _ in answer.orders:
        shares[security_id] += quantity if side is buy else -quantity
    before, after = answer.positions.before_and_after()
    violations = verify_quantities(checked, terms.policy, shares, terms.limits) + verify_orders(
        cash_before=checked.cash,
        cash_after=checked.cash if answer.cash_after is None else answer.cash_after,
        before=before,
        after=after,
        prices=checked.prices,
        orders=answer.orders,
    )
    if violations:
        raise SolverFailed(f"the answer does not pass the verification: {violations[0].message}")
    return answer
