"""The orders that lead from one holding to another, each with the reason a person would give for it.

Under extended rules a reason is a promise: take the order out, and either what is minimised gets worse (the reasons that
speak of the target) or exactly the rule that the reason names is broken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain import money
from domain.answer import Order, Side
from domain.checks import CheckedPortfolio
from domain.execution import TradingCosts, in_cash_safe_order
from domain.explain.told import OrderExplained
from domain.extended import Extended
from domain.ids import SecurityId
from domain.problem import IntArray, Problem
from domain.program import RuleName

# An order without the function around its constructor, which takes as long as all the rest of it.
_made = tuple.__new__

NOT_IN_MODEL = "not_in_model"  # whatever is held of it goes (or, if short, is bought back)
BELOW_TARGET = "below_target"
ABOVE_TARGET = "above_target"
CASH_FLOOR = "cash_floor"  # not above its target, sold all the same so that the cash suffices
# Of extended rules only, where the target does not make it worth while:
RAISE_CASH = "raise_cash"  # sold to raise the cash asked for
OUTSIDE_BOUNDS = (
    "outside_bounds"  # what is held is worth less than the lower bound or more than the upper one
)
GROUP_MAX = "group_max"  # sold so that its group is worth no more than it may be
GROUP_MIN = "group_min"  # bought so that its group is worth no less than it must be
SHORT = "short_holding"  # bought back


def orders_between(checked: CheckedPortfolio, problem: Problem, after: IntArray) -> tuple[Order, ...]:
    """Sells first, so that they can pay for the buys; within each side in order of security id."""
    change = (after - problem.held).tolist()
    held_value = problem.held * problem.fine_price
    is_above = (held_value > problem.target).tolist()
    prices, targets, multiply = checked.prices, checked.targets, money.multiply
    buy, sell = Side.BUY, Side.SELL
    sells: list[Order] = []
    buys: list[Order] = []
    for security_id, shares, above in zip(problem.security_ids, change, is_above, strict=True):
        if shares == 0:
            continue
        price, modelled = prices[security_id], security_id in targets
        if shares > 0:
            reason = BELOW_TARGET if modelled else NOT_IN_MODEL
            notional = multiply(price, shares)
            buys.append(_made(Order, (buy, security_id, shares, price, notional, reason)))
        else:
            because = ABOVE_TARGET if above else CASH_FLOOR
            reason = because if modelled else NOT_IN_MODEL
            notional = multiply(price, -shares)
            sells.append(_made(Order, (sell, security_id, -shares, price, notional, reason)))
    return (*sells, *buys)


# ------------------------------------------------------------------------------------------------ extended rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """A reason, and of which group where it is a group's."""

    reason: str
    group: str | None = None


# The rules of several securities that an order can be needed for; of several the first is named.
_COUPLED = (RAISE_CASH, CASH_FLOOR, GROUP_MAX, GROUP_MIN)


class Needs:
    """What each order of an answer is needed for: what it betters by itself, and what breaks without it."""

    def __init__(self, extended: Extended, quantity: Sequence[int]) -> None:
        self._extended = extended
        self._quantity = quantity
        self._spare = [each.most - extended.row(each, quantity) for each in extended.couplings]

    def betters(self, place: int) -> int:
        """How much worse what is minimised would be without the order, in fine units."""
        held = self._extended.windows[place].held
        return self._extended.of(place, held) - self._extended.of(place, self._quantity[place])

    def leaves_allowed(self, place: int) -> bool:
        """Whether the security's own rules would let the holding be."""
        return self._extended.choices[place].stays

    def broken_without(self, place: int) -> Iterator[RuleName]:
        """The rules of several securities that would be broken without it."""
        held, shares = self._extended.windows[place].held, self._quantity[place]
        for coupling, spare in zip(self._extended.couplings, self._spare, strict=True):
            if coupling.of(place, held, held) - coupling.of(place, shares, held) > spare:
                yield coupling.rule

    def is_needless(self, place: int) -> bool:
        """Whether nothing gets worse and nothing breaks without it."""
        free = self.leaves_allowed(place) and next(self.broken_without(place), None) is None
        return free and self.betters(place) <= 0


def without_needless(extended: Extended, quantity: Sequence[int]) -> tuple[int, ...]:
    """These shares less every order that nothing needs, the first first. What is minimised gets no worse by it.

    An answer proved to be the best has none, but for those that are exactly as good as no order.
    """
    kept = list(quantity)
    needs = Needs(extended, kept)
    for place, window in enumerate(extended.windows):
        if kept[place] != window.held and needs.is_needless(place):
            kept[place] = window.held
            needs = Needs(extended, kept)
    return tuple(kept)


def because(extended: Extended, needs: Needs, place: int, *, buys: bool, is_modelled: bool) -> Because:
    """Why an order is there; see the module.

    To the target first: what an order betters by itself would be lost without it. Else it is there for a rule.
    """
    if needs.betters(place) <= 0:
        if not needs.leaves_allowed(place):
            return _for_its_own_rules(extended, place, is_modelled=is_modelled)
        broken = {rule.rule: rule for rule in needs.broken_without(place)}
        for reason in _COUPLED:
            if reason in broken:
                return Because(reason=reason, group=broken[reason].group)
    if not is_modelled:
        return Because(reason=NOT_IN_MODEL)
    return Because(reason=BELOW_TARGET if buys else ABOVE_TARGET)


def _for_its_own_rules(extended: Extended, place: int, *, is_modelled: bool) -> Because:
    if not is_modelled:
        return Because(reason=NOT_IN_MODEL)
    return Because(reason=SHORT if extended.windows[place].held < 0 else OUTSIDE_BOUNDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedOrders:
    """Orders in a sequence that is safe for cash, and why each is there, in the same sequence."""

    orders: tuple[Order, ...]
    explained: tuple[OrderExplained, ...]


def explained_orders(
    checked: CheckedPortfolio, extended: Extended, quantity: Sequence[int], costs: TradingCosts
) -> ExplainedOrders:
    """The orders that lead to these shares, with their reasons."""
    needs = Needs(extended, quantity)
    orders: list[Order] = []
    explained: dict[SecurityId, OrderExplained] = {}
    for place, (security_id, window) in enumerate(zip(extended.security_ids, extended.windows, strict=True)):
        change = quantity[place] - window.held
        if change == 0:
            continue
        buys = change > 0
        why = because(extended, needs, place, buys=buys, is_modelled=security_id in checked.targets)
        price = checked.prices[security_id]
        orders.append(
            Order(
                side=Side.BUY if buys else Side.SELL,
                security_id=security_id,
                quantity=abs(change),
                price=price,
                notional=money.multiply(price, abs(change)),
                reason=why.reason,
            )
        )
        drifts = (abs(window.target - shares * window.price) for shares in (window.held, quantity[place]))
        before, after = (money.from_units(drift, extended.places) for drift in drifts)
        explained[security_id] = OrderExplained(
            security_id=security_id,
            reason=why.reason,
            group=why.group,
            drift_before=before,
            drift_after=after,
            message=_sentence(security_id, why, before, after),
        )
    in_order = in_cash_safe_order(orders, costs)
    return ExplainedOrders(
        orders=in_order, explained=tuple(explained[order.security_id] for order in in_order)
    )


_SENTENCES = {
    BELOW_TARGET: "{security} is below its target",
    ABOVE_TARGET: "{security} is above its target",
    NOT_IN_MODEL: "{security} is not in the model",
    OUTSIDE_BOUNDS: "{security} is outside its bounds",
    SHORT: "{security} is short and is bought back",
    CASH_FLOOR: "{security} is sold for the cash floor",
    RAISE_CASH: "{security} is sold to raise the cash asked for",
    GROUP_MAX: "{security} is sold so that group {group} is worth no more than it may be",
    GROUP_MIN: "{security} is bought so that group {group} is worth no less than it must be",
}


def _sentence(security_id: SecurityId, why: Because, before: Decimal, after: Decimal) -> str:
    said = _SENTENCES[why.reason].format(security=security_id, group=why.group)
    return f"{said}: {money.plain(before)} from its target before, {money.plain(after)} after"
