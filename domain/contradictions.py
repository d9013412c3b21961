"""What a policy asks that no price can bring about: found before anything is fetched, so that it is refused at once.

Only what is impossible at every price stands here. Everything is a statement about weights of market value, or about
what is held and what is not; whatever depends on a price is found, and explained, when the portfolio is solved.
A portfolio that is rejected, or that has nothing at all, is not rebalanced: these sentences are not about it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import permutations

from domain import money
from domain.ids import SecurityId
from domain.model import ModelPosition
from domain.policy import (
    Bounds,
    FractionalHolding,
    Group,
    MissingPrice,
    NegativeCash,
    OnInfeasible,
    Policy,
    RunType,
    ShortHolding,
)
from domain.portfolio import Portfolio

_NAMED = 3  # securities in a sentence; the others are counted
_ZERO = Fraction(0)
_WHOLE = Fraction(1)

# Under these every position ends inside its bounds and every group inside its own.
_BOUND_RUNS = frozenset({RunType.TO_TARGET, RunType.TO_BAND, RunType.IF_OUTSIDE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """``rule`` is the policy key to look at first, ``message`` a sentence for people."""

    rule: str
    message: str


class ModelWeights:
    """The least and the most weight of each security of a model by its own bounds, as fractions: made once."""

    def __init__(self, positions: Sequence[ModelPosition]) -> None:
        self._positions = positions
        self._least: dict[Bounds, Mapping[SecurityId, Fraction]] = {}
        self._most: dict[Bounds, Mapping[SecurityId, Fraction]] = {}
        self._together: dict[Bounds, Fraction] = {}

    def least(self, bounds: Bounds) -> Mapping[SecurityId, Fraction]:
        """Lower bounds; those that are 0 are left out."""
        if bounds not in self._least:
            lower = {
                each.security_id: Fraction(each.target) - _drift(each, each.low_drift, bounds)
                for each in self._positions
            }
            self._least[bounds] = {each: weight for each, weight in lower.items() if weight > 0}
        return self._least[bounds]

    def least_together(self, bounds: Bounds) -> Fraction:
        """The sum of the lower bounds."""
        if bounds not in self._together:
            self._together[bounds] = sum(self.least(bounds).values(), _ZERO)
        return self._together[bounds]

    def most(self, bounds: Bounds) -> Mapping[SecurityId, Fraction]:
        """Upper bounds of every security of the model."""
        if bounds not in self._most:
            self._most[bounds] = {
                each.security_id: Fraction(each.target) + _drift(each, each.high_drift, bounds)
                for each in self._positions
            }
        return self._most[bounds]


def _drift(position: ModelPosition, drift: Decimal, bounds: Bounds) -> Fraction:
    return Fraction(drift) * (Fraction(position.target) if bounds is Bounds.RELATIVE else _WHOLE)


class Contradictions:
    """Of a model and a policy; made once for all the portfolios they hold for.

    ``of_every_portfolio`` hold whatever is held. A policy that relaxes rules has none: it can be answered.
    """

    def __init__(self, weights: ModelWeights, policy: Policy) -> None:
        self._policy = policy
        self._bounded = policy.run_type in _BOUND_RUNS
        # Where a security without a price is left out, none has to end with any weight.
        self._all_priced = policy.missing_price is MissingPrice.REJECT
        self._relaxes = policy.on_infeasible is OnInfeasible.RELAX
        enforced = self._bounded and self._all_priced
        self._least: Mapping[SecurityId, Fraction] = weights.least(policy.bounds) if enforced else {}
        self._least_together = weights.least_together(policy.bounds) if enforced else _ZERO
        self._most = weights.most(policy.bounds)
        self._kept = {*policy.no_sell, *policy.no_trade}
        self._not_bought = {*policy.no_buy, *policy.no_trade}
        self.of_every_portfolio = () if self._relaxes else tuple(self._general())

    def of(self, portfolio: Portfolio) -> tuple[Contradiction, ...]:
        """Those of a portfolio whose holdings are known, besides ``of_every_portfolio``."""
        if self._relaxes or not _is_fit(portfolio, self._policy):
            return ()
        return tuple(self._particular(_Holdings(portfolio)))

    def _lowest(self, securities: Collection[SecurityId]) -> Fraction:
        return sum((self._least.get(each, _ZERO) for each in securities), _ZERO)

    # -------------------------------------------------------------------------------------------- whatever is held

    def _general(self) -> Iterator[Contradiction]:
        policy = self._policy
        if policy.raise_cash > 0:
            for key, says in self._no_proceeds():
                yield Contradiction(
                    rule=key, message=f"{_money(policy.raise_cash)} is to be raised by selling, and {says}"
                )
        if not self._bounded:
            return
        yield from self._more_than_the_whole()
        for group in policy.groups:
            yield from self._group_against_bounds(group)
        for one, other in permutations(policy.groups, 2):
            yield from self._group_against_group(one, other)

    def _no_proceeds(self) -> Iterator[tuple[str, str]]:
        """Why no sale can bring cash, whatever is held."""
        if self._policy.max_orders == 0:
            yield "max_orders", "max_orders 0 allows no order"
        if self._policy.max_turnover == 0:
            yield "max_turnover", "max_turnover 0 allows no order"
        if self._policy.cost_rate == 1:
            yield "cost_rate", "cost_rate 1 takes all that an order brings"

    def _more_than_the_whole(self) -> Iterator[Contradiction]:
        """Lower bounds, the least of groups that share nothing, and the cash floor."""
        floor = Fraction(self._policy.cash_floor)
        taken: set[SecurityId] = set()
        least, names = self._least_together, list[str]()
        for group in sorted(self._policy.groups, key=self._more_than_bounds, reverse=True):
            more = self._more_than_bounds(group)
            if more > 0 and taken.isdisjoint(group.security_ids):
                taken.update(group.security_ids)
                least += more
                names.append(group.name)
        if least + floor <= _WHOLE:
            return
        parts = ["the lower bounds", *(f"the least of group {money.shown(name)}" for name in names)]
        yield Contradiction(
            rule="groups" if names else "cash_floor",
            message=(
                f"{' and '.join(parts)} demand {_percent(least)} of market value, "
                f"and the cash floor keeps {_percent(floor)}: together more than there is"
            ),
        )

    def _more_than_bounds(self, group: Group) -> Fraction:
        return Fraction(group.min) - self._lowest(group.security_ids)

    def _group_against_bounds(self, group: Group) -> Iterator[Contradiction]:
        least, name = self._lowest(group.security_ids), money.shown(group.name)
        if least > Fraction(group.max):
            yield Contradiction(
                rule="groups",
                message=(
                    f"group {name}: its members' lower bounds demand {_percent(least)} of market value, "
                    f"its max is {_percent(group.max)}"
                ),
            )
        most = self._highest(group.security_ids)
        if most is not None and most < Fraction(group.min):
            yield Contradiction(
                rule="groups",
                message=(
                    f"group {name}: its members' upper bounds allow {_percent(most)} of market value, "
                    f"its min is {_percent(group.min)}"
                ),
            )

    def _group_against_group(self, one: Group, other: Group) -> Iterator[Contradiction]:
        """What the first demands of the securities both have is more than the other allows."""
        mine, theirs = set(one.security_ids), set(other.security_ids)
        elsewhere = self._highest(mine - theirs)
        if elsewhere is None or mine.isdisjoint(theirs):
            return
        shared = Fraction(one.min) - elsewhere
        if shared <= self._lowest(mine & theirs):
            return  # then it is its members' bounds that demand it
        least = shared + self._lowest(theirs - mine)
        if least > Fraction(other.max):
            yield Contradiction(
                rule="groups",
                message=(
                    f"group {money.shown(one.name)} demands at least {_percent(least)} of market value of what it "
                    f"shares with group {money.shown(other.name)}, whose max is {_percent(other.max)}"
                ),
            )

    def _highest(self, securities: Collection[SecurityId]) -> Fraction | None:
        """The most they can weigh together, whatever is held; None: nobody knows before it is fetched."""
        fractions = self._policy.fractional_holding is FractionalHolding.KEEP_FRACTION
        if any(each not in self._most and (fractions or each in self._kept) for each in securities):
            return None
        return sum((self._most.get(each, _ZERO) for each in securities), _ZERO)

    # -------------------------------------------------------------------------------------------- of these holdings

    def _particular(self, holdings: "_Holdings") -> Iterator[Contradiction]:
        sells = self._needs_sales(holdings)
        if sells is not None and not self._has_proceeds(holdings):
            yield sells
        if self._all_priced:
            yield from self._shorts(holdings)
            yield from self._too_few_orders(holdings, sells_cash=sells is not None)
        if not self._bounded:
            return
        if self._all_priced:
            yield from self._not_to_be_bought(holdings)
            yield from self._not_to_be_sold(holdings)
            yield from self._all_in_cash(holdings)
        for group in self._policy.groups:
            yield from self._group_out_of_reach(group, holdings)

    def _needs_sales(self, holdings: "_Holdings") -> Contradiction | None:
        """What is wrong if nothing can be sold; None: the cash suffices without."""
        policy, cash = self._policy, holdings.cash
        why_not = "and nothing that is held may be sold for it"
        if policy.raise_cash > 0:
            return Contradiction(
                rule="raise_cash", message=f"{_money(policy.raise_cash)} is to be raised, {why_not}"
            )
        if cash < 0:
            return Contradiction(
                rule="negative_cash", message=f"cash is overdrawn by {_money(cash.copy_negate())}, {why_not}"
            )
        if cash < policy.cash_floor_amount:
            return Contradiction(
                rule="cash_floor_amount",
                message=f"cash of {_money(cash)} is below the floor of {_money(policy.cash_floor_amount)}, {why_not}",
            )
        return None

    def _has_proceeds(self, holdings: "_Holdings") -> bool:
        if self._policy.run_type is RunType.INVEST_CASH or any(self._no_proceeds()):
            return False
        return any(shares >= 1 and each not in self._kept for each, shares in holdings.whole.items())

    def _shorts(self, holdings: "_Holdings") -> Iterator[Contradiction]:
        for each, shares in holdings.whole.items():
            if shares >= 0:
                continue
            if each in self._not_bought:
                yield self._not_bought_although(each, "it is short")
            elif self._policy.run_type is RunType.RAISE_CASH:
                yield Contradiction(
                    rule="run_type", message=f"security {each} is short, and run type raise_cash buys nothing"
                )

    def _not_to_be_bought(self, holdings: "_Holdings") -> Iterator[Contradiction]:
        for each, least in self._least.items():
            if each in self._not_bought and not holdings.has(each):
                yield self._not_bought_although(
                    each, f"none is held, and its lower bound is {_percent(least)} of market value"
                )

    def _not_bought_although(self, security_id: SecurityId, why: str) -> Contradiction:
        rule = "no_trade" if security_id in self._policy.no_trade else "no_buy"
        return Contradiction(rule=rule, message=f"security {security_id} must not be bought, {why}")

    def _not_to_be_sold(self, holdings: "_Holdings") -> Iterator[Contradiction]:
        """What stays, in a group that must be worth nothing."""
        for group in self._policy.groups:
            if group.max > 0:
                continue
            for each in group.security_ids:
                stays = holdings.whole.get(each, 0) >= 1 and each in self._kept
                if stays or each in holdings.fractions:
                    rule = "no_trade" if each in self._policy.no_trade else "no_sell" if stays else "groups"
                    yield Contradiction(
                        rule=rule,
                        message=f"security {each} stays, and group {money.shown(group.name)} has a max of 0",
                    )

    def _group_out_of_reach(self, group: Group, holdings: "_Holdings") -> Iterator[Contradiction]:
        """Its min is above what its members can be worth, given what is held and what must not be bought."""
        known = self._highest(group.security_ids)
        if known is not None and known < Fraction(group.min):
            return  # so it is for every portfolio
        most = _ZERO
        for each in group.security_ids:
            held = holdings.has(each)
            if each in holdings.fractions or (held and each not in self._most and each in self._kept):
                return
            if held or each not in self._not_bought:
                most += self._most.get(each, _ZERO)
        if most < Fraction(group.min):
            yield Contradiction(
                rule="groups",
                message=(
                    f"group {money.shown(group.name)}: what may be held of its members is at most {_percent(most)} "
                    f"of market value, its min is {_percent(group.min)}"
                ),
            )

    def _all_in_cash(self, holdings: "_Holdings") -> Iterator[Contradiction]:
        """Where nothing is held, the cash is the market value, and the amounts are weights."""
        policy, cash = self._policy, Fraction(holdings.cash)
        floor = Fraction(policy.cash_floor_amount)
        if holdings.whole or not self._least or not Fraction(policy.cash_floor) * cash < floor <= cash:
            return
        needed = self._least_together * cash * (1 + Fraction(policy.cost_rate))
        needed += len(self._least) * Fraction(policy.cost_per_order)
        if needed + floor > cash:
            yield Contradiction(
                rule="cash_floor_amount",
                message=(
                    f"the lower bounds demand {_percent(self._least_together)} of the {_money(holdings.cash)} that are all "
                    f"there is, and the cash floor keeps {_money(policy.cash_floor_amount)}"
                ),
            )

    def _too_few_orders(self, holdings: "_Holdings", *, sells_cash: bool) -> Iterator[Contradiction]:
        policy = self._policy
        buys, sells = self._must_be_bought(holdings), self._must_be_sold(holdings)
        orders = len(buys) + max(len(sells), int(sells_cash))
        why = f"{orders} orders are needed at least: {_orders_in_words(buys, sells, sells_cash=sells_cash)}"
        if policy.max_orders is not None and 0 < orders > policy.max_orders:
            yield Contradiction(rule="max_orders", message=f"{why}; max_orders is {policy.max_orders}")
        if policy.max_turnover is None:
            return
        least = self._lowest([each for each in buys if not holdings.has(each)])
        if policy.max_turnover == 0 and orders:
            yield Contradiction(rule="max_turnover", message=f"{why}; max_turnover is 0")
        elif least > Fraction(policy.max_turnover):
            yield Contradiction(
                rule="max_turnover",
                message=(
                    f"what is not held and has a lower bound takes purchases of {_percent(least)} of market value; "
                    f"max_turnover is {_percent(policy.max_turnover)}"
                ),
            )

    def _must_be_bought(self, holdings: "_Holdings") -> list[SecurityId]:
        shorts = {each for each, shares in holdings.whole.items() if shares < 0}
        if self._policy.run_type is RunType.RAISE_CASH:
            shorts = set()
        missing = {each for each in self._least if not holdings.has(each)}
        return sorted(shorts | missing)

    def _must_be_sold(self, holdings: "_Holdings") -> list[SecurityId]:
        if not self._bounded:
            return []
        return sorted(
            each
            for each, shares in holdings.whole.items()
            if shares >= 1 and each not in self._most and each not in self._kept
        )


class _Holdings:
    """Whole shares (a short is below 0) and the parts of shares of what is held."""

    def __init__(self, portfolio: Portfolio) -> None:
        parts = {each: money.split_whole(quantity) for each, quantity in portfolio.held().items()}
        self.cash = portfolio.cash
        self.whole: Mapping[SecurityId, int] = {each: whole for each, (whole, _) in parts.items()}
        self.fractions = frozenset(each for each, (_, fraction) in parts.items() if fraction)

    def has(self, security_id: SecurityId) -> bool:
        return security_id in self.whole


def _is_fit(portfolio: Portfolio, policy: Policy) -> bool:
    """Whether it is rebalanced at all, as far as that can be told without prices."""
    held = portfolio.held()
    if not (portfolio.cash or held) or (portfolio.cash < 0 and policy.negative_cash is NegativeCash.REJECT):
        return False
    if policy.short_holding is ShortHolding.REJECT and any(quantity < 0 for quantity in held.values()):
        return False
    keeps = policy.fractional_holding is FractionalHolding.KEEP_FRACTION
    return keeps or money.whole_numbers(held.values()) is not None


# ------------------------------------------------------------------------------------------------ in words


def _money(amount: Decimal) -> str:
    return money.plain(money.tidy(amount))


def _percent(weight: Fraction | Decimal) -> str:
    """Rounded to a hundredth of a percent: a sentence, not a number to go on with."""
    hundredths = round(Fraction(weight) * 10_000)
    return f"{hundredths // 100}.{hundredths % 100:02d}%"


def _orders_in_words(buys: Sequence[SecurityId], sells: Sequence[SecurityId], *, sells_cash: bool) -> str:
    parts = [
        f"{verb} {_some(securities)}" for verb, securities in (("sell", sells), ("buy", buys)) if securities
    ]
    if sells_cash and not sells:
        parts.insert(0, "sell something for the cash")
    return ", ".join(parts)


def _some(securities: Sequence[SecurityId]) -> str:
    more = len(securities) - _NAMED
    return ", ".join(securities[:_NAMED]) + (f" and {more} more" if more > 0 else "")
