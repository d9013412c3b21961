"""A policy, as models, requests, portfolios and scenarios carry it."""

from decimal import Decimal
from typing import Annotated, Any

import msgspec
from pydantic import ConfigDict, Field, field_validator, model_serializer

from adapters.inbound.payloads.document import Payload
from adapters.inbound.payloads.fields import (
    Floor,
    LotSize,
    SecurityIds,
    SecurityIdText,
    Turnover,
    Weight,
    once,
)
from domain.ids import SecurityId
from domain.policy import (
    MAX_GROUP_NAME,
    MAX_GROUPS,
    MAX_NAMED_SECURITIES,
    MAX_ORDERS,
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
from tasks.policies import with_keys


class GroupPayload(Payload):
    """The securities of a sector, or of any other label, and what they may be worth together."""

    name: str = Field(json_schema_extra={"minLength": 1, "maxLength": MAX_GROUP_NAME})
    security_ids: SecurityIds = Field(min_length=1)
    min: Weight = Field(default=Decimal(0), description="Weight of market value, at least.")
    max: Weight = Field(default=Decimal(1), description="Weight of market value, at most.")

    @field_validator("security_ids")
    @classmethod
    def _securities_once(cls, security_ids: list[str]) -> list[str]:
        once(security_ids, "security")
        return security_ids

    def group(self) -> Group:
        """Its securities in order of id: the order they came in asks for nothing."""
        return Group(
            name=self.name,
            security_ids=tuple(SecurityId(each) for each in sorted(self.security_ids)),
            min=self.min,
            max=self.max,
        )


POLICY_EXAMPLE: dict[str, Any] = {
    "cash_floor": "0.02",
    "run_type": "to_band",
    "max_turnover": "0.15",
    "cost_rate": "0.001",
    "cost_per_order": "4.95",
    "no_sell": ["STOCK0000000000000000003"],
    "groups": [{"name": "Energy", "security_ids": ["STOCK0000000000000000001"], "max": "0.30"}],
}


class PolicyPayload(Payload):
    """What may be asked beyond targets and bounds. A key that is left out keeps what stands below it."""

    model_config = ConfigDict(json_schema_extra={"examples": [POLICY_EXAMPLE]})

    cash_floor: Weight = Field(default=Decimal(0), description="Cash to keep, as a weight of market value.")
    cash_floor_amount: Floor = Field(default=Decimal(0), description="Cash to keep, in money.")
    raise_cash: Floor = Field(default=Decimal(0), description="Money to raise above the cash there is.")
    # Strict pydantic wants the member itself; the name of one is what JSON can carry.
    run_type: RunType = Field(default=RunType.TO_TARGET, strict=False)
    bounds: Bounds = Field(
        default=Bounds.ABSOLUTE,
        strict=False,
        description="What the model's drift bounds are weights of: market value, or their target.",
    )
    on_infeasible: OnInfeasible = Field(
        default=OnInfeasible.REPORT,
        strict=False,
        description="Report the rules in conflict, or take the answer of least relaxation.",
    )
    lot_size: LotSize = Field(default=1, description="An order is a multiple of it, in shares.")
    lot_sizes: dict[SecurityIdText, LotSize] = Field(
        default_factory=dict,
        json_schema_extra={"maxProperties": MAX_NAMED_SECURITIES},
        description="By security id, instead of lot_size.",
    )
    min_trade: Floor = Field(
        default=Decimal(0), description="An order is worth this much, in money, or more."
    )
    max_orders: Annotated[int, Field(ge=0, le=MAX_ORDERS)] | None = Field(
        default=None, description="Orders at most; null: as many as it takes."
    )
    max_turnover: Turnover | None = Field(
        default=None, description="Bought and sold together, as a weight of market value; null: no limit."
    )
    cost_rate: Weight = Field(
        default=Decimal(0), description="Cost of an order as a fraction of its notional."
    )
    cost_per_order: Floor = Field(default=Decimal(0), description="Cost of each order, in money.")
    no_buy: SecurityIds = Field(default_factory=list)
    no_sell: SecurityIds = Field(default_factory=list)
    no_trade: SecurityIds = Field(default_factory=list)
    groups: list[GroupPayload] = Field(default_factory=list, max_length=MAX_GROUPS)
    missing_price: MissingPrice = Field(default=MissingPrice.REJECT, strict=False)
    fractional_holding: FractionalHolding = Field(default=FractionalHolding.REJECT, strict=False)
    short_holding: ShortHolding = Field(default=ShortHolding.REJECT, strict=False)
    negative_cash: NegativeCash = Field(default=NegativeCash.REJECT, strict=False)

    @field_validator("groups")
    @classmethod
    def _groups_once(cls, groups: list[GroupPayload]) -> list[GroupPayload]:
        once([group.name for group in groups], "group")
        return groups

    def changes(self) -> dict[str, Any]:
        """Only the keys that were sent, as the domain's values; lists in the one order that says nothing."""
        return {name: self._value(name) for name in sorted(self.model_fields_set)}

    def _value(self, name: str) -> object:
        value = getattr(self, name)
        match name:
            case "no_buy" | "no_sell" | "no_trade":
                return tuple(sorted(set(value)))
            case "lot_sizes":
                return dict(sorted(value.items()))
            case "groups":
                return tuple(each.group() for each in sorted(value, key=lambda group: str(group.name)))
            case _:
                return value

    @model_serializer(mode="plain")
    def _asked(self) -> dict[str, Any]:
        """For the request's hash: a null among the keys is an answer (no limit), not an absence."""
        asked: dict[str, Any] = msgspec.to_builtins(self.changes(), builtin_types=(Decimal,))
        return asked

    def over(self, policy: Policy, at: str = "policy") -> Policy:
        """``policy`` with these keys set. Raises Invalid: a rule of policies is broken; told under ``at``."""
        return with_keys(policy, self.changes(), at)
