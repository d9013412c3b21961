"""Requests for a rebalance: of any portfolios, of a model's, of one; and the hash that names what one asks for."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from adapters.inbound.payloads.document import Payload, validated
from adapters.inbound.payloads.fields import (
    KEY,
    CorrelationIdText,
    KeyText,
    ModelIdText,
    Moment,
    Parallelism,
    PortfolioIdText,
    Prices,
    as_ids,
    as_prices,
    fault,
    ids_once,
)
from adapters.inbound.payloads.policies import POLICY_EXAMPLE, PolicyPayload
from adapters.inbound.payloads.portfolios import PortfolioPayload, as_portfolios, portfolios_once
from adapters.inbound.strict_json import load
from domain.errors import Invalid
from domain.ids import ModelId, PortfolioId
from domain.money import plain
from tasks.start_run import RUN_KEYS
from tasks.submit_job import SubmitJob

REQUEST_SCHEMA: Final = "trimtab.rebalance-request.v1"

_HASHED_AT_ONCE = 1000  # portfolios

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
                    "policy": POLICY_EXAMPLE,
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

    _ids_once = field_validator("portfolio_ids")(ids_once)
    _portfolios_once = field_validator("portfolios")(portfolios_once)

    @model_validator(mode="after")
    def _one_kind_of_portfolios(self) -> Self:
        if self.portfolio_ids is not None and self.portfolios is not None:
            raise fault("give portfolio_ids or portfolios, not both")
        if self.portfolio_policies is not None and self.portfolios is not None:
            raise fault("portfolios that are sent along have their policy in them, not in portfolio_policies")
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
    return _submit(validated(RebalanceRequest, load(body, max_bytes=max_bytes), "request"), beside)


def parse_model_rebalance(body: bytes, model_id: ModelId, beside: Beside, *, max_bytes: int) -> SubmitJob:
    """The request that names the model in its path. It is the same request as one that names it in its body.

    Raises:
        Invalid: whatever is wrong with the bytes or the id.
    """
    document = load(body, max_bytes=max_bytes)
    validated(ModelRebalance, document, "request")
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
    asked = validated(PortfolioRebalance, document, "request")
    model_id = asked.model_id or model_of()
    return _submit(_with(document, model_id=model_id, portfolio_ids=[portfolio_id]), beside)


def _with(document: object, **of_path: object) -> RebalanceRequest:
    """The whole request: a body that was found right, and what its path says."""
    assert isinstance(document, dict)  # noqa: S101 - it was validated
    return validated(RebalanceRequest, {**document, **of_path}, "request")


def _submit(request: RebalanceRequest, beside: Beside) -> SubmitJob:
    key = _key(request.key, beside.header_key)
    if key is not None and key.startswith(RUN_KEYS):  # a run is where its key is: it would never start
        field = "Idempotency-Key" if request.key is None else "key"
        raise _one_fault(field, f"must not begin with {RUN_KEYS!r}: these are the keys of schedules' runs")
    return SubmitJob(
        key=key or beside.new_key(),
        request_sha256=request.sha256(),
        model_id=ModelId(request.model_id),
        portfolio_ids=as_ids(request.portfolio_ids),
        portfolios=as_portfolios(request.portfolios),
        prices=as_prices(request.prices),
        policy=None if request.policy is None else request.policy.changes(),
        portfolio_policies=_portfolio_policies(request),
        parallelism=request.parallelism,
        dry_run=request.dry_run,
        deadline=request.deadline,
        correlation_id=request.correlation_id or beside.correlation_id,
    )


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
    if not KEY.fullmatch(key):
        raise _one_fault("Idempotency-Key", "must be 1 to 200 printable ASCII characters without blanks")
    if in_body is not None and in_body != key:
        raise _one_fault("key", "differs from the Idempotency-Key that came with the request")
    return key


def _one_fault(field: str, message: str) -> Invalid:
    return Invalid(f"request: {field} {message}", details=({"field": field, "message": message},))


def _portfolio_policies(request: RebalanceRequest) -> Mapping[PortfolioId, Mapping[str, Any]]:
    inline = {each.portfolio_id: each.policy for each in request.portfolios or () if each.policy is not None}
    asked = inline | (request.portfolio_policies or {})
    return {PortfolioId(portfolio_id): policy.changes() for portfolio_id, policy in asked.items()}
