"""Sources over data that came with the request. Nothing is fetched, so nothing here can be unavailable."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from adapters.upstream.pricing import read_price
from domain.errors import Invalid
from domain.ids import PortfolioId, SecurityId
from domain.portfolio import Portfolio


class InlinePrices:
    """`PriceSource` and `SecurityMaster` over prices by security id.

    A security without a ticker is its own ticker, so that prices and securities meet under one name.

    Raises:
        Invalid: a price that is no number above zero, or two securities under one ticker; each one is named.
    """

    def __init__(
        self, prices: Mapping[SecurityId, Decimal], tickers: Mapping[SecurityId, str] | None = None
    ) -> None:
        given = tickers or {}
        self._tickers = {security_id: given.get(security_id, security_id) for security_id in prices}
        self._prices: dict[str, Decimal] = {}
        for security_id, price in prices.items():
            ticker = self._tickers[security_id]
            if ticker in self._prices:
                raise Invalid(f"two securities have the ticker {ticker!r}, one of them {security_id}")
            try:
                self._prices[ticker] = read_price(price)
            except Invalid as exc:
                raise Invalid(f"security {security_id}: {exc}", code=exc.code) from exc

    def prices(self) -> Mapping[str, Decimal]:
        return self._prices

    def tickers(self, wanted: Iterable[SecurityId]) -> Mapping[SecurityId, str]:  # noqa: ARG002  # the port's signature: everything is known at once
        return self._tickers


class InlinePortfolios:
    """`PortfolioAccounting` and `PortfolioDirectory` over given portfolios; the name is the id if none is given.

    Raises:
        Invalid: a portfolio is given twice.
    """

    def __init__(
        self, portfolios: Iterable[Portfolio], names: Mapping[PortfolioId, str] | None = None
    ) -> None:
        self._names = names or {}
        self._portfolios: dict[PortfolioId, Portfolio] = {}
        for portfolio in portfolios:
            if portfolio.portfolio_id in self._portfolios:
                raise Invalid(f"portfolio {portfolio.portfolio_id} is given twice")
            self._portfolios[portfolio.portfolio_id] = portfolio

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        return self._portfolios.get(portfolio_id)

    def name(self, portfolio_id: PortfolioId) -> str | None:
        if portfolio_id not in self._portfolios:
            return None
        return self._names.get(portfolio_id, portfolio_id)
