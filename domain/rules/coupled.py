"""The rules that bind securities to each other: cash, turnover, the number of orders, groups, and what orders cost."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from domain.extended import COUNT, Coupling, Draft
from domain.policy import Group, Policy, RunType
from domain.program import RuleName
from domain.rules.rule import Facts, in_money
from domain.verify import Violation


class Costs:
    """``cost_rate`` x notional + ``cost_per_order`` for each order: minimised with the rest, and paid from cash."""

    name = "cost"

    def write(self, draft: Draft) -> None:
        for place, rate in enumerate(draft.rated(draft.policy.cost_rate)):
            draft.traded[place] += rate
        draft.per_order += draft.money(draft.policy.cost_per_order)

    def broken(self, facts: Facts) -> Iterator[Violation]:
        """Costs ask for nothing by themselves: `Cash` sees that they are paid."""
        del facts
        yield from ()

    def sentence(self, policy: Policy) -> str | None:
        if not (policy.cost_rate or policy.cost_per_order):
            return None
        return (
            f"an order costs {policy.cost_rate} of its notional and {policy.cost_per_order}, paid from cash"
        )


class Cash:
    """After all trades and costs, cash is at or above both floors and, where cash is to be raised, up by the amount."""

    name = "cash_floor"
    raising = "raise_cash"

    def write(self, draft: Draft) -> None:
        policy, places = draft.policy, range(len(draft.windows))
        floor = max(draft.share(policy.cash_floor), draft.money(policy.cash_floor_amount))
        needs = [(self.name, floor)]
        if policy.raise_cash:
            needs.append((self.raising, draft.cash + draft.money(policy.raise_cash)))
        # Only the greater of the two can bind: one row, named for it.
        name, least = max(needs, key=lambda each: each[1])
        before = sum(draft.windows[place].held * draft.windows[place].price for place in places)
        draft.couplings.append(
            Coupling(
                rule=RuleName(rule=name),
                most=draft.cash + before - least,
                shares=tuple(window.price for window in draft.windows),
                traded=draft.rated(policy.cost_rate),
                per_order=draft.money(policy.cost_per_order),
            )
        )

    def broken(self, facts: Facts) -> Iterator[Violation]:
        policy, after = facts.policy, facts.cash_after
        floor = max(facts.weight(policy.cash_floor), Fraction(policy.cash_floor_amount))
        if after < floor:
            yield Violation(
                rule=self.name,
                message=f"cash {in_money(after)} is below the floor of {in_money(floor)}",
                amount=floor - after,
            )
        wanted = facts.cash_before + Fraction(policy.raise_cash)
        if policy.raise_cash and after < wanted:
            yield Violation(
                rule=self.raising,
                message=f"cash {in_money(after)} is not up by {policy.raise_cash} from {in_money(facts.cash_before)}",
                amount=wanted - after,
            )

    def sentence(self, policy: Policy) -> str | None:
        raised = f", and {policy.raise_cash} more than before" if policy.raise_cash else ""
        floors = f"{policy.cash_floor} of market value and {policy.cash_floor_amount}"
        return f"cash after all trades and costs is at least the larger of {floors}{raised}"


class Turnover:
    """What is bought and sold together is at most a weight of the market value."""

    name = "max_turnover"

    def write(self, draft: Draft) -> None:
        most = draft.policy.max_turnover
        if most is not None:
            draft.couplings.append(
                Coupling(
                    rule=RuleName(rule=self.name),
                    most=draft.share(most),
                    shares=(0,) * len(draft.windows),
                    traded=tuple(window.price for window in draft.windows),
                )
            )

    def broken(self, facts: Facts) -> Iterator[Violation]:
        if facts.policy.max_turnover is None:
            return
        most = facts.weight(facts.policy.max_turnover)
        if facts.turnover > most:
            yield Violation(
                rule=self.name,
                message=f"{in_money(facts.turnover)} are traded, more than {in_money(most)}",
                amount=facts.turnover - most,
            )

    def sentence(self, policy: Policy) -> str | None:
        if policy.max_turnover is None:
            return None
        return f"what is bought and sold together is at most {policy.max_turnover} of market value"


class FewOrders:
    """At most so many orders."""

    name = "max_orders"

    def write(self, draft: Draft) -> None:
        most = draft.policy.max_orders
        if most is not None:
            nothing = (0,) * len(draft.windows)
            draft.couplings.append(
                Coupling(
                    rule=RuleName(rule=self.name),
                    most=most,
                    unit=COUNT,
                    shares=nothing,
                    traded=nothing,
                    per_order=1,
                )
            )

    def broken(self, facts: Facts) -> Iterator[Violation]:
        most, count = facts.policy.max_orders, len(facts.changes)
        if most is not None and count > most:
            yield Violation(
                rule=self.name,
                message=f"{count} orders are more than {most}",
                amount=Fraction(count - most),
            )

    def sentence(self, policy: Policy) -> str | None:
        return None if policy.max_orders is None else f"at most {policy.max_orders} orders"


class Groups:
    """The members of each group are together worth between two weights of the market value.

    ``invest_cash`` leaves the lower end open and stretches the upper one to what they are worth; ``raise_cash`` the other
    way round.
    """

    name = "group"
    below = "group_min"
    above = "group_max"

    def write(self, draft: Draft) -> None:
        for group in draft.policy.groups:
            self._write(draft, group)

    def _write(self, draft: Draft, group: Group) -> None:
        members = set(group.security_ids)
        prices = tuple(
            window.price if security_id in members else 0
            for security_id, window in zip(draft.security_ids, draft.windows, strict=True)
        )
        kept = sum(
            each
            for security_id, each in zip(draft.security_ids, draft.kept, strict=True)
            if security_id in members
        )
        before = kept + sum(price * window.held for price, window in zip(prices, draft.windows, strict=True))
        least, most = draft.share(group.min), draft.share(group.max)
        run_type = draft.policy.run_type
        if run_type is not RunType.RAISE_CASH:
            most = max(most, before) if run_type is RunType.INVEST_CASH else most
            draft.couplings.append(_group_row(self.above, group, prices, most - kept))
        if run_type is not RunType.INVEST_CASH:
            least = min(least, before) if run_type is RunType.RAISE_CASH else least
            draft.couplings.append(_group_row(self.below, group, [-each for each in prices], kept - least))

    def broken(self, facts: Facts) -> Iterator[Violation]:
        run_type = facts.policy.run_type
        for group in facts.policy.groups:
            worth = sum((facts.value(each) for each in group.security_ids), Fraction(0))
            before = sum((facts.value_before(each) for each in group.security_ids), Fraction(0))
            least, most = facts.weight(group.min), facts.weight(group.max)
            if run_type is RunType.INVEST_CASH:
                least, most = worth, max(most, before)
            elif run_type is RunType.RAISE_CASH:
                least, most = min(least, before), worth
            if worth < least:
                yield _outside(self.below, group, worth, f"below {in_money(least)}", least - worth)
            if worth > most:
                yield _outside(self.above, group, worth, f"above {in_money(most)}", worth - most)

    def sentence(self, policy: Policy) -> str | None:
        if not policy.groups:
            return None
        each = (f"{group.name} {group.min} to {group.max}" for group in policy.groups)
        return f"groups as weights of market value: {', '.join(each)}"


def _group_row(rule: str, group: Group, shares: Sequence[int], most: int) -> Coupling:
    return Coupling(
        rule=RuleName(rule=rule, group=group.name),
        most=most,
        shares=tuple(shares),
        traded=(0,) * len(shares),
    )


def _outside(rule: str, group: Group, worth: Fraction, where: str, by: Fraction) -> Violation:
    return Violation(
        rule=rule,
        message=f"group {group.name} is worth {in_money(worth)}, {where}",
        group=group.name,
        amount=by,
    )
