"""The routes of the page: what is looked at, and the way in and out. What is done stands in actions.py."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import RedirectResponse, Response

from adapters.inbound.answers import describe_job, item_detail
from adapters.inbound.api.access import require_roles
from adapters.inbound.api.errors import status_of
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import Role
from adapters.inbound.page.actions import add_actions
from adapters.inbound.page.asked import chosen_of, wanted_of
from adapters.inbound.page.door import (
    DOORSTEP,
    LOGIN,
    Door,
    Viewer,
    form,
    from_this_page,
    login_path,
    way_back,
)
from adapters.inbound.page.live import Live
from adapters.inbound.page.render import HEADERS, Pages
from adapters.inbound.page.views import STATES, Chosen, Views, asked_for
from domain.errors import TrimtabError
from domain.ids import JobId, PortfolioId, item_id
from domain.job import JobState
from tasks.services import Services
from tasks.watch_jobs import Wanted

_SEE_OTHER: Final = HTTPStatus.SEE_OTHER

_log = structlog.get_logger(__name__)

_Portfolio = Annotated[str, Query(alias="id", max_length=64)]
_Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]


def page_router(services: Services, options: ApiOptions) -> APIRouter:
    """The page as a router beside the API's (``create_app(..., beside=[...])``): not in its document, guarded itself."""
    pages = Pages(options.version)
    door = Door(options, services.clock)
    views = Views(pages, services)
    router = APIRouter(include_in_schema=False, route_class=_answering_with_pages(pages, door))
    _add_entrance(router, pages, door)
    _add_looks(router, pages, views, door)
    _add_streams(router, views, door, Live(options.leaving))
    _add_raw(router, services, door)
    add_actions(router, services, pages, door)
    require_roles(router.routes, DOORSTEP)
    return router


# ------------------------------------------------------------------------------------------------ in and out


def _add_entrance(router: APIRouter, pages: Pages, door: Door) -> None:
    @router.get("/static/{name}")
    def static(name: str) -> Response:
        return pages.static.answer(name)

    @router.get("/login")
    def ask(request: Request, back: Annotated[str, Query(max_length=2000)] = "/") -> Response:
        if door.viewer(request) is not None:
            return RedirectResponse(way_back(back), _SEE_OTHER)
        return pages.answer("login.html", back=way_back(back), refused=False)

    @router.post("/login", dependencies=[Depends(from_this_page)])
    async def log_in(request: Request, sent: Annotated[Mapping[str, str], Depends(form)]) -> Response:
        back = way_back(sent.get("back", "/"))
        answer = RedirectResponse(back, _SEE_OTHER)
        if door.let_in(sent.get("key", ""), request, answer):
            return answer
        return pages.answer("login.html", status=HTTPStatus.UNAUTHORIZED, back=back, refused=True)

    @router.post("/logout", dependencies=[Depends(from_this_page)])
    def log_out(request: Request) -> Response:
        answer = RedirectResponse(LOGIN, _SEE_OTHER)
        door.let_out(request, answer)
        return answer


# ------------------------------------------------------------------------------------------------ looking


def _add_looks(router: APIRouter, pages: Pages, views: Views, door: Door) -> None:
    @router.get("/", dependencies=door.needs(Role.READ))
    def overview(
        request: Request, wanted: Annotated[Wanted, Depends(wanted_of)], offset: _Offset = 0
    ) -> Response:
        viewer: Viewer = request.state.viewer
        return pages.answer(
            "overview.html",
            viewer=viewer,
            has_keys=door.has_keys,
            regions=views.overview(wanted, offset, viewer),
            asked=asked_for(wanted),
            offset=offset,
            job_states=tuple(JobState),
            outcomes=STATES,
        )

    @router.get("/jobs/{job_id}", dependencies=door.needs(Role.READ))
    def job(request: Request, job_id: str, chosen: Annotated[Chosen, Depends(chosen_of)]) -> Response:
        viewer: Viewer = request.state.viewer
        return pages.answer(
            "job.html",
            viewer=viewer,
            has_keys=door.has_keys,
            job_id=job_id,
            regions=views.job(JobId(job_id), chosen, viewer),
            chosen=chosen,
            outcomes=STATES,
        )

    @router.get("/jobs/{job_id}/portfolio", dependencies=door.needs(Role.READ))
    def portfolio(request: Request, job_id: str, portfolio_id: _Portfolio) -> Response:
        viewer: Viewer = request.state.viewer
        return pages.answer(
            "portfolio.html",
            viewer=viewer,
            has_keys=door.has_keys,
            operates=viewer.may(Role.OPERATE),
            **views.portfolio(JobId(job_id), PortfolioId(portfolio_id)),
        )


def _add_streams(router: APIRouter, views: Views, door: Door, live: Live) -> None:
    room = [*door.needs(Role.READ), Depends(live.has_room)]

    @router.get("/events", response_class=EventSourceResponse, dependencies=room)
    async def overview_events(
        request: Request, wanted: Annotated[Wanted, Depends(wanted_of)], offset: _Offset = 0
    ) -> AsyncIterator[ServerSentEvent]:
        viewer: Viewer = request.state.viewer
        look = lambda: views.overview(wanted, offset, viewer)  # noqa: E731 - said in a line
        async for event in live.changes(look, allowed=lambda: door.viewer(request) == viewer):
            yield event

    @router.get("/jobs/{job_id}/events", response_class=EventSourceResponse, dependencies=room)
    async def job_events(
        request: Request, job_id: str, chosen: Annotated[Chosen, Depends(chosen_of)]
    ) -> AsyncIterator[ServerSentEvent]:
        viewer: Viewer = request.state.viewer
        look = lambda: views.job(JobId(job_id), chosen, viewer)  # noqa: E731 - said in a line
        async for event in live.changes(look, allowed=lambda: door.viewer(request) == viewer):
            yield event


def _add_raw(router: APIRouter, services: Services, door: Door) -> None:
    """The API's own documents for whoever has a session: the API itself takes keys only, never a cookie."""

    @router.get("/jobs/{job_id}/raw", dependencies=door.needs(Role.READ))
    def raw_job(job_id: str) -> Response:
        answer = describe_job(services.jobs.get_job(JobId(job_id)), services)
        return Response(answer.json_text(), media_type="application/json")

    @router.get("/jobs/{job_id}/portfolio/raw", dependencies=door.needs(Role.READ))
    def raw_portfolio(job_id: str, portfolio_id: _Portfolio) -> Response:
        item = services.jobs.get_item(item_id(JobId(job_id), PortfolioId(portfolio_id)))
        return Response(item_detail(item), media_type="application/json")


# ------------------------------------------------------------------------------------------------ what goes wrong


def _answering_with_pages(pages: Pages, door: Door) -> type[APIRoute]:
    """Routes whose errors are pages for people, and not the API's documents."""

    class PageRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handled(request: Request) -> Response:
                try:
                    return await handle(request)
                except HTTPException as error:
                    if error.status_code == HTTPStatus.UNAUTHORIZED:
                        return _to_login(request)
                    return _problem(pages, door, request, HTTPStatus(error.status_code), str(error.detail))
                except RequestValidationError:
                    said = "the address of this page has something in it that cannot be used"
                    return _problem(pages, door, request, HTTPStatus.UNPROCESSABLE_ENTITY, said)
                except TrimtabError as error:
                    return _problem(pages, door, request, status_of(error), str(error))

            return handled

    return PageRoute


def _to_login(request: Request) -> Response:
    if "text/event-stream" in request.headers.get("accept", ""):
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers=HEADERS)
    return RedirectResponse(login_path(request), _SEE_OTHER)


def _problem(pages: Pages, door: Door, request: Request, status: HTTPStatus, said: str) -> Response:
    again = status is HTTPStatus.SERVICE_UNAVAILABLE
    if again:
        _log.warning("page.out", path=request.url.path, error=said)
    return pages.answer(
        "problem.html",
        status=status,
        headers={"Retry-After": "5"} if again else {},
        viewer=door.viewer(request),
        has_keys=door.has_keys,
        title=status.phrase,
        said=said,
        again=again,
        correlation_id=request.state.correlation_id,
    )
