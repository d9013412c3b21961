"""Rebalances: start one for a model or a portfolio, wait for it if it is quick, and look at what jobs have come to."""

from asyncio import sleep
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from adapters.inbound.answers import (
    Answer,
    JobAnswer,
    RebalanceAnswer,
    RebalancePortfoliosAnswer,
    RebalancePositionsAnswer,
    RebalancesAnswer,
    describe_job,
    rebalance_answer,
    rebalance_portfolios,
    rebalance_positions,
    rebalances_answer,
)
from adapters.inbound.api.access import Access
from adapters.inbound.api.body import json_body
from adapters.inbound.api.errors import BODY_ERRORS, responses
from adapters.inbound.api.jobs import request_body
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import Role
from adapters.inbound.payloads import (
    Beside,
    ModelRebalance,
    PortfolioRebalance,
    PortfoliosQuery,
    parse_model_rebalance,
    parse_portfolio_rebalance,
    parse_portfolios_query,
)
from domain.errors import StoreUnavailable
from domain.ids import JobId, ModelId, PortfolioId, item_id
from domain.job import Job
from tasks.rebalances import delete_rebalance, get_rebalance, list_rebalances, model_followed_by
from tasks.services import Services
from tasks.submit_job import SubmitJob, submit_job

MAX_WAIT_SECONDS = 60
_FIRST_LOOK_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5
_PORTFOLIOS_AT_ONCE = 100

_LIST = responses(HTTPStatus.UNPROCESSABLE_ENTITY)
_LOOK = responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_DELETE = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
_START = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, *BODY_ERRORS) | {
    int(HTTPStatus.ACCEPTED): {"model": JobAnswer, "description": "Accepted, and not over yet"},
    int(HTTPStatus.OK): {"model": RebalancePortfoliosAnswer, "description": "It is over: what it came to"},
}

_Id = Annotated[str, Path(max_length=100)]
_Wait = Annotated[
    float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the end before answering.")
]
_Key = Annotated[str | None, Header(description="The same key with the same body is the same job.")]
_Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]
_Limit = Annotated[int, Query(ge=1, le=100)]
_DryRun = Annotated[bool, Query(description="Only dry runs, which are not listed otherwise.")]
_Cursor = Annotated[int, Query(ge=-1, le=2**31 - 1, description="next_cursor of the page before.")]


def starts_router(services: Services, options: ApiOptions, access: Access) -> APIRouter:
    """The two routes that start a rebalance and may wait for it."""
    router = APIRouter(prefix="/api/v1", tags=["rebalances"])
    read_body = Depends(json_body(options.max_body_size, or_empty=True))
    starter = _Starter(services, options)

    @router.post(
        "/models/{model_id}/rebalance",
        status_code=HTTPStatus.ACCEPTED,
        response_model=None,
        responses=_START,
        openapi_extra=request_body(ModelRebalance.__name__, required=False),
        dependencies=access.needs(Role.SUBMIT),
        summary="Rebalance the portfolios that follow a model",
    )
    async def post_model_rebalance(
        request: Request,
        model_id: Annotated[str, Path(max_length=64)],
        body: Annotated[bytes, read_body],
        wait: _Wait = 0,
        idempotency_key: _Key = None,
    ) -> Response:
        def command() -> SubmitJob:
            beside = starter.beside(request, idempotency_key)
            return parse_model_rebalance(body, ModelId(model_id), beside, max_bytes=options.max_body_size)

        return await starter.start(command, wait, request)

    # A portfolio id may hold a slash.
    @router.post(
        "/portfolios/{portfolio_id:path}/rebalance",
        status_code=HTTPStatus.ACCEPTED,
        response_model=None,
        responses=_START,
        openapi_extra=request_body(PortfolioRebalance.__name__, required=False),
        dependencies=access.needs(Role.SUBMIT),
        summary="Rebalance one portfolio to the model it follows",
    )
    async def post_portfolio_rebalance(
        request: Request,
        portfolio_id: Annotated[str, Path(max_length=64)],
        body: Annotated[bytes, read_body],
        wait: _Wait = 0,
        idempotency_key: _Key = None,
    ) -> Response:
        def command() -> SubmitJob:
            portfolio = PortfolioId(portfolio_id)
            return parse_portfolio_rebalance(
                body,
                portfolio,
                starter.beside(request, idempotency_key),
                model_of=lambda: model_followed_by(portfolio, services),
                max_bytes=options.max_body_size,
            )

        return await starter.start(command, wait, request)

    return router


class _Starter:
    """Submits, and looks until it is over or the time is up. Whoever waits holds no thread while nothing happens."""

    def __init__(self, services: Services, options: ApiOptions) -> None:
        self._services = services
        self._options = options

    def beside(self, request: Request, key: str | None) -> Beside:
        return Beside(
            header_key=key,
            new_key=self._options.new_id,
            correlation_id=request.state.correlation_id,
        )

    async def start(self, command: Callable[[], SubmitJob], wait: float, request: Request) -> Response:
        job = await run_in_threadpool(lambda: submit_job(command(), self._services).job)
        waited, pause = 0.0, _FIRST_LOOK_SECONDS
        while (
            not job.state.closed
            and waited < wait
            and not self._options.leaving()  # the job stands: better its 202 now than no answer
            and not await request.is_disconnected()
        ):
            pause = min(pause, wait - waited)
            await sleep(pause)
            waited, pause = waited + pause, min(pause * 2, _LONGEST_PAUSE_SECONDS)
            job = await run_in_threadpool(self._look, job)
        return await run_in_threadpool(self._answer, job)

    def _look(self, job: Job) -> Job:
        """The job is accepted, whatever becomes of the looking."""
        try:
            return self._services.jobs.get_job(job.job_id)
        except StoreUnavailable:
            return job

    def _answer(self, job: Job) -> Response:
        if not job.state.closed:
            return _written(
                describe_job(job, self._services), HTTPStatus.ACCEPTED, f"/api/v1/jobs/{job.job_id}"
            )
        over = get_rebalance(job.job_id, self._services)
        answer = _portfolios(over, self._services, after=-1, limit=_PORTFOLIOS_AT_ONCE)
        return _written(answer, HTTPStatus.OK, f"/api/v1/rebalances/{job.job_id}")


def rebalances_router(services: Services, options: ApiOptions, access: Access) -> APIRouter:
    """The routes under ``/api/v1/rebalances``."""
    router = APIRouter(prefix="/api/v1/rebalances", tags=["rebalances"])
    read_body = Depends(json_body(options.max_body_size))

    @router.get("", responses=_LIST, dependencies=access.needs(Role.READ), summary="Rebalances, newest first")
    def list_all(
        *,
        model_id: Annotated[str | None, Query(max_length=64)] = None,
        dry_run: _DryRun = False,
        offset: _Offset = 0,
        limit: _Limit = 10,
    ) -> RebalancesAnswer:
        jobs = list_rebalances(
            services,
            model_id=None if model_id is None else ModelId(model_id),
            dry_run=dry_run,
            offset=offset,
            limit=limit + 1,
        )
        return rebalances_answer(jobs, offset=offset, limit=limit)

    @router.post(
        "/portfolios",
        responses=responses(*BODY_ERRORS),
        openapi_extra=request_body(PortfoliosQuery.__name__),
        dependencies=access.needs(Role.READ),
        summary="Rebalances with any of these portfolios in them, newest first",
    )
    def list_by_portfolios(
        *,
        body: Annotated[bytes, read_body],
        dry_run: _DryRun = False,
        offset: _Offset = 0,
        limit: _Limit = 10,
    ) -> RebalancesAnswer:
        asked = parse_portfolios_query(body, max_bytes=options.max_body_size)
        jobs = list_rebalances(services, portfolio_ids=asked, dry_run=dry_run, offset=offset, limit=limit + 1)
        return rebalances_answer(jobs, offset=offset, limit=limit)

    @router.get(
        "/{rebalance_id}",
        responses=_LOOK,
        dependencies=access.needs(Role.READ),
        summary="One rebalance",
    )
    def get_one(rebalance_id: _Id) -> RebalanceAnswer:
        return rebalance_answer(get_rebalance(JobId(rebalance_id), services))

    @router.get(
        "/{rebalance_id}/portfolios",
        responses=_LOOK,
        dependencies=access.needs(Role.READ),
        summary="Its portfolios with their sums, orders and proofs",
    )
    def get_portfolios(
        rebalance_id: _Id, cursor: _Cursor = -1, limit: _Limit = 10
    ) -> RebalancePortfoliosAnswer:
        job = get_rebalance(JobId(rebalance_id), services)
        return _portfolios(job, services, after=cursor, limit=limit)

    @router.get(
        "/{rebalance_id}/portfolios/{portfolio_id:path}/positions",
        responses=_LOOK,
        dependencies=access.needs(Role.READ),
        summary="The positions of one of its portfolios, before and after",
    )
    def get_positions(
        rebalance_id: _Id, portfolio_id: Annotated[str, Path(max_length=64)]
    ) -> RebalancePositionsAnswer:
        job = get_rebalance(JobId(rebalance_id), services)
        item = services.jobs.get_item(item_id(job.job_id, PortfolioId(portfolio_id)))
        return rebalance_positions(job, item)

    @router.delete(
        "/{rebalance_id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=_DELETE,
        dependencies=access.needs(Role.ADMIN),
        summary="Delete what a job came to, at the version it was read at; the job's key stays taken",
    )
    def delete_one(rebalance_id: _Id, version: Annotated[int, Query(ge=1, le=2**31 - 1)]) -> None:
        delete_rebalance(JobId(rebalance_id), version, services)

    return router


def _portfolios(job: Job, services: Services, *, after: int, limit: int) -> RebalancePortfoliosAnswer:
    items = services.jobs.list_items(job.job_id, after_seq=after, limit=limit + 1, bodies=True)
    return rebalance_portfolios(job, items, limit=limit)


def _written(answer: Answer, status: HTTPStatus, location: str) -> Response:
    return Response(answer.json_text(), status, headers={"Location": location}, media_type="application/json")
