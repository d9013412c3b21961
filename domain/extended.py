r"""The problem of one portfolio under every rule of a policy, in exact integers.

Minimise

    sum of  drift \|T_i - u_i P_i\| + traded_i \|u_i - h_i\| + per_order [u_i != h_i]   + constant

over shares u_i that the security's own rules allow (`Choices`), so that each coupling row holds:

    sum of  shares_i u_i + traded_i \|u_i - h_i\| + per_order [u_i != h_i]  <=  most

h_i are the whole shares held. All rules of a policy come down to these two shapes: cash, costs, turnover, orders and
groups are coupling rows, the others shape what a security may become. Which rule writes what is in `domain.rules`.

Everything is in one fine unit, small enough for each price times the cost rate and for the market value times every
weight, and everything is a Python integer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from domain import money
from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.policy import Policy
from domain.program import RuleName

COUNT = "count"
MONEY = "money"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupling:
    """A row over all securities, at most ``most``; see the module. ``rule`` is the one it stands for.

    Its unit is ``money`` (fine units) or ``count`` (orders). A row that is to be at least something is written with
    its signs turned.
    """

    rule: RuleName
    most: int
    unit: str = MONEY
    shares: tuple[int, ...]
    traded: tuple[int, ...]
    per_order: int = 0

    def of(self, place: int, shares: int, held: int) -> int:
        """What one security adds to the row with these shares."""
        if shares == held:
            return self.shares[place] * shares
        return self.shares[place] * shares + self.traded[place] * abs(shares - held) + self.per_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is minimised; see the module. ``drift`` is 1 where the drift counts and 0 where it does not."""

    drift: int
    traded: tuple[int, ...]
    per_order: int
    constant: int = 0

    def of(self, place: int, shares: int, *, held: int, price: int, target: int) -> int:
        """What one security adds to it with these shares."""
        drift = self.drift * abs(target - shares * price)
        return drift if shares == held else drift + self.traded[place] * abs(shares - held) + self.per_order


@dataclass(slots=True, kw_only=True)
class Window:
    """What the rules say of one security alone, in fine units and shares.

    ``lower`` and ``upper`` are what its whole shares may be worth; None: no such end. ``no_buy`` and ``no_sell`` name the
    rule that forbids it, if one does. Orders are multiples of ``lot`` and worth ``min_trade`` or more, but for closing.
    """

    held: int
    price: int
    target: int
    lower: int | None = None
    upper: int | None = None
    no_buy: RuleName | None = None
    no_sell: RuleName | None = None
    lot: int = 1
    min_trade: int = 0


def length(side: range) -> int:
    """As ``len``, which raises beyond 64 bits."""
    return max(0, -((side.start - side.stop) // side.step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The shares that a security may have afterwards: all of these, and no others.

    ``sells`` and ``buys`` are what orders of whole lots lead to, below and above what is held, rising; ``stays``: no order
    is one; ``closes``: so is an order that leaves nothing, which lots and minimum would not allow.
    """

    held: int
    stays: bool
    closes: bool
    sells: range
    buys: range

    @classmethod
    def of(cls, window: Window) -> "Choices":
        """What the window allows: no short ever, whatever it says."""
        held, price, lot = window.held, window.price, window.lot
        least = 0 if window.lower is None else max(0, -(-window.lower // price))
        if window.no_sell is not None:
            least = max(least, held)
        ends = [] if window.upper is None else [window.upper // price]
        if window.no_buy is not None:
            ends.append(held)
        most = min(ends)
        step = lot * max(1, -(-window.min_trade // (price * lot)))
        top = held - -(-max(step, held - most) // lot) * lot
        sells = range(held - (held - least) // lot * lot, top + 1, lot)
        bottom = held + -(-max(step, least - held) // lot) * lot
        buys = range(bottom, held + (most - held) // lot * lot + 1, lot)
        closes = held != 0 and least <= 0 <= most and 0 not in sells and 0 not in buys
        return cls(held=held, stays=least <= held <= most, closes=closes, sells=sells, buys=buys)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.stays or self.closes or self.sells or self.buys)

    def __contains__(self, shares: int) -> bool:
        if shares == self.held:
            return self.stays
        return (shares == 0 and self.closes) or shares in self.sells or shares in self.buys

    @property
    def count(self) -> int:
        """How many; of a portfolio of penny stocks that may be more than ``len`` can say."""
        return self.stays + self.closes + length(self.sells) + length(self.buys)

    def __iter__(self) -> Iterator[int]:
        """All of them, no trade first."""
        if self.stays:
            yield self.held
        if self.closes:
            yield 0
        yield from self.sells
        yield from self.buys

    def corners(self, target: int, price: int) -> Iterator[int]:
        """Those among which a minimum is, whatever is added that is linear in shares on either side of those held.

        On each side that is a convex function with its one kink at the target: its minimum is at an end, or
        beside the target.
        """
        if self.stays:
            yield self.held
        if self.closes:
            yield 0
        nearest = target // price
        for side in (self.sells, self.buys):
            if side:
                yield side[0]
                yield side[-1]
                below = (nearest - side.start) // side.step
                for place in (below, below + 1):
                    if 0 < place < length(side) - 1:
                        yield side[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended:
    """The problem; securities in order of id, ``unit`` fine units make one of the currency (10^``places``)."""

    security_ids: tuple[SecurityId, ...]
    places: int
    windows: tuple[Window, ...]
    choices: tuple[Choices, ...]
    objective: Objective
    couplings: tuple[Coupling, ...]
    market_value: int
    costs: Objective

    @property
    def unit(self) -> int:
        return int(10**self.places)

    @property
    def held(self) -> tuple[int, ...]:
        """Whole shares of each before."""
        return tuple(window.held for window in self.windows)

    def of(self, place: int, shares: int) -> int:
        """What one security adds to the objective."""
        window = self.windows[place]
        return self.objective.of(place, shares, held=window.held, price=window.price, target=window.target)

    def value(self, quantity: Sequence[int]) -> int:
        """The objective, in fine units."""
        return self.objective.constant + sum(self.of(place, shares) for place, shares in enumerate(quantity))

    def drift(self, quantity: Sequence[int]) -> int:
        """How far these shares are from their targets together, in fine units."""
        return sum(
            abs(window.target - shares * window.price)
            for window, shares in zip(self.windows, quantity, strict=True)
        )

    def turnover(self, quantity: Sequence[int]) -> int:
        """What is bought and sold together, in fine units."""
        return sum(
            window.price * abs(shares - window.held)
            for window, shares in zip(self.windows, quantity, strict=True)
        )

    def cost(self, quantity: Sequence[int]) -> int:
        """What the orders cost, in fine units."""
        return sum(
            self.costs.of(place, shares, held=window.held, price=window.price, target=window.target)
            for place, (window, shares) in enumerate(zip(self.windows, quantity, strict=True))
        )

    def row(self, coupling: Coupling, quantity: Sequence[int]) -> int:
        """What a coupling row adds up to."""
        return sum(
            coupling.of(place, shares, window.held)
            for place, (window, shares) in enumerate(zip(self.windows, quantity, strict=True))
        )

    def missed(self, quantity: Sequence[int]) -> list[tuple[Coupling, int]]:
        """The coupling rows that these shares break, and by how much."""
        over = ((each, self.row(each, quantity) - each.most) for each in self.couplings)
        return [(each, by) for each, by in over if by > 0]

    def allows(self, quantity: Sequence[int]) -> bool:
        """Whether they keep every rule."""
        allowed = all(shares in choices for choices, shares in zip(self.choices, quantity, strict=True))
        return allowed and not self.missed(quantity)


@dataclass(slots=True, kw_only=True)
class Draft:
    """What the rules write on, one after the other, until it is an `Extended`.

    ``kept`` is what the fractions that stay are worth, by place; ``cash`` and ``market_value`` are those before.
    """

    checked: CheckedPortfolio
    policy: Policy
    security_ids: tuple[SecurityId, ...]
    places: int
    cash: int
    market_value: int
    kept: tuple[int, ...]
    windows: tuple[Window, ...]
    drift: int = 1
    traded: list[int] = field(default_factory=list)
    per_order: int = 0
    constant: int = 0
    couplings: list[Coupling] = field(default_factory=list)

    @classmethod
    def of(cls, checked: CheckedPortfolio, policy: Policy) -> "Draft":
        security_ids = tuple(sorted(checked.shares.keys() | checked.targets.keys()))
        places = _places(checked, policy, security_ids)
        value = money.to_units(checked.market_value, places)
        prices = [checked.prices[each] for each in security_ids]
        nothing = Decimal(0)
        kept = tuple(
            money.to_units(money.multiply(price, checked.fractions.get(each, nothing)), places)
            for each, price in zip(security_ids, prices, strict=True)
        )
        targets = (
            money.multiply(checked.market_value, checked.targets[each].target)
            if each in checked.targets
            else nothing
            for each in security_ids
        )
        windows = tuple(
            Window(
                held=checked.shares.get(each, 0),
                price=money.to_units(price, places),
                target=money.to_units(target, places) - stays,
            )
            for each, price, target, stays in zip(security_ids, prices, targets, kept, strict=True)
        )
        return cls(
            checked=checked,
            policy=policy,
            security_ids=security_ids,
            places=places,
            cash=money.to_units(checked.cash, places),
            market_value=value,
            kept=kept,
            windows=windows,
            traded=[0] * len(windows),
        )

    def money(self, amount: Decimal) -> int:
        """An amount in fine units."""
        return money.to_units(amount, self.places)

    def share(self, weight: Decimal) -> int:
        """A weight of the market value in fine units."""
        return self.money(money.multiply(self.checked.market_value, weight))

    def rated(self, rate: Decimal) -> tuple[int, ...]:
        """A fraction of each price in fine units."""
        return tuple(
            self.money(money.multiply(self.checked.prices[each], rate)) for each in self.security_ids
        )

    def finished(self) -> Extended:
        return Extended(
            security_ids=self.security_ids,
            places=self.places,
            windows=self.windows,
            choices=tuple(Choices.of(each) for each in self.windows),
            objective=Objective(
                drift=self.drift,
                traded=tuple(self.traded),
                per_order=self.per_order,
                constant=self.constant,
            ),
            couplings=tuple(self.couplings),
            market_value=self.market_value,
            costs=Objective(
                drift=0,
                traded=self.rated(self.policy.cost_rate),
                per_order=self.money(self.policy.cost_per_order),
            ),
        )


def _places(checked: CheckedPortfolio, policy: Policy, security_ids: Iterable[SecurityId]) -> int:
    """Decimal places that suffice for every amount, and for every amount times a weight."""
    targets = checked.targets.values()
    amounts = [
        checked.cash,
        checked.market_value,
        policy.cash_floor_amount,
        policy.raise_cash,
        policy.min_trade,
        policy.cost_per_order,
        *(checked.prices[each] for each in security_ids),
        *(money.multiply(checked.prices[each], fraction) for each, fraction in checked.fractions.items()),
    ]
    weights = [
        policy.cash_floor,
        policy.cost_rate,
        *([] if policy.max_turnover is None else [policy.max_turnover]),
        *(weight for each in policy.groups for weight in (each.min, each.max)),
        *(weight for each in targets for weight in (each.target, each.low_drift, each.high_drift)),
    ]
    return max(map(money.places, amounts)) + max(map(money.places, weights))
