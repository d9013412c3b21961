"""The document of ``trimtab solve``: one portfolio, one model, the prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from pydantic import Field

from adapters.inbound.payloads.document import Payload, validated
from adapters.inbound.payloads.fields import Price, SecurityIdText
from adapters.inbound.payloads.models import SolveModelPayload, unnamed_model
from adapters.inbound.payloads.policies import PolicyPayload
from adapters.inbound.payloads.portfolios import PortfolioPayload
from adapters.inbound.strict_json import load
from domain.ids import SecurityId
from domain.model import InvestmentModel
from domain.policy import Policy
from domain.portfolio import Portfolio


class SolvePayload(Payload):
    """One portfolio, one model, the prices: everything an answer needs, without any service."""

    portfolio: PortfolioPayload
    model: SolveModelPayload
    prices: dict[SecurityIdText, Price]
    policy: PolicyPayload = Field(default_factory=PolicyPayload)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveDocument:
    """What ``trimtab solve`` reads, in the domain's words."""

    portfolio: Portfolio
    model: InvestmentModel
    prices: Mapping[SecurityId, Decimal]
    policy: Policy


def parse_solve(body: bytes, *, max_bytes: int) -> SolveDocument:
    """Raises Invalid: the shape or a rule of models is broken."""
    payload = validated(SolvePayload, load(body, max_bytes=max_bytes), "document")
    portfolio = payload.portfolio.portfolio()
    policy = payload.policy.over(Policy())
    if payload.portfolio.policy is not None:
        policy = payload.portfolio.policy.over(policy, "portfolio.policy")
    model = unnamed_model(payload.model, (portfolio.portfolio_id,), policy)
    model.require_targets()
    return SolveDocument(
        portfolio=portfolio,
        model=model,
        prices={SecurityId(security_id): price for security_id, price in payload.prices.items()},
        policy=policy,
    )
