"""Choose each upstream by its URL: ``http(s)://`` is a service, ``file:`` a CSV or JSON file."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from adapters.upstream.accounting import AccountingClient
from adapters.upstream.bulk import BulkAccounting
from adapters.upstream.directory import DirectoryClient
from adapters.upstream.files import FileDirectory, FilePortfolios, FilePrices, FileSecurities
from adapters.upstream.http import Correlation, HttpService
from adapters.upstream.options import HttpOptions
from adapters.upstream.pricing import PricingClient
from adapters.upstream.securities import SecuritiesClient
from adapters.upstream.watch import NOBODY_WATCHES, CallWatch
from domain.errors import Invalid
from domain.ports import PortfolioAccounting, PortfolioDirectory, PriceSource, SecurityMaster


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The four ports, and the services behind those that are asked over HTTP. Close it at the end."""

    prices: PriceSource
    securities: SecurityMaster
    accounting: PortfolioAccounting
    directory: PortfolioDirectory
    services: tuple[HttpService, ...] = ()

    def close(self) -> None:
        with ExitStack() as stack:
            for service in self.services:
                stack.callback(service.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def sources_from_urls(
    *,
    prices: str,
    accounting: str,
    securities: str | None = None,
    directory: str | None = None,
    options: HttpOptions | None = None,
    correlation: Correlation | None = None,
    watch: CallWatch = NOBODY_WATCHES,
) -> Sources:
    """Open a client for each URL. Call it once per process, after any fork; nothing is fetched yet.

    Args:
        prices: the pricing service, or a file of prices.
        accounting: the portfolio accounting service, or a file of positions and cash.
        securities: the security service, or a file. May be left out when ``prices`` is a file with security ids.
        directory: the portfolio service, or a file of names. May be left out when ``accounting`` is a file.
        options: how services are called.
        correlation: asked once per HTTP request for the correlation id to pass on.
        watch: is told how each call ends and what each breaker does.

    Raises:
        Invalid: a URL that is neither, or one that is missing; it is named.
    """
    services: list[HttpService] = []

    def origin(name: str, url: str) -> HttpService | Path:
        path = _file_path(name, url)
        if path is not None:
            return path
        services.append(
            HttpService(name, url, options or HttpOptions(), correlation=correlation, watch=watch)
        )
        return services[-1]

    master = _securities(origin("securities", securities)) if securities else None
    price_source = _prices(origin("prices", prices), master)
    ledger = _accounting(origin("accounting", accounting), (options or HttpOptions()).bulk_age)
    names = _directory(origin("directory", directory)) if directory else None
    return Sources(
        prices=price_source,
        securities=master or _as_master(price_source),
        accounting=ledger,
        directory=names or _as_directory(ledger),
        services=tuple(services),
    )


def _prices(origin: HttpService | Path, names: SecurityMaster | None) -> PriceSource:
    return FilePrices(origin, names) if isinstance(origin, Path) else PricingClient(origin)


def _securities(origin: HttpService | Path) -> SecurityMaster:
    return FileSecurities(origin) if isinstance(origin, Path) else SecuritiesClient(origin)


def _accounting(origin: HttpService | Path, bulk_age: float) -> PortfolioAccounting:
    if isinstance(origin, Path):
        return FilePortfolios(origin)
    return BulkAccounting(origin, max_age=bulk_age) if bulk_age > 0 else AccountingClient(origin)


def _directory(origin: HttpService | Path) -> PortfolioDirectory:
    return FileDirectory(origin) if isinstance(origin, Path) else DirectoryClient(origin)


def _file_path(name: str, url: str) -> Path | None:
    """The path of a ``file:`` URL, None for one of a service."""
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and parts.hostname:
        return None
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path:
        return Path(unquote(parts.path))
    raise Invalid(
        f"the URL of {name} begins with {parts.scheme or 'no scheme'!r}: "
        "give http://host[:port], https://host[:port] or file:/path/to/file.csv",
        code="invalid_upstream_url",
    )


def _as_master(prices: PriceSource) -> SecurityMaster:
    if isinstance(prices, FilePrices):
        return prices
    raise Invalid("securities: give a URL, or prices from a file with ids", code="invalid_upstream_url")


def _as_directory(accounting: PortfolioAccounting) -> PortfolioDirectory:
    if isinstance(accounting, FilePortfolios):
        return accounting
    raise Invalid("directory: give a URL, or portfolios from a file", code="invalid_upstream_url")
