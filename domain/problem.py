r"""The problem of one portfolio in exact integers, and what a solver answers to it.

Minimise the sum of \|MV t_i - u_i p_i\| over whole u_i >= 0 with MV (t_i - l_i) <= u_i p_i <= MV (t_i + h_i)
and sum u_i p_i <= MV - cash floor.

Everything is scaled to one common denominator so that no rounding happens anywhere: money in units of
10^-money_places, weights in units of 1 / weight_scale. ``price * weight_scale`` and ``market_value * weight``
are then whole numbers of the same unit, called fine units here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from domain import money
from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.policy import Policy

# int64 where every product is sure to fit, Python integers (dtype object) otherwise: the same code runs on both,
# and a type checker is told of the first only.
IntArray: TypeAlias = NDArray[np.int64]
IntType: TypeAlias = np.dtype[np.int64]


def int_type(*, fits_int64: bool) -> IntType:
    """The dtype of an `IntArray`."""
    return np.dtype(np.int64) if fits_int64 else cast(IntType, np.dtype(np.object_))


# The estimate of the largest number is made in floats, good to far better than the factor 2 between this and 2^62.
_INT64_SAFE = 2.0**61


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Securities in canonical order (by id); every array has one entry a security.

    ``price``, ``market_value``, ``budget`` are in money units; ``target``, ``lower`` and ``upper`` are
    market_value x weight, in fine units; ``held`` and the window ``min_quantity`` .. ``max_quantity`` (whole
    shares whose value lies inside the bounds, never below 0) are shares. Where no whole share lies inside the
    bounds the window is empty: ``min_quantity`` > ``max_quantity``.
    ``budget`` is what the holdings may cost at most: market value less the cash floor (and less what is not
    traded).

    A part of a share that stays is no variable: its value is taken off ``target``, ``lower``, ``upper`` and
    ``budget``, so that what is left speaks of whole shares only.
    """

    security_ids: tuple[SecurityId, ...]
    money_places: int
    weight_scale: int
    market_value: int
    budget: int
    price: IntArray
    target: IntArray
    lower: IntArray
    upper: IntArray
    held: IntArray
    min_quantity: IntArray
    max_quantity: IntArray

    @property
    def fine_places(self) -> int:
        """Decimal places of a fine unit: ``weight_scale`` is a power of ten."""
        return self.money_places + len(str(self.weight_scale)) - 1

    def spend(self, quantity: IntArray) -> int:
        """What these shares cost together, in money units."""
        return int((self.price * quantity).sum())

    def drift(self, quantity: IntArray) -> int:
        """How far they are from their targets together, in fine units."""
        return int(np.abs(self.target - quantity * (self.price * self.weight_scale)).sum())

    def allows(self, quantity: IntArray) -> bool:
        """Whether every quantity lies in its window and all of them within the budget."""
        inside = (self.min_quantity <= quantity) & (quantity <= self.max_quantity)
        return bool(inside.all()) and self.spend(quantity) <= self.budget


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SolverAnswer:
    """``quantity`` is None when the solver proved that there is no answer.

    ``lower_bound`` is the solver's own bound on the drift, in money, as a float: it proves nothing by itself.
    """

    quantity: IntArray | None
    lower_bound: float
    status: str


def build_problem(checked: CheckedPortfolio, policy: Policy) -> Problem:
    """Scale a checked portfolio to integers, every held or modelled security once, in order of id.

    A holding outside the model has target and bounds 0: all whole shares of it go. What stays of it under
    ``keep_fraction`` is outside anybody's reach, so it does not break the bound; it counts as drift.
    """
    ids = tuple(sorted(checked.shares.keys() | checked.targets.keys()))
    prices = [checked.prices[security_id] for security_id in ids]
    places = _money_places(checked, policy, prices)
    weights = _ModelWeights.of(checked)
    scale = weights.scale
    value = money.to_units(checked.market_value, places)

    price = [money.to_units(each, places) for each in prices]
    held = [checked.shares.get(security_id, 0) for security_id in ids]
    target, lower, upper = weights.in_money(ids, value)
    budget = value - _cash_floor(value, places, policy)
    for index, kept in _kept_fractions(checked, ids, places):
        outside_model = ids[index] not in checked.targets
        target[index] -= kept * scale
        lower[index] -= kept * scale
        upper[index] = 0 if outside_model else upper[index] - kept * scale
        budget -= kept

    arrays = _Arrays(
        scale=scale, price=price, held=held, others=(target, lower, upper, [value * scale, budget])
    )
    price_array, lower_array, upper_array = arrays.of(price), arrays.of(lower), arrays.of(upper)
    fine_price = price_array * scale
    return Problem(
        security_ids=ids,
        money_places=places,
        weight_scale=scale,
        market_value=value,
        budget=budget,
        price=price_array,
        target=arrays.of(target),
        lower=lower_array,
        upper=upper_array,
        held=arrays.of(held),
        min_quantity=np.maximum(-(-lower_array // fine_price), 0),
        max_quantity=upper_array // fine_price,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelWeights:
    """Target, target - low drift (not below 0) and target + high drift of every modelled security, x ``scale``."""

    scale: int
    by_security: dict[SecurityId, tuple[int, int, int]]

    @classmethod
    def of(cls, checked: CheckedPortfolio) -> "_ModelWeights":
        positions = checked.targets.values()
        places = _finest(
            weight for each in positions for weight in (each.target, each.low_drift, each.high_drift)
        )
        by_security = {}
        for each in positions:
            target = money.to_units(each.target, places)
            low = money.to_units(each.low_drift, places)
            high = money.to_units(each.high_drift, places)
            by_security[each.security_id] = (target, max(0, target - low), target + high)
        return cls(scale=10**places, by_security=by_security)

    def in_money(
        self, ids: tuple[SecurityId, ...], market_value: int
    ) -> tuple[list[int], list[int], list[int]]:
        """Target, lower and upper bound of each security in fine units; 0 outside the model."""
        outside = (0, 0, 0)
        rows = [self.by_security.get(security_id, outside) for security_id in ids]
        return (
            [market_value * target for target, _, _ in rows],
            [market_value * lower for _, lower, _ in rows],
            [market_value * upper for _, _, upper in rows],
        )


def _finest(values: Iterable[Decimal]) -> int:
    """Decimal places that suffice for every value: an exact sum has as many as its finest term."""
    exponent = money.total(values).as_tuple().exponent
    return max(0, -int(exponent))


def _money_places(checked: CheckedPortfolio, policy: Policy, prices: list[Decimal]) -> int:
    whole = _finest([checked.cash, checked.market_value, policy.cash_floor_amount, *prices])
    kept = _finest(
        money.multiply(checked.prices[security_id], fraction)
        for security_id, fraction in checked.fractions.items()
    )
    return max(whole, kept)


def _cash_floor(market_value: int, places: int, policy: Policy) -> int:
    """The larger of the two floors in money units, rounded up: spending is whole units, so nothing is lost."""
    weight_places = _finest([policy.cash_floor])
    by_weight: int = -(-market_value * money.to_units(policy.cash_floor, weight_places) // 10**weight_places)
    return max(by_weight, money.to_units(policy.cash_floor_amount, places))


def _kept_fractions(
    checked: CheckedPortfolio, ids: tuple[SecurityId, ...], places: int
) -> list[tuple[int, int]]:
    """(index, value in money units) of every part of a share that stays."""
    if not checked.fractions:
        return []
    index_of = {security_id: index for index, security_id in enumerate(ids)}
    return [
        (
            index_of[security_id],
            money.to_units(money.multiply(checked.prices[security_id], fraction), places),
        )
        for security_id, fraction in checked.fractions.items()
    ]


class _Arrays:
    """Makes every array of one problem of the same kind: int64 if nothing computed from them can overflow.

    What is computed is at most a sum over the securities of target, bounds and the value of the shares held,
    of the shares nearest to the target or of those at either end of the window: never more than the bounds
    and two shares. Floats are good enough to tell: see `_INT64_SAFE`.
    """

    __slots__ = ("_dtype",)

    def __init__(self, *, scale: int, price: list[int], held: list[int], others: Iterable[list[int]]) -> None:
        prices = np.array(price, dtype=np.float64) * float(scale)
        shares = np.abs(np.array(held, dtype=np.float64)) + 4
        largest = float(prices @ shares)
        for each in others:
            largest += float(np.abs(np.array(each, dtype=np.float64)).sum())
        self._dtype = int_type(fits_int64=largest < _INT64_SAFE)

    def of(self, values: list[int]) -> IntArray:
        return np.array(values, dtype=self._dtype)
