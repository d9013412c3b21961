"""The rules of a problem one by one: left out, loosened, measured.

Three kinds of rule:

- *soft*: both bounds of a security, cash floor, cash to raise, groups, turnover, number of orders. They are what a
  relaxation may have give way, each by an amount.
- *firm*: do-not-buy, do-not-sell, do-not-trade, the direction of a run, lots and the least trade. They are instructions,
  and no answer is a little of what they forbid, so a relaxation keeps them. They can stand in a conflict, though.
- *physics*: whole shares, no shorts, no overdraft (or none deeper than before). Never left out and never named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from domain import money
from domain.checks import CheckedPortfolio
from domain.extended import COUNT, Choices, Coupling, Extended, Window
from domain.ids import SecurityId
from domain.program import RuleName

LOWER_BOUND = "lower_bound"
UPPER_BOUND = "upper_bound"
LOT_SIZE = "lot_size"
MIN_TRADE = "min_trade"
OVERDRAFT = "overdraft"

# One order too many counts as this part of the market value at least: docs/decisions/0028.
_ORDER_PARTS = 1000

Rules: TypeAlias = frozenset[RuleName]
# By how much each rule is missed, or gives way: fine units of money, or orders.
Amounts: TypeAlias = Mapping[RuleName, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rulebook:
    """A problem, and the physics that stays when its rules go.

    ``reach``: no position can be worth more (fine units), whatever else is sold for it.
    """

    extended: Extended
    overdraft: Coupling
    reach: int

    @classmethod
    def of(cls, checked: CheckedPortfolio, extended: Extended) -> "Rulebook":
        """Of a portfolio and its problem under all rules."""
        cash = money.to_units(checked.cash, extended.places)
        worths = [window.held * window.price for window in extended.windows]
        deepest = min(0, cash)
        overdraft = Coupling(
            rule=RuleName(rule=OVERDRAFT),
            most=sum(worths) + cash - deepest,
            shares=tuple(window.price for window in extended.windows),
            traded=extended.costs.traded,
            per_order=extended.costs.per_order,
        )
        reach = cash - deepest + sum(worth for worth in worths if worth > 0)
        return cls(extended=extended, overdraft=overdraft, reach=reach)

    # -- what there is

    @property
    def rules(self) -> tuple[RuleName, ...]:
        """Every rule, those of securities first; the more it would say of a conflict, the later."""
        places = range(len(self.extended.windows))
        windows = self.extended.windows
        firm = [rule for place in places for rule in self.firm_of(place).values()]
        by_size = sorted(places, key=lambda place: (windows[place].lower or 0, place))
        bounds = [rule for place in by_size for rule in self.bounds_of(place)]
        coupled = [each.rule for each in reversed(self.extended.couplings)]
        return tuple(dict.fromkeys((*firm, *bounds, *coupled)))

    def rules_of(self, place: int) -> Rules:
        """All rules of one security alone."""
        return frozenset((*self.bounds_of(place), *self.firm_of(place).values()))

    def bounds_of(self, place: int) -> tuple[RuleName, ...]:
        """Its bounds, as far as they forbid anything."""
        window = self.extended.windows[place]
        lower = window.lower is not None and window.lower > 0
        security_id = self.extended.security_ids[place]
        return (
            *((RuleName(rule=LOWER_BOUND, security_id=security_id),) if lower else ()),
            *((RuleName(rule=UPPER_BOUND, security_id=security_id),) if window.upper is not None else ()),
        )

    def firm_of(self, place: int) -> Mapping[str, RuleName]:
        """Its firm rules by the field of the window that they stand in."""
        window, security_id = self.extended.windows[place], self.extended.security_ids[place]
        found: dict[str, RuleName] = {}
        if window.lot > 1:
            found["lot"] = RuleName(rule=LOT_SIZE, security_id=security_id)
        if window.min_trade > 0:
            found["min_trade"] = RuleName(rule=MIN_TRADE, security_id=security_id)
        if window.no_buy is not None:
            found["no_buy"] = window.no_buy
        if window.no_sell is not None:
            found["no_sell"] = window.no_sell
        return found

    # -- leaving rules out

    def under(self, rules: Rules) -> Extended:
        """The problem under these rules and physics alone."""
        windows = tuple(self.window(place, rules) for place in range(len(self.extended.windows)))
        couplings = (self.overdraft, *(each for each in self.extended.couplings if each.rule in rules))
        return _with(self.extended, windows, couplings)

    def window(self, place: int, rules: Rules) -> Window:
        """What is left of the window of one security."""
        window = self.extended.windows[place]
        kept = {rule.rule for rule in self.bounds_of(place) if rule in rules}
        firm = {name: rule for name, rule in self.firm_of(place).items() if rule in rules}
        widest = max(self.reach, window.held * window.price)
        return replace(
            window,
            lower=window.lower if LOWER_BOUND in kept else None,
            upper=window.upper if UPPER_BOUND in kept else widest,
            lot=window.lot if "lot" in firm else 1,
            min_trade=window.min_trade if "min_trade" in firm else 0,
            no_buy=firm.get("no_buy"),
            no_sell=firm.get("no_sell"),
        )

    def elastic(self) -> Extended:
        """The problem with firm rules and physics only in its windows; its rows as they are, and physics first."""
        firm = frozenset(
            rule for place in range(len(self.extended.windows)) for rule in self.firm_of(place).values()
        )
        return self.under(firm | {each.rule for each in self.extended.couplings})

    # -- measuring and loosening

    def weight(self, coupling: Coupling) -> int:
        """What one unit beyond a row counts, in fine units of money."""
        if coupling.unit != COUNT:
            return 1
        smallest = max((window.min_trade for window in self.extended.windows), default=0)
        part = self.extended.market_value // _ORDER_PARTS
        return max(1, self.extended.costs.per_order, smallest, part)

    def missed(self, quantity: Sequence[int]) -> dict[RuleName, int]:
        """Each soft rule that these shares break, and by how much."""
        found = {
            rule: amount
            for place, shares in enumerate(quantity)
            for rule, amount in self._missed_by(place, shares)
        }
        return found | {each.rule: amount for each, amount in self.extended.missed(quantity)}

    def _missed_by(self, place: int, shares: int) -> Iterator[tuple[RuleName, int]]:
        window, security_id = self.extended.windows[place], self.extended.security_ids[place]
        below, above = misses(window, shares)
        if below:
            yield RuleName(rule=LOWER_BOUND, security_id=security_id), below
        if above:
            yield RuleName(rule=UPPER_BOUND, security_id=security_id), above

    def total(self, missed: Amounts) -> int:
        """What these amounts count together, in fine units: what a relaxation keeps least."""
        weights = {each.rule: self.weight(each) for each in self.extended.couplings}
        return sum(amount * weights.get(rule, 1) for rule, amount in missed.items())

    def loosened(self, amounts: Amounts) -> Extended:
        """The problem with each of these rules moved by its amount."""
        windows = tuple(
            _moved(window, security_id, amounts)
            for window, security_id in zip(self.extended.windows, self.extended.security_ids, strict=True)
        )
        couplings = (
            *(replace(each, most=each.most + amounts.get(each.rule, 0)) for each in self.extended.couplings),
            self.overdraft,
        )
        return _with(self.extended, windows, couplings)


def misses(window: Window, shares: int) -> tuple[int, int]:
    """By how much the lower and the upper bound are missed."""
    worth = shares * window.price
    below = 0 if window.lower is None else max(0, window.lower - worth)
    above = 0 if window.upper is None else max(0, worth - window.upper)
    return below, above


def _moved(window: Window, security_id: SecurityId, amounts: Amounts) -> Window:
    below = amounts.get(RuleName(rule=LOWER_BOUND, security_id=security_id), 0)
    above = amounts.get(RuleName(rule=UPPER_BOUND, security_id=security_id), 0)
    if not below and not above:
        return window
    return replace(
        window,
        lower=None if window.lower is None else window.lower - below,
        upper=None if window.upper is None else window.upper + above,
    )


def _with(extended: Extended, windows: tuple[Window, ...], couplings: tuple[Coupling, ...]) -> Extended:
    choices = tuple(Choices.of(window) for window in windows)
    return replace(extended, windows=windows, choices=choices, couplings=couplings)
