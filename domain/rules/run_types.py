"""What a rebalance is to achieve: the objective, and in which direction it may trade."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from domain.extended import Draft
from domain.policy import Policy, RunType
from domain.program import RuleName
from domain.rules.rule import Facts
from domain.verify import Violation

NAME = "run_type"


def _least_trading(draft: Draft) -> None:
    """Turnover instead of drift."""
    draft.drift = 0
    draft.traded = [window.price for window in draft.windows]


def _beyond_the_amount(draft: Draft) -> None:
    """Twice what is sold beyond the amount. Before costs: less cash for fees must not count as a gain."""
    draft.traded = [2 * window.price for window in draft.windows]
    draft.constant -= 2 * draft.money(draft.policy.raise_cash)


def _drift(_: Draft) -> None:
    """As a draft begins."""


@dataclass(frozen=True, slots=True)
class _Way:
    """``forbidden`` is the sign of the changes that may not be, 0 for none."""

    objective: Callable[[Draft], None]
    forbidden: int
    sentence: str


_WAYS: Mapping[RunType, _Way] = {
    RunType.TO_TARGET: _Way(_drift, 0, "drift from target and costs are least together"),
    RunType.TO_BAND: _Way(
        _least_trading, 0, "trading and costs are least that bring each position inside its bounds"
    ),
    RunType.IF_OUTSIDE: _Way(_drift, 0, "to target, but only where something is outside its bounds"),
    RunType.INVEST_CASH: _Way(_drift, -1, "nothing is sold"),
    RunType.RAISE_CASH: _Way(
        _beyond_the_amount, 1, "nothing is bought, and no more sold than the amount needs"
    ),
}


class Direction:
    """Buys only (``invest_cash``), sells only (``raise_cash``) or both; and what is minimised, but for the costs."""

    name = NAME

    def write(self, draft: Draft) -> None:
        way = _WAYS[draft.policy.run_type]
        way.objective(draft)
        for security_id, window in zip(draft.security_ids, draft.windows, strict=True):
            rule = RuleName(rule=NAME, security_id=security_id)
            if way.forbidden < 0:
                window.no_sell = rule
            elif way.forbidden > 0:
                window.no_buy = rule

    def broken(self, facts: Facts) -> Iterator[Violation]:
        run_type = facts.policy.run_type
        forbidden = _WAYS[run_type].forbidden
        for security_id, change in facts.changes.items():
            if change * forbidden > 0:
                what = "bought" if change > 0 else "sold"
                yield Violation(
                    rule=NAME,
                    message=f"{abs(change)} of {security_id} are {what}, which is not for run type {run_type}",
                    security_id=security_id,
                    amount=abs(change) * facts.price(security_id),
                )

    def sentence(self, policy: Policy) -> str | None:
        return _WAYS[policy.run_type].sentence
