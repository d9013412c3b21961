"""An investment model: target weights with drift bounds, and the portfolios that follow it."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from domain.ids import ModelId, PortfolioId, SecurityId
from domain.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPosition:
    """Weights of one security, each a fraction of market value: ``0.10`` is ten percent."""

    security_id: SecurityId
    target: Decimal
    low_drift: Decimal
    high_drift: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestmentModel:
    """The rules are checked when one is made; a model that exists is a valid one.

    ``version`` counts the changes (optimistic locking). ``last_rebalance_date`` is UTC.

    Raises:
        Invalid: a rule is broken; ``details`` names every one.
    """

    model_id: ModelId
    name: str
    positions: tuple[ModelPosition, ...]
    portfolios: tuple[PortfolioId, ...] = ()
    policy: Policy = field(default_factory=Policy)
    version: int = 1
    last_rebalance_date: datetime | None = None
