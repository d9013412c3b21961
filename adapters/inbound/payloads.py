"""What callers send: shapes, bounds and formats, checked before any use case sees them.

The rules of a model or a portfolio belong to the domain; here stand only the shapes, so that everything wrong
with a document is told at once, by field. Python values (from ``strict_json``) are validated, never bytes.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from adapters.inbound.strict_json import load, printable
from domain.errors import Invalid
from domain.ids import (
    PORTFOLIO_ID_RULE,
    SECURITY_ID_RULE,
    JobId,
    ModelId,
    PortfolioId,
    SecurityId,
    is_portfolio_id,
    is_security_id,
)
from domain.job import Retry
from domain.model import MAX_NAME_LENGTH, InvestmentModel, ModelPosition
from domain.money import MAX_PLACES, MAX_WHOLE_DIGITS, parse_decimal, plain
from domain.policy import (
    MAX_GROUP_NAME,
    MAX_GROUPS,
    MAX_LOT,
    MAX_NAMED_SECURITIES,
    MAX_ORDERS,
    MAX_TURNOVER,
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
from domain.portfolio import Portfolio, Position
from tasks.compare import AS_ASKED, DO_NOTHING, Scenario
from tasks.policies import with_keys
from tasks.retry_job import RetryJob
from tasks.start_run import RUN_KEYS
from tasks.submit_job import SubmitJob
from tasks.what_if import MAX_POINTS, MAX_SCENARIOS, MIN_POINTS, FrontierAsked, WhatIf
from tasks.what_if import MAX_PORTFOLIOS as MAX_COMPARED_PORTFOLIOS

REQUEST_SCHEMA: Final = "trimtab.rebalance-request.v1"

_MAX_COUNT = 2**31 - 1  # what every store and every client language can hold

_HASHED_AT_ONCE = 1000  # portfolios

_MAX_FAULTS = 50  # of a body with a million wrong lines the first ones are enough

_MODEL_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)  # safe in a path
_KEY = re.compile(r"[!-~]{1,200}", re.ASCII)
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def is_correlation_id(text: str) -> bool:
    """Whether a text may go into logs, headers and documents as it stands."""
    return _CORRELATION_ID.fullmatch(text) is not None


# ------------------------------------------------------------------------------------------------ fields


def _fault(message: str) -> PydanticCustomError:
    # The message is a template of Rust's: braces in it would be taken for names.
    return PydanticCustomError("trimtab", "{message}", {"message": message})


def _exact_decimal(value: object) -> Decimal:
    """A JSON number or a decimal string, digit for digit; never through a float."""
    try:
        return parse_decimal(value)
    except Invalid as error:
        raise _fault(str(error)) from None


def _positive(number: Decimal) -> Decimal:
    if number <= 0:
        raise _fault("must be greater than 0")
    return number


def _weight(number: Decimal) -> Decimal:
    if not 0 <= number <= 1:
        raise _fault("must be within 0 and 1")
    return number


def _turnover(number: Decimal) -> Decimal:
    if not 0 <= number <= MAX_TURNOVER:
        raise _fault(f"must be within 0 and {MAX_TURNOVER}")
    return number


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise _fault("must not be negative")
    return number


def _utc_moment(value: object) -> datetime:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise _fault('must be a moment with its zone, such as "2026-11-30T21:00:00Z"')
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _fault("is not a moment of the calendar") from None


def _day(value: object) -> date:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise _fault('must be a date such as "2026-11-30"')
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise _fault("is not a day of the calendar") from None


def _checked(is_right: Callable[[str], object], message: str) -> AfterValidator:
    def check(text: str) -> str:
        if not is_right(text):
            raise _fault(message)
        return text

    return AfterValidator(check)


def _json_text(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": [example]})


def _decimal(example: str, **bounds: float) -> WithJsonSchema:
    text = {"type": "string", "pattern": r"^[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]{1,4})?$"}
    return WithJsonSchema(
        {
            "anyOf": [text, {"type": "number", **bounds}],
            "description": f"A decimal of at most {MAX_WHOLE_DIGITS} digits before the point and {MAX_PLACES} after it, "
            "kept digit for digit whether it is sent as a string or as a number.",
            "examples": [example],
        }
    )


Amount = Annotated[Decimal, BeforeValidator(_exact_decimal), _decimal("1250.75")]
Price = Annotated[Amount, AfterValidator(_positive), _decimal("187.43", exclusiveMinimum=0)]
Weight = Annotated[Amount, AfterValidator(_weight), _decimal("0.25", minimum=0, maximum=1)]
Floor = Annotated[Amount, AfterValidator(_not_negative), _decimal("1250.75", minimum=0)]
Turnover = Annotated[
    Amount, AfterValidator(_turnover), _decimal("0.15", minimum=0, maximum=int(MAX_TURNOVER))
]
Moment = Annotated[
    datetime,
    BeforeValidator(_utc_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-30T21:00:00Z"]}),
]
DateText = Annotated[
    date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-11-30"]}),
]
SecurityIdText = Annotated[
    str,
    _checked(is_security_id, SECURITY_ID_RULE),
    _json_text("[0-9A-Za-z]{24}", "STOCK0000000000000000001"),
]
PortfolioIdText = Annotated[
    str, _checked(is_portfolio_id, PORTFOLIO_ID_RULE), _json_text("[!-9;-~]{1,64}", "PORTFOLIO-0001")
]
ModelIdText = Annotated[
    str,
    _checked(_MODEL_ID.fullmatch, "must be 1 to 64 letters, digits, or any of . _ ~ -"),
    _json_text(_MODEL_ID.pattern, "growth-60"),
]
KeyText = Annotated[
    str,
    _checked(_KEY.fullmatch, "must be 1 to 200 printable ASCII characters without blanks"),
    _json_text(_KEY.pattern, "nightly-2026-11-30"),
]
CorrelationIdText = Annotated[
    str,
    _checked(_CORRELATION_ID.fullmatch, "must be 1 to 128 letters, digits, or any of . _ : / + = @ -"),
    _json_text(_CORRELATION_ID.pattern, "desk-7:8f14e45f"),
]


# ------------------------------------------------------------------------------------------------ documents


class Payload(BaseModel):
    """The base: nothing is coerced, an unknown name is a fault."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _once(names: Sequence[str], kind: str) -> None:
    if len(set(names)) < len(names):  # counting a million that are all different would take a second
        doubled = sorted(name for name, times in Counter(names).items() if times > 1)
        more = f" and {len(doubled) - 10} more" if len(doubled) > 10 else ""
        raise _fault(f"must name each {kind} once, and has {', '.join(doubled[:10])}{more} more than once")


SecurityIds = Annotated[list[SecurityIdText], Field(max_length=MAX_NAMED_SECURITIES)]
LotSize = Annotated[int, Field(ge=1, le=MAX_LOT)]


class GroupPayload(Payload):
    """The securities of a sector, or of any other label, and what they may be worth together."""

    name: str = Field(json_schema_extra={"minLength": 1, "maxLength": MAX_GROUP_NAME})
    security_ids: SecurityIds = Field(min_length=1)
    min: Weight = Field(default=Decimal(0), description="Weight of market value, at least.")
    max: Weight = Field(default=Decimal(1), description="Weight of market value, at most.")

    @field_validator("security_ids")
    @classmethod
    def _securities_once(cls, security_ids: list[str]) -> list[str]:
        _once(security_ids, "security")
        return security_ids

    def group(self) -> Group:
        """Its securities in order of id: the order they came in asks for nothing."""
        return Group(
            name=self.name,
            security_ids=tuple(SecurityId(each) for each in sorted(self.security_ids)),
            min=self.min,
            max=self.max,
        )


_POLICY_EXAMPLE: dict[str, Any] = {
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

    model_config = ConfigDict(json_schema_extra={"examples": [_POLICY_EXAMPLE]})

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
        _once([group.name for group in groups], "group")
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
        _once([position.security_id for position in positions], "security")
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


Parallelism = Annotated[int, Field(ge=1, le=_MAX_COUNT)]
Prices = Annotated[dict[SecurityIdText, Price], Field(min_length=1)]
PortfolioPolicies = Annotated[
    dict[PortfolioIdText, PolicyPayload],
    Field(
        min_length=1, description="By portfolio id, for fetched ones: key by key over the request's policy."
    ),
]


class _Asked(Payload):
    """What may be said about a rebalance, whichever portfolios it is for."""

    key: KeyText | None = Field(
        default=None, description="Idempotency key: the same key with the same body is the same job."
    )
    prices: Prices | None = Field(default=None, description="Prices by security id, instead of fetched ones.")
    policy: PolicyPayload | None = Field(default=None, description="Stands over the model's own, key by key.")
    dry_run: bool = Field(default=False, description="Compute and store, publish nothing.")
    deadline: Moment | None = Field(default=None, description="What is unfinished by then ends as failed.")
    correlation_id: CorrelationIdText | None = None


class RebalanceRequest(_Asked):
    """``trimtab.rebalance-request.v1``: rebalance these portfolios to this model.

    Neither ``portfolio_ids`` nor ``portfolios``: every portfolio that follows the model.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model_id": "growth-60", "key": "nightly-2026-11-30", "parallelism": 8},
                {
                    "model_id": "growth-60",
                    "portfolios": [
                        {
                            "portfolio_id": "PORTFOLIO-0001",
                            "cash": "25000.00",
                            "positions": [{"security_id": "STOCK0000000000000000001", "quantity": 100}],
                        }
                    ],
                    "prices": {"STOCK0000000000000000001": "187.43"},
                    "policy": {"cash_floor": "0.02"},
                    "dry_run": True,
                },
                {
                    "model_id": "growth-60",
                    "portfolio_ids": ["PORTFOLIO-0001", "PORTFOLIO-0002"],
                    "policy": _POLICY_EXAMPLE,
                    "portfolio_policies": {
                        "PORTFOLIO-0002": {"run_type": "raise_cash", "raise_cash": "2500"}
                    },
                },
            ]
        }
    )

    schema_: Literal["trimtab.rebalance-request.v1"] = Field(default=REQUEST_SCHEMA, alias="schema")
    model_id: ModelIdText
    portfolio_ids: list[PortfolioIdText] | None = Field(default=None, min_length=1)
    portfolios: list[PortfolioPayload] | None = Field(default=None, min_length=1)
    portfolio_policies: PortfolioPolicies | None = None
    parallelism: Parallelism | None = Field(default=None, description="Portfolios in work at once, at most.")

    @field_validator("portfolio_ids")
    @classmethod
    def _ids_once(cls, portfolio_ids: list[str] | None) -> list[str] | None:
        _once(portfolio_ids or (), "portfolio")
        return portfolio_ids

    @field_validator("portfolios")
    @classmethod
    def _portfolios_once(cls, portfolios: list[PortfolioPayload] | None) -> list[PortfolioPayload] | None:
        _once([portfolio.portfolio_id for portfolio in portfolios or ()], "portfolio")
        return portfolios

    @model_validator(mode="after")
    def _one_kind_of_portfolios(self) -> Self:
        if self.portfolio_ids is not None and self.portfolios is not None:
            raise _fault("give portfolio_ids or portfolios, not both")
        if self.portfolio_policies is not None and self.portfolios is not None:
            raise _fault(
                "portfolios that are sent along have their policy in them, not in portfolio_policies"
            )
        return self

    def sha256(self) -> str:
        """Of what is asked, however it is written: order of names, ``1.50`` or ``"1.5"``, a default spelt out.

        The key and the correlation id name the request; they are no part of it.
        """
        document = self.model_dump(
            exclude={"schema_", "key", "correlation_id"}, exclude_unset=True, exclude_none=True
        )
        if not self.dry_run:
            document.pop("dry_run", None)
        digest = hashlib.sha256()
        for part in _canonical_text(document):
            digest.update(part.encode())
        return digest.hexdigest()


class ModelRebalance(_Asked):
    """A rebalance of the model in the path. An empty object: every portfolio that follows it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "nightly-2026-11-30"}, {}]})

    portfolio_ids: list[PortfolioIdText] | None = Field(default=None, min_length=1)
    portfolio_policies: PortfolioPolicies | None = None
    parallelism: Parallelism | None = Field(default=None, description="Portfolios in work at once, at most.")


class PortfolioRebalance(_Asked):
    """A rebalance of the portfolio in the path, to the model it follows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dry_run": True}, {"model_id": "growth-60"}]})

    model_id: ModelIdText | None = Field(default=None, description="Which, where it follows several models.")


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

    version: int = Field(ge=1, le=_MAX_COUNT)

    def model(self, stored: InvestmentModel) -> InvestmentModel:
        """Raises Invalid: a rule of models is broken."""
        return self._model(stored.model_id, self.version, stored.last_rebalance_date)


_POSITION_EXAMPLE: dict[str, Any] = {
    "target": "0.25",
    "low_drift": "0.02",
    "high_drift": "0.02",
    "version": 3,
}
Version = Annotated[int, Field(ge=1, le=_MAX_COUNT, description="The model's, as it was read.")]


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


class PortfoliosRequest(Payload):
    """Portfolios by id. One that is named twice counts once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"portfolios": ["PORTFOLIO-0001"]}]})

    portfolios: list[PortfolioIdText] = Field(min_length=1)


class PortfoliosQuery(Payload):
    """Portfolios whose rebalances are looked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"portfolios": ["PORTFOLIO-0001"]}]})

    portfolios: list[PortfolioIdText] = Field(min_length=1, max_length=100)


class RetryRequest(Payload):
    """Which failed portfolios of a job come back. An empty object: all of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"cause": "solver_timeout"}]})

    portfolio_ids: list[PortfolioIdText] | None = Field(
        default=None, min_length=1, max_length=1000, description="These; without it, all that failed."
    )
    cause: str | None = Field(
        default=None, min_length=1, max_length=200, description="Of these, only those whose reason begins so."
    )
    deadline: Moment | None = Field(
        default=None, description="Without it, as long as a new job has by default."
    )

    @field_validator("portfolio_ids")
    @classmethod
    def _ids_once(cls, portfolio_ids: list[str] | None) -> list[str] | None:
        _once(portfolio_ids or (), "portfolio")
        return portfolio_ids


class ParallelismRequest(Payload):
    model_config = ConfigDict(json_schema_extra={"examples": [{"parallelism": 8}]})

    parallelism: int = Field(ge=1, le=_MAX_COUNT, description="Portfolios in work at once from now on.")


class ScheduleRunRequest(Payload):
    """Which run of a schedule is started now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"business_date": "2026-11-30"}]})

    business_date: DateText | None = Field(
        default=None, description="Without it: today, in the zone of the schedule."
    )


class SolveModelPayload(Payload):
    positions: list[ModelPositionPayload]


class SolvePayload(Payload):
    """One portfolio, one model, the prices: everything an answer needs, without any service."""

    portfolio: PortfolioPayload
    model: SolveModelPayload
    prices: dict[SecurityIdText, Price]
    policy: PolicyPayload = Field(default_factory=PolicyPayload)


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
            raise _fault(f"must be printable, and neither {DO_NOTHING} nor {AS_ASKED}")
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

    @field_validator("portfolio_ids")
    @classmethod
    def _ids_once(cls, portfolio_ids: list[str] | None) -> list[str] | None:
        _once(portfolio_ids or (), "portfolio")
        return portfolio_ids

    @field_validator("portfolios")
    @classmethod
    def _portfolios_once(cls, portfolios: list[PortfolioPayload] | None) -> list[PortfolioPayload] | None:
        _once([portfolio.portfolio_id for portfolio in portfolios or ()], "portfolio")
        if any(portfolio.policy is not None for portfolio in portfolios or ()):
            raise _fault("a comparison has one policy and its scenarios: none for a portfolio")
        return portfolios

    @field_validator("scenarios")
    @classmethod
    def _scenarios_once(cls, scenarios: list[ScenarioPayload]) -> list[ScenarioPayload]:
        _once([scenario.name for scenario in scenarios], "scenario")
        return scenarios

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.model_id is None) == (self.model is None):
            raise _fault("give model_id or model")
        if (self.portfolio_ids is None) == (self.portfolios is None):
            raise _fault("give portfolio_ids or portfolios")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveDocument:
    """What ``trimtab solve`` reads, in the domain's words."""

    portfolio: Portfolio
    model: InvestmentModel
    prices: Mapping[SecurityId, Decimal]
    policy: Policy


# ------------------------------------------------------------------------------------------------ doors


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What came with a request and is no part of its body, and what stands in for what it left out.

    ``header_key``: the key that came beside the body (``Idempotency-Key``), if any. ``new_key`` makes one where
    neither has it. ``correlation_id`` stands where the body has none.
    """

    header_key: str | None
    new_key: Callable[[], str]
    correlation_id: str = ""


def parse_request(
    body: bytes,
    *,
    header_key: str | None,
    max_bytes: int,
    new_key: Callable[[], str],
    correlation_id: str = "",
) -> SubmitJob:
    """One rebalance request, checked.

    Args:
        body: JSON in UTF-8.
        header_key: the key that came beside the body (``Idempotency-Key``), if any.
        max_bytes: the largest body that is read at all.
        new_key: makes a key where neither the body nor the header has one.
        correlation_id: stands where the body has none.

    Raises:
        Invalid: whatever is wrong with the bytes; ``details`` names each fault.
    """
    beside = Beside(header_key=header_key, new_key=new_key, correlation_id=correlation_id)
    return _submit(_validated(RebalanceRequest, load(body, max_bytes=max_bytes), "request"), beside)


def parse_model_rebalance(body: bytes, model_id: ModelId, beside: Beside, *, max_bytes: int) -> SubmitJob:
    """The request that names the model in its path. It is the same request as one that names it in its body.

    Raises:
        Invalid: whatever is wrong with the bytes or the id.
    """
    document = load(body, max_bytes=max_bytes)
    _validated(ModelRebalance, document, "request")
    return _submit(_with(document, model_id=model_id), beside)


def parse_portfolio_rebalance(
    body: bytes,
    portfolio_id: PortfolioId,
    beside: Beside,
    *,
    model_of: Callable[[], ModelId],
    max_bytes: int,
) -> SubmitJob:
    """The request for the portfolio in its path. ``model_of`` finds its model where the body names none.

    Raises:
        Invalid: whatever is wrong with the bytes or the id.
        TrimtabError: what ``model_of`` raises.
    """
    document = load(body, max_bytes=max_bytes)
    asked = _validated(PortfolioRebalance, document, "request")
    model_id = asked.model_id or model_of()
    return _submit(_with(document, model_id=model_id, portfolio_ids=[portfolio_id]), beside)


def parse_portfolios(body: bytes, *, max_bytes: int) -> tuple[PortfolioId, ...]:
    """Raises Invalid: the shape is broken."""
    request = _validated(PortfoliosRequest, load(body, max_bytes=max_bytes), "portfolios")
    return tuple(PortfolioId(portfolio_id) for portfolio_id in dict.fromkeys(request.portfolios))


def parse_portfolios_query(body: bytes, *, max_bytes: int) -> tuple[PortfolioId, ...]:
    """Raises Invalid: the shape is broken."""
    query = _validated(PortfoliosQuery, load(body, max_bytes=max_bytes), "portfolios")
    return tuple(PortfolioId(portfolio_id) for portfolio_id in dict.fromkeys(query.portfolios))


def parse_new_position(body: bytes, *, max_bytes: int) -> tuple[ModelPosition, int]:
    """The position and the model's version. Raises Invalid: the shape is broken."""
    payload = _validated(PositionCreate, load(body, max_bytes=max_bytes), "position")
    return payload.position(), payload.version


def parse_position_update(
    body: bytes, security_id: SecurityId, *, max_bytes: int
) -> tuple[ModelPosition, int]:
    """The position and the model's version. Raises Invalid: the shape is broken."""
    payload = _validated(PositionUpdate, load(body, max_bytes=max_bytes), "position")
    position = ModelPosition(
        security_id=security_id,
        target=payload.target,
        low_drift=payload.low_drift,
        high_drift=payload.high_drift,
    )
    return position, payload.version


def parse_retry(body: bytes, job_id: JobId, *, max_bytes: int) -> RetryJob:
    """Raises Invalid: the shape is broken."""
    request = _validated(RetryRequest, load(body, max_bytes=max_bytes), "retry")
    retry = Retry(portfolio_ids=_ids(request.portfolio_ids), cause=request.cause)
    return RetryJob(job_id=job_id, retry=retry, deadline=request.deadline)


def parse_parallelism(body: bytes, *, max_bytes: int) -> int:
    """Raises Invalid: the shape is broken."""
    return _validated(ParallelismRequest, load(body, max_bytes=max_bytes), "parallelism").parallelism


def parse_schedule_run(body: bytes, *, max_bytes: int) -> date | None:
    """The business date, where one is named. Raises Invalid: the shape is broken."""
    return _validated(ScheduleRunRequest, load(body, max_bytes=max_bytes), "run").business_date


def parse_new_model(body: bytes, *, max_bytes: int, new_id: Callable[[], str]) -> InvestmentModel:
    """Raises Invalid: the shape or a rule is broken."""
    return _validated(ModelCreate, load(body, max_bytes=max_bytes), "model").model(new_id)


def parse_model_update(body: bytes, *, max_bytes: int) -> ModelUpdate:
    """Raises Invalid: the shape is broken (the rules are checked when the model is made)."""
    return _validated(ModelUpdate, load(body, max_bytes=max_bytes), "model")


def parse_solve(body: bytes, *, max_bytes: int) -> SolveDocument:
    """Raises Invalid: the shape or a rule of models is broken."""
    payload = _validated(SolvePayload, load(body, max_bytes=max_bytes), "document")
    portfolio = payload.portfolio.portfolio()
    policy = payload.policy.over(Policy())
    if payload.portfolio.policy is not None:
        policy = payload.portfolio.policy.over(policy, "portfolio.policy")
    model = _unnamed(payload.model, (portfolio.portfolio_id,), policy)
    model.require_targets()
    return SolveDocument(
        portfolio=portfolio,
        model=model,
        prices={SecurityId(security_id): price for security_id, price in payload.prices.items()},
        policy=policy,
    )


def parse_what_if(body: bytes, *, max_bytes: int) -> WhatIf:
    """Raises Invalid: the shape or a rule of models is broken."""
    request = _validated(WhatIfRequest, load(body, max_bytes=max_bytes), "what-if")
    asked = request.frontier
    return WhatIf(
        model_id=None if request.model_id is None else ModelId(request.model_id),
        model=None if request.model is None else _unnamed(request.model, (), Policy()),
        portfolio_ids=_ids(request.portfolio_ids) or (),
        portfolios=_portfolios(request.portfolios) or (),
        prices=_prices(request.prices),
        policy=request.policy.changes(),
        scenarios=tuple(Scenario(name=each.name, policy=each.policy.changes()) for each in request.scenarios),
        frontier=None
        if asked is None
        else FrontierAsked(portfolio_id=PortfolioId(asked.portfolio_id), points=asked.points),
    )


# ------------------------------------------------------------------------------------------------ parts

_PayloadT = TypeVar("_PayloadT", bound=Payload)


def _unnamed(
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


def _with(document: object, **of_path: object) -> RebalanceRequest:
    """The whole request: a body that was found right, and what its path says."""
    assert isinstance(document, dict)  # noqa: S101 - it was validated
    return _validated(RebalanceRequest, {**document, **of_path}, "request")


def _submit(request: RebalanceRequest, beside: Beside) -> SubmitJob:
    key = _key(request.key, beside.header_key)
    if key is not None and key.startswith(RUN_KEYS):  # a run is where its key is: it would never start
        field = "Idempotency-Key" if request.key is None else "key"
        raise _one_fault(field, f"must not begin with {RUN_KEYS!r}: these are the keys of schedules' runs")
    return SubmitJob(
        key=key or beside.new_key(),
        request_sha256=request.sha256(),
        model_id=ModelId(request.model_id),
        portfolio_ids=_ids(request.portfolio_ids),
        portfolios=_portfolios(request.portfolios),
        prices=_prices(request.prices),
        policy=None if request.policy is None else request.policy.changes(),
        portfolio_policies=_portfolio_policies(request),
        parallelism=request.parallelism,
        dry_run=request.dry_run,
        deadline=request.deadline,
        correlation_id=request.correlation_id or beside.correlation_id,
    )


def _validated(kind: type[_PayloadT], document: object, what: str) -> _PayloadT:
    if not isinstance(document, dict):
        raise Invalid(f"{what}: must be a JSON object")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise _invalid(error, what) from None


def _invalid(error: ValidationError, what: str) -> Invalid:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    details = tuple(
        {"field": _field(fault["loc"]), "message": printable(fault["msg"], 300)}
        for fault in faults[:_MAX_FAULTS]
    )
    first = details[0]
    where = f"{first['field']} " if first["field"] else ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Invalid(f"{what}: {where}{first['message']}{more}", details=details)


def _field(location: tuple[int | str, ...]) -> str:
    """``portfolios[3].cash``, as a caller would write it."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]":
            path += f".{step}" if path else step
    return printable(path)


def _canonical_text(document: Mapping[str, Any]) -> Iterator[str]:
    """The document as JSON with sorted names and no blanks. Long lists come in parts: whole, they are large twice."""
    separator = "{"
    for name, value in sorted(document.items()):
        yield f"{separator}{_canonical_json(name)}:"
        separator = ","
        if isinstance(value, list):
            yield "["
            for start in range(0, len(value), _HASHED_AT_ONCE):
                yield ("," if start else "") + _canonical_json(value[start : start + _HASHED_AT_ONCE])[1:-1]
            yield "]"
        else:
            yield _canonical_json(value)
    yield "}"


def _canonical_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_canonical)


def _canonical(value: object) -> str:
    match value:
        case Decimal():
            text = plain(value)
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            return value.isoformat()
        case _:  # pragma: no cover - the payloads hold nothing else
            raise TypeError(type(value).__name__)


def _key(in_body: str | None, in_header: str | None) -> str | None:
    if in_header is None:
        return in_body
    # RFC 9651 writes a string item in quotes, most clients send it bare.
    key = in_header[1:-1] if len(in_header) > 2 and in_header[0] == in_header[-1] == '"' else in_header
    if not _KEY.fullmatch(key):
        raise _one_fault("Idempotency-Key", "must be 1 to 200 printable ASCII characters without blanks")
    if in_body is not None and in_body != key:
        raise _one_fault("key", "differs from the Idempotency-Key that came with the request")
    return key


def _one_fault(field: str, message: str) -> Invalid:
    return Invalid(f"request: {field} {message}", details=({"field": field, "message": message},))


def _ids(ids: list[str] | None) -> tuple[PortfolioId, ...] | None:
    return None if ids is None else tuple(PortfolioId(portfolio_id) for portfolio_id in ids)


def _portfolios(payloads: list[PortfolioPayload] | None) -> tuple[Portfolio, ...] | None:
    return None if payloads is None else tuple(payload.portfolio() for payload in payloads)


def _portfolio_policies(request: RebalanceRequest) -> Mapping[PortfolioId, Mapping[str, Any]]:
    inline = {each.portfolio_id: each.policy for each in request.portfolios or () if each.policy is not None}
    asked = inline | (request.portfolio_policies or {})
    return {PortfolioId(portfolio_id): policy.changes() for portfolio_id, policy in asked.items()}


def _prices(prices: Mapping[str, Decimal] | None) -> Mapping[SecurityId, Decimal] | None:
    return None if prices is None else {SecurityId(key): price for key, price in prices.items()}
