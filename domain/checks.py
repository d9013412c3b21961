"""Is this portfolio fit to be rebalanced? Each doubt follows a named policy; nothing is assumed in silence."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from domain.ids import PortfolioId, SecurityId
from domain.model import InvestmentModel, ModelPosition
from domain.policy import Policy
from domain.portfolio import Portfolio
from domain.rebalance import Conflict, Outcome


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
    """A source's own market value must lie within these multiples of the computed one (inclusive)."""

    low: Decimal = Decimal("0.85")
    high: Decimal = Decimal("1.05")


def check_portfolio(
    portfolio: Portfolio | None,
    model: InvestmentModel,
    prices: Mapping[SecurityId, Decimal],
    policy: Policy,
    stated_value: StatedValueRange,
) -> CheckedPortfolio | Unfit:
    """Apply every input check, in a fixed order, reporting all faults of the first kind that is found wrong."""
    raise NotImplementedError
