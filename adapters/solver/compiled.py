r"""The cash-coupled problem as a mixed-integer linear program, compiled once for each padded size.

Piecewise linear around f = floor(target / price), with r = target - f x price:

    u = f + y - m + p          y in {0, 1}, m and p >= 0 whole
    \|target - u x price\| = r + (price - 2r) y + price m + price p

which is exact where it matters: the slopes rise on either side, so an optimum never uses m beside y or p without
y. Windows are bounds of the variables; the cash row is the only row. Money stays in currency units: divided by
the market value, costs fall below the solver's tolerances and "optimal" answers are billions off.

A variable whose bounds are parameters may not be multiplied by a parameter (that would not be DPP, and CVXPY
would compile anew each time), so products use free copies of the variables.
"""

from dataclasses import dataclass, fields

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from domain.problem import IntArray, Problem

FloatArray = NDArray[np.float64]

_SMALLEST = 32
_GROWTH = 4
_LARGEST_STEP = 512


def padded_size(count: int) -> int:
    """The compiled size for so many securities: 32, 128, 512, 1024, 2048, ..."""
    size = _SMALLEST
    while size < count:
        size *= _GROWTH if size < _LARGEST_STEP else 2
    return size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coefficients:
    """The numbers of one problem in currency units and shares, each array padded with zeros.

    ``anchor`` is f, in shares, not padded. ``constant`` is the part of the drift no variable changes.
    """

    anchor: IntArray
    constant: float
    budget: float
    price: FloatArray
    step_cost: FloatArray
    step_min: FloatArray
    step_max: FloatArray
    less_min: FloatArray
    less_max: FloatArray
    more_min: FloatArray
    more_max: FloatArray

    @classmethod
    def of(cls, problem: Problem, size: int) -> "Coefficients":
        """Differences are taken in integers; each number is rounded to a float once."""
        fine_price = problem.price * problem.weight_scale
        anchor = problem.target // fine_price
        overhang = problem.target - anchor * fine_price
        fine = 10**problem.fine_places
        least, most = problem.min_quantity - anchor, problem.max_quantity - anchor

        def padded(values: IntArray, unit: int = 1) -> FloatArray:
            result = np.zeros(size)
            result[: len(values)] = (values / unit).astype(np.float64)
            return result

        return cls(
            anchor=anchor,
            constant=int(overhang.sum()) / fine,
            budget=(problem.budget - problem.spend(anchor)) / 10**problem.money_places,
            price=padded(problem.price, 10**problem.money_places),
            step_cost=padded(fine_price - 2 * overhang, fine),
            step_min=padded(np.minimum(np.maximum(least, 0), 1)),
            step_max=padded(np.minimum(np.maximum(most, 0), 1)),
            less_min=padded(np.maximum(-most, 0)),
            less_max=padded(np.maximum(-least, 0)),
            more_min=padded(np.maximum(least - 1, 0)),
            more_max=padded(np.maximum(most - 1, 0)),
        )


class CompiledProblem:
    """One CVXPY problem with a place for every number: set them, solve, read the shares."""

    def __init__(self, size: int) -> None:
        def values(*, nonneg: bool = False) -> cp.Parameter:
            return cp.Parameter(size, nonneg=nonneg)

        self.size = size
        self._parameters = {
            "budget": cp.Parameter(),
            "price": values(nonneg=True),
            **{name: values() for name in _ARRAYS if name != "price"},
        }
        at = self._parameters
        self._step = cp.Variable(size, integer=True, bounds=[at["step_min"], at["step_max"]])
        self._less = cp.Variable(size, integer=True, bounds=[at["less_min"], at["less_max"]])
        self._more = cp.Variable(size, integer=True, bounds=[at["more_min"], at["more_max"]])
        step, less, more = cp.Variable(size), cp.Variable(size), cp.Variable(size)
        self.program = cp.Problem(
            cp.Minimize(at["step_cost"] @ step + at["price"] @ (less + more)),
            [
                step == self._step,
                less == self._less,
                more == self._more,
                at["price"] @ (step - less + more) <= at["budget"],
            ],
        )

    def set(self, coefficients: Coefficients) -> None:
        for name, parameter in self._parameters.items():
            parameter.value = getattr(coefficients, name)

    def quantity(self, coefficients: Coefficients) -> IntArray:
        """The whole shares nearest to the values of the variables."""
        step, less, more = (self._whole(each) for each in (self._step, self._less, self._more))
        change = (step - less + more)[: len(coefficients.anchor)]
        quantity: IntArray = coefficients.anchor + change.astype(coefficients.anchor.dtype)
        return quantity

    @staticmethod
    def _whole(variable: cp.Variable) -> NDArray[np.int64]:
        whole: NDArray[np.int64] = np.rint(np.asarray(variable.value)).astype(np.int64)
        return whole


_ARRAYS = tuple(
    field.name for field in fields(Coefficients) if field.name not in {"anchor", "constant", "budget"}
)
