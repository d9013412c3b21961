r"""The problem of one portfolio in exact integers, and what a solver answers to it.

Minimise the sum of \|MV t_i - u_i p_i\| over whole u_i >= 0 with MV (t_i - l_i) <= u_i p_i <= MV (t_i + h_i)
and sum u_i p_i <= MV - cash floor.

Everything is scaled to one common denominator so that no rounding happens anywhere: money in units of
10^-money_places, weights in units of 1 / weight_scale. ``price * weight_scale`` and ``market_value * weight``
are then whole numbers of the same unit, called fine units here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from domain import money
from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.model import ModelPosition
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
_SPARE_SHARES = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Securities in canonical order (by id); every array has one entry a security.

    ``price``, ``market_value``, ``budget`` are in money units; ``target``, ``lower`` and ``upper`` are
    market_value x weight, in fine units, as is ``fine_price``; ``held`` and the window ``min_quantity`` .. ``max_quantity`` (whole
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
    fine_price: IntArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fine_price", self.price * self.weight_scale)

    @property
    def fine_places(self) -> int:
        """Decimal places of a fine unit: ``weight_scale`` is a power of ten."""
        return self.money_places + len(str(self.weight_scale)) - 1

    def spend(self, quantity: IntArray) -> int:
        """What these shares cost together, in money units."""
        return int(np.add.reduce(self.price * quantity))

    def drift(self, quantity: IntArray) -> int:
        """How far they are from their targets together, in fine units."""
        return int(np.add.reduce(np.abs(self.target - quantity * self.fine_price)))

    def allows(self, quantity: IntArray) -> bool:
        """Whether every quantity lies in its window and all of them within the budget."""
        inside = (self.min_quantity <= quantity) & (quantity <= self.max_quantity)
        return bool(inside.all()) and self.spend(quantity) <= self.budget


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SolverAnswer:
    """``quantity`` is None when the solver proved that there is no answer.

    ``lower_bound`` is the solver's own bound on the drift, in money, as a float: it proves nothing by itself.
    ``seconds`` is how long it took.
    """

    quantity: IntArray | None
    lower_bound: float
    status: str
    seconds: float = 0.0


def build_problem(checked: CheckedPortfolio, policy: Policy, scales: "Scales | None" = None) -> Problem:
    """Scale a checked portfolio to integers, every held or modelled security once, in order of id.

    A holding outside the model has target and bounds 0: all whole shares of it go. What stays of it under
    ``keep_fraction`` is outside anybody's reach, so it does not break the bound; it counts as drift.

    Args:
        checked: the portfolio.
        policy: for the cash floor.
        scales: those of ``checked``'s own targets and prices, if a whole job keeps them; made anew otherwise.
    """
    scales = scales or Scales(checked.targets, checked.prices, policy)
    kept = {
        security_id: money.multiply(checked.prices[security_id], fraction)
        for security_id, fraction in checked.fractions.items()
    }
    outside = sorted(checked.shares.keys() - checked.targets.keys())
    places = max(
        scales.money_places,
        *(money.places(amount) for amount in (checked.cash, checked.market_value, *kept.values())),
        *(money.places(checked.prices[security_id]) for security_id in outside),
    )
    columns = scales.columns(places, outside)
    scale, value = scales.weight_scale, money.to_units(checked.market_value, places)
    shares = checked.shares
    # Shares have 18 digits at the most (`money.fits`), so they are 64 bits whatever else is not.
    held = np.array([shares.get(each, 0) for each in columns.security_ids], dtype=np.int64)
    budget = value - scales.cash_floor(value, places)
    dtype = int_type(fits_int64=columns.largest(value, held) + float(abs(budget)) < _INT64_SAFE)
    columns = columns.of_type(dtype)
    target, lower, upper = value * columns.target, value * columns.lower, value * columns.upper
    for security_id, amount in kept.items():
        index, units = columns.security_ids.index(security_id), money.to_units(amount, places)
        target[index] -= units * scale
        lower[index] -= units * scale
        upper[index] = upper[index] - units * scale if security_id in checked.targets else 0
        budget -= units
    return Problem(
        security_ids=columns.security_ids,
        money_places=places,
        weight_scale=scale,
        market_value=value,
        budget=budget,
        price=columns.price,
        target=target,
        lower=lower,
        upper=upper,
        held=held.astype(dtype, copy=False),
        min_quantity=np.maximum(-(-lower // columns.fine_price), 0),
        max_quantity=upper // columns.fine_price,
    )


class Scales:
    """The numbers of a model and a market as integers: made once, kept for every portfolio they hold for.

    Weights are in units of 1 / ``weight_scale``. ``money_places`` suffice for every modelled price and the floor's
    amount; a portfolio may need more (`columns`).
    """

    def __init__(
        self,
        targets: Mapping[SecurityId, ModelPosition],
        prices: Mapping[SecurityId, Decimal],
        policy: Policy,
    ) -> None:
        positions = targets.values()
        places = _finest(
            weight for each in positions for weight in (each.target, each.low_drift, each.high_drift)
        )
        self.weight_scale = 10**places
        self.money_places = _finest((policy.cash_floor_amount, *(prices[each] for each in targets)))
        self._weights = {security_id: _weights(each, places) for security_id, each in targets.items()}
        self._modelled = tuple(sorted(targets))
        self._prices = prices
        self._floor_amount = policy.cash_floor_amount
        floor_places = _finest([policy.cash_floor])
        self._floor_scale = 10**floor_places
        self._floor_weight = money.to_units(policy.cash_floor, floor_places)
        self._modelled_columns: dict[int, Columns] = {}

    def columns(self, places: int, outside: Sequence[SecurityId]) -> "Columns":
        """Prices in units of 10^-places and weights of the modelled securities and those held ``outside``."""
        if outside:
            return self._columns(tuple(sorted((*self._modelled, *outside))), places)
        if places not in self._modelled_columns:
            self._modelled_columns[places] = self._columns(self._modelled, places)
        return self._modelled_columns[places]

    def cash_floor(self, market_value: int, places: int) -> int:
        """The larger of the two floors in money units, rounded up: spending is whole units, so nothing is lost."""
        by_weight: int = -(-market_value * self._floor_weight // self._floor_scale)
        return max(by_weight, money.to_units(self._floor_amount, places))

    def _columns(self, security_ids: tuple[SecurityId, ...], places: int) -> "Columns":
        price = [money.to_units(self._prices[security_id], places) for security_id in security_ids]
        weights = [self._weights.get(security_id, (0, 0, 0)) for security_id in security_ids]
        return Columns.of(security_ids, self.weight_scale, price, weights)


def _finest(values: Iterable[Decimal]) -> int:
    """Decimal places that suffice for every value: an exact sum has as many as its finest term."""
    exponent = money.total(values).as_tuple().exponent
    return max(0, -int(exponent))


def _weights(position: ModelPosition, places: int) -> tuple[int, int, int]:
    """Target, target - low drift (not below 0) and target + high drift, x 10^places."""
    target = money.to_units(position.target, places)
    low, high = money.to_units(position.low_drift, places), money.to_units(position.high_drift, places)
    return target, max(0, target - low), target + high


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Of some securities, an entry each: price (money units), price x weight scale, and the three weights, scaled."""

    security_ids: tuple[SecurityId, ...]
    price: IntArray
    fine_price: IntArray
    target: IntArray
    lower: IntArray
    upper: IntArray
    fine_price_as_float: NDArray[np.float64]
    weights_as_float: float

    @classmethod
    def of(
        cls,
        security_ids: tuple[SecurityId, ...],
        scale: int,
        price: Sequence[int],
        weights: Sequence[tuple[int, int, int]],
    ) -> "Columns":
        """Numbers and columns of one length; ``scale`` is the whole that the weights are parts of."""
        as_float = np.array(price, dtype=np.float64) * float(scale)
        dtype = int_type(fits_int64=float(as_float.max(initial=0.0)) < _INT64_SAFE)
        prices = np.array(price, dtype=dtype)
        target, lower, upper = (
            np.array([each[column] for each in weights], dtype=dtype) for column in range(3)
        )
        return cls(
            security_ids=security_ids,
            price=prices,
            fine_price=prices * scale,
            target=target,
            lower=lower,
            upper=upper,
            fine_price_as_float=as_float,
            weights_as_float=float(sum(sum(each) for each in weights) + scale),
        )

    def largest(self, market_value: int, held: IntArray) -> float:
        """No number of a problem of these securities, and none computed from it, is larger.

        What is computed is at most a sum over the securities of target, bounds and the value of the shares held,
        of the shares nearest to the target or of those at either end of the window: never more than the bounds
        and two shares, or three where a part of one stays. Floats are good enough to tell: see `_INT64_SAFE`.
        """
        shares = np.abs(held.astype(np.float64)) + _SPARE_SHARES
        return float(self.fine_price_as_float @ shares) + float(market_value) * self.weights_as_float

    def of_type(self, dtype: IntType) -> "Columns":
        """The same numbers, in arrays of another kind."""
        if self.price.dtype == dtype:
            return self
        names = ("price", "fine_price", "target", "lower", "upper")
        return replace(self, **{name: getattr(self, name).astype(dtype) for name in names})
