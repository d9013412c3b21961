r"""The problem of one portfolio in exact integers, and what a solver answers to it.

Minimise the sum of \|MV t_i - u_i p_i\| over whole u_i >= 0 with MV (t_i - l_i) <= u_i p_i <= MV (t_i + h_i)
and sum u_i p_i <= MV - cash floor.

Everything is scaled to one common denominator so that no rounding happens anywhere: money in units of
10^-money_places, weights in units of 1 / weight_scale. ``price * weight_scale`` and ``market_value * weight``
are then whole numbers of the same unit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.ids import SecurityId

# int64 where every product is sure to fit, Python integers (dtype object) otherwise: the same code runs on both.
IntArray = NDArray[np.int64] | NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Securities in canonical order (by id); every array has one entry a security.

    ``price``, ``market_value``, ``budget`` are in money units; ``target``, ``lower`` and ``upper`` are
    market_value x weight, in money units x weight_scale; ``held`` and the window ``min_quantity`` ..
    ``max_quantity`` (whole shares whose value lies inside the bounds, never below 0) are shares.
    ``budget`` is what the holdings may cost at most: market value less the cash floor (and less what is not
    traded).
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SolverAnswer:
    """``quantity`` is None when the solver proved that there is no answer.

    ``lower_bound`` is the solver's own bound on the drift, in money, as a float: it proves nothing by itself.
    """

    quantity: IntArray | None
    lower_bound: float
    status: str
