"""Seeded random books over every policy and every pair of policies, small enough to be solved by trying everything.

A feature is one thing that a policy may ask; `draw` makes a book with some of them set to values that matter for it:
sometimes easy, sometimes just enough, sometimes more than can be had.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from itertools import combinations
from typing import Any, TypeAlias

from domain.checks import CheckedPortfolio, Market, StatedValueRange, check_portfolio
from domain.ids import SecurityId
from domain.policy import (
    Bounds,
    FractionalHolding,
    Group,
    Lot,
    NegativeCash,
    Policy,
    RunType,
    ShortHolding,
)
from tests.support import brute_force_policies, builders
from tests.support.small_books import Book

CENT = Decimal("0.01")


@dataclass(slots=True, kw_only=True)
class Sketch:
    """A book in the making: features read it, and a few change what is held."""

    rng: random.Random
    value: Decimal
    prices: dict[int, Decimal]
    targets: dict[int, Decimal]
    held: dict[int, Decimal]
    cash: Decimal
    bounds_in_shares: Sequence[str] = ("0", "0.6", "1", "1.5", "2", "2.5", "3.2")

    def worth(self, number: int) -> Decimal:
        return self.prices[number] * self.held.get(number, Decimal(0))

    def some(self, least: int = 1) -> list[int]:
        """A few of the securities, in no order."""
        count = self.rng.randint(min(least, len(self.prices)), max(least, len(self.prices) // 2 + 1))
        return self.rng.sample(sorted(self.prices), min(count, len(self.prices)))

    def ids(self, numbers: Sequence[int]) -> tuple[SecurityId, ...]:
        return tuple(builders.security_id(number) for number in sorted(numbers))

    def away(self) -> Decimal:
        """About what is traded to come to target, in money."""
        return sum(
            (
                abs(self.value * self.targets.get(number, Decimal(0)) - self.worth(number))
                for number in self.prices
            ),
            start=Decimal(0),
        )


Changes: TypeAlias = dict[str, Any]
Feature: TypeAlias = Callable[[Sketch], Changes]


def _weight(exact: Decimal, places: int = 4) -> Decimal:
    return max(Decimal(0), min(Decimal(1), exact)).quantize(
        Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN
    )


def _money(exact: Decimal) -> Decimal:
    return max(Decimal(0), exact).quantize(CENT, rounding=ROUND_HALF_EVEN)


def _times(rng: random.Random, low: float, high: float) -> Decimal:
    return Decimal(str(round(rng.uniform(low, high), 3)))


def _cash_floor(book: Sketch) -> Changes:
    rest = 1 - sum(book.targets.values(), start=Decimal(0))
    return {"cash_floor": _weight(rest * _times(book.rng, 0.3, 1.3))}


def _cash_floor_amount(book: Sketch) -> Changes:
    rest = 1 - sum(book.targets.values(), start=Decimal(0))
    return {"cash_floor_amount": _money(book.value * rest * _times(book.rng, 0.3, 1.4))}


def _raise_cash(book: Sketch) -> Changes:
    return {"raise_cash": max(CENT, _money(book.value * _times(book.rng, 0.005, 0.15)))}


def _run(run_type: RunType) -> Feature:
    return lambda _: {"run_type": run_type}


def _if_outside(book: Sketch) -> Changes:
    """Half of them with everything near its target, so that often nothing is outside."""
    if book.rng.random() < 0.5:
        for number in list(book.held):
            if number not in book.targets:
                book.cash += book.worth(number)
                del book.held[number]
        for number, target in book.targets.items():
            book.cash += book.worth(number)
            book.held[number] = Decimal(round(book.value * target / book.prices[number]))
            book.cash -= book.worth(number)
    return {"run_type": RunType.IF_OUTSIDE}


def _raise_run(book: Sketch) -> Changes:
    return {"run_type": RunType.RAISE_CASH, **_raise_cash(book)}


def _relative(book: Sketch) -> Changes:
    return {"bounds": Bounds.RELATIVE}


def _lot_size(book: Sketch) -> Changes:
    return {"lot_size": book.rng.choice([2, 2, 3, 4])}


def _lot_sizes(book: Sketch) -> Changes:
    sizes = {number: book.rng.choice([1, 2, 3, 5]) for number in book.some()}
    return {"lot_sizes": tuple(Lot(builders.security_id(number), size) for number, size in sizes.items())}


def _min_trade(book: Sketch) -> Changes:
    price = book.prices[book.rng.choice(sorted(book.prices))]
    return {"min_trade": _money(price * _times(book.rng, 0.5, 3.2))}


def _max_orders(book: Sketch) -> Changes:
    return {"max_orders": book.rng.randint(0, len(book.prices))}


def _max_turnover(book: Sketch) -> Changes:
    return {"max_turnover": _weight(book.away() / book.value * _times(book.rng, 0.2, 1.2))}


def _cost_rate(book: Sketch) -> Changes:
    return {"cost_rate": Decimal(book.rng.choice(["0.001", "0.0025", "0.01", "0.0333", "0.4"]))}


def _cost_per_order(book: Sketch) -> Changes:
    return {"cost_per_order": Decimal(book.rng.choice(["1", "4.95", "0.01", "25", "150"]))}


def _named(key: str) -> Feature:
    return lambda book: {key: book.ids(book.some())}


def _group_weight(book: Sketch, members: Sequence[int]) -> Decimal:
    """What they are to be worth, or what they are."""
    if book.rng.random() < 0.5:
        return sum((book.targets.get(number, Decimal(0)) for number in members), start=Decimal(0))
    return sum((book.worth(number) for number in members), start=Decimal(0)) / book.value


def _group_max(book: Sketch) -> Changes:
    members = book.some(2)
    most = _weight(_group_weight(book, members) * _times(book.rng, 0.7, 1.2))
    return {"groups": (Group(name="above", security_ids=book.ids(members), max=most),)}


def _group_min(book: Sketch) -> Changes:
    """A lower end, often with an upper one, and at times over a security that is nowhere else."""
    members = book.some(2)
    least = _weight(_group_weight(book, members) * _times(book.rng, 0.7, 1.15))
    most = min(Decimal(1), least + _weight(_times(book.rng, 0.0, 0.4)))
    ids = (*book.ids(members), *(() if book.rng.random() < 0.7 else (builders.security_id(99),)))
    return {"groups": (Group(name="below", security_ids=ids, min=least, max=most),)}


def _short(book: Sketch) -> Changes:
    number = book.rng.choice(sorted(book.prices))
    book.cash += book.worth(number)
    book.held[number] = Decimal(-book.rng.randint(1, 3))
    book.cash -= book.worth(number)
    return {"short_holding": ShortHolding.COVER}


def _overdrawn(book: Sketch) -> Changes:
    number = book.rng.choice(sorted(book.prices))
    more = int(book.cash / book.prices[number]) + book.rng.randint(1, 2)
    book.held[number] = book.held.get(number, Decimal(0)) + more
    book.cash -= more * book.prices[number]
    return {"negative_cash": NegativeCash.RAISE}


def _fraction(book: Sketch) -> Changes:
    number = book.rng.choice(sorted(book.prices))
    part = Decimal(book.rng.choice(["0.25", "0.5", "0.001"]))
    book.held[number] = book.held.get(number, Decimal(0)) + part
    book.cash -= part * book.prices[number]
    return {"fractional_holding": FractionalHolding.KEEP_FRACTION}


# In the order in which they are applied: those that change the holdings before those that look at them.
FEATURES: Mapping[str, Feature] = {
    "if_outside": _if_outside,
    "short_holding": _short,
    "negative_cash": _overdrawn,
    "fractional_holding": _fraction,
    "to_band": _run(RunType.TO_BAND),
    "invest_cash": _run(RunType.INVEST_CASH),
    "raise_cash_run": _raise_run,
    "raise_cash": _raise_cash,
    "cash_floor": _cash_floor,
    "cash_floor_amount": _cash_floor_amount,
    "bounds": _relative,
    "lot_size": _lot_size,
    "lot_sizes": _lot_sizes,
    "min_trade": _min_trade,
    "max_orders": _max_orders,
    "max_turnover": _max_turnover,
    "cost_rate": _cost_rate,
    "cost_per_order": _cost_per_order,
    "no_buy": _named("no_buy"),
    "no_sell": _named("no_sell"),
    "no_trade": _named("no_trade"),
    "group_max": _group_max,
    "group_min": _group_min,
}

_RUNS = frozenset({"if_outside", "to_band", "invest_cash", "raise_cash_run"})
_EXCLUDED = (*combinations(sorted(_RUNS), 2), ("invest_cash", "raise_cash"), ("raise_cash", "raise_cash_run"))


def go_together(names: Sequence[str]) -> bool:
    """Whether one policy can ask for all of them."""
    return not any(one in names and other in names for one, other in _EXCLUDED)


SINGLES: Sequence[tuple[str, ...]] = [(name,) for name in FEATURES]
PAIRS: Sequence[tuple[str, ...]] = [pair for pair in combinations(FEATURES, 2) if go_together(pair)]


def draw(
    features: Sequence[str], rng: random.Random, sketch: Callable[[random.Random], Sketch] | None = None
) -> Book:
    """A book with these features set, of 1 to 6 securities in few and dear shares unless ``sketch`` says otherwise."""
    book = (sketch or few_dear_shares)(rng)
    changes: Changes = {}
    for name in FEATURES:
        if name in features:
            found = FEATURES[name](book)
            if "groups" in changes and "groups" in found:
                found["groups"] = (*changes["groups"], *found["groups"])
            changes |= found
    relative = changes.get("bounds") is Bounds.RELATIVE
    value = book.cash + sum((book.worth(number) for number in book.held), start=Decimal(0))
    weights = {
        number: (
            target,
            _bound(book, number, value, relative=relative),
            _bound(book, number, value, relative=relative),
        )
        for number, target in book.targets.items()
    }
    return Book(
        portfolio=builders.portfolio(book.cash, book.held),
        model=builders.model(weights),
        prices=builders.prices(book.prices),
        policy=Policy(**changes),
    )


def few_dear_shares(rng: random.Random) -> Sketch:
    """Some targets are 0 in effect: held, outside the model. Prices are such that a target is 1 to 8 shares."""
    value = Decimal(rng.randint(5_000, 60_000))
    modelled, outside = rng.randint(1, 4), rng.choice([0, 0, 1, 1, 2])
    left = rng.choice([190, 180, 160, rng.randint(60, 190)])
    cuts = sorted(rng.sample(range(1, left), modelled - 1))
    steps = [high - low for low, high in zip([0, *cuts], [*cuts, left], strict=True)]
    targets = {number: Decimal(step) * Decimal("0.005") for number, step in enumerate(steps, start=1)}
    prices = {
        number: max(CENT, _money(value * targets.get(number, Decimal("0.05")) / _times(rng, 0.8, 7)))
        for number in range(1, modelled + outside + 1)
    }
    cash, held = value, dict[int, Decimal]()
    for number, price in prices.items():
        share = targets.get(number, Decimal("0.06")) * Decimal(
            rng.choice(["0", "0.5", "0.9", "1", "1", "1.2", "1.7"])
        )
        held[number] = Decimal(min(round(share * value / price), int(cash / price)))
        cash -= held[number] * price
    return Sketch(rng=rng, value=value, prices=prices, targets=targets, held=held, cash=cash)


def _bound(book: Sketch, number: int, value: Decimal, *, relative: bool) -> Decimal:
    """So many shares as a weight of the market value or of the target, to 6 decimals."""
    shares = Decimal(book.rng.choice(book.bounds_in_shares))
    whole = value * book.targets[number] if relative else value
    return _weight(shares * book.prices[number] / whole, 6)


# ------------------------------------------------------------------------------------------------ with the truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A book that is fit to be rebalanced, and what trying everything found."""

    book: Book
    checked: CheckedPortfolio
    truth: brute_force_policies.Truth


def cases(
    features: Sequence[str], count: int, *, limit: int = 2_000, seed: str = "trimtab"
) -> Iterator[Case]:
    """So many cases with these features, always the same ones."""
    rng = random.Random(f"{seed} {' '.join(features)}")
    found = 0
    while found < count:
        case = _case(draw(features, rng), limit)
        if case is not None:
            found += 1
            yield case


def checked_book(book: Book) -> CheckedPortfolio | None:
    """As the input checks leave it; None where they reject it."""
    checked = check_portfolio(
        book.portfolio, Market(book.model, book.prices), book.policy, StatedValueRange()
    )
    return checked if isinstance(checked, CheckedPortfolio) else None


def _case(book: Book, limit: int) -> Case | None:
    checked = checked_book(book)
    if checked is None:
        return None
    try:
        truth = brute_force_policies.solve(checked, book.policy, limit=limit)
    except brute_force_policies.TooLarge:
        return None
    return Case(book=book, checked=checked, truth=truth)


@cache
def kept_cases(features: tuple[str, ...], count: int) -> list[Case]:
    """`cases`, drawn and tried out once for every test that asks."""
    return list(cases(features, count))
