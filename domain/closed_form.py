"""The best whole shares of every security on its own, exactly, without a search.

Without the cash row the securities do not know of each other: drift is a sum of convex functions of one integer
each, so the share nearest to the target, moved into the window, is the best one. If those cost no more than
the budget, the cash row was a constraint that does not bind and the answer is optimal for the whole problem.
"""

from dataclasses import dataclass

import numpy as np

from domain.ids import SecurityId
from domain.problem import IntArray, Problem


def nearest_quantities(problem: Problem) -> IntArray:
    """The shares nearest to each target inside its window; a tie goes to the one nearer to the shares held.

    Of two neighbours one is always strictly nearer to a whole number of shares held, so no tie is left over.
    Meaningless for a security whose window is empty (`impossible_securities`).
    """
    fine_price = problem.fine_price
    below = problem.target // fine_price
    overhang = problem.target - below * fine_price
    twice = 2 * overhang
    up = (twice > fine_price) | ((twice == fine_price) & (problem.held > below))
    nearest: IntArray = np.minimum(np.maximum(below + up, problem.min_quantity), problem.max_quantity)
    return nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpossibleSecurity:
    """No whole share of it is worth something inside its bounds ``lower`` .. ``upper`` (fine units).

    ``below`` and ``above`` are the quantities on either side of the bounds; ``below`` is None where it would be
    negative. ``below_misses`` and ``above_misses`` say by how much (fine units, > 0).
    """

    index: int
    security_id: SecurityId
    lower: int
    upper: int
    below: int | None
    below_misses: int | None
    above: int
    above_misses: int

    @property
    def least_change(self) -> int:
        """The least by which one of the bounds would have to give way, in fine units."""
        return self.above_misses if self.below_misses is None else min(self.below_misses, self.above_misses)

    @property
    def cheapest_repair(self) -> int:
        """The quantity that least change would allow; the lower of two."""
        return self.above if self.below is None or self.least_change != self.below_misses else self.below


def impossible_securities(problem: Problem) -> tuple[ImpossibleSecurity, ...]:
    """Every security with an empty window, in canonical order; none of them means each has an answer of its own."""
    empty = np.flatnonzero(problem.min_quantity > problem.max_quantity)
    return tuple(_impossible(problem, int(index)) for index in empty)


def _impossible(problem: Problem, index: int) -> ImpossibleSecurity:
    price = int(problem.price[index]) * problem.weight_scale
    lower, upper = int(problem.lower[index]), int(problem.upper[index])
    above = int(problem.min_quantity[index])
    below = above - 1 if above > 0 else None
    return ImpossibleSecurity(
        index=index,
        security_id=problem.security_ids[index],
        lower=lower,
        upper=upper,
        below=below,
        below_misses=None if below is None else lower - below * price,
        above=above,
        above_misses=above * price - upper,
    )


def cash_shortfall(problem: Problem, impossible: tuple[ImpossibleSecurity, ...] = ()) -> int:
    """By how much the budget falls short of the least that the bounds demand, in money units; 0 if it does not.

    The least drift apart, there is an answer to the whole problem exactly if no window is empty and nothing is
    short. ``impossible`` securities count with the quantity that would repair them most cheaply.
    """
    least = problem.min_quantity.copy()
    for each in impossible:
        least[each.index] = each.cheapest_repair
    return max(0, problem.spend(least) - problem.budget)
