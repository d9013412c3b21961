r"""The extended problem with its coupling rows priced: a bound that is proved, and answers near it.

A multiplier for each coupling row puts a price on what it limits, and the securities no longer know of each other:

    L(m) = sum over securities of min over its choices of (objective + m @ rows)  -  m @ most

is below every answer for every m >= 0. Each minimum is at one of at most ten corners (`Choices.corners`), whatever the
multipliers are, so the corners are listed once and L is a matrix operation. Multipliers are looked for in floating point;
then they are made rational and L is evaluated at those in integers (`Priced`): that one is the bound.

The corners chosen at good multipliers break rows by little. `repaired` mends that, and `polished` looks for better
answers one and two trades away. Both work in integers: what they return is allowed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from domain.extended import Coupling, Extended
from domain.problem import IntArray, int_type

FloatArray = NDArray[np.float64]

# Multipliers are whole numbers of 2^-_BITS.
_BITS = 24
_INT64_SAFE = 2.0**60

_HALVINGS = 40
_SHARPENINGS = 9
_SHARPER = 5.0
_NEWTON = 12
_BACKTRACKINGS = 8
_STEPS = 40
_PAIRED = 320


class Board:
    """The numbers of a problem as arrays: int64 where every sum is sure to fit, Python integers otherwise.

    ``points`` are the corners, a row a security, filled up with its first one.
    """

    def __init__(self, extended: Extended) -> None:
        self.extended = extended
        corners = [
            tuple(dict.fromkeys(choices.corners(window.target, window.price)))
            for choices, window in zip(extended.choices, extended.windows, strict=True)
        ]
        width = max(map(len, corners), default=1)
        dtype = int_type(fits_int64=_largest(extended, corners) < _INT64_SAFE)
        windows, choices, couplings = extended.windows, extended.choices, extended.couplings

        def column(values: Sequence[int]) -> IntArray:
            return np.array(values, dtype=dtype).reshape(-1, 1)

        self.points: IntArray = np.array(
            [(*each, *each[:1] * (width - len(each))) for each in corners], dtype=dtype
        ).reshape(len(corners), width)
        self._held = column([each.held for each in windows])
        self._price = column([each.price for each in windows])
        self._target = column([each.target for each in windows])
        self._traded = column(extended.objective.traded)
        self._lot = column([each.lot for each in windows])
        self._stays = column([each.stays for each in choices]).astype(bool)
        self._closes = column([each.closes for each in choices]).astype(bool)
        # Where an empty side would begin is beyond what `_largest` counts: it has no shares from 1 to 0.
        self._sides = [
            (
                column([side.start if side else 1 for side in sides]),
                column([side[-1] if side else 0 for side in sides]),
            )
            for sides in ([each.sells for each in choices], [each.buys for each in choices])
        ]
        self._row_shares = [column(each.shares) for each in couplings]
        self._row_traded = [column(each.traded) for each in couplings]
        self._row_orders = [each.per_order for each in couplings]
        self.most: IntArray = np.array([each.most for each in couplings], dtype=dtype)
        self.worth = self.worth_of(self.points)
        self.loads = self.loads_of(self.points)

    def worth_of(self, points: IntArray) -> IntArray:
        """What each security adds to the objective with these shares, a row a security."""
        objective = self.extended.objective
        traded = abs(points - self._held)
        worth: IntArray = self._traded * traded + objective.per_order * (traded != 0).astype(traded.dtype)
        if objective.drift:
            worth = worth + abs(self._target - points * self._price)
        return worth

    def loads_of(self, points: IntArray) -> IntArray:
        """What each security adds to each coupling row with these shares: row, security, point."""
        traded = abs(points - self._held)
        ordered = (traded != 0).astype(traded.dtype)
        loads = [
            shares * points + rate * traded + fee * ordered
            for shares, rate, fee in zip(self._row_shares, self._row_traded, self._row_orders, strict=True)
        ]
        return np.array(loads, dtype=points.dtype).reshape(len(loads), *points.shape)

    def allowed(self, points: IntArray) -> NDArray[np.bool_]:
        """Whether each security may have these shares."""
        allowed = ((points == self._held) & self._stays) | ((points == 0) & self._closes)
        for first, last in self._sides:
            allowed |= (first <= points) & (points <= last) & ((points - first) % self._lot == 0)
        return np.asarray(allowed, dtype=bool)

    def near(self, quantity: IntArray, excess: IntArray) -> IntArray:
        """A lot more or less of each security, and so many that each row changes by its excess (or what is left of it).

        What is not allowed is replaced by the shares there are.
        """
        column = quantity.reshape(-1, 1)
        points = [column - self._lot, column + self._lot]
        for shares, over in zip(self._row_shares, excess.tolist(), strict=True):
            each = abs(shares) * self._lot
            lots = abs(over) // np.where(each == 0, 1, each)
            lots = np.where(each == 0, 0, lots)
            more = 1 if over > 0 else 0
            away = np.where(shares > 0, -1, 1) * (1 if over > 0 else -1)
            points.append(column + away * (lots + more * (each != 0)) * self._lot)
        near: IntArray = np.concatenate(points, axis=1)
        return np.where(self.allowed(near), near, column)

    @cached_property
    def scale(self) -> FloatArray:
        """By row, the size of one trade: makes rows of different units comparable."""
        if not self.loads.size:
            return np.ones(len(self.most))
        spread = (self.loads.max(axis=2) - self.loads.min(axis=2)).astype(np.float64)
        mean: FloatArray = np.maximum(spread.mean(axis=1), 1.0)
        return mean


def _largest(extended: Extended, corners: Sequence[Sequence[int]]) -> float:
    """No number that is computed for the board or from it is larger."""
    total = float(abs(extended.objective.constant))
    rows = [
        extended.objective.traded,
        *(each.traded for each in extended.couplings),
        *(each.shares for each in extended.couplings),
    ]
    for place, (window, points) in enumerate(zip(extended.windows, corners, strict=True)):
        reach = float(max(map(abs, points), default=0) + abs(window.held) + window.lot)
        weight = float(window.price + max(abs(row[place]) for row in rows))
        total += 4.0 * reach * weight + float(abs(window.target))
    fees = sum(abs(each.per_order) for each in extended.couplings) + abs(extended.objective.per_order)
    limits = max((abs(each.most) for each in extended.couplings), default=0)
    return total + float(fees) * len(corners) + 4.0 * float(limits)


# ------------------------------------------------------------------------------------------------ the bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """Multipliers as whole numbers of 1 / ``parts``, and what they prove, in integers.

    ``bound``: no answer is below it (fine units). ``least`` is, of each security, its least priced objective x ``parts``.
    """

    extended: Extended
    multipliers: tuple[int, ...]
    parts: int
    bound: int
    least: tuple[int, ...]

    @classmethod
    def at(cls, board: Board, multipliers: FloatArray) -> "Priced":
        """Evaluated exactly at the nearest rational multipliers from 0 up."""
        extended, parts = board.extended, 1 << _BITS
        whole = tuple(max(0, round(each * parts)) for each in multipliers.tolist())
        priced = board.worth.astype(object) * parts
        for multiplier, load in zip(whole, board.loads, strict=True):
            if multiplier:
                priced = priced + load.astype(object) * multiplier
        least = tuple(min(row) for row in priced.tolist())
        limit = sum(
            multiplier * coupling.most for multiplier, coupling in zip(whole, extended.couplings, strict=True)
        )
        total = sum(least) - limit + extended.objective.constant * parts
        return cls(extended=extended, multipliers=whole, parts=parts, bound=-(-total // parts), least=least)

    def loss(self, place: int, shares: int) -> int:
        """What these shares of one security cost beyond its best, in fine units, rounded down.

        The losses of an answer add up to no more than what it is above ``bound``.
        """
        extended = self.extended
        priced = extended.of(place, shares) * self.parts
        held = extended.windows[place].held
        for multiplier, coupling in zip(self.multipliers, extended.couplings, strict=True):
            if multiplier:
                priced += multiplier * coupling.of(place, shares, held)
        return (priced - self.least[place]) // self.parts


class _Dual:
    """L and its slopes in floating point; rows in units of their own scale."""

    def __init__(self, board: Board) -> None:
        self._scale = board.scale
        self._worth = board.worth.astype(np.float64)
        self._loads = board.loads.astype(np.float64) / self._scale.reshape(-1, 1, 1)
        self._most = board.most.astype(np.float64) / self._scale
        self._rows = np.arange(len(self._worth))

    def at(self, multipliers: FloatArray) -> tuple[float, FloatArray, NDArray[np.intp]]:
        """L, its slope in every row (above 0: the row is broken), and the corners chosen."""
        priced = self._worth + np.tensordot(multipliers, self._loads, axes=1)
        chosen = priced.argmin(axis=1)
        least = priced[self._rows, chosen]
        slope: FloatArray = self._loads[:, self._rows, chosen].sum(axis=1) - self._most
        return float(least.sum() - multipliers @ self._most), slope, chosen

    def best(self, known: float) -> FloatArray:
        """Good multipliers: of one row by halving, of several by Newton's method on a smoothed L that is sharpened."""
        multipliers = np.zeros(len(self._most))
        if len(multipliers) == 1:
            multipliers[0] = self._best_of_row(0, multipliers)
            return multipliers
        best, best_value = multipliers, self.at(multipliers)[0]
        blur = float((self._worth.max(axis=1) - self._worth.min(axis=1)).mean()) or 1.0
        for _ in range(_SHARPENINGS):
            blur /= _SHARPER
            multipliers = self._by_newton(multipliers, blur)
            value = self.at(multipliers)[0]
            if value > best_value:
                best, best_value = multipliers, value
        return self._along_slopes(best, best_value, known)

    def _smooth(self, multipliers: FloatArray, blur: float) -> tuple[float, FloatArray, FloatArray]:
        """L with each minimum replaced by -blur log sum exp(-x / blur): its value, its slopes, and its curvature < 0."""
        priced = self._worth + np.tensordot(multipliers, self._loads, axes=1)
        least = priced.min(axis=1, keepdims=True)
        weights = np.exp((least - priced) / blur)
        total = weights.sum(axis=1, keepdims=True)
        weights /= total
        value = float((least - blur * np.log(total)).sum() - multipliers @ self._most)
        weighted = self._loads * weights
        mean = weighted.sum(axis=2)
        second = np.einsum("rnp,snp->rs", weighted, self._loads, optimize=True)
        curvature: FloatArray = (second - mean @ mean.T) / blur
        slope: FloatArray = mean.sum(axis=1) - self._most
        return value, slope, curvature

    def _by_newton(self, start: FloatArray, blur: float) -> FloatArray:
        multipliers = start
        value, slope, curvature = self._smooth(multipliers, blur)
        for _ in range(_NEWTON):
            free = (multipliers > 0) | (slope > 0)
            if not free.any():
                break
            step = np.zeros_like(multipliers)
            part = curvature[np.ix_(free, free)]
            firm = 1e-9 * float(np.trace(part)) + 1e-12
            step[free] = np.linalg.solve(part + firm * np.eye(len(part)), slope[free])
            if not np.isfinite(step).all():
                break
            length = 1.0
            for _ in range(_BACKTRACKINGS):
                tried = np.maximum(0.0, multipliers + length * step)
                reached = self._smooth(tried, blur)
                if reached[0] > value:
                    break
                length /= 4.0
            else:
                break
            gained = reached[0] - value
            multipliers, (value, slope, curvature) = tried, reached
            if gained <= 1e-10 * abs(value):
                break
        return multipliers

    def _best_of_row(self, row: int, multipliers: FloatArray) -> float:
        """L is concave in it: where its slope turns."""
        rest = multipliers.copy()
        rest[row] = 0.0
        priced = self._worth + np.tensordot(rest, self._loads, axes=1)
        load, most, rows = self._loads[row], self._most[row], self._rows

        def broken(multiplier: float) -> bool:
            chosen = (priced + multiplier * load).argmin(axis=1)
            return bool(load[rows, chosen].sum() > most)

        if not broken(0.0):
            return 0.0
        low, high = 0.0, max(1.0, float(multipliers[row]) * 2.0, float(np.abs(priced).max()) * 1e-6)
        for _ in range(_HALVINGS):
            if not broken(high):
                break
            low, high = high, high * 4.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            if middle in (low, high):
                break
            low, high = (middle, high) if broken(middle) else (low, middle)
        return high

    def _along_slopes(self, start: FloatArray, value: float, known: float) -> FloatArray:
        best, best_value = start, value
        multipliers, length = start, 0.5
        value, slope, _ = self.at(multipliers)
        waited = 0
        for _ in range(_STEPS):
            steepness = float(slope @ slope)
            if steepness == 0.0 or length < 1e-5:
                break
            hoped = known if math.isfinite(known) else best_value + max(abs(best_value) * 0.01, 1.0)
            step = length * max(hoped - value, 0.0) / steepness
            multipliers = np.maximum(0.0, multipliers + step * slope)
            value, slope, _ = self.at(multipliers)
            if value > best_value:
                best, best_value, waited = multipliers, value, 0
            else:
                waited += 1
                if waited >= 8:
                    multipliers, length, waited = best, length / 2.0, 0
                    value, slope, _ = self.at(multipliers)
        return best


def priced(board: Board, known: int | None = None) -> Priced:
    """Good multipliers for the board, evaluated exactly. ``known``: the objective of an answer, if there is one."""
    if not len(board.most):
        return Priced.at(board, np.zeros(0))
    hoped = math.inf if known is None else float(known - board.extended.objective.constant)
    with np.errstate(all="ignore"):  # a step too far is not taken
        multipliers = _Dual(board).best(hoped) / board.scale
    return Priced.at(board, multipliers)


# ------------------------------------------------------------------------------------------------ answers


def separable(board: Board) -> IntArray:
    """The best corner of every security by itself; among equals no trade, then the one nearest to it, then the lower."""
    distance = abs(board.points - board._held)  # noqa: SLF001 - one module, two halves
    best = board.worth.min(axis=1, keepdims=True)
    tied = board.worth == best
    far = distance.max() + 1 if distance.size else 0
    order = np.where(tied, 2 * distance + (board.points > board._held), 2 * far + 2)  # noqa: SLF001 - as above
    chosen: IntArray = board.points[np.arange(len(order)), order.argmin(axis=1)]
    return chosen


def chosen_at(board: Board, at: Priced) -> IntArray:
    """The corners that are best at these multipliers."""
    multipliers = np.array(at.multipliers, dtype=np.float64) / at.parts
    total = board.worth.astype(np.float64) + np.tensordot(multipliers, board.loads.astype(np.float64), axes=1)
    chosen: IntArray = board.points[np.arange(len(total)), total.argmin(axis=1)]
    return chosen


def repaired(board: Board, start: IntArray, at: Priced) -> IntArray | None:
    """``start`` mended trade by trade until no row is broken, each time at the least price for what it mends.

    None: no single trade gets any further.
    """
    quantity = start.copy()
    multipliers = np.array(at.multipliers, dtype=np.float64) / at.parts
    scale = board.scale
    count = len(quantity)
    for _ in range(4 * count + 20):
        here = quantity.reshape(-1, 1)
        loads_here = board.loads_of(here)
        excess = loads_here.sum(axis=(1, 2)) - board.most
        if not (excess > 0).any():
            return quantity
        points = np.concatenate((board.points, board.near(quantity, excess)), axis=1)
        change = (board.loads_of(points) - loads_here).astype(np.float64)
        over = excess.astype(np.float64).reshape(-1, 1, 1)
        mended = (np.maximum(over, 0.0) - np.maximum(over + change, 0.0)) / scale.reshape(-1, 1, 1)
        progress = mended.sum(axis=0)
        price = (board.worth_of(points) - board.worth_of(here)).astype(np.float64)
        price += np.tensordot(multipliers, change, axes=1)
        usable = progress > 1e-12 * (1.0 + float(np.abs(over / scale.reshape(-1, 1, 1)).max()))
        if not usable.any():
            return None
        floor = float(np.abs(price).max()) * 1e-9 + 1e-9
        rate = np.where(usable, np.maximum(price, floor) / np.where(usable, progress, 1.0), np.inf)
        place, point = divmod(int(rate.argmin()), points.shape[1])
        quantity[place] = points[place, point]
    return None


def polished(board: Board, start: IntArray, at: Priced, *, rounds: int = 60) -> IntArray:
    """An allowed answer made better by single trades and by pairs of them, for as long as that helps."""
    quantity = start.copy()
    multipliers = np.array(at.multipliers, dtype=np.float64) / at.parts
    for _ in range(rounds):
        here = quantity.reshape(-1, 1)
        loads_here = board.loads_of(here)
        left = board.most - loads_here.sum(axis=(1, 2))
        points = np.concatenate((board.points, board.near(quantity, -left)), axis=1)
        change = board.loads_of(points) - loads_here
        gain = board.worth_of(points) - board.worth_of(here)
        move = _best_single(gain, change, left) or _best_pair(gain, change, left, multipliers)
        if move is None:
            break
        for place, point in move:
            quantity[place] = points[place, point]
    return quantity


_Move = list[tuple[int, int]]


def _best_single(gain: IntArray, change: IntArray, left: IntArray) -> _Move | None:
    fits = (change <= left.reshape(-1, 1, 1)).all(axis=0) & (gain < 0)
    if not fits.any():
        return None
    places, points = np.nonzero(fits)
    best = int(np.argmin(gain[places, points]))
    return [(int(places[best]), int(points[best]))]


def _best_pair(gain: IntArray, change: IntArray, left: IntArray, multipliers: FloatArray) -> _Move | None:
    """The best two trades together among those that cost least at the multipliers."""
    price = gain.astype(np.float64) + np.tensordot(multipliers, change.astype(np.float64), axes=1)
    moved = (change != 0).any(axis=0) | (gain != 0)
    places, points = np.nonzero(moved)
    if not len(places):
        return None
    order = np.argsort(price[places, points], kind="stable")[:_PAIRED]
    places, points = places[order], points[order]
    alone, loads = gain[places, points], change[:, places, points]
    together = alone[:, None] + alone[None, :]
    fits = (together < 0) & (places[:, None] != places[None, :])
    for load, room in zip(loads, left, strict=True):
        fits &= load[:, None] + load[None, :] <= room
    if not fits.any():
        return None
    firsts, seconds = np.nonzero(fits)
    best = int(np.argmin(together[firsts, seconds]))
    one, other = int(firsts[best]), int(seconds[best])
    return [(int(places[one]), int(points[one])), (int(places[other]), int(points[other]))]


def impossible_rows(board: Board) -> list[tuple[Coupling, int]]:
    """The rows that no choice of shares keeps, even with every other rule left out, and the least each is missed by."""
    least = board.loads.min(axis=2).sum(axis=1) if board.loads.size else np.zeros(len(board.most))
    over = [int(low) - int(most) for low, most in zip(least, board.most, strict=True)]
    return [(row, by) for row, by in zip(board.extended.couplings, over, strict=True) if by > 0]
