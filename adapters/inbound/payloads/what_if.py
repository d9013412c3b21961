"""Scenarios side by side, and a frontier."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from adapters.inbound.payloads.document import Payload, validated
from adapters.inbound.payloads.fields import (
    ModelIdText,
    PortfolioIdText,
    Prices,
    as_ids,
    as_prices,
    fault,
    ids_once,
    once,
)
from adapters.inbound.payloads.models import SolveModelPayload, unnamed_model
from adapters.inbound.payloads.policies import PolicyPayload
from adapters.inbound.payloads.portfolios import PortfolioPayload, as_portfolios, portfolios_once
from adapters.inbound.strict_json import load
from domain.ids import ModelId, PortfolioId
from domain.policy import MAX_GROUP_NAME, Policy
from tasks.compare import AS_ASKED, DO_NOTHING, Scenario
from tasks.what_if import MAX_POINTS, MAX_SCENARIOS, MIN_POINTS, FrontierAsked, WhatIf
from tasks.what_if import MAX_PORTFOLIOS as MAX_COMPARED_PORTFOLIOS


class ScenarioPayload(Payload):
    name: str = Field(
        min_length=1,
        max_length=MAX_GROUP_NAME,
        description="Not do_nothing and not policy: those two are always there.",
    )
    policy: PolicyPayload = Field(default_factory=PolicyPayload, description="Key by key over the policy.")

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not (name.strip() and name.isprintable()) or name in {DO_NOTHING, AS_ASKED}:
            raise fault(f"must be printable, and neither {DO_NOTHING} nor {AS_ASKED}")
        return name


class FrontierPayload(Payload):
    portfolio_id: PortfolioIdText
    points: Annotated[int, Field(ge=MIN_POINTS, le=MAX_POINTS)] = Field(
        default=11, description="Limits on turnover that are tried."
    )


class WhatIfRequest(Payload):
    """Scenarios side by side: nothing is stored, nothing published."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model_id": "growth-60",
                    "portfolio_ids": ["PORTFOLIO-0001"],
                    "scenarios": [
                        {"name": "in the bands", "policy": {"run_type": "to_band"}},
                        {"name": "few orders", "policy": {"max_orders": 5}},
                    ],
                    "frontier": {"portfolio_id": "PORTFOLIO-0001", "points": 11},
                }
            ]
        }
    )

    model_id: ModelIdText | None = None
    model: SolveModelPayload | None = None
    portfolio_ids: list[PortfolioIdText] | None = Field(
        default=None, min_length=1, max_length=MAX_COMPARED_PORTFOLIOS
    )
    portfolios: list[PortfolioPayload] | None = Field(
        default=None, min_length=1, max_length=MAX_COMPARED_PORTFOLIOS
    )
    prices: Prices | None = Field(default=None, description="Prices by security id, instead of fetched ones.")
    policy: PolicyPayload = Field(
        default_factory=PolicyPayload, description="Over the model's own, key by key."
    )
    scenarios: list[ScenarioPayload] = Field(default_factory=list, max_length=MAX_SCENARIOS)
    frontier: FrontierPayload | None = Field(
        default=None, description="The least drift of one portfolio for every amount of trading."
    )

    _ids_once = field_validator("portfolio_ids")(ids_once)
    _portfolios_once = field_validator("portfolios")(portfolios_once)

    @field_validator("portfolios")
    @classmethod
    def _of_one_policy(cls, portfolios: list[PortfolioPayload] | None) -> list[PortfolioPayload] | None:
        if any(portfolio.policy is not None for portfolio in portfolios or ()):
            raise fault("a comparison has one policy and its scenarios: none for a portfolio")
        return portfolios

    @field_validator("scenarios")
    @classmethod
    def _scenarios_once(cls, scenarios: list[ScenarioPayload]) -> list[ScenarioPayload]:
        once([scenario.name for scenario in scenarios], "scenario")
        return scenarios

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.model_id is None) == (self.model is None):
            raise fault("give model_id or model")
        if (self.portfolio_ids is None) == (self.portfolios is None):
            raise fault("give portfolio_ids or portfolios")
        return self


def parse_what_if(body: bytes, *, max_bytes: int) -> WhatIf:
    """Raises Invalid: the shape or a rule of models is broken."""
    request = validated(WhatIfRequest, load(body, max_bytes=max_bytes), "what-if")
    asked = request.frontier
    return WhatIf(
        model_id=None if request.model_id is None else ModelId(request.model_id),
        model=None if request.model is None else unnamed_model(request.model, (), Policy()),
        portfolio_ids=as_ids(request.portfolio_ids) or (),
        portfolios=as_portfolios(request.portfolios) or (),
        prices=as_prices(request.prices),
        policy=request.policy.changes(),
        scenarios=tuple(Scenario(name=each.name, policy=each.policy.changes()) for each in request.scenarios),
        frontier=None
        if asked is None
        else FrontierAsked(portfolio_id=PortfolioId(asked.portfolio_id), points=asked.points),
    )
