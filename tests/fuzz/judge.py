"""One random portfolio solved and held against the rules by code that knows nothing of how it was solved."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from domain.checks import CheckedPortfolio
from domain.errors import Invalid, SolverTimeout
from domain.ids import SecurityId
from domain.policy import OnInfeasible, Policy
from domain.ports import Solver
from domain.rebalance import Outcome, Rebalance, Side, rebalance
from tests.support import brute_force_policies
from tests.support.brute_force_policies import TooLarge, broken, measured
from tests.support.fuzz_books import FuzzCase
from tests.support.policy_books import checked_book
from tests.support.small_books import Book

# What a run counts besides outcomes. Of these there must be none.
EXCEPTION = "uncaught exception"
VIOLATION = "violation"
UNEXPLAINED = "unexplained infeasible"
DIFFERENCE = "difference to brute force"
BAD = (VIOLATION, EXCEPTION, UNEXPLAINED, DIFFERENCE)

# Counted, because they are worth knowing.
TIMEOUT = "timeout without an answer"
TRIED = "held against brute force"
RELAXED = "relaxed"
UNPROVED = "answer with a gap"

_BRUTE_FORCE_LIMIT = 3_000
_CASH = ("cash_floor", "raise_cash")
_ANSWERED = frozenset({Outcome.TRADED, Outcome.NO_TRADE})


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` is one of BAD, or something that is only counted (then ``said`` is empty)."""

    what: str
    said: str = ""


def judge(case: FuzzCase, solver: Solver) -> list[Finding]:
    """The outcome first, then everything that was found."""
    book = case.book
    try:
        answer = _solved(book, book.policy, solver)
        findings = [Finding(str(answer.outcome)), *_judged(case, answer, solver)]
    except SolverTimeout:
        findings = [Finding(TIMEOUT)]
    except Invalid as error:
        findings = [Finding(EXCEPTION, f"refused what was already checked: {error}")]
    except Exception:  # noqa: BLE001 - to count them is what this is for
        findings = [Finding(EXCEPTION, traceback.format_exc(limit=-3))]
    return findings


def _solved(book: Book, policy: Policy, solver: Solver) -> Rebalance:
    return rebalance(book.portfolio.portfolio_id, book.portfolio, book.model, book.prices, policy, solver)


def _judged(case: FuzzCase, answer: Rebalance, solver: Solver) -> list[Finding]:
    checked = checked_book(case.book)
    if checked is None or answer.reason == "empty":
        fit = answer.outcome in {Outcome.REJECTED, Outcome.NO_TRADE}
        return [] if fit else [Finding(VIOLATION, f"unfit, yet {answer.outcome}")]
    findings = _against_rules(checked, case.book.policy, answer)
    if answer.outcome is Outcome.INFEASIBLE:
        findings += _explained(checked, case, answer, solver)
    if case.tiny and not answer.relaxed:
        findings += _against_brute_force(checked, case.book.policy, answer)
    return findings


# ------------------------------------------------------------------------------------------------ the rules


def _against_rules(checked: CheckedPortfolio, policy: Policy, answer: Rebalance) -> list[Finding]:
    """Orders, sums and rules of an answer, to the digit."""
    if answer.outcome not in _ANSWERED:
        return [Finding(VIOLATION, "orders without an answer")] if answer.orders else []
    after = shares_after(checked, answer)
    faults = [*_wrong_orders(checked, policy, answer), *_wrong_sums(checked, policy, answer, after)]
    faults += _not_relaxed(broken(checked, policy, after), answer)
    found = [Finding(VIOLATION, fault) for fault in faults]
    if answer.relaxed:
        found.append(Finding(RELAXED))
    if answer.proof is not None and answer.proof.gap:
        found.append(Finding(UNPROVED))
    return found


def shares_after(checked: CheckedPortfolio, answer: Rebalance) -> dict[SecurityId, int]:
    """Whole shares of everything held or modelled, after the orders."""
    shares = {**dict.fromkeys(checked.targets, 0), **checked.shares}
    for order in answer.orders:
        shares[order.security_id] += order.quantity if order.side is Side.BUY else -order.quantity
    return shares


def _wrong_orders(checked: CheckedPortfolio, policy: Policy, answer: Rebalance) -> list[str]:
    sides = [order.side is Side.BUY for order in answer.orders]
    faults = [] if sides == sorted(sides) else ["a sell after a buy"]
    if len({order.security_id for order in answer.orders}) < len(answer.orders):
        faults.append("two orders of one security")
    for order in answer.orders:
        price = checked.prices[order.security_id]
        whole = type(order.quantity) is int and order.quantity > 0
        if not whole or order.price != price or Fraction(order.notional) != Fraction(price) * order.quantity:
            faults.append(f"order {order}")
    return faults + ([] if answer.relaxed else _unsafe_sequence(checked, policy, answer))


def _unsafe_sequence(checked: CheckedPortfolio, policy: Policy, answer: Rebalance) -> list[str]:
    """Paying each order's cost as it executes: never below the floor, or below what there was while it sells."""
    cash = before = Fraction(checked.cash)
    floor = max(
        Fraction(policy.cash_floor) * Fraction(checked.market_value), Fraction(policy.cash_floor_amount)
    )
    faults = []
    for order in answer.orders:
        sells = order.side is Side.SELL
        notional = Fraction(order.notional)
        cash += (notional if sells else -notional) - notional * Fraction(policy.cost_rate)
        cash -= Fraction(policy.cost_per_order)
        if cash < (min(before, floor) if sells else floor):
            faults.append(f"cash of {float(cash)} after {order.side} {order.security_id}")
    return faults


def _wrong_sums(
    checked: CheckedPortfolio, policy: Policy, answer: Rebalance, after: Mapping[SecurityId, int]
) -> list[str]:
    true = measured(checked, policy, after)
    before = measured(checked, policy, checked.shares)
    told = {
        "cash_after": (answer.cash_after, true.cash_after),
        "drift_after": (answer.drift_after, true.drift),
        "drift_before": (answer.drift_before, before.drift),
        "cost": (answer.cost, true.cost),
        "turnover": (answer.turnover, true.turnover),
    }
    proof = answer.proof
    if proof is not None:
        told["objective"] = (proof.objective, true.objective)
        told["gap"] = (proof.gap, Fraction(proof.objective) - Fraction(proof.lower_bound))
    faults = [
        f"{name} is {float(value)}, not {said}"
        for name, (said, value) in told.items()
        if said is not None and Fraction(said) != value
    ]
    missing = [name for name in ("cash_after", "drift_after", "drift_before") if told[name][0] is None]
    if proof is not None and proof.gap < 0:
        faults.append(f"a gap of {proof.gap}")
    positions = {each.security_id: each for each in answer.positions}
    if positions.keys() != after.keys():
        faults.append("positions of other securities")
    faults += [
        f"{each} ends with {position.adjusted_quantity}, not {after[each]}"
        for each, position in positions.items()
        if Fraction(position.adjusted_quantity) != after[each] + Fraction(checked.fractions.get(each, 0))
    ]
    return faults + [f"no {name}" for name in missing]


def _not_relaxed(found: Mapping[str, Fraction], answer: Rebalance) -> list[str]:
    """Rules that are broken by more than the answer says that they gave way."""
    allowed: dict[str, Fraction] = {}
    for each in answer.relaxed:
        of = each.security_id or each.group
        name = "cash" if each.rule in _CASH else f"{each.rule}:{of}" if of else each.rule
        name = name.replace("lower_bound:", "bounds:").replace("upper_bound:", "bounds:")
        allowed[name] = max(allowed.get(name, Fraction(0)), Fraction(each.amount))
    return [
        f"{rule} broken by {float(amount)}, relaxed by {float(allowed.get(rule, Fraction(0)))}"
        for rule, amount in found.items()
        if amount > allowed.get(rule, Fraction(0))
    ]


# ------------------------------------------------------------------------------------------------ no answer


def _explained(checked: CheckedPortfolio, case: FuzzCase, answer: Rebalance, solver: Solver) -> list[Finding]:
    """Why, in words; and the least relaxation, if there is one, solved for and held against the rules."""
    said = [conflict for conflict in answer.conflicts if conflict.message and conflict.rule != "unexplained"]
    if not said:
        return [Finding(UNEXPLAINED, "no conflict is named")]
    if case.book.policy.on_infeasible is OnInfeasible.RELAX:
        return []  # and it could not be: firm rules alone are in conflict
    relaxing = replace(case.book.policy, on_infeasible=OnInfeasible.RELAX)
    relaxed = _solved(case.book, relaxing, solver)
    if relaxed.outcome is Outcome.INFEASIBLE:
        return []
    if not relaxed.relaxed:
        return [Finding(UNEXPLAINED, "solved under no looser rules than those that leave no answer")]
    return [each for each in _against_rules(checked, relaxing, relaxed) if each.what == VIOLATION]


# ------------------------------------------------------------------------------------------------ the truth


def _against_brute_force(checked: CheckedPortfolio, policy: Policy, answer: Rebalance) -> list[Finding]:
    try:
        truth = brute_force_policies.solve(checked, policy, limit=_BRUTE_FORCE_LIMIT)
    except TooLarge:
        return []
    return [Finding(TRIED), *(Finding(DIFFERENCE, fault) for fault in _differences(checked, truth, answer))]


def _differences(
    checked: CheckedPortfolio, truth: brute_force_policies.Truth, answer: Rebalance
) -> list[str]:
    if truth.objective is None:
        return [] if answer.outcome is Outcome.INFEASIBLE else [f"{answer.outcome}, and there is no answer"]
    if answer.outcome not in _ANSWERED:
        return [f"{answer.outcome}, and there is an answer of {float(truth.objective)}"]
    if truth.inside:
        return [] if not answer.orders else ["traded, and nothing was outside"]
    proof = answer.proof
    if proof is None:
        return ["no proof"]
    faults = []
    if proof.lower_bound > 0 and Fraction(proof.lower_bound) > truth.objective:
        faults.append(f"a proved bound of {proof.lower_bound}, and there is {float(truth.objective)}")
    if Fraction(proof.objective) != truth.objective and (not proof.gap or len(checked.prices) <= 6):
        faults.append(f"an objective of {proof.objective}, and the best is {float(truth.objective)}")
    return faults
