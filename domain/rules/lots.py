"""Orders of whole lots, and of no less than a smallest notional; closing a position is exempt from both."""

from collections.abc import Iterator
from fractions import Fraction

from domain.extended import Draft
from domain.policy import Policy
from domain.rules.rule import Facts, in_money
from domain.verify import Violation


class WholeLots:
    r"""\|u - h\| is a multiple of the security's lot, or u is 0."""

    name = "lot_size"

    def write(self, draft: Draft) -> None:
        sizes = {each.security_id: each.size for each in draft.policy.lot_sizes}
        for security_id, window in zip(draft.security_ids, draft.windows, strict=True):
            window.lot = sizes.get(security_id, draft.policy.lot_size)

    def broken(self, facts: Facts) -> Iterator[Violation]:
        own = {each.security_id: each.size for each in facts.policy.lot_sizes}
        for security_id, change in facts.changes.items():
            lot = own.get(security_id, facts.policy.lot_size)
            rest = abs(change) % lot
            if rest and facts.quantities[security_id]:
                yield Violation(
                    rule=self.name,
                    message=f"an order of {abs(change)} of {security_id} is no multiple of its lot of {lot}",
                    security_id=security_id,
                    amount=min(rest, lot - rest) * facts.price(security_id),
                )

    def sentence(self, policy: Policy) -> str | None:
        if policy.lot_size == 1 and not policy.lot_sizes:
            return None
        own = "".join(f", of {each.security_id} {each.size}" for each in policy.lot_sizes)
        return f"an order is a multiple of {policy.lot_size} shares{own}, unless it closes the position"


class SmallestTrade:
    r"""\|u - h\| P is at least ``min_trade``, or u is h or 0."""

    name = "min_trade"

    def write(self, draft: Draft) -> None:
        least = draft.money(draft.policy.min_trade)
        for window in draft.windows:
            window.min_trade = least

    def broken(self, facts: Facts) -> Iterator[Violation]:
        least = Fraction(facts.policy.min_trade)
        for security_id, change in facts.changes.items():
            notional = abs(change) * facts.price(security_id)
            if notional < least and facts.quantities[security_id]:
                yield Violation(
                    rule=self.name,
                    message=f"an order of {security_id} is worth {in_money(notional)}, below the least of {in_money(least)}",
                    security_id=security_id,
                    amount=least - notional,
                )

    def sentence(self, policy: Policy) -> str | None:
        if not policy.min_trade:
            return None
        return f"an order is worth {policy.min_trade} at least, unless it closes the position"
