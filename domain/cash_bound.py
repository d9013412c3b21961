r"""The least drift when the holdings cost more than the budget, proved in integers.

Start from the answer without the cash row (`closed_form`). It is the cheapest and the best for every security on
its own, so from there only selling helps, and the problem is which shares to give up until the excess E is
raised. Giving up a share worth P raises P and costs

    P - 2s   for the first share of a security that was rounded up, s being what it overshoots the target by,
    P        for every other.

The first of a security is never dearer than the rest, so its pieces need no order and the problem is a knapsack
turned around: pieces of weight w (money) and cost c (drift), 0 <= c <= w, choose some of total weight >= E at
the least cost. Many equal pieces are bundled in powers of two.

It is solved as Pisinger solves the knapsack (A minimal algorithm for the 0-1 knapsack problem, Operations
Research 45, 1997). Sorted by cost per weight, the linear relaxation takes whole pieces up to the break piece.
States (weight, cost) grow from that one: from the break outwards, piece by piece, on the left each may be put
back, on the right each may be taken as well. A state is dropped when another has at least its weight at no more
cost, or when its bound shows that no completion beats the best answer known: what is missing cannot be raised
cheaper than at the rate of the next piece on the right, what is raised too much cannot be put back at a better
rate than that of the next piece on the left. When no state is left, the best answer known is proved optimal.
When there would be too many, the least bound of the living ones is a proved bound.

Bounds are rounded up in integers, never down: nothing here depends on a float.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.closed_form import nearest_quantities
from domain.problem import IntArray, IntType, Problem, int_type

DEFAULT_MAX_NODES = 300_000
_INT64_SAFE = 2**62
_WORTH_A_FILL = 200  # states
# Bits of a sum, in the greatest unit all weights are multiples of: many securities reach any sum of few bits.
_FEW_BITS = 2**16
_MANY_BITS = 2**23
_MANY_BITS_TOGETHER = 2**26


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certificate:
    """The best answer known and what is proved about it. Drift in fine units; ``nodes`` states were looked at."""

    quantity: IntArray
    objective: int
    lower_bound: int
    nodes: int

    @property
    def optimal(self) -> bool:
        """Whether nothing can be better."""
        return self.objective == self.lower_bound


def certify(problem: Problem, incumbent: IntArray, *, max_nodes: int = DEFAULT_MAX_NODES) -> Certificate:
    """Prove that nothing is better than ``incumbent``, or find what is.

    Args:
        problem: every window holds a whole share.
        incumbent: an answer that `Problem.allows`; the one returned in the end unless a better one is found.
        max_nodes: how many states may be looked at before it rests content with a bound.
    """
    best = nearest_quantities(problem)
    least = problem.drift(best)
    excess = problem.spend(best) - problem.budget
    known = problem.drift(incumbent)
    if excess <= 0 or known == least:
        best = best if known > least else incumbent
        return Certificate(quantity=best, objective=least, lower_bound=least, nodes=0)
    search = _searched(_Offer.of(problem, best, excess), excess, known - least, max_nodes)
    quantity = incumbent
    chosen = search.chosen
    if chosen is not None:
        quantity = best.copy()
        for piece in chosen:
            quantity[piece.security] -= piece.shares
    return Certificate(
        quantity=quantity,
        objective=problem.drift(quantity),
        lower_bound=least + search.lower_bound,
        nodes=search.nodes,
    )


def _searched(offer: "_Offer", excess: int, known: int, max_nodes: int) -> "_Search":
    """The search over all pieces; nearly always over few of them.

    Where the first shares alone can raise the excess, they are searched alone. Then only so many other shares come
    to them as an answer that is better than the best of these could hold (`_Offer.in_reach`); nearly always none.
    """
    if sum(piece.weight for piece in offer.firsts) < excess:
        search = _Search(_by_rate([*offer.firsts, *offer.others()]), excess, known, max_nodes)
        search.run()
        return search
    firsts = _by_rate(offer.firsts)
    search = _Search(firsts, excess, known, max_nodes)
    search.run()
    others = offer.in_reach(firsts, excess, search.cost)
    if not others:
        return search
    wider = _Search(_by_rate([*firsts, *others]), excess, search.cost, max_nodes, begun=search)
    wider.run()
    return wider


class _Piece(NamedTuple):
    """``shares`` of a security (by its index), given up together: ``weight`` raised, ``cost`` of drift added.

    ``unit_weight`` and ``unit_cost`` are those of one share.
    """

    security: int
    shares: int
    unit_weight: int
    unit_cost: int
    weight: int
    cost: int

    @classmethod
    def of(cls, security: int, shares: int, unit_weight: int, unit_cost: int) -> "_Piece":
        return cls(security, shares, unit_weight, unit_cost, shares * unit_weight, shares * unit_cost)

    def with_shares(self, shares: int) -> "_Piece":
        return _Piece.of(self.security, shares, self.unit_weight, self.unit_cost)

    def loss_at(self, rate: "_Piece") -> int:
        """Its cost less what its weight costs at the rate of another piece, times that one's unit weight."""
        return self.cost * rate.unit_weight - self.weight * rate.unit_cost


@dataclass(frozen=True, slots=True)
class _Offer:
    """What can be given up: ``firsts``, a share of each security that was rounded up, and the other shares.

    ``shares`` are (index, price, count) of these; each costs ``scale`` per weight, so that none is cheaper than a
    first share.
    """

    firsts: list[_Piece]
    shares: list[tuple[int, int, int]]
    scale: int

    @classmethod
    def of(cls, problem: Problem, best: IntArray, excess: int) -> "_Offer":
        """Of no security more than what would raise the excess by itself."""
        scale = problem.weight_scale
        overshoot = best * (problem.price * scale) - problem.target
        removable = best - problem.min_quantity
        firsts: list[_Piece] = []
        shares: list[tuple[int, int, int]] = []
        for index in np.flatnonzero(removable > 0).tolist():
            price, over = int(problem.price[index]), int(overshoot[index])
            left = min(int(removable[index]), -(-excess // price))
            if over > 0:
                firsts.append(_Piece.of(index, 1, price, price * scale - 2 * over))
                left -= 1
            if left:
                shares.append((index, price, left))
        return cls(firsts, shares, scale)

    def others(self) -> list[_Piece]:
        """All other shares, bundled."""
        return _bundled(self.shares, self.scale)

    def in_reach(self, firsts: Sequence[_Piece], excess: int, known: int) -> list[_Piece]:
        """The other shares that a choice at less than ``known`` could hold, where ``firsts`` suffice for the excess.

        A choice costs at least what the relaxation does, and for everything that it does otherwise the loss at the
        rate of the break piece. So it can hold no more shares than whose loss alone uses up the gap.
        """
        weights = list(accumulate((piece.weight for piece in firsts), initial=0))
        at = bisect_left(weights, excess) - 1
        rate = firsts[at]
        relaxed = sum(piece.cost for piece in firsts[:at])
        gap = (known - 1 - relaxed) * rate.unit_weight - (excess - weights[at]) * rate.unit_cost
        loss = self.scale * rate.unit_weight - rate.unit_cost
        if gap < 0:
            return []
        within = [(index, price, min(left, gap // (price * loss))) for index, price, left in self.shares]
        return _bundled(within, self.scale)


def _bundled(shares: Iterable[tuple[int, int, int]], scale: int) -> list[_Piece]:
    return [
        _Piece.of(index, part, price, price * scale)
        for index, price, count in shares
        for part in _powers(count)
    ]


def _by_rate(pieces: list[_Piece]) -> list[_Piece]:
    """Pieces in order of cost per weight; among equals the heavy ones first, so that light ones fill the rest."""
    # Two different ratios differ by more than 1 / (product of their weights): this many digits tell all apart.
    digits = 2 * max((piece.unit_weight for piece in pieces), default=1).bit_length()
    return sorted(
        pieces, key=lambda each: ((each.unit_cost << digits) // each.unit_weight, -each.weight, each.security)
    )


def _powers(count: int) -> Iterator[int]:
    """Parts of which every number up to ``count`` is a sum, and none above: 1, 2, 4, ... and the rest."""
    part = 1
    while count > 0:
        taken = min(part, count)
        yield taken
        count -= taken
        part *= 2


@dataclass(frozen=True, slots=True)
class _Layer:
    """One piece decided: state k came from state ``origin[k]`` of the former ``size`` ones, counted twice over.

    Numbers below ``size`` left the piece as the relaxation has it, the others did the opposite.
    """

    piece: int
    size: int
    origin: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _Found:
    """The cheapest choice known: a state of the layer ``depth`` (-1: the relaxation), filled up with pieces."""

    depth: int
    state: int
    fill: tuple[int, ...] = ()


class _Search:
    """Choose pieces (sorted by cost per weight) of total weight >= ``excess`` at a total cost below ``known``.

    After `run`, ``chosen`` holds the cheapest such choice (None: there is none, or none was found), and no
    choice whatever costs less than ``lower_bound``. ``begun`` searched some of these pieces: what it chose stands
    until something cheaper is found, and its nodes count.
    """

    def __init__(
        self,
        pieces: Sequence[_Piece],
        excess: int,
        known: int,
        max_nodes: int,
        begun: "_Search | None" = None,
    ) -> None:
        weights = list(accumulate((piece.weight for piece in pieces), initial=0))
        if weights[-1] < excess:
            raise ValueError("no whole shares within their windows keep to the budget")
        self._pieces = pieces
        # Weights are multiples of one number and costs of another: so are the sums that matter.
        self._unit = math.gcd(*(piece.unit_weight for piece in pieces))
        self._excess = -(-excess // self._unit) * self._unit
        self._step = max(1, math.gcd(*(piece.unit_cost for piece in pieces)))
        self._best = known
        self._max_nodes = max_nodes
        self._layers: list[_Layer] = []
        self._found: _Found | list[_Piece] | None = None if begun is None else begun.chosen

        self._break = bisect_left(weights, self._excess) - 1
        self._missing = self._excess - weights[self._break]
        self._cost = sum(piece.cost for piece in pieces[: self._break])
        rate = pieces[self._break]
        self.lower_bound = self._rounded(self._cost - (-self._missing * rate.unit_cost // rate.unit_weight))
        self.nodes: int = 0 if begun is None else begun.nodes

    def run(self) -> None:
        """Let the states grow until none is left or there are too many."""
        self._fill(-1, 0, self._missing, self._cost, range(self._break, len(self._pieces)))
        for bits in (_FEW_BITS, _MANY_BITS):
            if self.lower_bound < self._best:
                self._fill_flat(bits)
        left_alive = self._grow(self._core()) if self.lower_bound < self._best else None
        if left_alive is None:
            self.lower_bound = self._best
        else:
            self.lower_bound = min(self._best, max(self.lower_bound, self._rounded(left_alive)))

    def _fill_flat(self, bits: int) -> None:
        """Where all pieces from the break on have one rate, only their sum matters: find the best one there is.

        Every choice that takes all pieces of a better rate costs what its weight costs, so the best of these is
        the least reachable sum that is enough; any other choice costs at least what leaving out such a piece does.
        Where the sums are too large to list them all, most shares are taken beforehand, and only some of each
        security are left to choose from: an answer still, but no proof.
        """
        rate = self._pieces[self._break]
        flat = [piece for piece in self._pieces if piece.loss_at(rate) == 0]
        if flat[-1] is not self._pieces[-1]:
            return
        better = self._pieces[: -len(flat)]
        missing = (self._excess - sum(piece.weight for piece in better)) // self._unit
        taken, offered = _set_aside(flat, self._unit, missing, bits)
        missing -= sum(piece.weight for piece in taken) // self._unit
        if missing > bits:
            return
        used, surplus = _least_sum([piece.weight // self._unit for piece in offered], missing)
        if used is not None:
            choice = [*better, *taken, *(offered[position] for position in used)]
            cost = sum(piece.cost for piece in choice)
            if cost < self._best:
                self._best = cost
                self._found = choice
        if sum(piece.shares for piece in offered) == sum(piece.shares for piece in flat):
            total = self._cost * rate.unit_weight + self._missing * rate.unit_cost
            more = [-piece.loss_at(rate) for piece in better]
            least = min([surplus * self._unit * rate.unit_cost, *more])
            self.lower_bound = max(self.lower_bound, self._rounded(-(-(total + least) // rate.unit_weight)))

    @property
    def cost(self) -> int:
        """Of the cheapest choice known."""
        return self._best

    @property
    def chosen(self) -> list[_Piece] | None:
        """Walk back from the state that was found to the relaxation, collecting where it did otherwise."""
        if not isinstance(self._found, _Found):
            return self._found
        otherwise = set(self._found.fill)
        state = self._found.state
        for depth in range(self._found.depth, -1, -1):
            layer = self._layers[depth]
            if state >= layer.size:
                otherwise.add(layer.piece)
                state -= layer.size
            state = int(self._layers[depth - 1].origin[state]) if depth else 0
        return [
            piece for index, piece in enumerate(self._pieces) if (index < self._break) != (index in otherwise)
        ]

    def _rounded(self, bound: int) -> int:
        """The least cost any choice can have that is not below ``bound``."""
        return -(-bound // self._step) * self._step

    def _core(self) -> list[int]:
        """The pieces about which there is a doubt, from the break outwards, the right and the left in turn.

        Doing otherwise with one piece costs at least its reduced cost, which is how far its cost is from what
        the same weight costs at the rate of the break piece. If that alone uses up the gap, there is no doubt.
        """
        rate = self._pieces[self._break]
        gap = (self._best - 1 - self._cost) * rate.unit_weight - self._missing * rate.unit_cost
        per_cost, per_weight = rate.unit_weight, rate.unit_cost
        doubtful = [
            index
            for index, piece in enumerate(self._pieces)
            if abs(piece.cost * per_cost - piece.weight * per_weight) <= gap
        ]
        split = bisect_left(doubtful, self._break)
        right, left = doubtful[split:], doubtful[:split][::-1]
        return [index for pair in zip_longest(right, left) for index in pair if index is not None]

    def _grow(self, core: list[int]) -> int | None:
        """Decide the core piece by piece; None when no state is left, else the least bound of those alive."""
        dtype = self._dtype(core)
        right = _Side([self._pieces[index] for index in core if index >= self._break], dtype)
        left = _Side([self._pieces[index] for index in core if index < self._break], dtype)
        surplus = np.array([-self._missing], dtype=dtype)
        cost = np.array([self._cost], dtype=dtype)
        for depth, index in enumerate(core):
            size = len(surplus)
            side, sign = (right, 1) if index >= self._break else (left, -1)
            side.decided += 1
            surplus = np.concatenate((surplus, surplus + sign * self._pieces[index].weight))
            cost = np.concatenate((cost, cost + sign * self._pieces[index].cost))
            self.nodes += len(surplus)
            self._note_best(depth, surplus, cost)
            bound = cost + right.cost_of(np.maximum(-surplus, 0)) - left.gain_of(np.maximum(surplus, 0))
            possible = (bound < self._best) & (surplus >= -right.left_over)
            origin = np.flatnonzero(possible)
            origin = origin[_undominated(surplus[origin], cost[origin])]
            self._layers.append(_Layer(index, size, origin))
            if not len(origin):
                break
            surplus, cost, bound = surplus[origin], cost[origin], bound[origin]
            if len(origin) > _WORTH_A_FILL:
                promising = int(np.argmin(np.where(surplus < 0, bound, self._best)))
                ahead = (later for later in core[depth + 1 :] if later >= self._break)
                self._fill(
                    depth, int(origin[promising]), -int(surplus[promising]), int(cost[promising]), ahead
                )
            if self.nodes + 2 * len(origin) > self._max_nodes:
                return int(bound.min())
        return None

    def _dtype(self, core: list[int]) -> IntType:
        """int64 if no product below can overflow. A surplus is at most what the core weighs, or the excess."""
        core_pieces = [self._pieces[index] for index in core]
        surplus = self._excess + sum(piece.weight for piece in core_pieces)
        cost = self._cost + sum(piece.cost for piece in core_pieces)
        rate = max(
            (max(piece.unit_weight, -(-piece.unit_cost // piece.unit_weight)) for piece in core_pieces),
            default=1,
        )
        return int_type(fits_int64=surplus * rate + cost < _INT64_SAFE)

    def _note_best(self, depth: int, surplus: IntArray, cost: IntArray) -> None:
        enough = np.flatnonzero(surplus >= 0)
        if len(enough):
            state = enough[np.argmin(cost[enough])]
            if cost[state] < self._best:
                self._best = int(cost[state])
                self._found = _Found(depth, int(state))

    def _fill(self, depth: int, state: int, missing: int, cost: int, ahead: Iterable[int]) -> None:
        """Make a choice of a promising state: take every piece ahead that fits, then the lightest that is enough.

        An answer that is good early is what keeps the states few.
        """
        taken: list[int] = []
        for index in ahead if missing > 0 else ():
            piece = self._pieces[index]
            if piece.weight < missing:
                missing -= piece.weight
                cost += piece.cost
                taken.append(index)
            elif cost + piece.cost < self._best:
                self._best = cost + piece.cost
                self._found = _Found(depth, state, (*taken, index))


class _Side:
    """The core pieces on one side of the break, from the break outwards; the first ``decided`` are decided.

    It answers what the relaxation can do with the rest for many states at once.
    """

    def __init__(self, pieces: Sequence[_Piece], dtype: IntType) -> None:
        self.decided = 0
        self._weights = np.array([0, *accumulate(piece.weight for piece in pieces)], dtype=dtype)
        self._costs = np.array([0, *accumulate(piece.cost for piece in pieces)], dtype=dtype)
        # Beyond the last piece there is nothing: rate 0.
        self._whole = np.array([*(piece.unit_cost // piece.unit_weight for piece in pieces), 0], dtype=dtype)
        self._rest = np.array([*(piece.unit_cost % piece.unit_weight for piece in pieces), 0], dtype=dtype)
        self._unit = np.array([*(piece.unit_weight for piece in pieces), 1], dtype=dtype)

    @property
    def left_over(self) -> int:
        """What the undecided pieces weigh together."""
        return int(self._weights[-1] - self._weights[self.decided])

    def cost_of(self, weight: IntArray) -> IntArray:
        """The least cost of this weight in undecided pieces, the last of them in part, rounded up."""
        pieces, whole, part = self._split(weight)
        rate, rest, unit = self._whole[pieces], self._rest[pieces], self._unit[pieces]
        cost: IntArray = whole + part * rate - (-part * rest // unit)
        return cost

    def gain_of(self, weight: IntArray) -> IntArray:
        """The greatest cost of at most this weight in undecided pieces, the last of them in part, rounded down."""
        pieces, whole, part = self._split(weight)
        rate, rest, unit = self._whole[pieces], self._rest[pieces], self._unit[pieces]
        gain: IntArray = whole + part * rate + part * rest // unit
        return gain

    def _split(self, weight: IntArray) -> tuple[NDArray[np.intp], IntArray, IntArray]:
        """The piece that is taken in part, the cost of all before it, and the weight that is left for it."""
        reach = weight + self._weights[self.decided]
        pieces = np.searchsorted(self._weights, reach, side="right") - 1
        return pieces, self._costs[pieces] - self._costs[self.decided], reach - self._weights[pieces]


def _set_aside(
    flat: Sequence[_Piece], unit: int, missing: int, bits: int
) -> tuple[list[_Piece], list[_Piece]]:
    """Pieces to take at once and pieces to choose from, so that what is still missing then is a sum of few bits.

    The same shares are bundled anew. A greedy choice, heavy shares first, comes near; of every security, light ones
    first, as many of its shares are given back as its part of the bits allows, and about as many more are offered.
    """
    counts: dict[int, int] = {}
    for piece in flat:
        counts[piece.security] = counts.get(piece.security, 0) + piece.shares
    one_of_each = {piece.security: piece for piece in flat}
    light_first = sorted(counts, key=lambda each: (one_of_each[each].unit_weight, each))
    greedy: dict[int, int] = {}
    for index in reversed(light_first):
        weight = one_of_each[index].unit_weight // unit
        greedy[index] = min(counts[index], missing // weight)
        missing -= greedy[index] * weight

    bits = min(bits, _MANY_BITS_TOGETHER // len(counts))
    taken: list[_Piece] = []
    offered: list[_Piece] = []
    for index in light_first:
        share = one_of_each[index]
        weight = share.unit_weight // unit
        part = max(1, bits // (2 * len(counts) * weight))
        back = min(greedy[index], part, max(0, bits - missing) // weight)
        missing += back * weight
        if greedy[index] > back:
            taken.append(share.with_shares(greedy[index] - back))
        offered.extend(
            share.with_shares(each)
            for each in _powers(min(counts[index] - greedy[index] + back, back + part))
        )
    return taken, offered


def _least_sum(weights: Sequence[int], enough: int) -> tuple[list[int] | None, int]:
    """The positions whose sum is the least that reaches ``enough``, and by how much it is more.

    Sums of more than twice ``enough`` are not looked at; if there is none up to there, the answer is None and a
    surplus that every sum has at least.
    """
    window = (1 << (2 * enough + 1)) - 1
    reachable = [1]  # after so many positions: bit s is set where some of them sum to s
    for weight in weights:
        if reachable[-1] >> enough & 1:
            break
        more = reachable[-1] << weight if weight <= 2 * enough else 0
        reachable.append((reachable[-1] | more) & window)
    sums = reachable[-1] >> enough
    if not sums:
        return None, enough + 1
    surplus = (sums & -sums).bit_length() - 1
    left = enough + surplus
    used = []
    for position in range(len(reachable) - 2, -1, -1):
        if not reachable[position] >> left & 1:
            used.append(position)
            left -= weights[position]
    return used, surplus


def _undominated(surplus: IntArray, cost: IntArray) -> NDArray[np.intp]:
    """The states, by falling surplus, that cost less than every one with at least their surplus."""
    order = np.lexsort((cost, -surplus))
    sorted_cost = cost[order]
    keep = np.ones(len(order), dtype=bool)
    keep[1:] = sorted_cost[1:] < np.minimum.accumulate(sorted_cost)[:-1]
    return order[keep]
