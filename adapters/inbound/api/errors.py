"""Every error in one shape, whoever raised it: a use case, the framework, or a bug."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from math import ceil
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from adapters.inbound.api.options import ApiOptions
from adapters.inbound.strict_json import MALFORMED, TOO_LARGE, printable
from domain.errors import Busy, Conflict, Invalid, NotFound, TrimtabError, Unavailable, UpstreamFault
from domain.ports import Clock

_log = structlog.get_logger(__name__)


class ErrorBody(BaseModel):
    code: str = Field(description="Stable and machine-readable.", examples=["model_not_found"])
    message: str = Field(description="For people.", examples=["no model 'growth-60'"])
    details: list[dict[str, Any]] = Field(description="Each fault of an input, with its field.")
    correlation_id: str
    timestamp: datetime
    service: str
    version: str


class ErrorAnswer(BaseModel):
    error: ErrorBody


# The nearest class in an error's line of descent decides.
STATUSES: Mapping[type[TrimtabError], HTTPStatus] = {
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Busy: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    UpstreamFault: HTTPStatus.BAD_GATEWAY,
    TrimtabError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_BY_CODE: Mapping[str, HTTPStatus] = {
    TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    MALFORMED: HTTPStatus.BAD_REQUEST,
}
_FRAMEWORK_CODES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "no_such_route",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}


def status_of(error: TrimtabError) -> HTTPStatus:
    """The HTTP status of a domain error."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


# Whatever is asked: no key or a wrong one, too small a role, too many calls, a bug, a store that is out.
_ALWAYS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
# What reading a body may come to.
BODY_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The error answers of a guarded route, for the OpenAPI document."""
    return {
        int(status): {"model": ErrorAnswer, "description": status.phrase}
        for status in sorted({*statuses, *_ALWAYS})
    }


class ErrorWriter:
    """Makes the error documents. It needs the clock and who we are."""

    def __init__(self, options: ApiOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._routes: list[BaseRoute] = []

    def install(self, app: FastAPI) -> None:
        app.add_exception_handler(TrimtabError, self._domain)
        app.add_exception_handler(RequestValidationError, self._parameters)
        app.add_exception_handler(HTTPException, self._framework)

    def know(self, routes: Iterable[BaseRoute]) -> None:
        """The routes there are: 405 tells every method of a path, and Starlette knows those of one route."""
        self._routes.extend(routes)

    def answer(
        self,
        status: int,
        code: str,
        message: str,
        *,
        correlation_id: str,
        details: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> JSONResponse:
        body = ErrorBody(
            code=code,
            message=message,
            details=[dict(detail) for detail in details],
            correlation_id=correlation_id,
            timestamp=self._clock.now(),
            service=self._options.service,
            version=self._options.version,
        )
        return JSONResponse(
            ErrorAnswer(error=body).model_dump(mode="json"), status_code=status, headers=dict(headers or {})
        )

    def refused(self, scope: Scope, code: str, message: str) -> JSONResponse:
        """What is refused before any route was looked for."""
        return self.answer(
            HTTPStatus.FORBIDDEN, code, message, correlation_id=scope["state"]["correlation_id"]
        )

    def unexpected(self, error: Exception, correlation_id: str) -> JSONResponse:
        """A bug: the log has the story, the caller has the correlation id to ask about it."""
        _log.error(
            "request_failed",
            correlation_id=correlation_id,
            advice="a bug: report it with the exception; the caller may repeat the request with its key",
            exc_info=error,
        )
        return self.answer(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "internal_error",
            "something went wrong here; the correlation id finds it in the logs",
            correlation_id=correlation_id,
        )

    async def _domain(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, TrimtabError)  # noqa: S101 - starlette dispatches on this very type
        status = status_of(error)
        return self.answer(
            status,
            error.code,
            str(error),
            correlation_id=request.state.correlation_id,
            details=error.details if isinstance(error, Invalid) else (),
            headers=self._retry_after(error, status),
        )

    def _retry_after(self, error: TrimtabError, status: HTTPStatus) -> Mapping[str, str]:
        if isinstance(error, Busy):
            return {"Retry-After": str(ceil(error.retry_after_seconds))}
        if status is not HTTPStatus.SERVICE_UNAVAILABLE:
            return {}
        return {"Retry-After": str(self._options.retry_after_seconds)}

    async def _parameters(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - starlette dispatches on this very type
        details = [
            {
                "field": printable(".".join(str(step) for step in fault["loc"][1:])),
                "message": printable(str(fault["msg"]), 300),
            }
            for fault in error.errors()
        ]
        first = f"{details[0]['field']}: {details[0]['message']}"
        return self.answer(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid",
            f"parameter {first}",
            correlation_id=request.state.correlation_id,
            details=details,
        )

    async def _framework(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - starlette dispatches on this very type
        status = error.status_code
        headers = dict(error.headers or {})
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(self._methods(request.scope))
        return self.answer(
            status,
            _FRAMEWORK_CODES.get(status, "http_error"),
            f"{request.method} {printable(request.url.path)}: {error.detail}",
            correlation_id=request.state.correlation_id,
            headers=headers,
        )

    def _methods(self, scope: Scope) -> list[str]:
        routes = [route for route in self._routes if isinstance(route, Route)]
        path = next(route.path for route in routes if route.path_regex.match(scope["path"]))
        return sorted({method for route in routes if route.path == path for method in route.methods or ()})
