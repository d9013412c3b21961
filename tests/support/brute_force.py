"""The answer by trying everything: small problems only, in fractions, independent of how the product computes.

Reads nothing but the checked portfolio and the policy.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """``drift`` None: there is no answer, and ``reason`` says why. ``answers`` are all that are optimal."""

    drift: Fraction | None
    reason: str | None
    answers: tuple[dict[SecurityId, int], ...] = ()
    separable: bool = False  # whether the cash row took no part in it


class TooLarge(Exception):
    """More combinations than anybody wants to try."""


def candidates(checked: CheckedPortfolio, security_id: SecurityId) -> range:
    """Whole shares of one security within its bounds, none short."""
    position = checked.targets.get(security_id)
    if position is None:
        return range(1)
    price = Fraction(checked.prices[security_id])
    value = Fraction(checked.market_value)
    fraction = Fraction(checked.fractions.get(security_id, 0))
    low = value * (Fraction(position.target) - Fraction(position.low_drift)) / price - fraction
    high = value * (Fraction(position.target) + Fraction(position.high_drift)) / price - fraction
    return range(max(0, math.ceil(low)), math.floor(high) + 1)


def distance(checked: CheckedPortfolio, security_id: SecurityId, shares: int) -> Fraction:
    """How far this many shares are from the target, in money."""
    position = checked.targets.get(security_id)
    target = Fraction(position.target if position else 0) * Fraction(checked.market_value)
    held = Fraction(checked.prices[security_id]) * (shares + Fraction(checked.fractions.get(security_id, 0)))
    return abs(target - held)


def cash_left(checked: CheckedPortfolio, ids: Sequence[SecurityId], shares: Sequence[int]) -> Fraction:
    left = Fraction(checked.market_value)
    for security_id, count in zip(ids, shares, strict=True):
        fraction = Fraction(checked.fractions.get(security_id, 0))
        left -= Fraction(checked.prices[security_id]) * (count + fraction)
    return left


def solve(checked: CheckedPortfolio, policy: Policy, *, limit: int = 5_000) -> Truth:
    """Try every combination.

    Raises:
        TooLarge: there are more than ``limit``.
    """
    ids = sorted(set(checked.shares) | set(checked.targets))
    windows = [candidates(checked, security_id) for security_id in ids]
    if not all(windows):
        return Truth(drift=None, reason="no_whole_share")
    if math.prod(len(window) for window in windows) > limit:
        raise TooLarge
    floor = max(
        Fraction(policy.cash_floor) * Fraction(checked.market_value), Fraction(policy.cash_floor_amount)
    )
    best: Fraction | None = None
    best_without_cash: Fraction | None = None
    answers: list[dict[SecurityId, int]] = []
    for shares, drift in _combinations(checked, ids, windows):
        if best_without_cash is None or drift < best_without_cash:
            best_without_cash = drift
        if (best is None or drift <= best) and cash_left(checked, ids, shares) >= floor:
            if best is None or drift < best:
                answers.clear()
            best = drift
            answers.append(dict(zip(ids, shares, strict=True)))
    return Truth(
        drift=best,
        reason="cash_floor" if best is None else None,
        answers=tuple(answers),
        separable=best is not None and best == best_without_cash,
    )


def _combinations(
    checked: CheckedPortfolio, ids: Sequence[SecurityId], windows: Sequence[range]
) -> Iterator[tuple[tuple[int, ...], Fraction]]:
    distances = [
        {shares: distance(checked, security_id, shares) for shares in window}
        for security_id, window in zip(ids, windows, strict=True)
    ]
    for shares in product(*windows):
        yield shares, sum((row[count] for row, count in zip(distances, shares, strict=True)), Fraction(0))
