"""Which web pages may call, and under which names we are called at all.

A browser sends a page's requests with whatever trust the machine it runs on has. So a change that comes from a page of
somewhere else is refused unless the page's origin is allowed; and where there are no keys, so is a name that is not
ours (DNS rebinding makes any page "same origin").
"""

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.inbound.api.edge import CORRELATION_HEADER

_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_PREFLIGHT: Mapping[str, str] = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": f"Authorization, Content-Type, Idempotency-Key, {CORRELATION_HEADER}",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = f"Location, Retry-After, {CORRELATION_HEADER}"


class Refusal(Protocol):
    def refused(self, scope: Scope, code: str, message: str) -> Response:
        """The answer 403 in the one shape."""


class Origins:
    """CORS and its other half. Inside the edge, so that every answer has its headers."""

    def __init__(
        self, app: ASGIApp, *, allowed: Collection[str], hosts: Collection[str] | None, refusal: Refusal
    ) -> None:
        """``allowed``: origins of pages, as browsers write them. ``hosts``: our names without port; None: any."""
        self._app = app
        self._allowed = frozenset(allowed)
        self._hosts = None if hosts is None else frozenset(hosts)
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin, host = headers.get("origin"), headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            answer = self._refusal.refused(
                scope, "host_not_allowed", "this service is not known by that name"
            )
            await answer(scope, receive, send)
        elif origin is None or _same(origin, host):
            await self._app(scope, receive, send)
        elif origin in self._allowed:
            await self._allow(origin, scope, receive, send)
        elif scope["method"] in _HARMLESS and "access-control-request-method" not in headers:
            await self._app(scope, receive, send)  # the browser keeps the answer from the page
        else:
            answer = self._refusal.refused(scope, "origin_not_allowed", "pages of this origin may not call")
            await answer(scope, receive, send)

    async def _allow(self, origin: str, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_leave(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = _EXPOSED
                headers.add_vary_header("Origin")
                headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            await send(message)

        if scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            await Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)(
                scope, receive, send_with_leave
            )
        else:
            await self._app(scope, receive, send_with_leave)


def _same(origin: str, host: str) -> bool:
    """Whether a page of this origin came from us. What terminates TLS before us changes the scheme, not the name."""
    return host != "" and origin.partition("://")[2].lower() == host.lower()


def _name(host: str) -> str:
    """The host without its port; an IPv6 address without its brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
