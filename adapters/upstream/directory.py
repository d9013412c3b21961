"""Portfolio names from the portfolio service."""

from adapters.upstream.errors import NotThere
from adapters.upstream.http import HttpService, segment
from adapters.upstream.payloads import decode_portfolio
from domain.errors import UpstreamFault
from domain.ids import PortfolioId


class DirectoryClient:
    """`PortfolioDirectory` over HTTP."""

    def __init__(self, service: HttpService) -> None:
        self._service = service

    def name(self, portfolio_id: PortfolioId) -> str | None:
        path = f"/api/v1/portfolio/{segment(portfolio_id)}"
        try:
            row = self._service.get_json(path, decode_portfolio)
        except NotThere:
            return None
        if row.portfolio_id != portfolio_id:
            raise UpstreamFault(self._service.name, f"GET {path}: the answer is about {row.portfolio_id!r}")
        return row.name
