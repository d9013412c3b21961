"""Portfolios drawn for the solve benchmark: the same ones in every run."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.checks import CheckedPortfolio
from domain.closed_form import cash_shortfall, impossible_securities, nearest_quantities
from domain.ids import PortfolioId, SecurityId
from domain.model import MAX_POSITIONS, ModelPosition
from domain.policy import Policy
from domain.problem import Problem, Scales, build_problem
from domain.verify import Limits

# Targets are multiples of 0.5 %, as models have them, or of 0.05 % where there are more securities than a model has.
_TOGETHER = Decimal("0.95")
_COARSE, _FINE = Decimal("0.005"), Decimal("0.0005")
_DRIFT = Decimal("0.02")


class Prices(StrEnum):
    LIQUID = "5 to 500"
    WILD = "a fifth below 1, one in fifty at 400,000 to 600,000"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """A portfolio that has an answer, with what a job would keep for it, and its problem."""

    checked: CheckedPortfolio
    policy: Policy
    scales: Scales
    limits: Limits
    problem: Problem

    @property
    def binds(self) -> bool:
        """Whether the nearest shares cost more than the cash floor leaves."""
        return self.problem.spend(nearest_quantities(self.problem)) > self.problem.budget


def draw(
    count: int, *, prices: Prices = Prices.LIQUID, floor: Decimal = Decimal(0), seed: int = 1
) -> Iterator[Drawn]:
    """Portfolios without end, of ``count`` securities each, worth 100,000 to 10,000,000; ``floor`` is a weight.

    Those without any answer are left out.
    """
    rng = random.Random(f"{count} {prices} {seed}")  # noqa: S311 - data, not secrets
    policy = Policy(cash_floor=floor)
    while True:
        checked = _portfolio(count, prices, rng)
        scales = Scales(checked.targets, checked.prices, policy)
        problem = build_problem(checked, policy, scales)
        impossible = impossible_securities(problem)
        if not impossible and not cash_shortfall(problem):
            limits = Limits(checked.targets, checked.prices)
            yield Drawn(checked=checked, policy=policy, scales=scales, limits=limits, problem=problem)


def _portfolio(count: int, prices: Prices, rng: random.Random) -> CheckedPortfolio:
    ids = [SecurityId(f"SEC{number:021d}") for number in range(count)]
    market = {security_id: _price(prices, rng) for security_id in ids}
    targets = dict(zip(ids, _targets(ids, rng), strict=True))
    worth = 10 ** rng.uniform(5, 7)
    shares = {
        security_id: int(worth * float(each.target) * rng.uniform(0.6, 1.0) / float(market[security_id]))
        for security_id, each in targets.items()
    }
    invested = sum(market[security_id] * quantity for security_id, quantity in shares.items())
    cash = Decimal(round(worth * 100)) / 100 - invested
    return CheckedPortfolio(
        portfolio_id=PortfolioId("DRAWN"),
        cash=cash,
        market_value=cash + invested,
        shares=shares,
        fractions={},
        targets=targets,
        prices=market,
    )


def _targets(ids: list[SecurityId], rng: random.Random) -> Iterator[ModelPosition]:
    step = _COARSE if len(ids) <= MAX_POSITIONS else _FINE
    steps = [1] * len(ids)
    for _ in range(int(_TOGETHER / step) - len(ids)):
        steps[rng.randrange(len(ids))] += 1
    for security_id, each in zip(ids, steps, strict=True):
        yield ModelPosition(security_id=security_id, target=each * step, low_drift=_DRIFT, high_drift=_DRIFT)


def _price(prices: Prices, rng: random.Random) -> Decimal:
    cents = rng.randint(500, 50_000)
    if prices is Prices.WILD:
        kind = rng.random()
        if kind < 0.2:
            cents = rng.randint(1, 99)
        elif kind < 0.22:
            cents = rng.randint(40_000_000, 60_000_000)
    return Decimal(cents).scaleb(-2)
