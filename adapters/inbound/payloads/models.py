"""Models: whole, changed, a position at a time, and those that are sent along instead of being stored."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from adapters.inbound.payloads.document import Payload, validated
from adapters.inbound.payloads.fields import (
    MAX_COUNT,
    ModelIdText,
    PortfolioIdText,
    SecurityIdText,
    Version,
    Weight,
)
from adapters.inbound.payloads.policies import PolicyPayload
from adapters.inbound.strict_json import load
from domain.ids import ModelId, PortfolioId, SecurityId
from domain.model import MAX_NAME_LENGTH, InvestmentModel, ModelPosition
from domain.policy import Policy


class ModelPositionPayload(Payload):
    """Weights of one security, each a fraction of market value: ``"0.10"`` is ten percent."""

    security_id: SecurityIdText
    target: Weight
    low_drift: Weight
    high_drift: Weight

    def position(self) -> ModelPosition:
        return ModelPosition(
            security_id=SecurityId(self.security_id),
            target=self.target,
            low_drift=self.low_drift,
            high_drift=self.high_drift,
        )


_MODEL_EXAMPLE: dict[str, Any] = {
    "name": "Growth 60",
    "positions": [
        {
            "security_id": "STOCK0000000000000000001",
            "target": "0.25",
            "low_drift": "0.02",
            "high_drift": "0.02",
        }
    ],
    "portfolios": ["PORTFOLIO-0001", "PORTFOLIO-0002"],
    "policy": {"cash_floor": "0.02"},
}


class _ModelBody(Payload):
    name: str = Field(json_schema_extra={"minLength": 1, "maxLength": MAX_NAME_LENGTH})
    positions: list[ModelPositionPayload] = Field(default_factory=list)
    portfolios: list[PortfolioIdText] = Field(default_factory=list)
    policy: PolicyPayload = Field(default_factory=PolicyPayload)

    def _model(
        self, model_id: ModelId, version: int, last_rebalance_date: datetime | None
    ) -> InvestmentModel:
        return InvestmentModel(
            model_id=model_id,
            name=self.name,
            positions=tuple(position.position() for position in self.positions),
            portfolios=tuple(PortfolioId(portfolio_id) for portfolio_id in self.portfolios),
            policy=self.policy.over(Policy()),
            version=version,
            last_rebalance_date=last_rebalance_date,
        ).without_zero_targets()


class ModelCreate(_ModelBody):
    """A new model. Without ``model_id`` it is given one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model_id": "growth-60", **_MODEL_EXAMPLE}]})

    model_id: ModelIdText | None = None

    def model(self, new_id: Callable[[], str]) -> InvestmentModel:
        """Raises Invalid: a rule of models is broken."""
        return self._model(ModelId(self.model_id or new_id()), 1, None)


class ModelUpdate(_ModelBody):
    """The whole new content of a model, and the version it was read at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_MODEL_EXAMPLE, "version": 3}]})

    version: int = Field(ge=1, le=MAX_COUNT)

    def model(self, stored: InvestmentModel) -> InvestmentModel:
        """Raises Invalid: a rule of models is broken."""
        return self._model(stored.model_id, self.version, stored.last_rebalance_date)


_POSITION_EXAMPLE: dict[str, Any] = {
    "target": "0.25",
    "low_drift": "0.02",
    "high_drift": "0.02",
    "version": 3,
}


class PositionCreate(ModelPositionPayload):
    """A position for a model, and the version of the model it is added to."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"security_id": "STOCK0000000000000000002", **_POSITION_EXAMPLE}]}
    )

    version: Version


class PositionUpdate(Payload):
    """New weights of the position in the path, and the version of the model. A target of 0 takes it out."""

    model_config = ConfigDict(json_schema_extra={"examples": [_POSITION_EXAMPLE]})

    target: Weight
    low_drift: Weight
    high_drift: Weight
    version: Version


class SolveModelPayload(Payload):
    positions: list[ModelPositionPayload]


def parse_new_position(body: bytes, *, max_bytes: int) -> tuple[ModelPosition, int]:
    """The position and the model's version. Raises Invalid: the shape is broken."""
    payload = validated(PositionCreate, load(body, max_bytes=max_bytes), "position")
    return payload.position(), payload.version


def parse_position_update(
    body: bytes, security_id: SecurityId, *, max_bytes: int
) -> tuple[ModelPosition, int]:
    """The position and the model's version. Raises Invalid: the shape is broken."""
    payload = validated(PositionUpdate, load(body, max_bytes=max_bytes), "position")
    position = ModelPosition(
        security_id=security_id,
        target=payload.target,
        low_drift=payload.low_drift,
        high_drift=payload.high_drift,
    )
    return position, payload.version


def parse_new_model(body: bytes, *, max_bytes: int, new_id: Callable[[], str]) -> InvestmentModel:
    """Raises Invalid: the shape or a rule is broken."""
    return validated(ModelCreate, load(body, max_bytes=max_bytes), "model").model(new_id)


def parse_model_update(body: bytes, *, max_bytes: int) -> ModelUpdate:
    """Raises Invalid: the shape is broken (the rules are checked when the model is made)."""
    return validated(ModelUpdate, load(body, max_bytes=max_bytes), "model")


def unnamed_model(
    payload: SolveModelPayload, portfolios: tuple[PortfolioId, ...], policy: Policy
) -> InvestmentModel:
    """A model that is sent along, not stored."""
    return InvestmentModel(
        model_id=ModelId("solve"),
        name="solve",
        positions=tuple(position.position() for position in payload.positions),
        portfolios=portfolios,
        policy=policy,
    )
