"""The sandbox: the four upstream services on one address, and a few endpoints of its own under ``/sandbox``.

=======================  ==================================================================================
``GET /sandbox/calls``   calls since the start or the last reset: total, by service, by route
``DELETE .../calls``     reset the counters
``GET /sandbox/faults``  the faults and switches in force (faults.py tells what they do)
``PUT /sandbox/faults``  replace them all; what is left out goes back to normal
``GET /sandbox/model``   the model the book was made for: positions and portfolio ids
``GET .../model/{id}``   the same as a document for ``trimtab models create``, under this id
``GET /health``          200
=======================  ==================================================================================
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from adapters.sandbox.book import Book
from adapters.sandbox.faults import Faults, Gate, Handler, Service, Switchboard
from adapters.sandbox.services import Accounting, Portfolios, Pricing, Securities

_encode = msgspec.json.Encoder().encode
_MOST_FAULT_BYTES = 64 * 1024


def create_app(book: Book, faults: Faults | None = None) -> Router:
    """An ASGI application over the book. It keeps its counters and faults itself: run it in one process."""
    board = Switchboard(faults or Faults())
    pricing, securities = Pricing(book, board), Securities(book, board)
    portfolios, accounting = Portfolios(book), Accounting(book, board)
    endpoints: list[tuple[Service, str, Handler]] = [
        # The most asked for comes first: routes are tried in order.
        ("accounting", "/api/v1/portfolios/{portfolio_id}/summary", accounting.summary),
        ("accounting", "/api/v1/balances", accounting.balances),
        ("portfolio", "/api/v1/portfolio/{portfolio_id}", portfolios.portfolio),
        ("pricing", "/api/v1/prices", pricing.prices),
        ("pricing", "/api/v1/price/{ticker}", pricing.price),
        ("security", "/api/v1/securities", securities.securities),
        ("security", "/api/v1/security/{security_id}", securities.security),
        ("security", "/api/v2/securities", securities.search),
        ("portfolio", "/api/v1/portfolios", portfolios.portfolios),
        ("portfolio", "/api/v2/portfolios", portfolios.search),
    ]
    control = _Control(book, board)
    return Router(
        routes=[
            *(
                Route(path, Gate(service, f"GET {path}", handler, board), methods=["GET"])
                for service, path, handler in endpoints
            ),
            Route("/sandbox/calls", control.calls, methods=["GET"]),
            Route("/sandbox/calls", control.reset_calls, methods=["DELETE"]),
            Route("/sandbox/faults", control.faults, methods=["GET"]),
            Route("/sandbox/faults", control.set_faults, methods=["PUT"]),
            Route("/sandbox/model", control.model, methods=["GET"]),
            Route("/sandbox/model/{model_id}", control.model_document, methods=["GET"]),
            Route("/health", control.health, methods=["GET"]),
        ],
        redirect_slashes=False,
    )


class _Control:
    def __init__(self, book: Book, board: Switchboard) -> None:
        self._book = book
        self._board = board

    async def calls(self, request: Request) -> Response:  # noqa: ARG002  # a handler's signature
        return _json(self._board.counters.as_dict())

    async def reset_calls(self, request: Request) -> Response:  # noqa: ARG002  # a handler's signature
        self._board.counters.reset()
        return Response(status_code=204)

    async def faults(self, request: Request) -> Response:  # noqa: ARG002  # a handler's signature
        return _json(self._board.faults)

    async def set_faults(self, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_FAULT_BYTES:
                return _json({"error": "too large"}, 413)
        try:
            faults = msgspec.json.decode(bytes(body), type=Faults)
        except (ValueError, RecursionError) as exc:
            return _json({"error": str(exc)}, 400)
        self._board.set(faults)
        return _json(faults)

    async def model(self, request: Request) -> Response:  # noqa: ARG002  # a handler's signature
        return _json(self._book.model())

    async def model_document(self, request: Request) -> Response:
        model_id, model = request.path_params["model_id"], self._book.model()
        return _json(
            {
                "model_id": model_id,
                "name": model_id,
                "positions": model.positions,
                "portfolios": model.portfolio_ids,
            }
        )

    async def health(self, request: Request) -> Response:  # noqa: ARG002  # a handler's signature
        return _json({"status": "ok"})


def _json(body: object, status: int = 200) -> Response:
    return Response(_encode(body), status, media_type="application/json")
