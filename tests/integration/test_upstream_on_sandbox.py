"""The real clients against the sandbox over real loopback HTTP, with everything that can go wrong on a wire."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from adapters.sandbox.book import Book, Kind
from adapters.sandbox.faults import Fault, Faults
from adapters.upstream.build import Sources, sources_from_urls
from adapters.upstream.errors import BreakerOpen
from domain.errors import UpstreamFault, UpstreamUnavailable
from domain.ids import PortfolioId, SecurityId
from tests.support.sandbox_server import SandboxServer, running_sandbox
from tests.support.upstream import QUICK

pytestmark = pytest.mark.integration

SUMMARY = "GET /api/v1/portfolios/{portfolio_id}/summary"
BALANCES = "GET /api/v1/balances"
IMPATIENT = replace(QUICK, read=0.2, retries=1)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with running_sandbox(Book.generate(40, 20, seed=11)) as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    """Calm, and with its counters at zero."""
    server.set_faults(Faults())
    server.reset_calls()
    return server


@pytest.fixture
def sources(sandbox: SandboxServer) -> Iterator[Sources]:
    with open_sources(sandbox) as sources:
        yield sources


def open_sources(sandbox: SandboxServer, **changes: float) -> Sources:
    url = sandbox.url
    options = replace(QUICK, **changes)  # type: ignore[arg-type]  # every changed field is a number
    return sources_from_urls(prices=url, securities=url, accounting=url, directory=url, options=options)


def portfolio_id(sandbox: SandboxServer, kind: Kind = Kind.DRIFTED) -> PortfolioId:
    book = sandbox.book
    return PortfolioId(
        next(book.portfolio_ids[place] for place in range(book.portfolios) if book.kind(place) is kind)
    )


# ------------------------------------------------------------------------------------------------ calm


def test_every_portfolio_arrives_exactly_as_the_book_has_it(sandbox: SandboxServer, sources: Sources) -> None:
    book = sandbox.book
    for place, key in enumerate(book.portfolio_ids):
        expected, found = book.portfolio(place), sources.accounting.portfolio(PortfolioId(key))
        if expected.empty:
            assert found is None
            continue
        assert found is not None
        assert found.cash == expected.cash
        assert {position.security_id: position.quantity for position in found.positions} == {
            holding.security_id: holding.quantity for holding in expected.holdings if holding.quantity
        }


def test_a_job_costs_two_calls_and_one_a_portfolio(sandbox: SandboxServer, sources: Sources) -> None:
    wanted = [SecurityId(row.security_id) for row in sandbox.book.model().positions]
    prices, tickers = sources.prices.prices(), sources.securities.tickers(wanted)
    for key in sandbox.book.portfolio_ids:
        sources.accounting.portfolio(PortfolioId(key))

    assert all(tickers[security_id] in prices for security_id in wanted)
    assert sandbox.calls() == {
        "GET /api/v1/prices": 1,
        "GET /api/v1/securities": 1,
        SUMMARY: 40,
        BALANCES: 1,  # the one empty portfolio
    }


def test_prices_arrive_to_the_last_digit(sandbox: SandboxServer, sources: Sources) -> None:
    prices = sources.prices.prices()

    assert all(
        prices[security.ticker] == security.price and str(prices[security.ticker]) == str(security.price)
        for security in sandbox.book.securities
        if security.price is not None
    )


def test_names_are_known_and_unknown(sandbox: SandboxServer, sources: Sources) -> None:
    assert sources.directory.name(portfolio_id(sandbox)) == sandbox.book.portfolio_name(0)
    assert sources.directory.name(PortfolioId("0" * 24)) is None


def test_an_unknown_security_is_absent_whatever_its_id_looks_like(sources: Sources) -> None:
    unknown = [SecurityId("0" * 24), SecurityId("Z" * 24)]

    assert not set(unknown) & set(sources.securities.tickers(unknown))


def test_one_connection_serves_call_after_call_and_is_closed_in_the_end(sandbox: SandboxServer) -> None:
    with open_sources(sandbox) as sources:
        for _ in range(5):
            sources.accounting.portfolio(portfolio_id(sandbox))
        accounting = next(service for service in sources.services if service.name == "accounting")
        pool = accounting._transport._pool  # type: ignore[attr-defined]  # httpx's own
        assert len(pool.connections) == 1
    assert pool.connections == []


# ------------------------------------------------------------------------------------------------ habits


def test_an_empty_portfolio_is_none_without_a_wait(sandbox: SandboxServer, sources: Sources) -> None:
    assert sources.accounting.portfolio(portfolio_id(sandbox, Kind.EMPTY)) is None
    assert sandbox.calls() == {SUMMARY: 1, BALANCES: 1}


def test_a_fraction_of_a_share_stays_a_fraction(sandbox: SandboxServer, sources: Sources) -> None:
    portfolio = sources.accounting.portfolio(portfolio_id(sandbox, Kind.FRACTIONAL))

    assert portfolio is not None
    assert [position.quantity % 1 for position in portfolio.positions if position.quantity % 1] == [
        Decimal("0.5")
    ]


def test_an_orphan_type_costs_one_security(sandbox: SandboxServer, sources: Sources) -> None:
    sandbox.set_faults(Faults(orphan_type=True))

    found = sources.securities.tickers([SecurityId(sandbox.book.orphan.security_id)])

    everything = {security.security_id for security in sandbox.book.securities}
    assert everything - set(found) == {sandbox.book.orphan.security_id}


def test_two_calls_with_noise_give_two_markets(sandbox: SandboxServer, sources: Sources) -> None:
    sandbox.set_faults(Faults(noise=True))

    assert sources.prices.prices() != sources.prices.prices()


@pytest.mark.parametrize("every", [2, 3, 7])
def test_connections_cut_while_kept_alive_go_unnoticed(sandbox: SandboxServer, every: int) -> None:
    with open_sources(sandbox, retries=0) as sources:
        sandbox.set_faults(Faults(cut_every=every))

        found = [sources.accounting.portfolio(portfolio_id(sandbox)) for _ in range(20)]

    assert None not in found
    assert sandbox.calls()[SUMMARY] > 20


# ------------------------------------------------------------------------------------------------ faults


def test_html_for_json_is_named(sandbox: SandboxServer, sources: Sources) -> None:
    sandbox.set_faults(Faults(accounting=Fault(html=True), pricing=Fault(html=True, status=403)))

    with pytest.raises(UpstreamFault, match=r"accounting .*/summary: 200 \(text/html.*<!DOCTYPE html>"):
        sources.accounting.portfolio(portfolio_id(sandbox))
    with pytest.raises(UpstreamFault, match=r"prices .*/api/v1/prices: 403"):
        sources.prices.prices()


def test_half_a_document_is_a_fault(sandbox: SandboxServer, sources: Sources) -> None:
    sandbox.set_faults(Faults(accounting=Fault(truncate=True)))

    with pytest.raises(UpstreamFault, match="truncated"):
        sources.accounting.portfolio(portfolio_id(sandbox))


def test_json_of_another_shape_is_a_fault_of_the_service_that_sent_it(
    sandbox: SandboxServer, sources: Sources
) -> None:
    other = Fault(other_shape=True)
    sandbox.set_faults(Faults(accounting=other, pricing=other, security=other))

    with pytest.raises(UpstreamFault, match=r"accounting .*not the JSON that is wanted"):
        sources.accounting.portfolio(portfolio_id(sandbox))
    with pytest.raises(UpstreamFault, match=r"prices .*not the JSON that is wanted"):
        sources.prices.prices()
    with pytest.raises(UpstreamFault, match=r"securities .*not the JSON that is wanted"):
        sources.securities.tickers([SecurityId("0" * 24)])


def test_a_service_that_hangs_is_given_up_after_the_time_out(sandbox: SandboxServer) -> None:
    sandbox.set_faults(Faults(accounting=Fault(hang=True)))
    began = time.monotonic()

    with (
        open_sources(sandbox, read=0.1, retries=1) as sources,
        pytest.raises(UpstreamUnavailable, match="ReadTimeout"),
    ):
        sources.accounting.portfolio(portfolio_id(sandbox))

    assert time.monotonic() - began < 5
    assert sandbox.calls()[SUMMARY] == 2


def test_an_answer_cut_in_the_middle_is_asked_for_again(sandbox: SandboxServer, sources: Sources) -> None:
    sandbox.set_faults(Faults(accounting=Fault(cut_body=True, every=2)))

    found = [sources.accounting.portfolio(portfolio_id(sandbox)) for _ in range(4)]

    assert None not in found
    assert sandbox.calls()[SUMMARY] == 7  # every second one came to nothing


def test_answers_always_cut_in_the_middle_end_as_an_outage(sandbox: SandboxServer, sources: Sources) -> None:
    sandbox.set_faults(Faults(accounting=Fault(cut_body=True)))

    with pytest.raises(UpstreamUnavailable, match="RemoteProtocolError"):
        sources.accounting.portfolio(portfolio_id(sandbox))

    assert sandbox.calls()[SUMMARY] == 4


def test_a_service_that_is_down_is_left_alone_and_the_others_are_not(sandbox: SandboxServer) -> None:
    with open_sources(sandbox, breaker_failures=5) as sources:
        sandbox.set_faults(Faults(accounting=Fault(down=True)))
        for _ in range(2):
            with pytest.raises(UpstreamUnavailable, match="RemoteProtocolError"):
                sources.accounting.portfolio(portfolio_id(sandbox))
        before = sandbox.calls()[SUMMARY]

        with pytest.raises(BreakerOpen):
            sources.accounting.portfolio(portfolio_id(sandbox))

        assert sandbox.calls()[SUMMARY] == before
        assert sources.directory.name(portfolio_id(sandbox))
        assert {service.name: service.is_open() for service in sources.services} == {
            "securities": False,
            "prices": False,
            "accounting": True,
            "directory": False,
        }


def test_an_outage_that_ends_is_found_out_by_one_probe(sandbox: SandboxServer) -> None:
    with open_sources(sandbox, retries=0, breaker_failures=1, breaker_open=0.05) as sources:
        sandbox.set_faults(Faults(accounting=Fault(status=503)))
        with pytest.raises(UpstreamUnavailable):
            sources.accounting.portfolio(portfolio_id(sandbox))
        sandbox.set_faults(Faults(accounting=Fault(latency_ms=1000)))
        sandbox.reset_calls()
        time.sleep(0.06)  # the breaker's own clock: there is nothing to wait on

        outcomes: list[str] = []

        def ask() -> None:
            try:
                sources.accounting.portfolio(portfolio_id(sandbox))
                outcomes.append("answered")
            except BreakerOpen:
                outcomes.append("refused")

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert sorted(outcomes) == ["answered"] + ["refused"] * 7
        assert sandbox.calls() == {SUMMARY: 1}
        assert sources.accounting.portfolio(portfolio_id(sandbox)) is not None


def test_passing_trouble_is_waited_out(sandbox: SandboxServer, sources: Sources) -> None:
    sandbox.set_faults(Faults(accounting=Fault(status=502, every=2), pricing=Fault(status=503, every=2)))

    assert sources.prices.prices()
    assert sources.prices.prices()
    assert all(sources.accounting.portfolio(portfolio_id(sandbox)) for _ in range(6))


def test_the_sandbox_stops_while_a_request_hangs() -> None:
    with running_sandbox(Book.generate(1, 2), Faults(pricing=Fault(hang=True))) as server:
        with open_sources(server, read=0.1, retries=0) as sources, pytest.raises(UpstreamUnavailable):
            sources.prices.prices()
        url = server.url

    with (
        sources_from_urls(
            prices=url, securities=url, accounting=url, directory=url, options=IMPATIENT
        ) as sources,
        pytest.raises(UpstreamUnavailable, match="ConnectError"),
    ):
        sources.prices.prices()
