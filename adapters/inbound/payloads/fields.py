"""Field types that several documents share: decimals, moments, ids, and lists that name each thing once."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from domain.errors import Invalid
from domain.ids import (
    PORTFOLIO_ID_RULE,
    SECURITY_ID_RULE,
    PortfolioId,
    SecurityId,
    is_portfolio_id,
    is_security_id,
)
from domain.money import MAX_PLACES, MAX_WHOLE_DIGITS, parse_decimal
from domain.policy import MAX_LOT, MAX_NAMED_SECURITIES, MAX_TURNOVER

MAX_COUNT = 2**31 - 1  # what every store and every client language can hold

_MODEL_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)  # safe in a path
KEY = re.compile(r"[!-~]{1,200}", re.ASCII)
_CORRELATION_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def is_correlation_id(text: str) -> bool:
    """Whether a text may go into logs, headers and documents as it stands."""
    return _CORRELATION_ID.fullmatch(text) is not None


def fault(message: str) -> PydanticCustomError:
    """What a validator raises: the message as it stands."""
    # The message is a template of Rust's: braces in it would be taken for names.
    return PydanticCustomError("trimtab", "{message}", {"message": message})


def _exact_decimal(value: object) -> Decimal:
    """A JSON number or a decimal string, digit for digit; never through a float."""
    try:
        return parse_decimal(value)
    except Invalid as error:
        raise fault(str(error)) from None


def _positive(number: Decimal) -> Decimal:
    if number <= 0:
        raise fault("must be greater than 0")
    return number


def _weight(number: Decimal) -> Decimal:
    if not 0 <= number <= 1:
        raise fault("must be within 0 and 1")
    return number


def _turnover(number: Decimal) -> Decimal:
    if not 0 <= number <= MAX_TURNOVER:
        raise fault(f"must be within 0 and {MAX_TURNOVER}")
    return number


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise fault("must not be negative")
    return number


def _utc_moment(value: object) -> datetime:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise fault('must be a moment with its zone, such as "2026-11-30T21:00:00Z"')
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise fault("is not a moment of the calendar") from None


def _day(value: object) -> date:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise fault('must be a date such as "2026-11-30"')
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise fault("is not a day of the calendar") from None


def _checked(is_right: Callable[[str], object], message: str) -> AfterValidator:
    def check(text: str) -> str:
        if not is_right(text):
            raise fault(message)
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
    _checked(KEY.fullmatch, "must be 1 to 200 printable ASCII characters without blanks"),
    _json_text(KEY.pattern, "nightly-2026-11-30"),
]
CorrelationIdText = Annotated[
    str,
    _checked(_CORRELATION_ID.fullmatch, "must be 1 to 128 letters, digits, or any of . _ : / + = @ -"),
    _json_text(_CORRELATION_ID.pattern, "desk-7:8f14e45f"),
]


def once(names: Sequence[str], kind: str) -> None:
    """Raises PydanticCustomError: one of these is there twice."""
    if len(set(names)) < len(names):  # counting a million that are all different would take a second
        doubled = sorted(name for name, times in Counter(names).items() if times > 1)
        more = f" and {len(doubled) - 10} more" if len(doubled) > 10 else ""
        raise fault(f"must name each {kind} once, and has {', '.join(doubled[:10])}{more} more than once")


def ids_once(portfolio_ids: list[str] | None) -> list[str] | None:
    """For a validator: no portfolio is named twice."""
    once(portfolio_ids or (), "portfolio")
    return portfolio_ids


SecurityIds = Annotated[list[SecurityIdText], Field(max_length=MAX_NAMED_SECURITIES)]
LotSize = Annotated[int, Field(ge=1, le=MAX_LOT)]
Parallelism = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Prices = Annotated[dict[SecurityIdText, Price], Field(min_length=1)]
Version = Annotated[int, Field(ge=1, le=MAX_COUNT, description="The model's, as it was read.")]


def as_ids(ids: list[str] | None) -> tuple[PortfolioId, ...] | None:
    """As the domain has them; None: none were named."""
    return None if ids is None else tuple(PortfolioId(portfolio_id) for portfolio_id in ids)


def as_prices(prices: Mapping[str, Decimal] | None) -> Mapping[SecurityId, Decimal] | None:
    """As the domain has them; None: none were sent."""
    return None if prices is None else {SecurityId(key): price for key, price in prices.items()}
