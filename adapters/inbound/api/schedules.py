"""Schedules over HTTP: what there is, when it runs next and why not, and a run started by hand."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from adapters.inbound.api.access import Access
from adapters.inbound.api.body import json_body
from adapters.inbound.api.errors import BODY_ERRORS, responses
from adapters.inbound.api.jobs import request_body
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import Role
from adapters.inbound.payloads import ScheduleRunRequest, parse_schedule_run
from adapters.inbound.schedule_answers import (
    NextRunsAnswer,
    ScheduleAnswer,
    ScheduleRunAnswer,
    SchedulesAnswer,
    next_runs_answer,
    schedule_answer,
    schedule_run_answer,
    schedules_answer,
)
from tasks.services import Services
from tasks.start_run import find_schedule, start_by_hand

MOST_RUNS = 100

_LIST = responses(HTTPStatus.UNPROCESSABLE_ENTITY)
_LOOK = responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_RUN = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, *BODY_ERRORS) | {
    int(HTTPStatus.OK): {"model": ScheduleRunAnswer, "description": "That run was started before"}
}

_SchedulePath = Annotated[str, Path(max_length=64)]


def schedules_router(services: Services, options: ApiOptions, access: Access) -> APIRouter:
    """The routes under ``/api/v1/schedules``."""
    router = APIRouter(prefix="/api/v1/schedules", tags=["schedules"])
    read_body = Depends(json_body(options.max_body_size, or_empty=True))

    @router.get("", responses=_LIST, dependencies=access.needs(Role.READ), summary="Schedules, by name")
    def list_schedules() -> SchedulesAnswer:
        return schedules_answer(services)

    @router.get(
        "/{schedule_id}", responses=_LOOK, dependencies=access.needs(Role.READ), summary="One schedule"
    )
    def get_schedule(schedule_id: _SchedulePath) -> ScheduleAnswer:
        return schedule_answer(find_schedule(schedule_id, services), services)

    @router.get(
        "/{schedule_id}/next",
        responses=_LOOK,
        dependencies=access.needs(Role.READ),
        summary="The next runs of a schedule, and the days it skips before them",
    )
    def get_next_runs(
        schedule_id: _SchedulePath,
        count: Annotated[int, Query(ge=1, le=MOST_RUNS, description="How many runs.")] = 5,
    ) -> NextRunsAnswer:
        return next_runs_answer(find_schedule(schedule_id, services), count, services)

    @router.post(
        "/{schedule_id}/run",
        status_code=HTTPStatus.ACCEPTED,
        responses=_RUN,
        openapi_extra=request_body(ScheduleRunRequest.__name__, required=False),
        dependencies=access.needs(Role.OPERATE),
        summary="Start the run of a business date now; the same date is the same run",
    )
    def post_run(
        request: Request, schedule_id: _SchedulePath, body: Annotated[bytes, read_body], response: Response
    ) -> ScheduleRunAnswer:
        business_date = parse_schedule_run(body, max_bytes=options.max_body_size)
        run = start_by_hand(find_schedule(schedule_id, services), business_date, request.state.who, services)
        response.status_code = HTTPStatus.ACCEPTED if run.created else HTTPStatus.OK
        return schedule_run_answer(run)

    return router
