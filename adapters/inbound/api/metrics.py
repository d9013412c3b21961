"""``/metrics``: what this process counts, for Prometheus."""

from typing import Any

from fastapi import APIRouter, Response

from adapters.inbound.api.access import Access
from adapters.inbound.api.errors import responses
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import Role

_MEDIA = "text/plain; version=0.0.4; charset=utf-8"
_PAGE: dict[int | str, dict[str, Any]] = responses() | {
    200: {
        "description": "Prometheus' text format",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


def metrics_router(options: ApiOptions, access: Access) -> APIRouter:
    """With keys it needs one that may read: Prometheus sends it as ``authorization``."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/metrics",
        responses=_PAGE,
        response_class=Response,
        dependencies=access.needs(Role.READ),
        summary="Metrics of this process, for Prometheus",
    )
    def metrics() -> Response:
        return Response(options.metrics(), media_type=_MEDIA)

    return router
