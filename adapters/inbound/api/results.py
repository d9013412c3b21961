"""All results of a job in one answer, however many: written while they are read, never held together."""

import csv
import io
from collections.abc import Iterator
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from adapters.inbound.answers import item_detail, stored_result
from adapters.inbound.api.access import Access
from adapters.inbound.api.errors import responses
from adapters.inbound.keys import Role
from domain.ids import JobId
from domain.item import Item, ItemState
from tasks.job_items import job_items
from tasks.services import Services

_SUMS = ("market_value", "cash_before", "cash_after", "drift_before", "drift_after")
_ORDER = ("side", "security_id", "quantity", "price", "notional")
CSV_COLUMNS = ("portfolio_id", "outcome", "reason", *_SUMS, *_ORDER, "order_reason")

# What a spreadsheet takes for a formula when a cell begins with it.
_FORMULA = ("=", "+", "-", "@")


class ResultsFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


_MEDIA = {ResultsFormat.JSONL: "application/x-ndjson", ResultsFormat.CSV: "text/csv"}
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_LOOK = responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY) | {
    int(HTTPStatus.OK): {
        "description": "One portfolio a line (as one item is answered), or one order a row",
        "content": dict.fromkeys(_MEDIA.values(), _TEXT),
    }
}


def results_router(services: Services, access: Access) -> APIRouter:
    """``GET /api/v1/jobs/{job_id}/results``."""
    router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

    @router.get(
        "/{job_id}/results",
        responses=_LOOK,
        response_class=StreamingResponse,
        dependencies=access.needs(Role.READ),
        summary="All results of a job, as JSON lines or CSV",
    )
    def get_results(
        job_id: Annotated[str, Path(max_length=100)],
        form: Annotated[ResultsFormat, Query(alias="format")] = ResultsFormat.JSONL,
        outcome: Annotated[list[ItemState] | None, Query(description="Any of these outcomes.")] = None,
        cause: Annotated[
            str | None, Query(max_length=200, description="Those whose reason begins so.")
        ] = None,
    ) -> StreamingResponse:
        items = job_items(JobId(job_id), services, states=tuple(outcome or ()), cause=cause)
        lines = json_lines(items) if form is ResultsFormat.JSONL else csv_lines(items)
        return StreamingResponse(lines, media_type=_MEDIA[form])

    return router


def json_lines(items: Iterator[Item]) -> Iterator[bytes]:
    for item in items:
        yield item_detail(item) + b"\n"


def csv_lines(items: Iterator[Item]) -> Iterator[bytes]:
    """One row an order, under its portfolio; one row without order fields for a portfolio that has none."""
    yield _csv([CSV_COLUMNS])
    for item in items:
        yield _csv(_rows(item))


def _rows(item: Item) -> list[tuple[object, ...]]:
    result = stored_result(item)
    head = (_harmless(item.portfolio_id), item.state, item.reason, *(result.get(name) for name in _SUMS))
    orders = result.get("orders") or [{}]
    return [(*head, *(order.get(name) for name in _ORDER), order.get("reason")) for order in orders]


def _harmless(text: str) -> str:
    """An id that somebody chose: a spreadsheet must not run it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv(rows: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
