"""Seeded random portfolios that are small enough to be solved by trying everything, in families that hurt."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from domain.ids import SecurityId
from domain.model import InvestmentModel
from domain.policy import Policy
from domain.portfolio import Portfolio
from tests.support import builders

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One case: what `rebalance` is asked."""

    portfolio: Portfolio
    model: InvestmentModel
    prices: Mapping[SecurityId, Decimal]
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the cases of one family are drawn. ``low`` and ``high`` are drift bounds in shares."""

    value: Callable[[random.Random], int]
    price: Callable[[random.Random], Decimal]
    low: Callable[[random.Random], float]
    high: Callable[[random.Random], float]
    floor: Callable[[random.Random, Decimal], Decimal]


def _dollars(low: int, high: int) -> Callable[[random.Random], int]:
    return lambda rng: rng.randint(low, high)


def _prices(*ranges: tuple[str, str]) -> Callable[[random.Random], Decimal]:
    """A price in whole cents from one of the ranges."""

    def draw(rng: random.Random) -> Decimal:
        low, high = rng.choice(ranges)
        return Decimal(rng.randint(int(Decimal(low) / CENT), int(Decimal(high) / CENT))) * CENT

    return draw


def _shares(low: float, high: float) -> Callable[[random.Random], float]:
    return lambda rng: rng.uniform(low, high)


def _no_floor(rng: random.Random, rest: Decimal) -> Decimal:
    return Decimal(0)


def _floor_is_the_rest(rng: random.Random, rest: Decimal) -> Decimal:
    return rest


def _floor_near_the_rest(rng: random.Random, rest: Decimal) -> Decimal:
    return max(Decimal(0), min(Decimal(1), rest + Decimal(rng.randint(-100, 100)) / 10_000))


def _none(rng: random.Random) -> float:
    return 0.0


LIQUID = _prices(("5", "400"))
DEAR = _prices(("400000", "700000"))
PENNY = _prices(("0.01", "0.99"))
ANYTHING = _prices(("0.01", "0.99"), ("5", "400"), ("400000", "700000"))
WIDE = _shares(0.4, 3.5)

FAMILIES: Mapping[str, Family] = {
    "ordinary": Family(value=_dollars(3_000, 50_000), price=LIQUID, low=WIDE, high=WIDE, floor=_no_floor),
    "cash_floor_is_the_rest": Family(
        value=_dollars(3_000, 50_000), price=LIQUID, low=WIDE, high=WIDE, floor=_floor_is_the_rest
    ),
    "tight_bounds": Family(
        value=_dollars(3_000, 50_000),
        price=LIQUID,
        low=_shares(0.3, 0.9),
        high=_shares(0.3, 0.9),
        floor=_floor_near_the_rest,
    ),
    "only_below_target": Family(
        value=_dollars(3_000, 50_000), price=LIQUID, low=WIDE, high=_none, floor=_floor_near_the_rest
    ),
    "only_above_target": Family(
        value=_dollars(3_000, 50_000), price=LIQUID, low=_none, high=WIDE, floor=_floor_near_the_rest
    ),
    "zero_width_bounds": Family(
        value=lambda rng: 200 * rng.randint(10, 200),
        price=lambda rng: Decimal(rng.choice(["0.01", "0.25", "0.5", "1", "1", "5", "7"])),
        low=_none,
        high=_none,
        floor=_floor_is_the_rest,
    ),
    "two_thousand_dollars": Family(
        value=_dollars(1_900, 2_100), price=LIQUID, low=WIDE, high=WIDE, floor=_floor_near_the_rest
    ),
    "hundred_billion_dollars": Family(
        value=_dollars(99_000_000_000, 101_000_000_000),
        price=DEAR,
        low=WIDE,
        high=WIDE,
        floor=_floor_is_the_rest,
    ),
    "hundred_billion_in_ordinary_shares": Family(
        value=_dollars(99_000_000_000, 101_000_000_000),
        price=LIQUID,
        low=WIDE,
        high=WIDE,
        floor=_floor_is_the_rest,
    ),
    "penny_shares": Family(
        value=_dollars(100, 3_000), price=PENNY, low=WIDE, high=WIDE, floor=_floor_is_the_rest
    ),
    "half_million_dollar_shares": Family(
        value=_dollars(4_000_000, 90_000_000), price=DEAR, low=WIDE, high=WIDE, floor=_floor_near_the_rest
    ),
    "penny_beside_half_million": Family(
        value=_dollars(4_000_000, 90_000_000), price=ANYTHING, low=WIDE, high=WIDE, floor=_floor_is_the_rest
    ),
}


def draw(family: Family, rng: random.Random) -> Book:
    """One case of a family: 1 to 6 securities, holdings near the model or far from it, some outside it."""
    value = Decimal(family.value(rng))
    modelled = rng.randint(1, 5)
    outside = rng.choice([0, 0, 1])
    targets = _targets(rng, modelled)
    prices = {number: family.price(rng) for number in range(1, modelled + outside + 1)}
    weights = {
        number: (
            target,
            _bound(family.low(rng), prices[number], value),
            _bound(family.high(rng), prices[number], value),
        )
        for number, target in targets.items()
    }
    cash = value
    held: dict[int, int] = {}
    for number, price in prices.items():
        share = float(targets.get(number, Decimal("0.05"))) * rng.choice([0, 0.5, 0.9, 1, 1, 1.1, 1.6])
        held[number] = min(int(share * float(value / price)), int(cash / price))
        cash -= held[number] * price
    rest = 1 - sum(targets.values(), start=Decimal(0))
    return Book(
        portfolio=builders.portfolio(cash, held),
        model=builders.model(weights),
        prices=builders.prices(prices),
        policy=Policy(cash_floor=family.floor(rng, rest)),
    )


def _targets(rng: random.Random, count: int) -> dict[int, Decimal]:
    """Multiples of 0.005 that add up to 0.95 or less, often exactly."""
    left = rng.choice([190, 190, rng.randint(20, 190)])
    steps: list[int] = []
    for after in reversed(range(count)):
        steps.append(
            left - sum(steps) if not after and left == 190 else rng.randint(1, max(1, left // count))
        )
    return {number: Decimal(step) * Decimal("0.005") for number, step in enumerate(steps, start=1)}


def _bound(shares: float, price: Decimal, value: Decimal) -> Decimal:
    """So many shares as a weight, to 12 decimals."""
    weight = Decimal(shares) * price / value
    return min(Decimal(1), weight).quantize(Decimal("1e-12"), rounding=ROUND_HALF_EVEN)
