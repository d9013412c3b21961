"""Short names for the values tests are made of. Securities and portfolios go by small numbers: 1, 2, 3."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias

from domain.ids import ModelId, PortfolioId, SecurityId
from domain.model import InvestmentModel, ModelPosition
from domain.policy import Policy
from domain.portfolio import Portfolio, Position
from domain.prices import PriceSnapshot, freeze

Number: TypeAlias = str | int | Decimal

MORNING = datetime(2026, 3, 2, 7, 30, tzinfo=UTC)


def security_id(number: int) -> SecurityId:
    """A well-formed id; ids sort as their numbers do."""
    return SecurityId(f"SEC{number:021d}")


def portfolio_id(number: int) -> PortfolioId:
    """A well-formed id; ids sort as their numbers do."""
    return PortfolioId(f"PORTFOLIO{number:015d}")


def ticker(number: int) -> str:
    return f"T{number}"


def position(number: int, quantity: Number) -> Position:
    return Position(security_id=security_id(number), quantity=Decimal(quantity))


def portfolio(
    cash: Number = 0,
    quantities: Mapping[int, Number] | None = None,
    *,
    number: int = 1,
    stated_market_value: Number | None = None,
) -> Portfolio:
    """``portfolio("1000.50", {1: 20, 2: "3.5"})``: cash, and quantity by security."""
    return Portfolio(
        portfolio_id=portfolio_id(number),
        cash=Decimal(cash),
        positions=tuple(position(security, quantity) for security, quantity in (quantities or {}).items()),
        stated_market_value=None if stated_market_value is None else Decimal(stated_market_value),
    )


def model_position(
    number: int, target: Number, low_drift: Number = "0.02", high_drift: Number = "0.02"
) -> ModelPosition:
    return ModelPosition(
        security_id=security_id(number),
        target=Decimal(target),
        low_drift=Decimal(low_drift),
        high_drift=Decimal(high_drift),
    )


def model(
    targets: Mapping[int, Number | tuple[Number, Number, Number]] | None = None,
    *,
    name: str = "Balanced",
    portfolios: Iterable[int] = (),
    policy: Policy | None = None,
    version: int = 1,
    last_rebalance_date: datetime | None = None,
) -> InvestmentModel:
    """``model({1: "0.5", 2: ("0.3", "0.01", "0.05")})``: target, or target with low and high drift, by security."""
    return InvestmentModel(
        model_id=ModelId("MODEL1"),
        name=name,
        positions=tuple(
            model_position(security, *weights)
            if isinstance(weights, tuple)
            else model_position(security, weights)
            for security, weights in (targets or {}).items()
        ),
        portfolios=tuple(portfolio_id(number) for number in portfolios),
        policy=policy or Policy(),
        version=version,
        last_rebalance_date=last_rebalance_date,
    )


def prices(by_security: Mapping[int, Number]) -> dict[SecurityId, Decimal]:
    """``prices({1: "10.25", 2: 40})``"""
    return {security_id(number): Decimal(price) for number, price in by_security.items()}


def snapshot(by_security: Mapping[int, Number], *, as_of: datetime = MORNING) -> PriceSnapshot:
    """Frozen prices of these securities, with tickers."""
    frozen, _ = freeze(as_of, prices(by_security), {security_id(n): ticker(n) for n in by_security})
    return frozen
