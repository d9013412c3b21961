"""The reason of every order is true: without the order, what it says gets worse or breaks."""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.answer import Order, Side
from domain.execution import TradingCosts, lowest_cash
from domain.explain.told import OrderExplained
from domain.extended import Extended
from domain.ids import SecurityId
from domain.ladder import Best, best_answer
from domain.orders import explained_orders, without_needless
from domain.rules import build_extended
from tests.support import brute_force_policies as truth
from tests.support.policy_books import PAIRS, SINGLES, Case, cases

SETS = [features for features in (*SINGLES, *PAIRS) if "bounds" not in features]
FOR_THE_TARGET = {"below_target", "above_target"}


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A case with its orders, and the shares they lead to."""

    case: Case
    problem: Extended
    shares: dict[SecurityId, int]
    orders: tuple[Order, ...]
    explained: tuple[OrderExplained, ...]


@cache
def answered() -> list[Answered]:
    solver = CvxpySolver()
    found = []
    for features in SETS:
        for case in cases(features, 6 if len(features) == 1 else 1, limit=500):
            problem = build_extended(case.checked, case.book.policy)
            best = None if case.truth.objective is None or case.truth.inside else best_answer(problem, solver)
            if isinstance(best, Best):
                found.append(_answered(case, problem, without_needless(problem, best.quantity)))
    return found


def _answered(case: Case, problem: Extended, quantity: tuple[int, ...]) -> Answered:
    policy = case.book.policy
    costs = TradingCosts(rate=policy.cost_rate, per_order=policy.cost_per_order)
    told = explained_orders(case.checked, problem, quantity, costs)
    shares = dict(zip(problem.security_ids, quantity, strict=True))
    return Answered(case=case, problem=problem, shares=shares, orders=told.orders, explained=told.explained)


def test_without_an_order_its_reason_comes_true() -> None:
    seen: Counter[str] = Counter()
    for each in answered():
        checked, policy = each.case.checked, each.case.book.policy
        objective = truth.measured(checked, policy, each.shares).objective
        for order, why in zip(each.orders, each.explained, strict=True):
            assert (why.security_id, why.reason) == (order.security_id, order.reason)
            without = {**each.shares, order.security_id: checked.shares.get(order.security_id, 0)}
            is_worse = truth.measured(checked, policy, without).objective > objective
            broken = truth.broken(checked, policy, without)
            seen[why.reason] += 1
            if why.reason in FOR_THE_TARGET:
                assert is_worse, why
            elif why.reason == "not_in_model":
                assert is_worse or broken_names(order.security_id, why) & broken.keys(), why
            else:
                assert broken_names(order.security_id, why) & broken.keys(), (why, broken)
    reasons = {"below_target", "above_target", "not_in_model", "cash_floor", "raise_cash", "outside_bounds"}
    assert {*reasons, "group_max", "group_min"} <= seen.keys(), seen


def broken_names(security_id: SecurityId, why: OrderExplained) -> set[str]:
    """What the reason says would be broken, as the truth names it."""
    if why.reason in {"cash_floor", "raise_cash"}:
        return {"cash"}
    if why.group is not None:
        return {f"{why.reason}:{why.group}"}
    return {f"bounds:{security_id}", f"whole_shares:{security_id}"}


def test_drift_before_and_after_is_that_of_the_security() -> None:
    for each in answered():
        lines = {
            line.security_id: line for line in truth.securities(each.case.checked, each.case.book.policy)
        }
        for why in each.explained:
            line = lines[why.security_id]
            assert why.drift_before == abs(line.target - line.worth(line.held))
            assert why.drift_after == abs(line.target - line.worth(each.shares[why.security_id]))


def test_orders_are_safe_for_cash_at_their_prices() -> None:
    for each in answered():
        checked, policy = each.case.checked, each.case.book.policy
        costs = TradingCosts(rate=policy.cost_rate, per_order=policy.cost_per_order)
        floor = truth.cash_needed(checked, policy)
        lowest = Fraction(lowest_cash(each.orders, checked.cash, costs))
        assert lowest >= min(floor, Fraction(checked.cash))
        buys = [order.side is Side.BUY for order in each.orders]
        assert buys == sorted(buys)


def test_orders_that_nothing_needs_are_left_out() -> None:
    """From the nearest holdings that each security's own rules allow: what is left is needed, and no worse."""
    left_out = 0
    for each in answered():
        problem = each.problem
        quantity = tuple(each.shares.values())
        worse = tuple(
            next((other for other in choices if other not in {shares, choices.held}), shares)
            for choices, shares in zip(problem.choices, quantity, strict=True)
        )
        if not problem.allows(worse):
            continue
        kept = without_needless(problem, worse)
        assert problem.allows(kept)
        assert problem.value(kept) <= problem.value(worse)
        assert all(now in {before, held} for now, before, held in zip(kept, worse, problem.held, strict=True))
        left_out += kept != worse
    assert left_out > 5
