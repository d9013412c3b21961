"""A portfolio that is sent along, and lists of portfolios by id."""

from pydantic import ConfigDict, Field, field_validator

from adapters.inbound.payloads.document import Payload, validated
from adapters.inbound.payloads.fields import Amount, PortfolioIdText, SecurityIdText, once
from adapters.inbound.payloads.policies import PolicyPayload
from adapters.inbound.strict_json import load
from domain.ids import PortfolioId, SecurityId
from domain.portfolio import Portfolio, Position


class PositionPayload(Payload):
    """A holding. A negative quantity is a short, a fraction is possible: the policy says what becomes of them."""

    security_id: SecurityIdText
    quantity: Amount


class PortfolioPayload(Payload):
    """Cash and holdings of one portfolio, sent along instead of being fetched."""

    portfolio_id: PortfolioIdText
    cash: Amount
    positions: list[PositionPayload] = Field(default_factory=list)
    market_value: Amount | None = Field(
        default=None, description="What the source says the portfolio is worth; it is checked, not used."
    )
    policy: PolicyPayload | None = Field(
        default=None, description="For this portfolio: key by key over the request's."
    )

    @field_validator("positions")
    @classmethod
    def _securities_once(cls, positions: list[PositionPayload]) -> list[PositionPayload]:
        once([position.security_id for position in positions], "security")
        return positions

    def portfolio(self) -> Portfolio:
        return Portfolio(
            portfolio_id=PortfolioId(self.portfolio_id),
            cash=self.cash,
            positions=tuple(
                Position(security_id=SecurityId(position.security_id), quantity=position.quantity)
                for position in self.positions
            ),
            stated_market_value=self.market_value,
        )


def portfolios_once(portfolios: list[PortfolioPayload] | None) -> list[PortfolioPayload] | None:
    """For a validator: no portfolio is sent along twice."""
    once([portfolio.portfolio_id for portfolio in portfolios or ()], "portfolio")
    return portfolios


class PortfoliosRequest(Payload):
    """Portfolios by id. One that is named twice counts once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"portfolios": ["PORTFOLIO-0001"]}]})

    portfolios: list[PortfolioIdText] = Field(min_length=1)


class PortfoliosQuery(Payload):
    """Portfolios whose rebalances are looked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"portfolios": ["PORTFOLIO-0001"]}]})

    portfolios: list[PortfolioIdText] = Field(min_length=1, max_length=100)


def parse_portfolios(body: bytes, *, max_bytes: int) -> tuple[PortfolioId, ...]:
    """Raises Invalid: the shape is broken."""
    request = validated(PortfoliosRequest, load(body, max_bytes=max_bytes), "portfolios")
    return tuple(PortfolioId(portfolio_id) for portfolio_id in dict.fromkeys(request.portfolios))


def parse_portfolios_query(body: bytes, *, max_bytes: int) -> tuple[PortfolioId, ...]:
    """Raises Invalid: the shape is broken."""
    query = validated(PortfoliosQuery, load(body, max_bytes=max_bytes), "portfolios")
    return tuple(PortfolioId(portfolio_id) for portfolio_id in dict.fromkeys(query.portfolios))


def as_portfolios(payloads: list[PortfolioPayload] | None) -> tuple[Portfolio, ...] | None:
    """As the domain has them; None: none were sent."""
    return None if payloads is None else tuple(payload.portfolio() for payload in payloads)
