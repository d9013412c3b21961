"""Rules, conflicts and relaxations in sentences and in money."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeAlias

from domain import money
from domain.answer import Conflict
from domain.checks import CheckedPortfolio
from domain.explain.conflict import Clash
from domain.explain.relax import Relaxation, candidates
from domain.explain.rulebook import LOT_SIZE, LOWER_BOUND, MIN_TRADE, UPPER_BOUND, Rulebook, misses
from domain.explain.told import ConflictTold, Relaxed, RuleTold
from domain.extended import COUNT, Choices, Extended, Window
from domain.ids import SecurityId
from domain.policy import Policy, RunType
from domain.program import RuleName

_STEPS = frozenset({LOT_SIZE, MIN_TRADE})

MONEY_UNIT = "money"
ORDERS_UNIT = "orders"


class Words:
    """Of one portfolio and its policy."""

    def __init__(self, checked: CheckedPortfolio, policy: Policy, rulebook: Rulebook) -> None:
        self._checked = checked
        self._policy = policy
        self._extended: Extended = rulebook.extended
        self._rulebook = rulebook
        self._places = {each: place for place, each in enumerate(rulebook.extended.security_ids)}
        self._groups = {group.name: group for group in policy.groups}

    # -- rules

    def rule(self, rule: RuleName) -> RuleTold:
        """A rule, and what it asks for."""
        return RuleTold(
            rule=rule.rule,
            message=_ASKED[rule.rule](self, rule),
            security_id=rule.security_id,
            group=rule.group,
        )

    def conflict(self, clash: Clash) -> ConflictTold:
        """A conflict, rule by rule."""
        return ConflictTold(
            rules=tuple(self.rule(rule) for rule in clash.rules),
            irreducible=clash.irreducible,
            proved_by=clash.proved_by,
        )

    def floor(self) -> Decimal:
        """What is to stay in cash."""
        return self._policy.cash_floor_money(self._checked.market_value)

    def bounds(self, rule: RuleName) -> str:
        """The bound of a security, and what its nearest allowed holdings are worth."""
        window = self._window(rule)
        below = rule.rule == LOWER_BOUND
        bound = (window.lower if below else window.upper) or 0
        if not below and rule.security_id not in self._checked.targets:
            return f"security {rule.security_id} is not in the model: none of it may be left"
        which = "less than its lower bound of" if below else "more than its upper bound of"
        return f"security {rule.security_id} must not be worth {which} {self._amount(bound)}"

    def lot(self, rule: RuleName) -> str:
        return f"orders of security {rule.security_id} are multiples of {self._window(rule).lot} shares"

    def min_trade(self, rule: RuleName) -> str:
        least = money.plain(money.tidy(self._policy.min_trade))
        return f"an order of security {rule.security_id} must be worth {least} or more, unless it closes the position"

    def restriction(self, rule: RuleName) -> str:
        what = {"no_buy": "bought", "no_sell": "sold", "no_trade": "traded"}[rule.rule]
        held = self._window(rule).held
        return f"security {rule.security_id}, of which {held} are held, must not be {what}"

    def run_type(self, rule: RuleName) -> str:
        what = "sells nothing" if self._policy.run_type is RunType.INVEST_CASH else "buys nothing"
        held = self._window(rule).held
        return f"a run of type {self._policy.run_type} {what}: of security {rule.security_id} {held} are held"

    def cash_floor(self, _: RuleName) -> str:
        return f"cash must not end below {money.plain(money.tidy(self.floor()))}"

    def raise_cash(self, _: RuleName) -> str:
        amount = money.plain(money.tidy(self._policy.raise_cash))
        before = money.plain(money.tidy(self._checked.cash))
        return f"cash must end {amount} or more above the {before} there are"

    def max_orders(self, _: RuleName) -> str:
        return f"there may be {self._policy.max_orders} orders at most"

    def max_turnover(self, _: RuleName) -> str:
        weight = self._policy.max_turnover or Decimal(0)
        most = money.multiply(self._checked.market_value, weight)
        return f"what is bought and sold together must not be worth more than {money.plain(money.tidy(most))}"

    def group(self, rule: RuleName) -> str:
        group = self._groups[rule.group or ""]
        below = rule.rule == "group_min"
        weight = group.min if below else group.max
        bound = money.tidy(money.multiply(self._checked.market_value, weight))
        which = "less" if below else "more"
        return f"group {group.name} must not be worth {which} than {money.plain(bound)}"

    # -- amounts

    def relaxed(self, relaxation: Relaxation) -> tuple[Relaxed, ...]:
        """What gives way, in the order of the rules: coupled ones first, then by security."""
        rows = {each.rule: each.unit for each in self._extended.couplings}
        proof = _proof_of(relaxation.proved_by)
        return tuple(
            self._relaxed(rule, relaxation.amounts[rule], rows.get(rule, MONEY_UNIT), proof)
            for rule in reversed(self._rulebook.rules)
            if rule in relaxation.amounts
        )

    def _relaxed(self, rule: RuleName, units: int, unit: str, proof: str) -> Relaxed:
        is_count = unit == COUNT
        amount = Decimal(units) if is_count else money.from_units(units, self._extended.places)
        asked = self.rule(rule).message
        return Relaxed(
            rule=rule.rule,
            amount=amount,
            unit=ORDERS_UNIT if is_count else MONEY_UNIT,
            message=f"{asked}: it gives way by {_shown(rule.rule, amount)}{proof}",
            security_id=rule.security_id,
            group=rule.group,
        )

    def would_give_way(self, relaxed: Relaxed, proved_by: str | None) -> Conflict:
        """A rule in the way, with the least that would mend it; ``amount`` is money, so orders have none.

        Where nobody proved it the least (``proved_by`` None) it is told as what would do, and is no ``amount``.
        """
        name = RuleName(rule=relaxed.rule, security_id=relaxed.security_id, group=relaxed.group)
        shown = _shown(relaxed.rule, relaxed.amount)
        ways = "could give way" if proved_by is None else "would have to give way"
        return Conflict(
            rule=relaxed.rule,
            message=f"{self.rule(name).message}: it {ways} by {shown}{_proof_of(proved_by)}",
            security_id=relaxed.security_id,
            amount=relaxed.amount if relaxed.unit == MONEY_UNIT and proved_by is not None else None,
        )

    def in_the_way(self, rule: RuleName) -> Conflict:
        """A rule in the way that need not give way itself if others do."""
        told = self.rule(rule)
        return Conflict(rule=told.rule, message=told.message, security_id=told.security_id)

    def no_whole_share(self, place: int, clash: Clash) -> str:
        """Why no holding fits the bounds of a security, with the two nearest to them."""
        window, security_id = self._extended.windows[place], self._extended.security_ids[place]
        steps_alone = frozenset(rule for rule in clash.rules if rule.rule in _STEPS)
        near = candidates(window, Choices.of(self._rulebook.window(place, steps_alone)))
        below = [
            shares for shares in near if window.lower is not None and shares * window.price < window.lower
        ]
        above = [
            shares for shares in near if window.upper is not None and shares * window.price > window.upper
        ]
        named = {rule.rule for rule in clash.rules}
        steps = (
            f" in lots of {window.lot}" if LOT_SIZE in named else "",
            f" in orders of {self._amount(window.min_trade)} or more" if MIN_TRADE in named else "",
        )
        worths = " and ".join(self._worth(shares, window) for shares in (*below[-1:], *above[:1]))
        least = min(sum(misses(window, shares)) for shares in (*below[-1:], *above[:1]))
        return (
            f"no whole share of security {security_id}{''.join(steps)} fits its bounds of "
            f"{self._amount(window.lower or 0)} to {self._amount(window.upper or 0)}: {worths}; "
            f"the nearest bound would have to give way by {self._amount(least)}"
        )

    def _worth(self, shares: int, window: Window) -> str:
        worth = self._amount(shares * window.price)
        return f"{shares} {'share is' if shares == 1 else 'shares are'} worth {worth}"

    def _window(self, rule: RuleName) -> Window:
        return self._extended.windows[self._place(rule.security_id)]

    def _place(self, security_id: SecurityId | None) -> int:
        return self._places[security_id or SecurityId("")]

    def _amount(self, units: int) -> str:
        return money.plain(money.from_units(units, self._extended.places))


_Told: TypeAlias = Callable[[Words, RuleName], str]

_ASKED: Mapping[str, _Told] = {
    LOWER_BOUND: Words.bounds,
    UPPER_BOUND: Words.bounds,
    LOT_SIZE: Words.lot,
    MIN_TRADE: Words.min_trade,
    "no_buy": Words.restriction,
    "no_sell": Words.restriction,
    "no_trade": Words.restriction,
    "run_type": Words.run_type,
    "cash_floor": Words.cash_floor,
    "raise_cash": Words.raise_cash,
    "max_orders": Words.max_orders,
    "max_turnover": Words.max_turnover,
    "group_min": Words.group,
    "group_max": Words.group,
}

_WAYS: Mapping[str, str] = {
    LOWER_BOUND: "below it",
    UPPER_BOUND: "above it",
    "cash_floor": "less cash",
    "raise_cash": "less cash",
    "max_turnover": "more traded",
    "group_min": "below it",
    "group_max": "above it",
}


def _proof_of(proved_by: str | None) -> str:
    """What an amount is not; that it is the least, and whose word that is, is told beside the amounts."""
    return " (not proved the least)" if proved_by is None else ""


def _shown(rule: str, amount: Decimal) -> str:
    if rule in _WAYS:
        return f"{money.plain(amount)} {_WAYS[rule]}"
    return f"{amount} more {'order' if amount == 1 else 'orders'}"
