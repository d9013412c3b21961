"""Every holding a small book could end with, and which rules each breaks: the truth about conflicts and relaxations.

Judged by `tests.support.brute_force_policies`, which shares no code with the product.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.policy import Policy
from domain.program import RuleName
from tests.support.brute_force_policies import TooLarge, broken, cash_needed, measured, securities

SOFT = {
    "lower_bound",
    "upper_bound",
    "cash_floor",
    "raise_cash",
    "max_orders",
    "max_turnover",
    "group_min",
    "group_max",
}
_RENAMED = {"lot": "lot_size"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One holding and what it misses, in money or orders; physics apart."""

    shares: dict[SecurityId, int]
    missed: dict[RuleName, Fraction]

    def keeps(self, rules: Collection[RuleName]) -> bool:
        return not any(rule in self.missed for rule in rules)


def every_holding(checked: CheckedPortfolio, policy: Policy, *, limit: int) -> list[Held]:
    """All that physics allows.

    Raises:
        TooLarge: there are more than ``limit`` to look at.
    """
    lines = securities(checked, policy)
    cash = Fraction(checked.cash)
    deepest = min(Fraction(0), cash)
    wealth = cash - deepest + sum((each.price * max(0, each.held) for each in lines), Fraction(0))
    ranges = [range(max(math.floor(wealth / each.price), each.held, 0) + 1) for each in lines]
    if math.prod(map(len, ranges)) > limit:
        raise TooLarge
    found = []
    for counts in product(*ranges):
        shares = {each.security_id: count for each, count in zip(lines, counts, strict=True)}
        if measured(checked, policy, shares).cash_after >= deepest:
            found.append(Held(shares=shares, missed=dict(_missed(checked, policy, shares))))
    return found


def _missed(
    checked: CheckedPortfolio, policy: Policy, shares: dict[SecurityId, int]
) -> Iterator[tuple[RuleName, Fraction]]:
    lines = {each.security_id: each for each in securities(checked, policy)}
    floor = max(
        Fraction(policy.cash_floor) * Fraction(checked.market_value), Fraction(policy.cash_floor_amount)
    )
    for name, amount in broken(checked, policy, shares).items():
        rule, _, of = name.partition(":")
        if rule == "cash":
            rule = "cash_floor" if cash_needed(checked, policy) == floor else "raise_cash"
            yield RuleName(rule=rule), amount
        elif rule in {"group_min", "group_max"}:
            yield RuleName(rule=rule, group=of), amount
        elif rule == "bounds":
            line = lines[SecurityId(of)]
            below = line.least is not None and line.worth(shares[line.security_id]) < line.least
            side = "lower_bound" if below else "upper_bound"
            yield RuleName(rule=side, security_id=line.security_id), amount
        else:
            security_id = SecurityId(of) if of else None
            yield RuleName(rule=_RENAMED.get(rule, rule), security_id=security_id), amount


def least_total(checked: CheckedPortfolio, policy: Policy, holdings: Collection[Held]) -> Fraction | None:
    """What the soft rules miss together at the least, where no firm one is broken; None: there is no such holding.

    An order too many counts as the largest of its cost, the least trade and a thousandth of the market value.
    """
    order = max(
        Fraction(policy.cost_per_order), Fraction(policy.min_trade), Fraction(checked.market_value) / 1000
    )
    totals = [
        sum(
            (amount * (order if rule.rule == "max_orders" else 1) for rule, amount in each.missed.items()),
            Fraction(0),
        )
        for each in holdings
        if all(rule.rule in SOFT for rule in each.missed)
    ]
    return min(totals, default=None)
