"""The four upstream services over a book: the calls that Trimtab makes and their documented neighbours.

Paths, fields, error shapes and habits are those of the real services, read from their source and tried against
them running: decimals as strings in accounting and as numbers in pricing, 500 for the summary of a portfolio
without balances, 0/0 rows for what was sold out, bad query values ignored by accounting and refused elsewhere.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import accumulate
from random import Random

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from adapters.sandbox.book import Book, BookPortfolio, BookSecurity
from adapters.sandbox.faults import Switchboard
from adapters.sandbox.prices import Quote

_encode = msgspec.json.Encoder(decimal_format="number").encode

_CENT = Decimal("0.01")
_STAMP = "2026-01-02T09:30:00Z"
_PRICED_ON = "2014-01-14"  # the real service picks one historical day when its database is loaded
_TICKER = re.compile(r"[A-Za-z0-9.-]{1,50}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9 _-]{1,200}", re.ASCII)
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)
_MOST_ROWS = 1000
_USUAL_ROWS = 50


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _detail(status: int, message: str) -> Response:
    """An error as the security and portfolio services tell it."""
    return _json(_encode({"detail": message}), status)


# ------------------------------------------------------------------------------------------------ pricing


class Pricing:
    def __init__(self, book: Book, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self._random = Random(f"{book.seed}:noise")  # noqa: S311  # repeatable on purpose, nothing secret
        priced = [
            Quote(security.ticker, security.price, security.std)
            for security in book.securities
            if security.price is not None
        ]
        self._quotes = {quote.ticker: quote for quote in (*priced, book.stray)}
        self._numbers = {ticker: number for number, ticker in enumerate(self._quotes, start=1)}

    def prices(self, request: Request) -> Response:  # noqa: ARG002  # a handler's signature
        if self._switchboard.faults.noise:
            return _json(_encode([self._row(quote) for quote in self._quotes.values()]))
        return _json(self._calm)

    def price(self, request: Request) -> Response:
        quote = self._quotes.get(request.path_params["ticker"])
        if quote is None:
            body = {"timestamp": _STAMP, "status": 404, "error": "Not Found", "path": request.url.path}
            return _json(_encode(body), 404)
        return _json(_encode(self._row(quote)))

    @cached_property
    def _calm(self) -> bytes:
        return _encode([self._row(quote) for quote in self._quotes.values()])

    def _row(self, quote: Quote) -> Mapping[str, object]:
        price = quote.price
        if self._switchboard.faults.noise:
            drawn = Decimal(self._random.gauss(float(quote.price), float(quote.std)))
            price = max(_CENT, drawn.quantize(_CENT))
        return {
            "id": self._numbers[quote.ticker],
            "ticker": quote.ticker,
            "date": _PRICED_ON,
            "open": price,
            "close": price,
            "high": price,
            "low": price,
            "volume": int(quote.std),
        }


# ------------------------------------------------------------------------------------------------ security


class Securities:
    def __init__(self, book: Book, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self._by_ticker = sorted(book.securities, key=lambda security: security.ticker)
        self._by_id = {security.security_id: security for security in self._by_ticker}
        self._orphan_id = book.orphan.security_id
        self._all = _encode([_security_row(security) for security in self._by_ticker])

    def securities(self, request: Request) -> Response:  # noqa: ARG002  # a handler's signature
        if self._switchboard.faults.orphan_type:
            return _detail(400, "Invalid security type")
        return _json(self._all)

    def security(self, request: Request) -> Response:
        security_id = request.path_params["security_id"]
        if not _OBJECT_ID.fullmatch(security_id):
            return _json(_encode({"error": "Internal server error"}), 500)
        security = self._by_id.get(security_id)
        if security is None or self._breaks(security):
            return _detail(404, "Security not found")
        return _json(_encode(_security_row(security)))

    def search(self, request: Request) -> Response:
        query = request.query_params
        exact, like = query.get("ticker"), query.get("ticker_like")
        if exact and like:
            return _detail(400, "Only one of 'ticker' or 'ticker_like' can be provided")
        if not _TICKER.fullmatch(exact or like or "-"):
            return _detail(400, "Invalid ticker format")
        page = _Page.of(request)
        if page is None:
            return _detail(422, "limit is 1 to 1000, offset at least 0")
        found = [
            security
            for security in self._by_ticker
            if (exact is None or re.fullmatch(exact, security.ticker))  # unescaped, as in the real service
            and (like is None or re.search(like, security.ticker, re.IGNORECASE))
        ]
        rows = found[page.start : page.stop]
        if any(self._breaks(security) for security in rows):
            return _detail(400, "Invalid security type")
        body = {
            "securities": [_security_row(security) for security in rows],
            "pagination": page.about(len(found)),
        }
        return _json(_encode(body))

    def _breaks(self, security: BookSecurity) -> bool:
        return self._switchboard.faults.orphan_type and security.security_id == self._orphan_id


def _security_row(security: BookSecurity) -> Mapping[str, object]:
    kind = {"securityTypeId": "5f3b9d0c8e1a4b2d6c7e9f01", "abbreviation": "CS", "description": "Common stock"}
    return {
        "ticker": security.ticker,
        "description": security.description,
        "securityTypeId": kind["securityTypeId"],
        "version": 1,
        "securityId": security.security_id,
        "securityType": kind,
    }


# ------------------------------------------------------------------------------------------------ portfolio


class Portfolios:
    def __init__(self, book: Book) -> None:
        self._book = book

    def portfolios(self, request: Request) -> Response:  # noqa: ARG002  # a handler's signature
        return _json(_encode([self._row(place) for place in range(self._book.portfolios)]))

    def portfolio(self, request: Request) -> Response:
        place = self._book.places.get(request.path_params["portfolio_id"])
        if place is None:
            return _detail(404, "Portfolio not found")
        return _json(_encode(self._row(place)))

    def search(self, request: Request) -> Response:
        query = request.query_params
        exact, like = query.get("name"), query.get("name_like")
        if exact and like:
            return _detail(400, "Only one of 'name' or 'name_like' can be provided")
        if not _NAME.fullmatch(exact or like or "-"):
            return _detail(400, "Invalid name format")
        page = _Page.of(request)
        if page is None:
            return _detail(422, "limit is 1 to 1000, offset at least 0")
        places = [
            place
            for place in reversed(range(self._book.portfolios))  # newest first
            if _matches(self._book.portfolio_name(place), exact, like)
        ]
        body = {
            "portfolios": [self._row(place) for place in places[page.start : page.stop]],
            "pagination": page.about(len(places)),
        }
        return _json(_encode(body))

    def _row(self, place: int) -> Mapping[str, object]:
        return {
            "portfolioId": self._book.portfolio_ids[place],
            "name": self._book.portfolio_name(place),
            "dateCreated": "2026-01-02T09:30:00",  # without a zone on GET
            "version": 1,
        }


def _matches(name: str, exact: str | None, like: str | None) -> bool:
    if exact is not None:
        return name.lower() == exact.lower()
    return like is None or like.lower() in name.lower()


class _Page(msgspec.Struct, frozen=True):
    limit: int
    start: int

    @classmethod
    def of(cls, request: Request) -> "_Page | None":
        """The page a request of the second versions names; None when it is out of range."""
        limit = _integer(request, "limit", _USUAL_ROWS)
        start = _integer(request, "offset", 0)
        if limit is None or start is None or not 1 <= limit <= _MOST_ROWS or start < 0:
            return None
        return cls(limit, start)

    @property
    def stop(self) -> int:
        return self.start + self.limit

    def about(self, total: int) -> Mapping[str, object]:
        """The real services' own arithmetic: ``hasNext`` is wrong where the offset is no multiple of the limit."""
        pages = -(-total // self.limit)
        current = self.start // self.limit
        return {
            "totalElements": total,
            "totalPages": pages,
            "currentPage": current,
            "pageSize": self.limit,
            "hasNext": current < pages - 1,
            "hasPrevious": current > 0,
        }


def _integer(request: Request, name: str, usual: int) -> int | None:
    """A query value; None when it is no number."""
    text = request.query_params.get(name)
    if text is None:
        return usual
    try:
        return int(text)
    except ValueError:
        return None


# ------------------------------------------------------------------------------------------------ accounting


class Accounting:
    """Summaries are put together from text: they are what a job asks for once per portfolio."""

    def __init__(self, book: Book, switchboard: Switchboard) -> None:
        self._book = book
        self._switchboard = switchboard
        self._random = Random(f"{book.seed}:moving")  # noqa: S311  # repeatable on purpose, nothing secret

    def summary(self, request: Request) -> Response:
        portfolio_id = request.path_params["portfolio_id"]
        place = self._book.places.get(portfolio_id)
        portfolio = self._book.portfolio(place) if place is not None else None
        if portfolio is None or portfolio.empty:
            # The handler looks for "not found" and the service says "no balances found".
            return _accounting_error(500, "INTERNAL_ERROR", "failed to get portfolio summary")
        # One row of the thousand that are read is cash; the cut is not told.
        holdings = portfolio.holdings[: _MOST_ROWS - 1]
        rows = ",".join(
            f'{{"securityId":"{holding.security_id}","quantityLong":"{holding.quantity:f}","quantityShort":"0",'
            f'"netQuantity":"{holding.quantity:f}","lastUpdated":"{_STAMP}"}}'
            for holding in holdings
        )
        body = (
            f'{{"portfolioId":"{portfolio_id}","cashBalance":"{portfolio.cash:f}",'
            f'"securityCount":{len(holdings)},"lastUpdated":"{_STAMP}","securities":[{rows}]}}'
        )
        return _json(body.encode("ascii"))

    def balances(self, request: Request) -> Response:
        query = request.query_params
        limit = _integer(request, "limit", _USUAL_ROWS) or _USUAL_ROWS
        offset = max(0, _integer(request, "offset", 0) or 0)
        if not 1 <= limit <= _MOST_ROWS:
            limit = _USUAL_ROWS
        security_id = query.get("security_id")
        total, rows = self._select(query.get("portfolio_id"), security_id, offset, limit)
        body = {
            "balances": rows,
            "pagination": {
                "limit": limit,
                "offset": offset,
                "total": total,
                "hasMore": offset + len(rows) < total,
                "page": offset // limit + 1,
                "totalPages": -(-total // limit),
            },
        }
        return _json(_encode(body))

    # ---------------------------------------------------------------------------------------------

    def _select(
        self, portfolio_id: str | None, security_id: str | None, offset: int, limit: int
    ) -> tuple[int, list[Mapping[str, object]]]:
        """How many rows match, and the asked-for page of them, in order of portfolio and security."""
        if not portfolio_id and not security_id:
            return self._offsets[-1], self._window(offset, limit)
        places: Iterable[int] = self._places_in_order
        if portfolio_id:
            place = self._book.places.get(portfolio_id)
            places = [] if place is None else [place]
        rows = [
            row
            for place in places
            for row in _balance_rows(self._book.portfolio(place))
            if not security_id or row.get("securityId") == security_id
        ]
        return len(rows), rows[offset : offset + limit]

    def _window(self, offset: int, limit: int) -> list[Mapping[str, object]]:
        """A page of everybody's rows, made from no more portfolios than it needs."""
        moved = self._switchboard.faults.moving_rows
        if moved and offset:
            offset = max(0, offset + self._random.randint(-moved, moved))
        if offset >= self._offsets[-1]:
            return []
        first = bisect_right(self._offsets, offset) - 1
        skip = offset - self._offsets[first]
        rows: list[Mapping[str, object]] = []
        for place in self._places_in_order[first:]:
            rows += _balance_rows(self._book.portfolio(place))
            if len(rows) >= skip + limit:
                break
        return rows[skip : skip + limit]

    @cached_property
    def _places_in_order(self) -> Sequence[int]:
        return sorted(range(self._book.portfolios), key=self._book.portfolio_ids.__getitem__)

    @cached_property
    def _offsets(self) -> Sequence[int]:
        """How many rows stand before each portfolio, and after the last one."""
        sizes = (
            0 if portfolio.empty else len(portfolio.holdings) + 1
            for portfolio in map(self._book.portfolio, self._places_in_order)
        )
        return [0, *accumulate(sizes)]


def _balance_rows(portfolio: BookPortfolio) -> Iterator[Mapping[str, object]]:
    """Holdings, then cash: the database sorts a missing security last."""
    if portfolio.empty:
        return
    for holding in portfolio.holdings:
        yield _balance_row(portfolio.portfolio_id, f"{holding.quantity:f}", holding.security_id)
    yield _balance_row(portfolio.portfolio_id, f"{portfolio.cash:f}", None)


def _balance_row(portfolio_id: str, quantity: str, security_id: str | None) -> Mapping[str, object]:
    row: dict[str, object] = {
        "id": _balance_id(portfolio_id, security_id),
        "portfolioId": portfolio_id,
        "quantityLong": quantity,
        "quantityShort": "0",
        "lastUpdated": _STAMP,
        "version": 1,
    }
    if security_id is not None:
        row["securityId"] = security_id
    return row


def _balance_id(portfolio_id: str, security_id: str | None) -> int:
    return int(portfolio_id[:6], 16) * 1000 + int((security_id or "0")[:6], 16) % 1000


def _accounting_error(status: int, code: str, message: str) -> Response:
    return _json(_encode({"error": {"code": code, "message": message, "timestamp": _STAMP}}), status)
