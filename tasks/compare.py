"""Scenarios side by side: what each policy would do with each portfolio. Nothing is stored, nothing is published."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import structlog

from domain import money
from domain.checks import StatedValueRange
from domain.errors import SolverFailed, SolverTimeout
from domain.explain.told import Relaxed
from domain.ids import PortfolioId, SecurityId
from domain.model import InvestmentModel
from domain.policy import MAX_TURNOVER, OnInfeasible, Policy, RunType
from domain.portfolio import Portfolio
from domain.ports import Solver
from domain.rebalance import Conflict, Outcome, Proof, Rebalance, decide
from domain.terms import Terms
from tasks.policies import with_keys

log = structlog.get_logger(__name__)

DO_NOTHING = "do_nothing"
AS_ASKED = "policy"  # the policy itself, without any scenario's changes
FAILED = "failed"
BROKEN = "internal_error"  # the reason of an answer that met a bug
SKIPPED = "skipped"  # the time was up before its turn came

_ZERO = Decimal("0.00")
_TURNOVER_PARTS = 1_000_000

# What a frontier asks for is the least drift that an amount of trading can buy; these ask for something else.
_NOT_FOR_LEAST_DRIFT = frozenset({RunType.TO_BAND, RunType.IF_OUTSIDE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``policy`` holds the keys that stand over the book's policy."""

    name: str
    policy: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What is compared, whole: every portfolio, and the prices of everything held or modelled."""

    model: InvestmentModel
    policy: Policy
    prices: Mapping[SecurityId, Decimal]
    portfolios: Sequence[Portfolio]
    stated_value: StatedValueRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One portfolio in one scenario; money, but for ``orders``, which counts. None: there is no such number.

    ``turnover`` is what is bought and sold together, ``cost`` what the policy says that it costs.
    """

    portfolio_id: PortfolioId
    scenario: str
    outcome: str
    reason: str | None
    market_value: Decimal | None = None
    cash_before: Decimal | None = None
    cash_after: Decimal | None = None
    drift_before: Decimal | None = None
    drift_after: Decimal | None = None
    turnover: Decimal | None = None
    cost: Decimal | None = None
    orders: int | None = None
    proof: Proof | None = None
    relaxed: tuple[Relaxed, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """The least drift of one portfolio for every amount of trading, by its non-dominated points.

    ``points`` are in order of what they spend: no other point has less drift for as little. ``spent`` is ``cost``
    where the policy has costs and ``turnover`` where it has none. ``infeasible`` counts the limits that leave no
    answer, ``dominated`` those whose answer another one beats, ``unfinished`` those without an answer in time.
    """

    portfolio_id: PortfolioId
    spent: str
    present: Compared
    points: tuple[
        tuple[Decimal | None, Compared], ...
    ]  # the limit on turnover (a weight; None: none), the answer
    dominated: int
    infeasible: int
    unfinished: int


def compare(
    book: Book, scenarios: Iterable[Scenario], solver: Solver, in_time: Callable[[], bool] = lambda: True
) -> Iterator[Compared]:
    """Every portfolio in every scenario; doing nothing and the book's own policy stand before the others.

    Raises:
        Invalid: a scenario's policy breaks a rule.
    """
    asked = (Scenario(name=AS_ASKED, policy={}), *scenarios)
    policies = [
        with_keys(book.policy, each.policy, f"scenarios[{place}].policy")
        for place, each in enumerate(asked, -1)
    ]
    terms = [(each.name, _terms(book, policy)) for each, policy in zip(asked, policies, strict=True)]
    for portfolio in book.portfolios:
        for name, of_scenario in terms:
            row = _decided(portfolio, name, of_scenario, book, solver, in_time)
            if name == AS_ASKED:
                yield _nothing_done(row)
            yield row


def frontier(
    book: Book, portfolio: Portfolio, points: int, solver: Solver, in_time: Callable[[], bool] = lambda: True
) -> Frontier:
    """``points`` limits on turnover (at least 2), from none at all to as much as the policy's own answer takes."""
    run_type = RunType.TO_TARGET if book.policy.run_type in _NOT_FOR_LEAST_DRIFT else book.policy.run_type
    policy = replace(book.policy, run_type=run_type, on_infeasible=OnInfeasible.REPORT)
    best = _decided(portfolio, AS_ASKED, _terms(book, policy), book, solver, in_time)
    tried: list[tuple[Decimal | None, Compared]] = [
        (
            limit,
            _decided(
                portfolio, AS_ASKED, _terms(book, replace(policy, max_turnover=limit)), book, solver, in_time
            ),
        )
        for limit in _limits(best, points)
    ]
    tried.append((policy.max_turnover, best))
    spent = "cost" if policy.cost_rate or policy.cost_per_order else "turnover"
    answered = [each for each in tried if each[1].outcome in {Outcome.TRADED, Outcome.NO_TRADE}]
    kept = _not_dominated(answered, spent)
    without = [each.outcome for _, each in tried]
    return Frontier(
        portfolio_id=portfolio.portfolio_id,
        spent=spent,
        present=_nothing_done(best),
        points=tuple(kept),
        dominated=len(answered) - len(kept),
        infeasible=without.count(Outcome.INFEASIBLE) + without.count(Outcome.REJECTED),
        unfinished=without.count(SKIPPED) + without.count(FAILED),
    )


def _limits(best: Compared, points: int) -> Iterator[Decimal]:
    """All but the last: that one is the answer without a limit. Weights, up to a millionth."""
    if not best.turnover or not best.market_value:
        return
    most = Fraction(best.turnover) / Fraction(best.market_value)
    for step in range(points - 1):
        limit = Decimal(ceil(most * step / (points - 1) * _TURNOVER_PARTS)) / _TURNOVER_PARTS
        if limit <= MAX_TURNOVER:  # one that is deep in debt may turn over more
            yield limit


def _not_dominated(
    answers: Iterable[tuple[Decimal | None, Compared]], spent: str
) -> list[tuple[Decimal | None, Compared]]:
    """Those that no other beats in both, in order of what they spend; of equals, one."""

    def cost_and_drift(each: tuple[Decimal | None, Compared]) -> tuple[Decimal, Decimal]:
        return getattr(each[1], spent) or _ZERO, each[1].drift_after or _ZERO

    kept: list[tuple[Decimal | None, Compared]] = []
    for each in sorted(answers, key=cost_and_drift):
        if not kept or cost_and_drift(each)[1] < cost_and_drift(kept[-1])[1]:
            kept.append(each)
    return kept


# ------------------------------------------------------------------------------------------------ one portfolio


def _terms(book: Book, policy: Policy) -> Terms:
    return Terms.of(book.model, book.prices, policy)


def _decided(
    portfolio: Portfolio, name: str, terms: Terms, book: Book, solver: Solver, in_time: Callable[[], bool]
) -> Compared:
    """Never an exception for one portfolio: the others are to be seen all the same."""
    if not in_time():
        return Compared(
            portfolio_id=portfolio.portfolio_id, scenario=name, outcome=SKIPPED, reason="time_is_up"
        )
    try:
        answer = decide(portfolio.portfolio_id, portfolio, terms, solver, book.stated_value)
    except (SolverFailed, SolverTimeout) as error:
        return _failed(portfolio, name, error.code)
    except Exception:  # the boundary: whatever one answer meets, it is told in its place
        log.exception(
            "what_if.answer_failed",
            portfolio_id=portfolio.portfolio_id,
            scenario=name,
            advice="a bug: report it, with what was asked",
        )
        return _failed(portfolio, name, BROKEN)
    return _compared(name, answer, terms.policy)


def _failed(portfolio: Portfolio, name: str, reason: str) -> Compared:
    return Compared(portfolio_id=portfolio.portfolio_id, scenario=name, outcome=FAILED, reason=reason)


def _compared(name: str, answer: Rebalance, policy: Policy) -> Compared:
    turnover = money.tidy(money.total(order.notional for order in answer.orders))
    per_order = money.multiply(policy.cost_per_order, Decimal(len(answer.orders)))
    valued = answer.drift_after is not None
    return Compared(
        portfolio_id=answer.portfolio_id,
        scenario=name,
        outcome=answer.outcome,
        reason=answer.reason,
        market_value=answer.market_value,
        cash_before=answer.cash_before,
        cash_after=answer.cash_after,
        drift_before=answer.drift_before,
        drift_after=answer.drift_after,
        turnover=turnover if valued else None,
        cost=money.tidy(money.add(money.multiply(turnover, policy.cost_rate), per_order)) if valued else None,
        orders=len(answer.orders) if valued else None,
        proof=answer.proof,
        relaxed=answer.relaxed,
        conflicts=answer.conflicts,
    )


def _nothing_done(row: Compared) -> Compared:
    """The same portfolio as it stands."""
    valued = row.drift_before is not None
    return replace(
        row,
        scenario=DO_NOTHING,
        outcome=DO_NOTHING if row.market_value is not None else row.outcome,
        reason=None if row.market_value is not None else row.reason,
        cash_after=row.cash_before,
        drift_after=row.drift_before,
        turnover=_ZERO if valued else None,
        cost=_ZERO if valued else None,
        orders=0 if valued else None,
        proof=None,
        relaxed=(),
        conflicts=(),
    )
