"""An investment model: target weights with drift bounds, and the portfolios that follow it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from domain import money
from domain.errors import Invalid
from domain.faults import Faults
from domain.ids import (
    PORTFOLIO_ID_RULE,
    SECURITY_ID_RULE,
    ModelId,
    PortfolioId,
    SecurityId,
    is_portfolio_id,
    is_security_id,
)
from domain.policy import Policy

MAX_NAME_LENGTH = 100
MAX_POSITIONS = 100  # with a target above 0
MAX_TARGET = Decimal("0.95")  # of one position, and of all together
TARGET_STEP = Decimal("0.005")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPosition:
    """Weights of one security, each a fraction of market value: ``0.10`` is ten percent.

    The rules are the model's to check (all faults at once); a position alone promises nothing. ``low_drift``
    may be the larger of the two, or larger than the target: a wide lower band is a choice, not a fault.
    """

    security_id: SecurityId
    target: Decimal
    low_drift: Decimal
    high_drift: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class InvestmentModel:
    """The rules are checked when one is made; a model that exists is a valid one.

    That the name is unique is for the store to see. ``version`` counts the changes (optimistic locking).
    ``last_rebalance_date`` is UTC.

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

    def __post_init__(self) -> None:
        faults = Faults()
        _check_name(self.name, faults)
        _check_positions(self.positions, faults)
        _check_targets_together(self.positions, faults)
        _check_portfolios(self.portfolios, faults)
        if type(self.version) is not int or self.version < 1:
            faults.add("version", f"version {money.shown(self.version)} is not a whole number from 1 up")
        if self.last_rebalance_date is not None and self.last_rebalance_date.utcoffset() != timedelta(0):
            faults.add("last_rebalance_date", f"{self.last_rebalance_date} is not a moment in UTC")
        faults.refuse_if_any("the model cannot be used")

    def without_zero_targets(self) -> "InvestmentModel":
        """The model as it is saved. A security with target 0 is one outside the model: it is sold."""
        return replace(self, positions=tuple(position for position in self.positions if position.target))

    def require_targets(self) -> None:
        """Rebalancing to a model without any would sell everything: nobody asks for that by leaving them out.

        Raises:
            Invalid: no target is above 0.
        """
        if not any(position.target > 0 for position in self.positions):
            raise Invalid(
                f"model {self.model_id!r} has no target above 0: add positions before rebalancing to it",
                code="empty_model",
            )


def _check_name(name: str, faults: Faults) -> None:
    if not name.strip():
        faults.add("name", "the name is blank")
    if len(name) > MAX_NAME_LENGTH:
        faults.add("name", f"the name is longer than {MAX_NAME_LENGTH} characters")
    if not name.isprintable():
        faults.add("name", "the name holds characters that cannot be printed")


def _check_positions(positions: Sequence[ModelPosition], faults: Faults) -> None:
    seen: set[SecurityId] = set()
    for index, position in enumerate(positions):
        if position.security_id in seen:
            faults.add(
                f"positions[{index}].security_id", f"security {position.security_id} is in the model twice"
            )
        seen.add(position.security_id)
        for name, message in _position_faults(position):
            faults.add(f"positions[{index}].{name}", message)


def _position_faults(position: ModelPosition) -> Iterator[tuple[str, str]]:
    """Field and message of each rule that one position breaks."""
    security = position.security_id
    if not is_security_id(security):
        yield "security_id", f"{money.shown(security)}: {SECURITY_ID_RULE}"
    if not _is_target(position.target):
        yield (
            "target",
            f"target {money.shown(position.target)} of security {security} is not 0 or a multiple of {TARGET_STEP} up to {MAX_TARGET}",
        )
    for name, drift in (("low_drift", position.low_drift), ("high_drift", position.high_drift)):
        if not (money.fits(drift) and 0 <= drift <= 1):
            yield name, f"{name} {money.shown(drift)} of security {security} is not a weight from 0 to 1"


def _is_target(target: Decimal) -> bool:
    return money.fits(target) and 0 <= target <= MAX_TARGET and money.is_multiple(target, TARGET_STEP)


def _check_targets_together(positions: Sequence[ModelPosition], faults: Faults) -> None:
    targets = [position.target for position in positions if money.fits(position.target)]
    together = money.total(targets)
    if together > MAX_TARGET:
        faults.add(
            "positions",
            f"the targets add up to {money.plain(together)}: at most {MAX_TARGET}, the rest stays in cash",
        )
    wanted = sum(1 for target in targets if target > 0)
    if wanted > MAX_POSITIONS:
        faults.add("positions", f"{wanted} positions have a target above 0: at most {MAX_POSITIONS}")


def _check_portfolios(portfolios: Sequence[PortfolioId], faults: Faults) -> None:
    seen: set[PortfolioId] = set()
    for index, portfolio_id in enumerate(portfolios):
        if portfolio_id in seen:
            faults.add(f"portfolios[{index}]", f"portfolio {portfolio_id!r} is in the model twice")
        seen.add(portfolio_id)
        if not is_portfolio_id(portfolio_id):
            faults.add(f"portfolios[{index}]", f"{money.shown(portfolio_id)}: {PORTFOLIO_ID_RULE}")
