r"""Every answer that could be better than the one known, listed in integers: the proof where a bound leaves a gap.

At the multipliers of `domain.lagrangian.Priced`, each security loses something by any choice but its best, and the losses
of an answer add up to no more than what it is above the bound. So an answer at most ``budget`` above the bound is made of
choices that lose no more than that together: few of each security, often one. They are listed security by security; a
part of an answer is dropped when its losses are more than the budget, when no completion keeps some row, or when another
part is as good in every row that there is (where there is one row). The budget grows until the best answer is
found within it, which proves it, or until there would be too many parts: then whatever was listed in full is a bound.

(The idea of a core: E. Balas and E. Zemel, An algorithm for large zero-one knapsack problems, Operations Research 28,
1980; here with a Lagrangian bound for several rows.)
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domain.extended import Choices, Extended
from domain.lagrangian import Priced
from domain.problem import IntArray, int_type

MAX_PARTS = 60_000
_MAX_CHOICES = 6_000
_INT64_SAFE = 2**60
_SHIFTS = (12, 9, 6, 4, 3, 2, 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the listing found: an answer below the one known, if any, and what is proved (fine units).

    ``bound`` is the answer's own objective, or the known one's, where that is proved the best. ``complete`` without
    an answer known or found: there is none.
    """

    quantity: tuple[int, ...] | None
    bound: int
    complete: bool


def within(priced: Priced, budget: int) -> tuple[Choices, ...]:
    """The choices that an answer at most ``budget`` above the bound can be made of."""
    extended = priced.extended
    return tuple(
        _within(choices, _cheap(priced, place, budget), window.target, window.price)
        for place, (choices, window) in enumerate(zip(extended.choices, extended.windows, strict=True))
    )


def _cheap(priced: Priced, place: int, budget: int) -> Callable[[int], bool]:
    return lambda shares: priced.loss(place, shares) <= budget


def _within(choices: Choices, cheap: Callable[[int], bool], target: int, price: int) -> Choices:
    """Losses are convex on each side: what is cheap there lies together, around the cheapest corner."""
    return replace(
        choices,
        stays=choices.stays and cheap(choices.held),
        closes=choices.closes and cheap(0),
        sells=_cheap_part(choices.sells, cheap, target // price),
        buys=_cheap_part(choices.buys, cheap, target // price),
    )


def _cheap_part(side: range, cheap: Callable[[int], bool], nearest: int) -> range:
    if not side:
        return side
    last = len(side) - 1
    below = min(max((nearest - side.start) // side.step, 0), last)
    inside = next((place for place in (0, last, below, min(below + 1, last)) if cheap(side[place])), None)
    if inside is None:
        return side[:0]
    first = _edge(inside, 0, lambda place: cheap(side[place]))
    end = _edge(inside, last, lambda place: cheap(side[place]))
    return side[first : end + 1]


def _edge(inside: int, far: int, holds: Callable[[int], bool]) -> int:
    """The last place from ``inside`` towards ``far`` where it holds: doubling steps, then halving them."""
    away = 1 if far > inside else -1
    width = abs(far - inside)
    reach = 1
    while reach <= width and holds(inside + away * reach):
        reach *= 2
    low, high = reach // 2, min(reach, width + 1)
    steps = bisect_left(range(low, high), 1, key=lambda step: int(not holds(inside + away * step)))
    return inside + away * (low + steps - 1)


def listed(priced: Priced, known: int | None, *, max_parts: int = MAX_PARTS) -> Listed:
    """List what could be below ``known`` (None: everything), with growing budgets."""
    bound = priced.bound
    if known is not None and known <= bound:
        return Listed(quantity=None, bound=known, complete=True)
    best: tuple[int, ...] | None = None
    top = _top(priced) if known is None else known - 1 - bound
    for shift in _SHIFTS:
        budget = top >> shift
        if known is not None:
            budget = min(budget, known - 1 - priced.bound)
        found = _Listing(priced, budget, known, max_parts).run()
        if found is None:
            return Listed(quantity=best, bound=bound, complete=False)
        if found.quantity is not None:
            best = found.quantity
            known = priced.extended.value(best)
        if known is not None and known - priced.bound <= budget + 1:
            return Listed(quantity=best, bound=known, complete=True)
        bound = max(bound, priced.bound + budget + 1)
    return Listed(quantity=best, bound=bound if known is None else min(bound, known), complete=True)


def _top(priced: Priced) -> int:
    """No choice whatever loses more than this, all securities together."""
    extended = priced.extended
    return sum(
        max(
            (priced.loss(place, corner) for corner in choices.corners(window.target, window.price)), default=0
        )
        for place, (choices, window) in enumerate(zip(extended.choices, extended.windows, strict=True))
    )


@dataclass(frozen=True, slots=True)
class _Found:
    quantity: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class _Layer:
    """One security decided: state k took ``shares[k]`` and came from state ``origin[k]``."""

    place: int
    origin: NDArray[np.intp]
    shares: Sequence[int]
    option: NDArray[np.intp]


class _Listing:
    """All answers whose losses are at most ``budget``, security by security."""

    def __init__(self, priced: Priced, budget: int, known: int | None, max_parts: int) -> None:
        self._priced = priced
        self._extended: Extended = priced.extended
        self._budget = budget
        self._known = known
        self._max_parts = max_parts

    def run(self) -> _Found | None:
        """The best answer within the budget that is below ``known``; None: too many parts."""
        choices = within(self._priced, self._budget)
        if sum(map(_count, choices)) > _MAX_CHOICES:
            return None
        if not all(choices):
            return _Found(None)
        options = [list(each) for each in choices]
        # The widest last: what comes first is copied for each of what comes after.
        order = sorted(range(len(options)), key=lambda place: (len(options[place]), place))
        return self._grown(options, order)

    def _grown(self, options: Sequence[Sequence[int]], order: Sequence[int]) -> _Found | None:
        extended, priced = self._extended, self._priced
        rows = extended.couplings
        held = extended.held
        losses = [[priced.loss(place, shares) for shares in each] for place, each in enumerate(options)]
        worths = [[extended.of(place, shares) for shares in each] for place, each in enumerate(options)]
        loads = [
            [[row.of(place, shares, held[place]) for shares in each] for place, each in enumerate(options)]
            for row in rows
        ]
        dtype = int_type(fits_int64=_fits([losses, worths, *loads], [row.most for row in rows]))
        loss, worth = np.zeros(1, dtype=dtype), np.zeros(1, dtype=dtype)
        sums = np.zeros((len(rows), 1), dtype=dtype)
        rest = np.array([sum(min(each) for each in load) for load in loads], dtype=dtype).reshape(-1, 1)
        most = np.array([row.most for row in rows], dtype=dtype).reshape(-1, 1)
        limit = None if self._known is None else self._known - 1 - extended.objective.constant
        left = sum(min(each) for each in worths)
        layers: list[_Layer] = []
        for place in order:
            added = np.array([load[place] for load in loads], dtype=dtype).reshape(len(rows), -1)
            count = len(options[place])
            if len(loss) * count > 20 * self._max_parts:
                return None
            rest = rest - added.min(axis=1, keepdims=True) if len(rows) else rest
            left -= min(worths[place])
            new_loss = (loss[:, None] + np.array(losses[place], dtype=dtype)).ravel()
            new_worth = (worth[:, None] + np.array(worths[place], dtype=dtype)).ravel()
            new_sums = (sums[:, :, None] + added[:, None, :]).reshape(len(rows), -1)
            keep = (new_loss <= self._budget) & (new_sums + rest <= most).all(axis=0)
            if limit is not None:
                keep &= new_worth + left <= limit
            kept = np.flatnonzero(keep)
            if len(rows) <= 1:
                kept = kept[
                    _undominated(new_sums[0][kept] if len(rows) else new_worth[kept], new_worth[kept])
                ]
            if not len(kept):
                return _Found(None)
            if len(kept) > self._max_parts:
                return None
            layers.append(_Layer(place, kept // count, options[place], kept % count))
            loss, worth, sums = new_loss[kept], new_worth[kept], new_sums[:, kept]
        return _Found(_walked_back(layers, int(np.argmin(worth))))


def _count(choices: Choices) -> int:
    return len(choices)


def _fits(tables: Sequence[Sequence[Sequence[int]]], limits: Sequence[int]) -> bool:
    largest = max((sum(max(map(abs, each), default=0) for each in table) for table in tables), default=0)
    return largest + max(map(abs, limits), default=0) < _INT64_SAFE


def _undominated(load: IntArray, worth: IntArray) -> NDArray[np.intp]:
    """The states, by rising load, that are better than every one of no more load."""
    order = np.lexsort((worth, load))
    ordered = worth[order]
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = ordered[1:] < np.minimum.accumulate(ordered)[:-1]
    return order[keep]


def _walked_back(layers: Sequence[_Layer], state: int) -> tuple[int, ...]:
    quantity = [0] * len(layers)
    for layer in reversed(layers):
        quantity[layer.place] = layer.shares[int(layer.option[state])]
        state = int(layer.origin[state])
    return tuple(quantity)
