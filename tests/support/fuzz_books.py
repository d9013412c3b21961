"""Seeded random portfolios over all policies at once: tiny ones whose truth is known, and ordinary ones of any size."""

import random
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from domain.policy import OnInfeasible
from tests.support.policy_books import FEATURES, Sketch, draw, go_together
from tests.support.small_books import Book

CENT = Decimal("0.01")
_MOST_FEATURES = 6
_TINY = 0.6  # so many of them can be solved by trying everything


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzCase:
    """``number`` and the run's seed draw it again."""

    number: int
    features: tuple[str, ...]
    tiny: bool
    book: Book


def fuzz_case(seed: int, number: int) -> FuzzCase:
    """Always the same for the same seed and number, whatever was drawn before."""
    rng = random.Random(f"trimtab fuzz {seed} {number}")
    features = _features(rng)
    tiny = rng.random() < _TINY
    book = draw(features, rng) if tiny else draw(features, rng, _ordinary)
    if rng.random() < 0.25:
        book = replace(book, policy=replace(book.policy, on_infeasible=OnInfeasible.RELAX))
    return FuzzCase(number=number, features=features, tiny=tiny, book=book)


def _features(rng: random.Random) -> tuple[str, ...]:
    chosen: list[str] = []
    for name in rng.sample(sorted(FEATURES), rng.randint(0, _MOST_FEATURES)):
        if go_together([*chosen, name]):
            chosen.append(name)
    return tuple(chosen)


def _ordinary(rng: random.Random) -> Sketch:
    """Up to 60 modelled securities of ordinary prices, in portfolios of some thousand to a hundred million."""
    value = Decimal(rng.choice([4_000, 25_000, 250_000, 3_000_000, 100_000_000])) + rng.randint(0, 999)
    modelled, outside = rng.randint(3, 60), rng.choice([0, 0, 1, 4])
    left = rng.choice([190, 190, 180, rng.randint(70, 190)])
    cuts = sorted(rng.sample(range(1, left), modelled - 1))
    steps = [high - low for low, high in zip([0, *cuts], [*cuts, left], strict=True)]
    targets = {number: Decimal(step) * Decimal("0.005") for number, step in enumerate(steps, start=1)}
    prices = {
        number: Decimal(
            rng.choice([rng.randint(10, 400), rng.randint(400, 40_000), rng.randint(40_000, 90_000)])
        )
        * CENT
        for number in range(1, modelled + outside + 1)
    }
    near = rng.random() < 0.6
    cash, held = value, dict[int, Decimal]()
    for number, price in prices.items():
        factor = Decimal(rng.choice(["0.9", "1", "1", "1.1"] if near else ["0", "0.5", "1", "1.6"]))
        share = targets.get(number, Decimal("0.02")) * factor
        wanted = (share * value / price).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
        held[number] = Decimal(min(int(wanted), max(0, int(cash / price))))
        cash -= held[number] * price
    widths = ("1", "3", "10", "60") if rng.random() < 0.5 else ("2", "40", "300")
    return Sketch(
        rng=rng,
        value=value,
        prices=prices,
        targets=targets,
        held=held,
        cash=cash,
        bounds_in_shares=widths,
    )
