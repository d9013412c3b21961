"""JSON Schemas of every message, generated from the very types that read and write them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.inbound.payloads import REQUEST_SCHEMA, RebalanceRequest
from adapters.inbound.request_stream import DeadLetter
from tasks.job_events import JOB_EVENT_SCHEMA, JobEventMessage
from tasks.order_set import ORDER_SET_SCHEMA, OrderSet

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
DEAD_LETTER: Final = "trimtab.dead-letter.v1"

_STRUCTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    ORDER_SET_SCHEMA: OrderSet,
    JOB_EVENT_SCHEMA: JobEventMessage,
    DEAD_LETTER: DeadLetter,
}


def schemas() -> Mapping[str, dict[str, Any]]:
    """By the message's name: ``trimtab.order-set.v1`` and so on."""
    request = RebalanceRequest.model_json_schema(by_alias=True)
    return {
        REQUEST_SCHEMA: _named(REQUEST_SCHEMA, request),
        **{name: _named(name, _of_struct(struct)) for name, struct in _STRUCTS.items()},
    }


def write_schemas(folder: Path) -> list[Path]:
    """One file a message, the same bytes for the same code."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in schemas().items():
        path = folder / file_name(name)
        path.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
        written.append(path)
    return written


def file_name(name: str) -> str:
    """Of the schema of a message."""
    return f"{name.removeprefix('trimtab.')}.json"


def _named(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DRAFT, **schema, "title": name}


def _of_struct(struct: type[msgspec.Struct]) -> dict[str, Any]:
    (reference,), parts = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    whole = parts.pop(reference["$ref"].rpartition("/")[2])
    return {**whole, "$defs": parts} if parts else whole
