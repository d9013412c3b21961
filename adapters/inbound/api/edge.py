"""The outermost layer: one correlation id a request, safe headers on every answer, no stack trace to anybody."""

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.inbound.payloads import is_correlation_id

CORRELATION_HEADER = "X-Correlation-ID"

# On every answer, for whatever browser it ends up in; a route that serves something else sets its own.
_SAFE: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class LastResort(Protocol):
    def unexpected(self, error: Exception, correlation_id: str) -> Response:
        """The answer to an error nobody foresaw."""


def nobody_traces(correlation_id: str) -> None: ...


class Edge:
    """Plain ASGI: a middleware that wraps the answer in a task of its own would cost every request.

    A correlation id that could not stand in a log line as it is gets replaced, not refused: it is a courtesy.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        new_id: Callable[[], str],
        last_resort: LastResort,
        trace: Callable[[str], None] = nobody_traces,
    ) -> None:
        self._app = app
        self._new_id = new_id
        self._last_resort = last_resort
        self._trace = trace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(CORRELATION_HEADER, "")
        correlation_id = given if is_correlation_id(given) else self._new_id()
        scope.setdefault("state", {})["correlation_id"] = correlation_id
        self._trace(correlation_id)
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[CORRELATION_HEADER] = correlation_id
                for name, value in _SAFE.items():
                    headers.setdefault(name, value)
            await send(message)

        with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
            try:
                await self._app(scope, receive, send_with_headers)
            except ClientDisconnect:
                return  # the caller hung up before the body was whole; there is nobody to answer
            except Exception as error:
                if started:
                    raise  # half an answer is out: the server has to cut the connection
                answer = self._last_resort.unexpected(error, correlation_id)
                await answer(scope, receive, send_with_headers)
