"""The application: routers, error shape, edge, and a whole OpenAPI document."""

from collections.abc import Iterable, MutableMapping
from time import perf_counter
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from adapters.inbound.api.access import Access, require_roles
from adapters.inbound.api.edge import Edge
from adapters.inbound.api.errors import ErrorWriter
from adapters.inbound.api.health import health_router
from adapters.inbound.api.job_changes import job_changes_router
from adapters.inbound.api.jobs import jobs_router
from adapters.inbound.api.metrics import metrics_router
from adapters.inbound.api.models import model_parts_router, models_router
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.api.origins import Origins
from adapters.inbound.api.rebalances import rebalances_router, starts_router
from adapters.inbound.api.results import results_router
from adapters.inbound.api.schedules import schedules_router
from adapters.inbound.api.watched import Watched
from adapters.inbound.api.what_if import what_if_router
from adapters.inbound.payloads import (
    ModelCreate,
    ModelRebalance,
    ModelUpdate,
    ParallelismRequest,
    PortfolioRebalance,
    PortfoliosQuery,
    PortfoliosRequest,
    PositionCreate,
    PositionUpdate,
    RebalanceRequest,
    RetryRequest,
    ScheduleRunRequest,
    WhatIfRequest,
)
from tasks.services import Services

# Bodies that are read as bytes: FastAPI does not see them, the document must.
_READ_AS_BYTES = (
    RebalanceRequest,
    ModelRebalance,
    PortfolioRebalance,
    PortfoliosQuery,
    RetryRequest,
    ParallelismRequest,
    ModelCreate,
    ModelUpdate,
    PositionCreate,
    PositionUpdate,
    PortfoliosRequest,
    WhatIfRequest,
    ScheduleRunRequest,
)


def create_app(services: Services, options: ApiOptions, *, beside: Iterable[APIRouter] = ()) -> FastAPI:
    """The ASGI application over these services. ``beside``: routers for people, which guard themselves."""
    app = FastAPI(
        title="Trimtab",
        version=options.version,
        description="Turns rebalance requests into executable, proved order sets.",
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        # Once a provider is configured it would log messages and stack traces, and count twice what we count.
        telemetry={
            "logs": False,
            "metrics": False,
            "operation_spans": False,
            "auto_configure": False,  # the wiring decides, for every process alike
            "exclude": _asked_by_machines,
        },
    )
    errors = ErrorWriter(options, services.clock)
    errors.install(app)
    app.add_middleware(Origins, allowed=options.origins, hosts=options.hosts, refusal=errors)
    app.add_middleware(Edge, new_id=options.new_id, last_resort=errors, trace=options.trace)
    if options.watch is not None:
        app.add_middleware(Watched, watch=options.watch, clock=perf_counter)
    access = Access(options.keys, options.limiter)
    for router in (
        jobs_router(services, options, access),
        results_router(services, access),
        job_changes_router(services, options, access),
        rebalances_router(services, options, access),
        starts_router(services, options, access),
        what_if_router(services, options, access),
        models_router(services, options, access),
        model_parts_router(services, options, access),
        schedules_router(services, options, access),
        health_router(services, options, errors, access),
        metrics_router(options, access),
    ):
        require_roles(router.routes)
        errors.know(router.routes)
        app.include_router(router)
    for router in beside:
        errors.know(router.routes)
        app.include_router(router)
    _complete_openapi(app)
    return app


def _asked_by_machines(scope: MutableMapping[str, Any]) -> bool:
    """What is asked every few seconds, and begins nothing, is not worth a trace."""
    return str(scope.get("path", "")).startswith(("/health", "/metrics"))


def _complete_openapi(app: FastAPI) -> None:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            _, bodies = models_json_schema(
                [(kind, "validation") for kind in _READ_AS_BYTES], ref_template="#/components/schemas/{model}"
            )
            document["components"]["schemas"].update(bodies["$defs"])
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document
