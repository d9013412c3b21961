"""Every rule of a policy, in the order in which they write a problem.

Direction comes before costs, which are added to whatever is minimised, and before restrictions, whose name tells a
person more than the run type's where both forbid the same.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from domain.checks import CheckedPortfolio
from domain.extended import Draft, Extended
from domain.ids import SecurityId
from domain.policy import Policy
from domain.rules.bounds import WithinBounds
from domain.rules.coupled import Cash, Costs, FewOrders, Groups, Turnover
from domain.rules.lots import SmallestTrade, WholeLots
from domain.rules.restrictions import Restriction
from domain.rules.rule import Facts, Rule, in_money
from domain.rules.run_types import Direction
from domain.verify import Violation

__all__ = ["RULES", "Facts", "Rule", "broken_rules", "build_extended", "misstated", "sentences"]

RULES: Sequence[Rule] = (
    WithinBounds(),
    Direction(),
    Restriction("no_buy"),
    Restriction("no_sell"),
    Restriction("no_trade"),
    WholeLots(),
    SmallestTrade(),
    Costs(),
    Cash(),
    Turnover(),
    FewOrders(),
    Groups(),
)


def build_extended(checked: CheckedPortfolio, policy: Policy) -> Extended:
    """A checked portfolio and its policy as a problem in integers: what every rule writes, one after the other."""
    draft = Draft.of(checked, policy)
    for rule in RULES:
        rule.write(draft)
    return draft.finished()


def broken_rules(
    checked: CheckedPortfolio, policy: Policy, quantities: Mapping[SecurityId, int]
) -> tuple[Violation, ...]:
    """What is wrong with holding these whole shares, by every rule; from the inputs alone, in fractions.

    Every held or modelled security must be there, none else; whole shares, none short.
    """
    expected = checked.shares.keys() | checked.targets.keys()
    unlike = [
        Violation(rule="securities", message=f"{each} is not what was asked for", security_id=each)
        for each in sorted(expected ^ quantities.keys())
    ]
    unlike += [
        Violation(
            rule="whole_shares",
            message=f"{shares} of {each} is not a whole number of shares from 0 up",
            security_id=each,
        )
        for each, shares in sorted(quantities.items())
        if type(shares) is not int or shares < 0
    ]
    if unlike:
        return tuple(unlike)
    facts = Facts(checked, policy, quantities)
    return tuple(violation for rule in RULES for violation in rule.broken(facts))


def misstated(
    checked: CheckedPortfolio,
    policy: Policy,
    quantities: Mapping[SecurityId, int],
    *,
    cost: Decimal,
    turnover: Decimal,
) -> tuple[Violation, ...]:
    """Where what is said of costs and turnover is not what these whole shares come to, to the digit."""
    facts = Facts(checked, policy, quantities)
    stated = (("cost", cost, facts.cost), ("turnover", turnover, facts.turnover))
    return tuple(
        Violation(
            rule=name,
            message=f"the {name} is {in_money(true)}, not {said}",
            amount=abs(true - Fraction(said)),
        )
        for name, said, true in stated
        if Fraction(said) != true
    )


def sentences(policy: Policy) -> tuple[str, ...]:
    """What the policy asks for, a sentence for each rule."""
    each = (rule.sentence(policy) for rule in RULES)
    return tuple(sentence for sentence in each if sentence is not None)
