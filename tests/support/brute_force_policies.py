"""The extended rules by trying everything: small problems only, in fractions, independent of how the product computes.

Reads nothing but the checked portfolio and the policy. `measured` and `broken` judge any answer of any size, `solve`
finds the best of a small book by trying every vector of whole shares that each security on its own allows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from domain.checks import CheckedPortfolio
from domain.ids import SecurityId
from domain.policy import Bounds, Policy, RunType

ZERO = Fraction(0)


class TooLarge(Exception):
    """More combinations than anybody wants to try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """``objective`` None: there is no answer. ``answers`` are all that are optimal, ``tried`` how many were tried.

    ``inside``: run type if_outside found nothing to mend; then the present holding is the one answer.
    """

    objective: Fraction | None
    answers: tuple[dict[SecurityId, int], ...] = ()
    inside: bool = False
    tried: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What whole shares ``after`` come to, in money; ``objective`` is what the run type minimises."""

    drift: Fraction
    turnover: Fraction
    orders: int
    cost: Fraction
    cash_after: Fraction
    objective: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Security:
    """One security in fractions. ``least`` and ``most`` bound what it is worth, ``kept`` (a part of a share) with it."""

    security_id: SecurityId
    price: Fraction
    held: int
    kept: Fraction
    target: Fraction
    least: Fraction | None
    most: Fraction | None
    lot: int
    modelled: bool

    def worth(self, shares: int) -> Fraction:
        return self.price * shares + self.kept


# ------------------------------------------------------------------------------------------------ the inputs


def securities(checked: CheckedPortfolio, policy: Policy) -> list[_Security]:
    """Every held or modelled one, in order of id, with the bounds that the run type leaves it."""
    return [
        _security(checked, policy, each) for each in sorted(checked.shares.keys() | checked.targets.keys())
    ]


def _security(checked: CheckedPortfolio, policy: Policy, security_id: SecurityId) -> _Security:
    position = checked.targets.get(security_id)
    price = Fraction(checked.prices[security_id])
    held = checked.shares.get(security_id, 0)
    kept = price * Fraction(checked.fractions.get(security_id, 0))
    value = Fraction(checked.market_value)
    target = low = high = ZERO
    if position is not None:
        target, low, high = (
            Fraction(each) for each in (position.target, position.low_drift, position.high_drift)
        )
        if policy.bounds is Bounds.RELATIVE:
            low, high = target * low, target * high
    before = price * held + kept
    least: Fraction | None = value * (target - low)
    most: Fraction | None = value * (target + high)
    assert least is not None
    assert most is not None
    if position is None:
        most = max(most, kept)  # nobody can trade a part of a share
        if security_id in {*policy.no_sell, *policy.no_trade}:
            most = max(most, before)
    if policy.run_type is RunType.INVEST_CASH:
        least, most = None, max(most, before)
    elif policy.run_type is RunType.RAISE_CASH:
        least, most = min(least, before), None
    lots = {lot.security_id: lot.size for lot in policy.lot_sizes}
    return _Security(
        security_id=security_id,
        price=price,
        held=held,
        kept=kept,
        target=value * target,
        least=least,
        most=most,
        lot=lots.get(security_id, policy.lot_size),
        modelled=position is not None,
    )


def cash_needed(checked: CheckedPortfolio, policy: Policy) -> Fraction:
    """What cash must be at least, after all trades and costs."""
    needed = max(
        Fraction(policy.cash_floor) * Fraction(checked.market_value), Fraction(policy.cash_floor_amount)
    )
    if policy.raise_cash:
        needed = max(needed, Fraction(checked.cash) + Fraction(policy.raise_cash))
    return needed


def group_bounds(
    checked: CheckedPortfolio, policy: Policy
) -> list[tuple[str, frozenset[SecurityId], Fraction | None, Fraction | None]]:
    """Name, members, least and most worth of each group, as the run type leaves them."""
    value = Fraction(checked.market_value)
    found = []
    for group in policy.groups:
        members = frozenset(group.security_ids)
        before = sum(
            (each.worth(each.held) for each in securities(checked, policy) if each.security_id in members),
            ZERO,
        )
        least: Fraction | None = Fraction(group.min) * value
        most: Fraction | None = Fraction(group.max) * value
        assert least is not None
        assert most is not None
        if policy.run_type is RunType.INVEST_CASH:
            least, most = None, max(most, before)
        elif policy.run_type is RunType.RAISE_CASH:
            least, most = min(least, before), None
        found.append((group.name, members, least, most))
    return found


# ------------------------------------------------------------------------------------------------ judging


def measured(checked: CheckedPortfolio, policy: Policy, after: Mapping[SecurityId, int]) -> Measures:
    """What an answer comes to; a security that is not in ``after`` is sold out."""
    bought = sold = drift = ZERO
    orders = 0
    for each in securities(checked, policy):
        shares = after.get(each.security_id, 0)
        change = each.price * (shares - each.held)
        bought += max(change, ZERO)
        sold += max(-change, ZERO)
        orders += change != 0
        drift += abs(each.target - each.worth(shares))
    cost = Fraction(policy.cost_rate) * (bought + sold) + Fraction(policy.cost_per_order) * orders
    cash_after = Fraction(checked.cash) - bought + sold - cost
    return Measures(
        drift=drift,
        turnover=bought + sold,
        orders=orders,
        cost=cost,
        cash_after=cash_after,
        objective=_objective(policy, drift, bought + sold, cost),
    )


def _objective(policy: Policy, drift: Fraction, turnover: Fraction, cost: Fraction) -> Fraction:
    """What is minimised. Where cash is raised, the turnover is what is sold."""
    if policy.run_type is RunType.TO_BAND:
        return turnover + cost
    if policy.run_type is RunType.RAISE_CASH:
        return drift + cost + 2 * (turnover - Fraction(policy.raise_cash))
    return drift + cost


def broken(checked: CheckedPortfolio, policy: Policy, after: Mapping[SecurityId, int]) -> dict[str, Fraction]:
    """Every rule that these whole shares break and by how much: money, orders (max_orders) or shares.

    A rule of one security is named ``rule:security_id``, a group's ``group_min:name``; none broken: it is allowed.
    """
    found: dict[str, Fraction] = {}
    worths: dict[SecurityId, Fraction] = {}
    for each in securities(checked, policy):
        shares = after.get(each.security_id, 0)
        worths[each.security_id] = each.worth(shares)
        for rule, amount in _broken_of(policy, each, shares):
            found[f"{rule}:{each.security_id}"] = amount
    seen = measured(checked, policy, after)
    found |= {
        "cash": cash_needed(checked, policy) - seen.cash_after,
        "max_orders": ZERO if policy.max_orders is None else Fraction(seen.orders - policy.max_orders),
        "max_turnover": ZERO
        if policy.max_turnover is None
        else seen.turnover - Fraction(policy.max_turnover) * Fraction(checked.market_value),
    }
    for name, members, least, most in group_bounds(checked, policy):
        worth = sum((worths.get(member, ZERO) for member in members), ZERO)
        found[f"group_min:{name}"] = ZERO if least is None else least - worth
        found[f"group_max:{name}"] = ZERO if most is None else worth - most
    return {rule: amount for rule, amount in found.items() if amount > 0}


def _broken_of(policy: Policy, each: _Security, shares: int) -> Iterator[tuple[str, Fraction]]:
    """What one security breaks on its own."""
    change, worth = shares - each.held, each.worth(shares)
    name = each.security_id
    if shares < 0:
        yield "whole_shares", Fraction(-shares)
    if each.least is not None and worth < each.least:
        yield "bounds", each.least - worth
    if each.most is not None and worth > each.most:
        yield "bounds", worth - each.most
    if change > 0 and (name in policy.no_buy or name in policy.no_trade):
        yield "no_trade" if name in policy.no_trade else "no_buy", Fraction(change)
    if change < 0 and (name in policy.no_sell or name in policy.no_trade):
        yield "no_trade" if name in policy.no_trade else "no_sell", Fraction(-change)
    if (policy.run_type is RunType.RAISE_CASH and change > 0) or (
        policy.run_type is RunType.INVEST_CASH and change < 0
    ):
        yield "run_type", Fraction(abs(change))
    if shares != 0 and change % each.lot:
        yield "lot", Fraction(min(abs(change) % each.lot, -abs(change) % each.lot))
    if shares != 0 and change != 0 and abs(change) * each.price < Fraction(policy.min_trade):
        yield "min_trade", Fraction(policy.min_trade) - abs(change) * each.price


# ------------------------------------------------------------------------------------------------ trying everything


def nothing_to_mend(checked: CheckedPortfolio, policy: Policy) -> bool:
    """Run type if_outside: every position and group inside its bounds, the cash at its floor, none to be raised."""
    if policy.run_type is not RunType.IF_OUTSIDE or policy.raise_cash:
        return False
    return not broken(checked, policy, checked.shares)


def choices(policy: Policy, each: _Security, *, most: int = 100_000) -> list[int]:
    """The whole shares that the rules of this security alone allow.

    Raises:
        TooLarge: there are more than ``most`` to look at.
    """
    low = 0 if each.least is None else max(0, math.ceil((each.least - each.kept) / each.price))
    # Bounds leave the upper end open only where nothing is bought.
    high = each.held if each.most is None else math.floor((each.most - each.kept) / each.price)
    if high - low > most:
        raise TooLarge
    return [shares for shares in range(low, high + 1) if not any(_broken_of(policy, each, shares))]


def solve(checked: CheckedPortfolio, policy: Policy, *, limit: int = 5_000) -> Truth:
    """Try every combination.

    Raises:
        TooLarge: there are more than ``limit``.
    """
    rows = securities(checked, policy)
    if nothing_to_mend(checked, policy):
        present = {each.security_id: each.held for each in rows}
        return Truth(objective=measured(checked, policy, present).objective, answers=(present,), inside=True)
    windows = [choices(policy, each) for each in rows]
    tried = math.prod(len(window) for window in windows)
    if tried > limit:
        raise TooLarge
    best: int | None = None
    answers: list[dict[SecurityId, int]] = []
    search = _Search(checked, policy, rows, windows)
    for objective, shares in search.allowed():
        if best is None or objective < best:
            answers.clear()
            best = objective
        if objective == best:
            answers.append({each.security_id: count for each, count in zip(rows, shares, strict=True)})
    return Truth(
        objective=None if best is None else Fraction(best, search.scale), answers=tuple(answers), tried=tried
    )


class _Search:
    """Every combination, added up in whole numbers: ``scale`` makes each fraction of this book one."""

    def __init__(
        self,
        checked: CheckedPortfolio,
        policy: Policy,
        rows: Sequence[_Security],
        windows: Sequence[Sequence[int]],
    ) -> None:
        turnover = (
            None
            if policy.max_turnover is None
            else Fraction(policy.max_turnover) * Fraction(checked.market_value)
        )
        groups = group_bounds(checked, policy)
        rate, fee = Fraction(policy.cost_rate), Fraction(policy.cost_per_order)
        exact = [
            fee,
            Fraction(checked.cash),
            cash_needed(checked, policy),
            Fraction(policy.raise_cash),
            *(each for each in (turnover,) if each is not None),
            *(each for _, _, low, high in groups for each in (low, high) if each is not None),
            *(part for each in rows for part in (each.price, each.price * rate, each.kept, each.target)),
        ]
        self.scale = math.lcm(*(each.denominator for each in exact))
        self._policy = policy
        self._cash = self._whole(Fraction(checked.cash))
        self._needed = self._whole(cash_needed(checked, policy))
        self._turnover = None if turnover is None else self._whole(turnover)
        self._raised = self._whole(Fraction(policy.raise_cash))
        self._groups = [
            (None if low is None else self._whole(low), None if high is None else self._whole(high))
            for _, _, low, high in groups
        ]
        members = [names for _, names, _, _ in groups]
        self._steps = [
            [
                (
                    shares,
                    self._whole(abs(each.target - each.worth(shares))),
                    self._whole(abs(each.price * (shares - each.held))),
                    int(shares != each.held),
                    self._whole(each.price * (each.held - shares)),
                    self._whole(rate * abs(each.price * (shares - each.held)) + fee * (shares != each.held)),
                    tuple(
                        self._whole(each.worth(shares)) if each.security_id in names else 0
                        for names in members
                    ),
                )
                for shares in window
            ]
            for each, window in zip(rows, windows, strict=True)
        ]

    def _whole(self, exact: Fraction) -> int:
        scaled = exact * self.scale
        assert scaled.denominator == 1
        return scaled.numerator

    def allowed(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Objective (in 1 / ``scale``) and shares of each combination that keeps every rule of the whole book."""
        run, most_orders = self._policy.run_type, self._policy.max_orders
        for shares, drift, turnover, orders, proceeds, cost, worths in self._sums(0):
            cash = self._cash + proceeds - cost
            if cash < self._needed:
                continue
            if most_orders is not None and orders > most_orders:
                continue
            if self._turnover is not None and turnover > self._turnover:
                continue
            if any(
                (low is not None and worth < low) or (high is not None and worth > high)
                for worth, (low, high) in zip(worths, self._groups, strict=True)
            ):
                continue
            if run is RunType.TO_BAND:
                yield turnover + cost, shares
            elif run is RunType.RAISE_CASH:
                yield drift + cost + 2 * (turnover - self._raised), shares
            else:
                yield drift + cost, shares

    def _sums(self, start: int) -> Iterator[tuple[tuple[int, ...], int, int, int, int, int, tuple[int, ...]]]:
        if start == len(self._steps):
            yield (), 0, 0, 0, 0, 0, (0,) * len(self._groups)
            return
        later = list(self._sums(start + 1))
        for shares, drift, turnover, orders, proceeds, cost, worths in self._steps[start]:
            for rest in later:
                yield (
                    (shares, *rest[0]),
                    drift + rest[1],
                    turnover + rest[2],
                    orders + rest[3],
                    proceeds + rest[4],
                    cost + rest[5],
                    tuple(map(int.__add__, worths, rest[6])),
                )
