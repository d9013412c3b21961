"""The base of every document, and how one is read: all that is wrong with it is told at once, by field."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.inbound.strict_json import printable
from domain.errors import Invalid

_MAX_FAULTS = 50  # of a body with a million wrong lines the first ones are enough


class Payload(BaseModel):
    """The base: nothing is coerced, an unknown name is a fault."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


_PayloadT = TypeVar("_PayloadT", bound=Payload)


def validated(kind: type[_PayloadT], document: object, what: str) -> _PayloadT:
    """The document, checked. Raises Invalid: ``details`` names each fault; ``what`` begins its message."""
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
