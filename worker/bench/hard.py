"""Portfolios under rules that are hard to prove anything about: drawn for the benchmark, the same ones in every run."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from domain.checks import CheckedPortfolio
from domain.ids import PortfolioId, SecurityId
from domain.model import ModelPosition
from domain.policy import Group, Policy

_TOGETHER = Decimal("0.95")
_STEP = Decimal("0.0005")
_DRIFT = Decimal("0.02")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """``worth`` of one position on average; ``policy`` but for what depends on the number of securities.

    ``orders``: at most this part of the securities may be traded. ``alike``: prices and targets are equal.
    """

    name: str
    policy: Mapping[str, Any] = field(default_factory=dict)
    worth: int = 10_000
    orders: Decimal | None = None
    alike: bool = False
    groups: int = 0


_FEES = {"cost_rate": Decimal("0.001"), "cost_per_order": Decimal("4.95"), "cash_floor": Decimal("0.05")}
_FEW = {**_FEES, "min_trade": Decimal(500)}

FAMILIES: Sequence[Family] = (
    Family(name="fees and smallest trade", policy=_FEW),
    Family(name="a third may be traded", policy={"cash_floor": Decimal("0.05")}, orders=Decimal(1) / 3),
    Family(name="turnover 8 %", policy={**_FEES, "max_turnover": Decimal("0.08")}),
    Family(
        name="all of these", policy={**_FEW, "max_turnover": Decimal("0.08")}, orders=Decimal(1) / 3, groups=3
    ),
    Family(name="equal prices and targets", policy=_FEW, alike=True),
    Family(name="$1,000,000 a position", policy=_FEW, worth=1_000_000),
    Family(name="$300 a position", policy={**_FEES, "min_trade": Decimal(20)}, worth=300),
    Family(name="lots of 10 and 100", policy={**_FEES, "lot_size": 10}, worth=100_000),
)


def draw(family: Family, count: int, seed: int = 1) -> Iterator[tuple[CheckedPortfolio, Policy]]:
    """Portfolios without end, of ``count`` securities each. Some may have no answer."""
    rng = random.Random(f"{family.name} {count} {seed}")  # noqa: S311 - data, not secrets
    while True:
        yield _portfolio(family, count, rng)


def _portfolio(family: Family, count: int, rng: random.Random) -> tuple[CheckedPortfolio, Policy]:
    ids = [SecurityId(f"SEC{number:021d}") for number in range(count)]
    prices = {each: Decimal(5000 if family.alike else rng.randint(500, 50_000)).scaleb(-2) for each in ids}
    targets = dict(zip(ids, _targets(family, ids, rng), strict=True))
    worth = family.worth * count
    shares = {
        each: int(worth * float(position.target) * rng.uniform(0.6, 1.4) / float(prices[each]))
        for each, position in targets.items()
    }
    invested = sum((prices[each] * held for each, held in shares.items()), Decimal(0))
    cash = max(Decimal(0), Decimal(worth) - invested)
    checked = CheckedPortfolio(
        portfolio_id=PortfolioId("DRAWN"),
        cash=cash,
        market_value=cash + invested,
        shares=shares,
        fractions={},
        targets=targets,
        prices=prices,
    )
    more: dict[str, Any] = {}
    if family.orders is not None:
        more["max_orders"] = int(count * family.orders)
    if family.groups:
        more["groups"] = tuple(_groups(family.groups, ids, targets))
    return checked, Policy(**family.policy, **more)


def _targets(family: Family, ids: Sequence[SecurityId], rng: random.Random) -> Iterator[ModelPosition]:
    steps = [1] * len(ids)
    for place in range(int(_TOGETHER / _STEP) - len(ids)):
        steps[place % len(ids) if family.alike else rng.randrange(len(ids))] += 1
    for each, count in zip(ids, steps, strict=True):
        yield ModelPosition(security_id=each, target=count * _STEP, low_drift=_DRIFT, high_drift=_DRIFT)


def _groups(
    count: int, ids: Sequence[SecurityId], targets: Mapping[SecurityId, ModelPosition]
) -> Iterator[Group]:
    """Sectors of a few neighbours each that may be worth a little more or less than their targets together."""
    size = len(ids) // count
    for number in range(count):
        members = tuple(ids[number * size : (number + 1) * size])
        together = sum((targets[each].target for each in members), Decimal(0))
        yield Group(
            name=f"sector {number + 1}",
            security_ids=members,
            min=together - Decimal("0.01"),
            max=together + Decimal("0.01"),
        )
