"""How long callers wait for an answer to begin, by route."""

from collections.abc import Callable
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NO_ROUTE = "none"


class RequestWatch(Protocol):
    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer has begun. ``route`` is its pattern, never what stood in the URL."""


class Watched:
    """The outermost layer of all. What an answer takes to be read, a stream for hours, is not counted."""

    def __init__(self, app: ASGIApp, *, watch: RequestWatch, clock: Callable[[], float]) -> None:
        self._app = app
        self._watch = watch
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = self._clock()

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path_format", NO_ROUTE)
                self._watch.served(scope["method"], route, message["status"], self._clock() - begun)
            await send(message)

        await self._app(scope, receive, send_and_tell)
