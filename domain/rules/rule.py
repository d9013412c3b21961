"""What every rule of a policy can do: shape the problem, judge an answer, and say itself in a sentence.

The two halves share nothing on purpose. `Rule.write` puts integers on a `domain.extended.Draft`, of which problems and
programs are made; `Rule.broken` judges whole shares by `Facts`, in fractions made of the inputs alone. An error in one is
found by the other.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Protocol

from domain import money
from domain.checks import CheckedPortfolio
from domain.extended import Draft
from domain.ids import SecurityId
from domain.policy import Policy
from domain.verify import Violation

_PLACES = 16


class Facts:
    """Whole shares held against the inputs, in fractions: what they are worth, what was traded, what it cost."""

    def __init__(
        self, checked: CheckedPortfolio, policy: Policy, quantities: Mapping[SecurityId, int]
    ) -> None:
        self.checked = checked
        self.policy = policy
        self.quantities = quantities
        self.market_value = Fraction(checked.market_value)
        self.cash_before = Fraction(checked.cash)

    def held(self, security_id: SecurityId) -> int:
        """Whole shares before."""
        return self.checked.shares.get(security_id, 0)

    def price(self, security_id: SecurityId) -> Fraction:
        return Fraction(self.checked.prices[security_id])

    def value(self, security_id: SecurityId) -> Fraction:
        """What the security is worth afterwards, with a fraction that stays; 0 if it is neither held nor modelled."""
        return self._worth(security_id, self.quantities.get(security_id, 0))

    def value_before(self, security_id: SecurityId) -> Fraction:
        return self._worth(security_id, self.held(security_id))

    def _worth(self, security_id: SecurityId, shares: int) -> Fraction:
        if security_id not in self.quantities:
            return Fraction(0)
        fraction = Fraction(self.checked.fractions.get(security_id, 0))
        return self.price(security_id) * (shares + fraction)

    def weight(self, weight: Decimal) -> Fraction:
        """A weight of the market value, in money."""
        return Fraction(weight) * self.market_value

    @cached_property
    def changes(self) -> Mapping[SecurityId, int]:
        """Shares bought (above 0) or sold of each security that is traded."""
        changes = {each: shares - self.held(each) for each, shares in self.quantities.items()}
        return {each: change for each, change in sorted(changes.items()) if change}

    @cached_property
    def turnover(self) -> Fraction:
        """What is bought and sold together."""
        return sum((self.price(each) * abs(change) for each, change in self.changes.items()), Fraction(0))

    @cached_property
    def cost(self) -> Fraction:
        """What the orders cost together."""
        per_order = Fraction(self.policy.cost_per_order) * len(self.changes)
        return Fraction(self.policy.cost_rate) * self.turnover + per_order

    @cached_property
    def cash_after(self) -> Fraction:
        spent = sum((self.price(each) * change for each, change in self.changes.items()), Fraction(0))
        return self.cash_before - spent - self.cost


class Rule(Protocol):
    """One rule. Stateless: all it needs is in what it is given."""

    @property
    def name(self) -> str:
        """The stable word that rows, violations and conflicts carry."""

    def write(self, draft: Draft) -> None:
        """Put it into the problem, in integers: on windows, on the objective, or as coupling rows."""

    def broken(self, facts: Facts) -> Iterator[Violation]:
        """Every way in which the shares break it."""

    def sentence(self, policy: Policy) -> str | None:
        """What it asks for, for people; None where the policy does not ask for it."""


def in_money(amount: Fraction) -> str:
    """For messages: to the digit where it ends within 16 places, as nearly every amount does."""
    scaled = amount * 10**_PLACES
    whole = round(scaled)
    text = money.plain(money.from_units(whole, _PLACES))
    return text if scaled == whole else f"about {text}"
