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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from domain.extended import Choices, length
from domain.lagrangian import Priced
from domain.problem import IntArray, int_type

MAX_PARTS = 20_000
_LIKELY = 2_000
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


class Losses:
    """What each choice of each security loses (`Priced.loss`), worked out once."""

    def __init__(self, priced: Priced) -> None:
        self.priced = priced
        self._known: list[dict[int, int]] = [{} for _ in priced.extended.windows]

    def of(self, place: int, shares: int) -> int:
        """In fine units, rounded down."""
        known = self._known[place]
        loss = known.get(shares)
        if loss is None:
            loss = known[shares] = self.priced.loss(place, shares)
        return loss

    def within(self, budget: int) -> tuple[Choices, ...]:
        """The choices that an answer at most ``budget`` above the bound can be made of."""
        extended = self.priced.extended
        return tuple(
            _within(choices, self._cheap(place, budget), window.target, window.price)
            for place, (choices, window) in enumerate(zip(extended.choices, extended.windows, strict=True))
        )

    def _cheap(self, place: int, budget: int) -> Callable[[int], bool]:
        return lambda shares: self.of(place, shares) <= budget


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
    last = length(side) - 1
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
    while high - low > 1:  # by hand: `bisect` counts to 64 bits
        middle = (low + high) // 2
        low, high = (middle, high) if holds(inside + away * middle) else (low, middle)
    return inside + away * low


def listed(losses: Losses, known: int | None, *, max_parts: int = MAX_PARTS) -> Listed:
    """List what could be below ``known`` (None: everything), with growing budgets."""
    priced = losses.priced
    bound = priced.bound
    if known is not None and known <= bound:
        return Listed(quantity=None, bound=known, complete=True)
    best: tuple[int, ...] | None = None
    top = _top(priced) if known is None else known - 1 - bound
    if top < 0:
        return Listed(quantity=None, bound=bound, complete=True)
    for shift in _SHIFTS:
        budget = top >> shift
        if known is not None:
            budget = min(budget, known - 1 - priced.bound)
        listing = _Listing(losses, budget, known, max_parts)
        found = listing.run()
        if found is None:
            likely = listing.run(only_likely=True)
            quantity = best if likely is None or likely.quantity is None else likely.quantity
            return Listed(quantity=quantity, bound=bound, complete=False)
        if found.quantity is not None:
            best = found.quantity
            known = priced.extended.value(best)
        if known is not None and known - priced.bound <= budget + 1:
            return Listed(quantity=best, bound=known, complete=True)
        bound = max(bound, priced.bound + budget + 1)
    return Listed(quantity=best, bound=bound if known is None else min(bound, known), complete=True)


def _top(priced: Priced) -> int:
    """No answer whatever is further above the bound; below 0, there is none.

    At the most it is what its choices lose and its limits leave unused, or what its choices are worth less the bound.
    """
    extended = priced.extended
    corners = [
        [*choices.corners(window.target, window.price)]
        for choices, window in zip(extended.choices, extended.windows, strict=True)
    ]
    lost = sum(
        max((priced.loss(place, corner) for corner in each), default=0) for place, each in enumerate(corners)
    )
    unused = 0
    for row, multiplier in zip(extended.couplings, priced.multipliers, strict=True):
        least = sum(
            min((row.of(place, corner, held) for corner in each), default=0)
            for place, (each, held) in enumerate(zip(corners, extended.held, strict=True))
        )
        unused += -(-multiplier * max(0, row.most - least) // priced.parts)
    worth = sum(
        max((extended.of(place, corner) for corner in each), default=0) for place, each in enumerate(corners)
    )
    # Each loss is told rounded down.
    return min(lost + len(corners) + unused, worth + extended.objective.constant - priced.bound)


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

    def __init__(self, losses: Losses, budget: int, known: int | None, max_parts: int) -> None:
        self._losses = losses
        self._budget = budget
        self._known = known
        self._max_parts = max_parts

    def run(self, *, only_likely: bool = False) -> _Found | None:
        """The best answer within the budget that is below ``known``; None: too many parts.

        ``only_likely``: where there are too many, those that have lost least go on, and nothing is proved.
        """
        choices = self._losses.within(self._budget)
        if sum(each.count for each in choices) > _MAX_CHOICES:
            return None
        if not all(choices):
            return _Found(None)
        table = _Table.of(self._losses, [list(each) for each in choices])
        # What moves the rows most comes first: after that, a part of an answer can be judged by what its rows lack.
        return self._grown(table, table.by_reach(), only_likely=only_likely)

    def _grown(self, table: "_Table", order: Sequence[int], *, only_likely: bool) -> _Found | None:
        rows, dtype = len(table.most), table.most.dtype
        loss, worth = np.zeros(1, dtype=dtype), np.zeros(1, dtype=dtype)
        # Of each row, what is left of its limit once every security to come adds the least that it can.
        room = (table.most - sum(each.min(axis=1) for each in table.loads)).reshape(-1, 1)
        spare = sum(each.max(axis=1) - each.min(axis=1) for each in table.loads)
        limit = None if self._known is None else self._known - 1 - table.constant
        left = sum(int(each.min()) for each in table.worths)
        layers: list[_Layer] = []
        for place in order:
            added, count = table.loads[place], len(table.options[place])
            if len(loss) * count > 4 * self._max_parts and not only_likely:
                return None
            least = added.min(axis=1)
            spare = spare - (added.max(axis=1) - least)
            left -= int(table.worths[place].min())
            more = (added - least.reshape(-1, 1))[:, None, :]
            new_loss = (loss[:, None] + table.losses[place]).ravel()
            new_worth = (worth[:, None] + table.worths[place]).ravel()
            new_room = (room[:, :, None] - more).reshape(rows, -1)
            keep = (new_loss <= self._budget) & (new_room >= 0).all(axis=0)
            if limit is not None:
                keep &= new_worth + left <= limit
            kept = np.flatnonzero(keep)
            if rows <= 1:
                used = -new_room[0][kept] if rows else new_worth[kept]
                kept = kept[_undominated(used, new_worth[kept])]
            else:
                lost = new_loss[kept] + table.unused(new_room[:, kept], spare)
                kept, lost = kept[lost <= self._budget], lost[lost <= self._budget]
                if only_likely and len(kept) > _LIKELY:
                    kept = kept[np.argsort(lost, kind="stable")[:_LIKELY]]
            if not len(kept):
                return _Found(None)
            if len(kept) > self._max_parts:
                return None
            layers.append(_Layer(place, kept // count, table.options[place], kept % count))
            loss, worth, room = new_loss[kept], new_worth[kept], new_room[:, kept]
        return _Found(_walked_back(layers, int(np.argmin(worth))))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """The options of each security as arrays: what each loses, is worth, and adds to each row (row, option)."""

    priced: Priced
    options: Sequence[Sequence[int]]
    losses: Sequence[IntArray]
    worths: Sequence[IntArray]
    loads: Sequence[IntArray]
    most: IntArray
    constant: int

    @classmethod
    def of(cls, losses: Losses, options: Sequence[Sequence[int]]) -> "_Table":
        extended = losses.priced.extended
        rows, held = extended.couplings, extended.held
        lost = [[losses.of(place, shares) for shares in each] for place, each in enumerate(options)]
        worths = [[extended.of(place, shares) for shares in each] for place, each in enumerate(options)]
        loads = [
            [[row.of(place, shares, held[place]) for shares in each] for row in rows]
            for place, each in enumerate(options)
        ]
        limits = [row.most for row in rows]
        sizes = [sum(max(map(abs, each)) for each in table) for table in (lost, worths)]
        sizes += [sum(max(map(abs, each[row])) for each in loads) for row in range(len(rows))]
        dtype = int_type(fits_int64=4 * max(sizes) + max(map(abs, limits), default=0) < _INT64_SAFE)
        return cls(
            priced=losses.priced,
            options=options,
            losses=[np.array(each, dtype=dtype) for each in lost],
            worths=[np.array(each, dtype=dtype) for each in worths],
            loads=[
                np.array(load, dtype=dtype).reshape(len(rows), len(each))
                for load, each in zip(loads, options, strict=True)
            ],
            most=np.array(limits, dtype=dtype),
            constant=extended.objective.constant,
        )

    def by_reach(self) -> list[int]:
        """Places by falling spread of what their options add to the rows, in money; one option: first."""
        price = np.array(self.priced.multipliers, dtype=np.float64) / self.priced.parts
        reach = [
            float(((each.max(axis=1) - each.min(axis=1)).astype(np.float64) * price).sum())
            for each in self.loads
        ]
        single = [len(each) > 1 for each in self.options]
        return sorted(range(len(reach)), key=lambda place: (single[place], -reach[place], place))

    def unused(self, room: IntArray, spare: IntArray) -> IntArray:
        """What the limits that stay unused, whatever comes, are worth at the multipliers: fine units, rounded down.

        It is lost as well: an answer is above the bound by its losses and by this.
        """
        idle = np.maximum(room - spare.reshape(-1, 1), 0)
        total: IntArray = np.zeros(room.shape[1], dtype=room.dtype)
        for row, multiplier in enumerate(self.priced.multipliers):
            if multiplier:
                total = total + _scaled_down(idle[row], multiplier, self.priced.parts)
        return total


def _scaled_down(amounts: IntArray, multiplier: int, parts: int) -> IntArray:
    """Amounts (from 0 up) x multiplier / parts, rounded down; lower still where the product might not fit."""
    if amounts.dtype == np.object_:
        return amounts * multiplier // parts
    shift = max(0, int(amounts.max(initial=0)).bit_length() + multiplier.bit_length() - 60)
    if multiplier.bit_length() > 60:
        return np.zeros_like(amounts)
    return ((amounts >> shift) * multiplier // parts) << shift


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
