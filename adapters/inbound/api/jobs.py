"""Jobs over HTTP: post, look, list, cancel. Plain functions: FastAPI runs them in its thread pool."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from adapters.inbound.answers import (
    ItemDetailAnswer,
    ItemsAnswer,
    JobAnswer,
    JobsAnswer,
    describe_job,
    item_detail,
    items_answer,
    list_answer,
)
from adapters.inbound.api.access import Access
from adapters.inbound.api.body import json_body
from adapters.inbound.api.errors import BODY_ERRORS, responses
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import Role
from adapters.inbound.payloads import RebalanceRequest, parse_request
from domain.ids import JobId, ModelId, PortfolioId, item_id
from domain.item import ItemState
from domain.job import JobState
from tasks.audit import note_action
from tasks.cancel_job import cancel_job
from tasks.services import Services
from tasks.submit_job import submit_job

_PREFIX = "/api/v1/jobs"

_LOOK = responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_LIST = responses(HTTPStatus.UNPROCESSABLE_ENTITY)
_POST = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, *BODY_ERRORS) | {
    int(HTTPStatus.OK): {"model": JobAnswer, "description": "The key was known: the job posted before"}
}

_JobPath = Annotated[str, Path(max_length=100)]


def jobs_router(services: Services, options: ApiOptions, access: Access) -> APIRouter:
    """The routes under ``/api/v1/jobs``."""
    router = APIRouter(prefix=_PREFIX, tags=["jobs"])
    read_body = Depends(json_body(options.max_body_size))

    @router.post(
        "",
        status_code=HTTPStatus.ACCEPTED,
        responses=_POST,
        openapi_extra=request_body(RebalanceRequest.__name__),
        dependencies=access.needs(Role.SUBMIT),
        summary="Rebalance portfolios to a model",
    )
    def post_job(
        request: Request,
        response: Response,
        body: Annotated[bytes, read_body],
        idempotency_key: Annotated[
            str | None, Header(description="The same key with the same body is the same job.")
        ] = None,
    ) -> JobAnswer:
        command = parse_request(
            body,
            header_key=idempotency_key,
            max_bytes=options.max_body_size,
            new_key=options.new_id,
            correlation_id=request.state.correlation_id,
        )
        submitted = submit_job(command, services)
        response.status_code = HTTPStatus.ACCEPTED if submitted.created else HTTPStatus.OK
        response.headers["Location"] = f"{_PREFIX}/{submitted.job.job_id}"
        return describe_job(submitted.job, services)

    @router.get("", responses=_LIST, dependencies=access.needs(Role.READ), summary="Jobs, newest first")
    def list_jobs(
        state: Annotated[list[JobState] | None, Query(description="Any of these states.")] = None,
        model_id: Annotated[str | None, Query(max_length=64)] = None,
        offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> JobsAnswer:
        jobs = services.jobs.list_jobs(
            states=tuple(state or ()),
            model_id=None if model_id is None else ModelId(model_id),
            offset=offset,
            limit=limit + 1,
        )
        return list_answer(jobs, offset=offset, limit=limit)

    @router.get(
        "/{job_id}",
        responses=_LOOK,
        dependencies=access.needs(Role.READ),
        summary="One job and how far it is",
    )
    def get_job(job_id: _JobPath) -> JobAnswer:
        return describe_job(services.jobs.get_job(JobId(job_id)), services)

    @router.get(
        "/{job_id}/items",
        responses=_LOOK,
        dependencies=access.needs(Role.READ),
        summary="The portfolios of a job, by outcome and cause",
    )
    def list_items(
        job_id: _JobPath,
        outcome: Annotated[list[ItemState] | None, Query(description="Any of these outcomes.")] = None,
        cause: Annotated[
            str | None, Query(max_length=200, description="Those whose reason begins so.")
        ] = None,
        cursor: Annotated[
            int, Query(ge=-1, le=2**31 - 1, description="next_cursor of the page before.")
        ] = -1,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> ItemsAnswer:
        services.jobs.get_job(JobId(job_id))
        items = services.jobs.list_items(
            JobId(job_id), states=tuple(outcome or ()), after_seq=cursor, cause=cause, limit=limit + 1
        )
        return items_answer(items, limit=limit)

    # A portfolio id may hold a slash.
    @router.get(
        "/{job_id}/items/{portfolio_id:path}",
        responses=_LOOK,
        response_model=ItemDetailAnswer,
        dependencies=access.needs(Role.READ),
        summary="One portfolio with its whole stored result",
    )
    def get_item(job_id: _JobPath, portfolio_id: Annotated[str, Path(max_length=64)]) -> Response:
        item = services.jobs.get_item(item_id(JobId(job_id), PortfolioId(portfolio_id)))
        return Response(item_detail(item), media_type="application/json")

    @router.post(
        "/{job_id}/cancel",
        responses=_LOOK,
        dependencies=access.needs(Role.OPERATE),
        summary="Stop a job; harmless when it is over already",
    )
    def post_cancel(request: Request, job_id: _JobPath) -> JobAnswer:
        job = cancel_job(JobId(job_id), services)
        if not job.state.closed:
            note_action(job.job_id, "cancel", request.state.who, services)
        return describe_job(job, services)

    return router


def request_body(schema: str, *, required: bool = True) -> dict[str, object]:
    """The body of a route that reads bytes, for the OpenAPI document."""
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": reference}}}}
