"""What may go wrong on purpose, and the gate in front of every endpoint that makes it go wrong and counts.

Set at start or while running (``PUT /sandbox/faults``).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

Service = Literal["pricing", "security", "portfolio", "accounting"]
SERVICES: tuple[Service, ...] = get_args(Service)

_PAGE_OF_HTML = b"<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>"
_ANOTHER_SHAPE = b'{"items":[1,"two",null],"page":{"of":"something else"}}'


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one service does wrong at every ``every``-th call. ``latency_ms`` is added to every call.

    ``status`` answers that status, with ``html`` as a page instead of JSON (200 where no status is given).
    ``other_shape`` answers JSON that is well formed and not what was asked for. ``hang`` never answers. ``cut_body`` closes the connection half way through an answer. ``truncate`` answers
    half of the body as if it were all. ``down`` closes the connection without an answer.
    """

    latency_ms: float = 0.0
    every: int = 1
    status: int | None = None
    html: bool = False
    other_shape: bool = False
    hang: bool = False
    cut_body: bool = False
    truncate: bool = False
    down: bool = False

    def __post_init__(self) -> None:
        if self.every < 1 or self.latency_ms < 0 or not (self.status is None or 200 <= self.status <= 599):
            raise ValueError("every is at least 1, latency_ms at least 0, status 200 to 599")


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Faults by service, and the switches for habits of the real services.

    ``cut_every``: every so many requests the connection they came on is closed without an answer, as happens to
    kept-alive connections when the portfolio service recycles its workers (0: never). ``noise``: prices are
    drawn anew at each call. ``orphan_type``: one security has lost its type, which breaks the lists it is on.
    ``moving_rows``: between two pages of everybody's balances some rows come or go near the beginning, so that what
    stood at an offset stands up to so many rows before or behind it.
    """

    pricing: Fault = Fault()
    security: Fault = Fault()
    portfolio: Fault = Fault()
    accounting: Fault = Fault()
    cut_every: int = 0
    noise: bool = False
    orphan_type: bool = False
    moving_rows: int = 0

    def of(self, service: Service) -> Fault:
        fault: Fault = getattr(self, service)
        return fault


class Counters:
    """Calls since the start or the last reset, by service and by route."""

    def __init__(self) -> None:
        self.services: Counter[str] = Counter()
        self.routes: Counter[str] = Counter()

    def count(self, service: Service, route: str) -> None:
        self.services[service] += 1
        self.routes[route] += 1

    def reset(self) -> None:
        self.services.clear()
        self.routes.clear()

    def as_dict(self) -> Mapping[str, object]:
        return {
            "total": self.services.total(),
            "services": {service: self.services[service] for service in SERVICES},
            "routes": dict(sorted(self.routes.items())),
        }


class Switchboard:
    """The faults and counters of one running sandbox."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.counters = Counters()
        self._turns: Counter[Service] = Counter()

    def set(self, faults: Faults) -> None:
        """From now on; every ``every`` is counted from here."""
        self.faults = faults
        self._turns.clear()

    def strikes(self, service: Service) -> bool:
        """Whether this call of the service is one that goes wrong."""
        self._turns[service] += 1
        return self._turns[service] % self.faults.of(service).every == 0

    def cuts_connection(self) -> bool:
        every = self.faults.cut_every
        return every > 0 and self.counters.services.total() % every == 0


Handler = Callable[[Request], Response]


class Gate:
    """One endpoint of one service as an ASGI application: count, go wrong if told to, else answer.

    Handlers are plain functions that neither wait nor block, so they run where they stand (Starlette would send
    them to a thread).
    """

    def __init__(self, service: Service, route: str, handler: Handler, switchboard: Switchboard) -> None:
        self._service = service
        self._route = route
        self._handler = handler
        self._switchboard = switchboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        board = self._switchboard
        board.counters.count(self._service, self._route)
        fault = board.faults.of(self._service)
        strikes = board.strikes(self._service)
        if fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        if board.cuts_connection() or (strikes and fault.down):
            await _cut(receive, send)
        elif strikes and fault.hang:
            await _until_the_caller_leaves(receive)
        elif strikes:
            await self._answer_wrongly(fault, scope, receive, send)
        else:
            await self._handler(Request(scope, receive))(scope, receive, send)

    async def _answer_wrongly(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.html:
            response = Response(_PAGE_OF_HTML, fault.status or 200, media_type="text/html")
        elif fault.other_shape:
            response = Response(_ANOTHER_SHAPE, media_type="application/json")
        elif fault.status is not None:
            body = b'{"error":{"code":"SANDBOX_FAULT","message":"told to fail"}}'
            response = Response(body, fault.status, media_type="application/json")
        else:
            response = self._handler(Request(scope, receive))
        if fault.truncate:
            response = Response(response.body[: len(response.body) // 2], media_type="application/json")
        await response(scope, receive, _CutInTheMiddle(receive, send) if fault.cut_body else send)


class _CutInTheMiddle:
    """Sends half of the body that was announced, then closes the connection."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            half = message["body"][: len(message["body"]) // 2]
            await self._send({**message, "body": half, "more_body": True})
            await _cut(self._receive, self._send)
        else:
            await self._send(message)


async def _until_the_caller_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(receive: Receive, send: Send) -> None:
    """Close the connection under the request.

    ASGI has no word for it; uvicorn's ``send`` is a method of an object that holds the transport. Where there
    is none (a test client), the server sees an application that did not answer.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.close()
        # Until the server has noticed: it would complain about an application that returns without an answer.
        await _until_the_caller_leaves(receive)
