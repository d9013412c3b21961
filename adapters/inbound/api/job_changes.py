"""What a caller may change about a job that stands: retry it, give it more or fewer seats, publish it again."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from adapters.inbound.answers import JobAnswer, RepublishAnswer, describe_job
from adapters.inbound.api.access import Access
from adapters.inbound.api.body import json_body
from adapters.inbound.api.errors import BODY_ERRORS, responses
from adapters.inbound.api.jobs import request_body
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import Role
from adapters.inbound.payloads import ParallelismRequest, RetryRequest, parse_parallelism, parse_retry
from domain.ids import JobId
from tasks.audit import note_action
from tasks.change_parallelism import change_parallelism
from tasks.republish import republish_job
from tasks.retry_job import retry_job
from tasks.services import Services
from tasks.watch_jobs import described

_LOOK = responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_CHANGE = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, *BODY_ERRORS)

_JobPath = Annotated[str, Path(max_length=100)]


def job_changes_router(services: Services, options: ApiOptions, access: Access) -> APIRouter:
    """The routes under ``/api/v1/jobs/{job_id}`` that change something, but for cancel."""
    router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
    read_body = Depends(json_body(options.max_body_size))

    @router.post(
        "/{job_id}/retry",
        status_code=HTTPStatus.ACCEPTED,
        responses=_CHANGE,
        dependencies=access.needs(Role.OPERATE),
        openapi_extra=request_body(RetryRequest.__name__),
        summary="Bring failed portfolios of a job that is over back, under the same ids",
    )
    def post_retry(request: Request, job_id: _JobPath, body: Annotated[bytes, read_body]) -> JobAnswer:
        command = parse_retry(body, JobId(job_id), max_bytes=options.max_body_size)
        job = retry_job(command, services)
        note_action(job.job_id, described(command.retry), request.state.who, services)
        return describe_job(job, services)

    @router.post(
        "/{job_id}/parallelism",
        responses=_CHANGE,
        dependencies=access.needs(Role.OPERATE),
        openapi_extra=request_body(ParallelismRequest.__name__),
        summary="Give an open job more or fewer seats",
    )
    def post_parallelism(request: Request, job_id: _JobPath, body: Annotated[bytes, read_body]) -> JobAnswer:
        parallelism = parse_parallelism(body, max_bytes=options.max_body_size)
        job = change_parallelism(JobId(job_id), parallelism, services)
        note_action(job.job_id, f"parallelism {parallelism}", request.state.who, services)
        return describe_job(job, services)

    @router.post(
        "/{job_id}/republish",
        status_code=HTTPStatus.ACCEPTED,
        responses=_LOOK,
        dependencies=access.needs(Role.OPERATE),
        summary="Publish the stored order sets of a job again, those the result queue does not have",
    )
    def post_republish(request: Request, job_id: _JobPath) -> RepublishAnswer:
        order_sets = republish_job(JobId(job_id), services)
        note_action(JobId(job_id), f"republish {order_sets} order sets", request.state.who, services)
        return RepublishAnswer(order_sets=order_sets)

    return router
