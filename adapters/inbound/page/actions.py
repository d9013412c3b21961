"""What operators do on the page: each asks to be sure where it cannot be undone, and each is noted with who did it."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from adapters.inbound.keys import Role
from adapters.inbound.page.asked import wanted_in, wanted_of
from adapters.inbound.page.door import Door, Viewer, form
from adapters.inbound.page.render import Pages, link
from adapters.inbound.page.views import asked_for
from domain.ids import JobId, PortfolioId
from domain.job import Retry
from tasks.audit import note_action
from tasks.cancel_job import cancel_job
from tasks.change_parallelism import change_parallelism
from tasks.republish import republish_job
from tasks.retry_job import RetryJob, retry_job
from tasks.services import Services
from tasks.start_run import Run, find_schedule, start_by_hand
from tasks.watch_jobs import (
    JOBS_LOOKED_AT,
    Done,
    Wanted,
    cancel_jobs,
    described,
    jobs_to_cancel,
    jobs_to_retry,
    retry_jobs,
)

_T = TypeVar("_T")

_SEE_OTHER: Final = HTTPStatus.SEE_OTHER
_MOST_DIGITS: Final = 7
_NAMED: Final = 20  # of the jobs a change to many would touch

_Sent = Annotated[Mapping[str, str], Depends(form)]
_TO_MANY: Final[Mapping[str, Callable[[Sequence[JobId], Wanted, str, Services], Done]]] = {
    "cancel": lambda shown, _wanted, who, services: cancel_jobs(shown, who, services),
    "retry": retry_jobs,
}
_TOUCHED: Final = {"cancel": jobs_to_cancel, "retry": jobs_to_retry}


def add_actions(router: APIRouter, services: Services, pages: Pages, door: Door) -> None:
    """``POST /jobs/{job_id}/retry`` and the like; ``/many`` for all jobs that were shown of a filter."""
    _add_to_one(router, services, door)
    _add_to_many(router, services, pages, door)
    _add_run(router, services, door)


# What was done, in words, for the note; empty: there was nothing to do.
_Act = Callable[[JobId, Mapping[str, str], Services], str]


def _retry(job_id: JobId, sent: Mapping[str, str], services: Services) -> str:
    chosen = Retry(
        portfolio_ids=(PortfolioId(sent["portfolio"]),) if sent.get("portfolio") else None,
        cause=sent.get("cause") or None,
    )
    retry_job(RetryJob(job_id=job_id, retry=chosen), services)
    return described(chosen)


def _cancel(job_id: JobId, _sent: Mapping[str, str], services: Services) -> str:
    return "" if cancel_job(job_id, services).state.closed else "cancel"


def _parallelism(job_id: JobId, sent: Mapping[str, str], services: Services) -> str:
    asked = sent.get("parallelism", "")
    if not (asked.isascii() and asked.isdecimal() and len(asked) <= _MOST_DIGITS):
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "parallelism is a whole number")
    change_parallelism(job_id, int(asked), services)
    return f"parallelism {int(asked)}"


def _republish(job_id: JobId, _sent: Mapping[str, str], services: Services) -> str:
    return f"republish {republish_job(job_id, services)} order sets"


_TO_ONE: Final[Mapping[str, _Act]] = {
    "retry": _retry,
    "cancel": _cancel,
    "parallelism": _parallelism,
    "republish": _republish,
}


def _add_to_one(router: APIRouter, services: Services, door: Door) -> None:
    def add(name: str, act: _Act) -> None:
        @router.post(f"/jobs/{{job_id}}/{name}", dependencies=door.changes(Role.OPERATE), name=name)
        async def acted(request: Request, job_id: str, sent: _Sent) -> Response:
            viewer: Viewer = request.state.viewer

            def do() -> None:
                if did := act(JobId(job_id), sent, services):
                    note_action(JobId(job_id), did, viewer.who, services)

            await run_in_threadpool(do)
            return RedirectResponse(f"/jobs/{job_id}", _SEE_OTHER)

    for name, act in _TO_ONE.items():
        add(name, act)


def _add_to_many(router: APIRouter, services: Services, pages: Pages, door: Door) -> None:
    @router.get("/many", dependencies=door.needs(Role.OPERATE))
    def ask(
        request: Request,
        wanted: Annotated[Wanted, Depends(wanted_of)],
        do: Annotated[str, Query(max_length=20)] = "",
    ) -> Response:
        jobs = _one_of(_TOUCHED, do)(wanted, services)
        return pages.answer(
            "many.html",
            viewer=request.state.viewer,
            has_keys=door.has_keys,
            do=do,
            jobs=jobs[:_NAMED],
            more=max(len(jobs) - _NAMED, 0),
            shown=" ".join(job.job_id for job in jobs),
            asked=asked_for(wanted),
            done=None,
        )

    @router.post("/many", dependencies=door.changes(Role.OPERATE))
    async def act(request: Request, sent: _Sent) -> Response:
        viewer: Viewer = request.state.viewer
        wanted, do = wanted_in(sent), sent.get("do", "")
        done = await run_in_threadpool(_one_of(_TO_MANY, do), _shown_in(sent), wanted, viewer.who, services)
        if not done.refused:
            return RedirectResponse(link("/", **asked_for(wanted)), _SEE_OTHER)
        return pages.answer(
            "many.html",
            viewer=viewer,
            has_keys=door.has_keys,
            do=do,
            jobs=(),
            more=0,
            shown="",
            asked=asked_for(wanted),
            done=done,
        )


def _add_run(router: APIRouter, services: Services, door: Door) -> None:
    @router.post("/schedules/{schedule_id}/run", dependencies=door.changes(Role.OPERATE))
    async def run(request: Request, schedule_id: str) -> Response:
        viewer: Viewer = request.state.viewer

        def start() -> Run:
            return start_by_hand(find_schedule(schedule_id, services), None, viewer.who, services)

        started = await run_in_threadpool(start)
        only = started.jobs[0].job_id if len(started.jobs) == 1 else None
        return RedirectResponse("/" if only is None else f"/jobs/{only}", _SEE_OTHER)


def _shown_in(sent: Mapping[str, str]) -> Sequence[JobId]:
    """The jobs that the question named: who said yes to three of them did not mean one that came since."""
    shown = [JobId(job_id) for job_id in sent.get("shown", "").split()]
    if len(shown) > JOBS_LOOKED_AT:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"at most {JOBS_LOOKED_AT} jobs at once")
    return shown


def _one_of(table: Mapping[str, _T], name: str) -> _T:
    if name not in table:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "cancel or retry, nothing else")
    return table[name]
