"""Portfolios out of pages of everybody's balances, against the sandbox over real loopback HTTP."""

from collections.abc import Iterator, Sequence
from random import Random

import pytest

from adapters.sandbox.book import Book
from adapters.sandbox.faults import Fault, Faults
from adapters.upstream.accounting import AccountingClient
from adapters.upstream.bulk import BulkAccounting
from adapters.upstream.http import HttpService
from domain.errors import UpstreamUnavailable
from domain.ids import PortfolioId
from domain.portfolio import Portfolio
from tests.support.sandbox_server import SandboxServer, running_sandbox
from tests.support.upstream import QUICK

pytestmark = pytest.mark.integration

SUMMARY = "GET /api/v1/portfolios/{portfolio_id}/summary"
BALANCES = "GET /api/v1/balances"
PORTFOLIOS = 300  # of about 30 rows: some nine pages


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with running_sandbox(Book.generate(PORTFOLIOS, 30, seed=3)) as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.set_faults(Faults())
    server.reset_calls()
    return server


@pytest.fixture
def service(sandbox: SandboxServer) -> Iterator[HttpService]:
    service = HttpService("accounting", sandbox.url, QUICK)
    yield service
    service.close()


class Seconds:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def bulk(service: HttpService, clock: Seconds) -> BulkAccounting:
    return BulkAccounting(service, max_age=60.0, clock=clock)


def in_order(sandbox: SandboxServer) -> Sequence[PortfolioId]:
    return [PortfolioId(key) for key in sorted(sandbox.book.portfolio_ids)]


def same(one: Portfolio | None, other: Portfolio | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.portfolio_id, one.cash, one.held()) == (other.portfolio_id, other.cash, other.held())


def as_asked_one_by_one(service: HttpService, ids: Sequence[PortfolioId]) -> list[Portfolio | None]:
    return [AccountingClient(service).portfolio(key) for key in ids]


def test_each_portfolio_is_what_its_own_answer_says_for_a_tenth_of_the_calls(
    sandbox: SandboxServer, service: HttpService, bulk: BulkAccounting
) -> None:
    ids = in_order(sandbox)
    expected = as_asked_one_by_one(service, ids)
    sandbox.reset_calls()

    found = [bulk.portfolio(key) for key in ids]

    assert all(map(same, found, expected))
    assert sandbox.calls()[SUMMARY] == 1  # the empty one: no page can show that
    assert sandbox.calls()[BALANCES] <= PORTFOLIOS / 10


@pytest.mark.parametrize("step", [2, 3, 7])
def test_a_worker_that_takes_every_nth_portfolio_reads_on_all_the_same(
    sandbox: SandboxServer, bulk: BulkAccounting, step: int
) -> None:
    ids = in_order(sandbox)[1::step]

    assert all(bulk.portfolio(key) is not None or sandbox.book.portfolio_ids[4] == key for key in ids)

    assert sum(sandbox.calls().values()) <= 25


@pytest.mark.parametrize("moved", [1, 40, 400])
def test_rows_that_come_and_go_between_pages_never_make_a_portfolio_half(
    sandbox: SandboxServer, service: HttpService, bulk: BulkAccounting, moved: int
) -> None:
    ids = in_order(sandbox)
    expected = as_asked_one_by_one(service, ids)
    sandbox.set_faults(Faults(moving_rows=moved))

    found = [bulk.portfolio(key) for key in ids]

    assert all(map(same, found, expected))


def test_a_job_in_no_order_costs_one_call_a_portfolio_and_a_few(
    sandbox: SandboxServer, service: HttpService, bulk: BulkAccounting
) -> None:
    ids = list(in_order(sandbox))
    Random(1).shuffle(ids)
    expected = as_asked_one_by_one(service, ids)
    sandbox.reset_calls()

    found = [bulk.portfolio(key) for key in ids]

    assert all(map(same, found, expected))
    assert sum(sandbox.calls().values()) <= PORTFOLIOS + 25


def test_a_job_that_begins_anywhere_is_found_by_halving(sandbox: SandboxServer, bulk: BulkAccounting) -> None:
    for key in in_order(sandbox)[200:220]:
        assert bulk.portfolio(key) is not None

    assert sum(sandbox.calls().values()) <= 9


def test_a_job_in_another_region_is_looked_for_again(sandbox: SandboxServer, bulk: BulkAccounting) -> None:
    ids = in_order(sandbox)
    for start in (250, 20, 150, 0, 290):
        for key in ids[start : start + 10]:
            bulk.portfolio(key)

    assert sandbox.calls()[BALANCES] <= 35
    assert sandbox.calls().get(SUMMARY, 0) <= 12


def test_positions_are_used_once_so_that_a_second_try_reads_anew(
    sandbox: SandboxServer, bulk: BulkAccounting
) -> None:
    key = in_order(sandbox)[3]
    first = bulk.portfolio(key)
    sandbox.reset_calls()

    assert same(bulk.portfolio(key), first)
    assert sandbox.calls() == {SUMMARY: 1}


def test_positions_older_than_allowed_are_read_again(
    sandbox: SandboxServer, bulk: BulkAccounting, clock: Seconds
) -> None:
    ids = in_order(sandbox)
    bulk.portfolio(ids[3])
    clock.now = 60.0
    bulk.portfolio(ids[4])
    assert sandbox.calls() == {BALANCES: 1}

    clock.now = 60.1
    bulk.portfolio(ids[5])
    assert sandbox.calls() == {BALANCES: 2}


def test_an_unknown_portfolio_is_none_wherever_it_would_stand(
    sandbox: SandboxServer, bulk: BulkAccounting
) -> None:
    for key in ("0" * 24, "7" * 24, "f" * 24):
        assert bulk.portfolio(PortfolioId(key)) is None


def test_an_outage_is_an_outage(sandbox: SandboxServer, bulk: BulkAccounting) -> None:
    sandbox.set_faults(Faults(accounting=Fault(status=503)))

    with pytest.raises(UpstreamUnavailable):
        bulk.portfolio(in_order(sandbox)[0])


def test_an_empty_book_has_no_portfolio() -> None:
    with running_sandbox(Book.generate(0, 2)) as server:
        service = HttpService("accounting", server.url, QUICK)
        assert BulkAccounting(service, max_age=1.0).portfolio(PortfolioId("0" * 24)) is None
        service.close()
