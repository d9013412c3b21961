"""Is this portfolio fit to be rebalanced? Each doubt follows a named policy; nothing is assumed in silence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from domain import money
from domain.answer import Conflict, Outcome
from domain.errors import Invalid
from domain.ids import PortfolioId, SecurityId
from domain.model import InvestmentModel, ModelPosition
from domain.policy import Bounds, FractionalHolding, MissingPrice, NegativeCash, Policy, ShortHolding
from domain.portfolio import Portfolio

# Reasons of an unfit portfolio, and at the same time the rules its conflicts name. Stable words.
EMPTY = "empty"
MISSING_PRICE = "missing_price"
FRACTIONAL_HOLDING = "fractional_holding"
SHORT_HOLDING = "short_holding"
NEGATIVE_CASH = "negative_cash"
NO_MARKET_VALUE = "no_market_value"
STATED_VALUE_DISAGREES = "stated_value_disagrees"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPortfolio:
    """A portfolio that can be rebalanced, in the numbers the problem is made of.

    ``shares`` are the whole shares that may be traded (negative where a short is to be covered), for every
    held security with a price. ``fractions`` are the parts of a share that stay (valued, never traded; only
    under ``keep_fraction``). ``targets`` are the model's positions that have a price. ``prices`` covers all of
    these. ``market_value`` = cash + price x (shares + fraction). ``notes`` say what a policy left out.
    """

    portfolio_id: PortfolioId
    cash: Decimal
    market_value: Decimal
    shares: Mapping[SecurityId, int]
    fractions: Mapping[SecurityId, Decimal]
    targets: Mapping[SecurityId, ModelPosition]
    prices: Mapping[SecurityId, Decimal]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Why it is not rebalanced: ``no_trade``/``empty``, or ``rejected`` with every reason named in ``conflicts``."""

    outcome: Outcome
    reason: str
    conflicts: tuple[Conflict, ...] = ()
    market_value: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedValueRange:
    """A source's own market value must lie within these multiples of the computed one (inclusive).

    Raises:
        Invalid: not ``0 <= low <= high``.
    """

    low: Decimal = Decimal("0.85")
    high: Decimal = Decimal("1.05")

    def __post_init__(self) -> None:
        if not (money.fits(self.low) and money.fits(self.high) and 0 <= self.low <= self.high):
            raise Invalid(f"{self.low} to {self.high} is no range for the stated market value")


class Market:
    """A model's positions and a set of prices side by side: made ready once for every portfolio they hold for.

    ``targets`` are the model's positions that have a usable price, ``prices`` those prices, both in order of
    security id; ``unpriced`` the modelled securities without one. A price that is not a positive number counts as
    missing. Where ``bounds`` are relative to the targets, the positions become absolute ones: what an answer
    shows, and what holds for it, are weights of market value.
    """

    __slots__ = ("_all_prices", "modelled", "prices", "targets", "unpriced")

    def __init__(
        self,
        model: InvestmentModel,
        prices: Mapping[SecurityId, Decimal],
        bounds: Bounds = Bounds.ABSOLUTE,
    ) -> None:
        positions = map(_absolute, model.positions) if bounds is Bounds.RELATIVE else model.positions
        ordered = sorted(positions, key=lambda position: position.security_id)
        self._all_prices = prices
        self.modelled: Mapping[SecurityId, ModelPosition] = {each.security_id: each for each in ordered}
        self.targets = {
            each.security_id: each for each in ordered if self.price(each.security_id) is not None
        }
        self.prices = {security_id: prices[security_id] for security_id in self.targets}
        self.unpriced = tuple(security_id for security_id in self.modelled if security_id not in self.targets)

    def price(self, security_id: SecurityId) -> Decimal | None:
        """Its price if that can be used."""
        price = self._all_prices.get(security_id)
        return price if price is not None and price.is_finite() and price > 0 else None

    def with_held(
        self, held: Iterable[SecurityId]
    ) -> tuple[Mapping[SecurityId, Decimal], Sequence[SecurityId]]:
        """Prices of all modelled securities and these, and those of them that have none; in order of id."""
        outside = [security_id for security_id in held if security_id not in self.modelled]
        if not outside:
            return self.prices, self.unpriced
        found = {security_id: self.price(security_id) for security_id in outside}
        priced = {security_id: price for security_id, price in found.items() if price is not None}
        unpriced = [security_id for security_id in outside if security_id not in priced]
        return dict(sorted((self.prices | priced).items())), sorted((*self.unpriced, *unpriced))


def _absolute(position: ModelPosition) -> ModelPosition:
    """Drifts that were parts of the target as weights of market value; what is finer than a number may be is cut off."""
    return replace(
        position,
        low_drift=money.cut(money.multiply(position.target, position.low_drift)),
        high_drift=money.cut(money.multiply(position.target, position.high_drift)),
    )


def check_portfolio(
    portfolio: Portfolio | None, market: Market, policy: Policy, stated_value: StatedValueRange
) -> CheckedPortfolio | Unfit:
    """Apply every input check, in a fixed order, reporting all faults of the first kind that is found wrong.

    The order: no balance at all, prices, fractions, shorts, cash, market value, the source's own market value.
    Sold-out positions (quantity 0) are as good as absent; a security cannot be there twice (`Portfolio`).
    Faults are named in order of security id.
    """
    held = {} if portfolio is None else portfolio.held()
    if portfolio is None or not (portfolio.cash or held):
        return Unfit(outcome=Outcome.NO_TRADE, reason=EMPTY, market_value=Decimal(0))

    known, unpriced = market.with_held(held)
    if unpriced and policy.missing_price is MissingPrice.REJECT:
        return _rejected(MISSING_PRICE, [_missing_price(security_id, held) for security_id in unpriced])

    notes = tuple(_left_out(security_id, held) for security_id in unpriced)
    holdings = {security_id: held[security_id] for security_id in known if security_id in held}
    market_value = money.add_products(
        portfolio.cash, ((known[security_id], quantity) for security_id, quantity in holdings.items())
    )
    shares, fractions = _whole_and_rest(holdings)
    unfit = (
        _check_fractions(fractions, holdings, policy, market_value)
        or _check_shorts(holdings, known, policy, market_value)
        or _check_cash(portfolio.cash, policy, market_value)
        or _check_market_value(market_value)
        or _check_stated_value(portfolio.stated_market_value, market_value, stated_value, notes)
    )
    if unfit is not None:
        return unfit

    return CheckedPortfolio(
        portfolio_id=portfolio.portfolio_id,
        cash=portfolio.cash,
        market_value=market_value,
        shares=shares,
        fractions=fractions,
        targets=market.targets,
        prices=known,
        notes=notes,
    )


def _whole_and_rest(
    holdings: Mapping[SecurityId, Decimal],
) -> tuple[dict[SecurityId, int], dict[SecurityId, Decimal]]:
    """Whole shares of every holding, and the rest where there is one."""
    all_whole = money.whole_numbers(holdings.values())
    if all_whole is not None:
        return dict(zip(holdings, all_whole, strict=True)), {}
    parts = {security_id: money.split_whole(quantity) for security_id, quantity in holdings.items()}
    shares = {security_id: whole for security_id, (whole, _) in parts.items()}
    return shares, {security_id: fraction for security_id, (_, fraction) in parts.items() if fraction}


def _rejected(reason: str, conflicts: Iterable[Conflict], market_value: Decimal | None = None) -> Unfit:
    return Unfit(
        outcome=Outcome.REJECTED, reason=reason, conflicts=tuple(conflicts), market_value=market_value
    )


def _missing_price(security_id: SecurityId, held: Mapping[SecurityId, Decimal]) -> Conflict:
    where = "held" if security_id in held else "in the model"
    return Conflict(
        rule=MISSING_PRICE,
        message=(
            f"security {security_id}, {where}, has no usable price: supply one above 0, "
            f"or set missing_price to 'exclude' to leave the security alone"
        ),
        security_id=security_id,
    )


def _left_out(security_id: SecurityId, held: Mapping[SecurityId, Decimal]) -> str:
    quantity = held.get(security_id)
    if quantity is None:
        return f"security {security_id} of the model has no price and is left out: it is not bought"
    return (
        f"security {security_id} has no price: the {money.plain(quantity)} held are neither valued nor traded"
    )


def _check_fractions(
    fractions: Mapping[SecurityId, Decimal],
    holdings: Mapping[SecurityId, Decimal],
    policy: Policy,
    market_value: Decimal,
) -> Unfit | None:
    if not fractions or policy.fractional_holding is FractionalHolding.KEEP_FRACTION:
        return None
    conflicts = [
        Conflict(
            rule=FRACTIONAL_HOLDING,
            message=(
                f"the holding of {money.plain(holdings[security_id])} of security {security_id} is not a whole number of "
                f"shares: make it whole, or set fractional_holding to 'keep_fraction' to trade the whole shares only"
            ),
            security_id=security_id,
        )
        for security_id in fractions
    ]
    return _rejected(FRACTIONAL_HOLDING, conflicts, market_value)


def _check_shorts(
    holdings: Mapping[SecurityId, Decimal],
    prices: Mapping[SecurityId, Decimal],
    policy: Policy,
    market_value: Decimal,
) -> Unfit | None:
    if policy.short_holding is ShortHolding.COVER:
        return None
    conflicts = [
        Conflict(
            rule=SHORT_HOLDING,
            message=(
                f"the holding of {money.plain(quantity)} of security {security_id} is short: cover it, "
                f"or set short_holding to 'cover' to have it bought back"
            ),
            security_id=security_id,
            amount=money.multiply(prices[security_id], quantity.copy_abs()),
        )
        for security_id, quantity in holdings.items()
        if quantity < 0
    ]
    return _rejected(SHORT_HOLDING, conflicts, market_value) if conflicts else None


def _check_cash(cash: Decimal, policy: Policy, market_value: Decimal) -> Unfit | None:
    if cash >= 0 or policy.negative_cash is NegativeCash.RAISE:
        return None
    overdrawn = cash.copy_negate()
    conflict = Conflict(
        rule=NEGATIVE_CASH,
        message=(
            f"cash is overdrawn by {_amount(overdrawn)}: pay that in, "
            f"or set negative_cash to 'raise' to have it raised by selling"
        ),
        amount=overdrawn,
    )
    return _rejected(NEGATIVE_CASH, [conflict], market_value)


def _check_market_value(market_value: Decimal) -> Unfit | None:
    if market_value > 0:
        return None
    conflict = Conflict(
        rule=NO_MARKET_VALUE,
        message=(
            f"the market value is {_amount(market_value)}, so weights of it mean nothing: "
            f"pay in more than {_amount(market_value.copy_abs())}"
        ),
    )
    return _rejected(NO_MARKET_VALUE, [conflict], market_value)


def _check_stated_value(
    stated: Decimal | None, market_value: Decimal, allowed: StatedValueRange, notes: tuple[str, ...]
) -> Unfit | None:
    if stated is None:
        return None
    low = money.multiply(market_value, allowed.low)
    high = money.multiply(market_value, allowed.high)
    if low <= stated <= high:
        return None
    apart = money.subtract(low, stated) if stated < low else money.subtract(stated, high)
    left_out = f" (which leaves out {len(notes)} without a price)" if notes else ""
    conflict = Conflict(
        rule=STATED_VALUE_DISAGREES,
        message=(
            f"the source states a market value of {_amount(stated)}, cash and positions at the job's prices "
            f"make {_amount(market_value)}{left_out}: that is {_amount(apart)} outside {money.percent(allowed.low)} "
            f"to {money.percent(allowed.high)} of it; compare the source's positions and prices"
        ),
        amount=apart,
    )
    return _rejected(STATED_VALUE_DISAGREES, [conflict], market_value)


def _amount(amount: Decimal) -> str:
    return money.plain(money.tidy(amount))
