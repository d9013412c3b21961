"""Portfolios from pages of everybody's balances: for large books, one call for some twenty portfolios.

``/balances`` without a filter gives the rows of all portfolios, 1000 a page, in order of portfolio. Pages are cut by
offset out of data that moves: a row that comes or goes before the offset shifts everything behind it. So no two
pages are ever put together. A page is one statement of the service's database, one moment; a portfolio is taken from
it only when rows of other portfolios, or the ends of the data, stand on both sides of its own. Then it is whole,
whatever happened before and after. Each page begins one row before the portfolio that the page before cut off. What
no page shows whole is asked for by itself.

Positions that were read ahead are old when their turn comes: no older than ``max_age`` seconds, and each is used once,
so that a second try reads anew. (The service itself tells no age: its ``lastUpdated`` never moves.)

It pays where a job lists its portfolios in the service's order, that of their ids: the next one is then on the page
at hand or on the next. The place of the first is found by halving. Where pages serve too few of the portfolios that
are asked for, they are left alone for a while, and each portfolio costs one call as without them.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from time import monotonic

from adapters.upstream.accounting import PAGE, AccountingClient
from adapters.upstream.http import HttpService
from adapters.upstream.payloads import BalanceRow, Balances, decode_balances
from domain.errors import UpstreamFault
from domain.ids import PortfolioId
from domain.portfolio import Portfolio

_NEXT_PAGES = 2  # tried before the place is looked for anew
_LEAST_SERVED = 3  # portfolios a search has to serve, or else it did not pay
_UNPAID_SEARCHES = 3  # in a row, before pages are left alone
_REST_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """What one page says. ``whole``: the rows of those portfolios it shows entirely; ids in order."""

    offset: int
    rows: int
    total: int
    first: str
    last: str
    whole: dict[str, Sequence[BalanceRow]]
    read_at: float
    next_offset: int
    ends: bool  # nothing comes after it


class BulkAccounting:
    """`PortfolioAccounting` over pages of all balances, with `AccountingClient` for what they do not show.

    It holds one page. Threads take turns: they would read the same one.

    Args:
        service: the accounting service.
        max_age: seconds that positions may be old.
        clock: seconds that only grow.
    """

    def __init__(
        self, service: HttpService, *, max_age: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._service = service
        self._single = AccountingClient(service)
        self._max_age = max_age
        self._clock = clock
        self._turn = threading.Lock()
        self._page: _Page | None = None
        self._served = 0  # by the pages since the last search
        self._unpaid = 0
        self._rests_until = -1.0

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        with self._turn:
            rows = self._rows(portfolio_id) if self._clock() >= self._rests_until else None
        if rows is None:
            return self._single.portfolio(portfolio_id)
        return self._single.from_balances(portfolio_id, rows)

    # ---------------------------------------------------------------------------------------------

    def _rows(self, portfolio_id: PortfolioId) -> Sequence[BalanceRow] | None:
        """The portfolio's rows; None where no page shows it whole."""
        try:
            page = self._near(portfolio_id)
            if page is None and self._may_search():
                page = self._search(portfolio_id)
        except (
            UpstreamFault
        ):  # of the pages; what the portfolio's own answer is worth shows when it is asked for
            self._rest()
            return None
        rows = None if page is None else page.whole.pop(portfolio_id, None)
        self._served += rows is not None
        return rows

    def _near(self, portfolio_id: PortfolioId) -> _Page | None:
        """The page at hand or one of the next, where the portfolio's place is on it."""
        page = self._page
        if page is not None and self._clock() - page.read_at > self._max_age:
            page = self._read(page.offset)
        for _ in range(_NEXT_PAGES):
            if page is None or page.ends or portfolio_id < page.last:
                break
            page = self._read(page.next_offset)
        return page if page is not None and _is_on(page, portfolio_id) else None

    def _may_search(self) -> bool:
        if self._page is not None:
            self._unpaid = 0 if self._served >= _LEAST_SERVED else self._unpaid + 1
        self._served = 0
        if self._unpaid < _UNPAID_SEARCHES:
            return True
        self._rest()
        return False

    def _search(self, portfolio_id: PortfolioId) -> _Page | None:
        """The page that holds the portfolio's place, by halving; None when the data moved under the search."""
        page = self._page or self._read(0)
        low, high = 0, page.total
        while not _is_on(page, portfolio_id):
            if page.rows and portfolio_id > page.first:
                low = max(low, page.next_offset)
            else:
                high = min(high, page.offset)
            if low >= high:
                return None
            page = self._read(low if high - low <= PAGE // 2 else (low + high) // 2)
        return page

    def _read(self, offset: int) -> _Page:
        answer: Balances = self._service.get_json(
            "/api/v1/balances",
            decode_balances,
            {"sortby": "portfolio_id,security_id", "offset": offset, "limit": PAGE},
        )
        self._page = self._looked_through(answer.rows, answer.pagination.total, offset)
        return self._page

    def _looked_through(self, rows: Sequence[BalanceRow], total: int, offset: int) -> _Page:
        groups = [(key, list(group)) for key, group in groupby(rows, key=lambda row: row.portfolio_id)]
        keys = [key for key, _ in groups]
        if any(one >= other for one, other in pairwise(keys)):
            raise UpstreamFault(self._service.name, "the balances are not in order of portfolio")
        ends = len(rows) < PAGE and offset + len(rows) >= total
        whole = groups[0 if offset == 0 else 1 : None if ends else -1]
        cut = len(groups[-1][1]) if len(groups) > 1 else 0
        return _Page(
            offset=offset,
            rows=len(rows),
            total=total,
            first=keys[0] if keys else "",
            last=keys[-1] if keys else "",
            whole=dict(whole),
            read_at=self._clock(),
            next_offset=offset + max(len(rows) - cut - 1, 1),
            ends=ends,
        )

    def _rest(self) -> None:
        self._page, self._unpaid, self._served = None, 0, 0
        self._rests_until = self._clock() + _REST_SECONDS


def _is_on(page: _Page, portfolio_id: PortfolioId) -> bool:
    """Whether the page shows the portfolio whole, if there is such a portfolio."""
    after_its_start = page.offset == 0 or (page.rows > 0 and page.first < portfolio_id)
    return after_its_start and (page.ends or portfolio_id < page.last)
