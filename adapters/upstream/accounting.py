"""Cash and positions from the portfolio accounting service.

One call a portfolio, ``/portfolios/{id}/summary``, but for three of its habits:

- A portfolio without balances makes it answer 500 (it looks for an error text that is never sent). The balances
  then decide: 200 with an empty list means there are none. Both calls are one operation, so that a book full of
  empty portfolios neither waits for retries nor opens the breaker, while an outage of both does.
- It cuts what it reads at 1000 rows without saying so. From 999 securities on (cash may be the thousandth row)
  the balances are read page by page instead.
- ``/balances`` ignores a filter it cannot read and then answers with everybody's rows: every row's portfolio is
  checked.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import partial

from adapters.upstream.errors import NotThere, ServerError
from adapters.upstream.http import HttpService, segment
from adapters.upstream.payloads import (
    BalanceRow,
    Balances,
    Summary,
    SummaryRow,
    decode_balances,
    decode_summary,
)
from domain.errors import Invalid, UpstreamFault
from domain.ids import PortfolioId, SecurityId
from domain.money import subtract
from domain.portfolio import Portfolio, Position

_CUT_AT = 1000
PAGE = 1000  # the most the service gives; asking for more gives 50
_READINGS = 3
_NO_BALANCES = 500
_ZERO = Decimal(0)


class AccountingClient:
    """`PortfolioAccounting` over HTTP. A quantity is long less short; a net of zero is no position."""

    def __init__(self, service: HttpService) -> None:
        self._service = service

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        answer = self._service.run(partial(self._summary_or_balances, portfolio_id))
        if isinstance(answer, Summary) and _whole(answer):
            return self._from_summary(portfolio_id, answer)
        if isinstance(answer, Balances) and len(answer.rows) == answer.pagination.total:
            return self.from_balances(portfolio_id, answer.rows)
        return self.from_balances(portfolio_id, self._all_balances(portfolio_id))

    # ---------------------------------------------------------------------------------------------

    def _summary_or_balances(self, portfolio_id: PortfolioId) -> Summary | Balances:
        try:
            return self._service.fetch(f"/api/v1/portfolios/{segment(portfolio_id)}/summary", decode_summary)
        except NotThere:  # what the service means to say when there are no balances
            pass
        except ServerError as exc:
            if exc.status != _NO_BALANCES:
                raise
        return self._fetch_page(portfolio_id, 0)

    def _fetch_page(self, portfolio_id: PortfolioId, offset: int) -> Balances:
        page = self._service.fetch(
            "/api/v1/balances",
            decode_balances,
            {
                "portfolio_id": portfolio_id,
                "sortby": "portfolio_id,security_id",
                "offset": offset,
                "limit": PAGE,
            },
        )
        for row in page.rows:
            if row.portfolio_id != portfolio_id:
                raise self._fault(portfolio_id, f"the answer has rows of portfolio {row.portfolio_id!r}")
        return page

    def _all_balances(self, portfolio_id: PortfolioId) -> Sequence[BalanceRow]:
        """All rows, read again from the start when the data moved between two pages."""
        for _ in range(_READINGS):
            rows = self._page_by_page(portfolio_id)
            if rows is not None:
                return rows
        raise self._fault(portfolio_id, f"its balances changed during each of {_READINGS} readings")

    def _page_by_page(self, portfolio_id: PortfolioId) -> Sequence[BalanceRow] | None:
        """All rows; None when they cannot be those of one moment: another total, a row missing or twice."""
        page = self._service.run(partial(self._fetch_page, portfolio_id, 0))
        total = page.pagination.total
        rows = list(page.rows)
        while page.rows and len(rows) < total:
            page = self._service.run(partial(self._fetch_page, portfolio_id, len(rows)))
            if page.pagination.total != total:
                return None
            rows += page.rows
        once = len({row.security_id for row in rows})
        return rows if len(rows) == once == total else None

    # ---------------------------------------------------------------------------------------------

    def _from_summary(self, portfolio_id: PortfolioId, summary: Summary) -> Portfolio:
        if summary.portfolio_id != portfolio_id:
            raise self._fault(portfolio_id, f"the answer is about portfolio {summary.portfolio_id!r}")
        return self._portfolio(portfolio_id, summary.cash_balance, summary.rows)

    def from_balances(self, portfolio_id: PortfolioId, rows: Sequence[BalanceRow]) -> Portfolio | None:
        """The portfolio of all its rows. Raises UpstreamFault: they cannot be those of one portfolio."""
        if not rows:
            return None
        cash = [row for row in rows if not row.security_id]
        if len(cash) > 1:
            raise self._fault(portfolio_id, f"it has {len(cash)} cash balances")
        amount = self._net(portfolio_id, "cash", cash[0]) if cash else _ZERO
        return self._portfolio(portfolio_id, amount, [row for row in rows if row.security_id])

    def _portfolio(
        self, portfolio_id: PortfolioId, cash: Decimal, rows: Sequence[SummaryRow | BalanceRow]
    ) -> Portfolio:
        if len({row.security_id for row in rows}) < len(rows):
            twice, _ = Counter(row.security_id for row in rows).most_common(1)[0]
            raise self._fault(portfolio_id, f"it holds security {twice} twice")
        try:
            return Portfolio(
                portfolio_id=portfolio_id,
                cash=cash,
                positions=tuple(
                    [
                        Position(SecurityId(row.security_id or ""), quantity)
                        for row in rows
                        # rows of what was sold out stay at the source as 0/0
                        if (
                            quantity := self._quantity(portfolio_id, row)
                            if row.quantity_short
                            else row.quantity_long
                        )
                    ]
                ),
            )
        except Invalid as exc:
            raise self._fault(portfolio_id, str(exc)) from exc

    def _quantity(self, portfolio_id: PortfolioId, row: SummaryRow | BalanceRow) -> Decimal:
        return self._net(portfolio_id, f"security {row.security_id}", row)

    def _net(self, portfolio_id: PortfolioId, what: str, row: SummaryRow | BalanceRow) -> Decimal:
        if not row.quantity_short:
            return row.quantity_long
        try:
            return subtract(row.quantity_long, row.quantity_short)
        except ArithmeticError as exc:
            raise self._fault(
                portfolio_id, f"{what}: {row.quantity_long} less {row.quantity_short} is no number"
            ) from exc

    def _fault(self, portfolio_id: PortfolioId, cause: str) -> UpstreamFault:
        return UpstreamFault(self._service.name, f"portfolio {portfolio_id}: {cause}")


def _whole(summary: Summary) -> bool:
    """Whether the summary shows every row there is."""
    rows = len(summary.rows)
    return rows == summary.security_count and rows + 1 < _CUT_AT
