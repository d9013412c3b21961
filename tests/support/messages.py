"""Hold a message against the schema that is published for it."""

from collections.abc import Mapping
from functools import cache

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from adapters.inbound.schemas import schemas


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schemas()[name], format_checker=FormatChecker())


def fault_of(name: str, document: object) -> str:
    """The most telling way in which a document is no such message; empty where it is one."""
    fault = best_match(_validator(name).iter_errors(document))
    return "" if fault is None else f"{fault.json_path}: {fault.message}"


def is_valid(name: str, document: object) -> bool:
    return not fault_of(name, document)


def require_exactly(name: str, document: Mapping[str, object]) -> None:
    """It is such a message, and says nothing that the schema does not know."""
    assert not fault_of(name, document), (name, fault_of(name, document), document)
    unknown = document.keys() - schemas()[name]["properties"].keys()
    assert not unknown, (name, unknown)
