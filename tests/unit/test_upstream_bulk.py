"""Pages of everybody's balances that no sandbox would send."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from adapters.upstream.accounting import AccountingClient
from adapters.upstream.build import sources_from_urls
from adapters.upstream.bulk import BulkAccounting
from adapters.upstream.options import HttpOptions
from domain.ids import PortfolioId
from tests.support.upstream import QUICK, Upstream, ok

SECURITY = "S" * 24
BALANCES = "/api/v1/balances"


def row(portfolio: str, quantity: str = "1", security: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"portfolioId": portfolio, "quantityLong": quantity, "quantityShort": "0"}
    return found if security is None else {**found, "securityId": security}


def pages(
    rows: Sequence[dict[str, Any]], total: int | None = None
) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        if "portfolio_id" in asked:
            found = [each for each in rows if each["portfolioId"] == asked["portfolio_id"]]
            return ok({"balances": found, "pagination": {"total": len(found)}})
        offset, limit = int(asked["offset"]), int(asked["limit"])
        size = len(rows) if total is None else total
        return ok({"balances": rows[offset : offset + limit], "pagination": {"total": size}})

    return answer


def summary(portfolio: str, cash: str = "7") -> httpx.Response:
    return ok({"portfolioId": portfolio, "cashBalance": cash, "securityCount": 0, "securities": []})


class Case:
    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], *asked_alone: str) -> None:
        alone = {f"/api/v1/portfolios/{one}/summary": summary(one) for one in asked_alone}
        self.upstream = Upstream({BALANCES: answer, **alone})
        self.now = 0.0
        self.bulk = BulkAccounting(self.upstream.service(), max_age=10.0, clock=lambda: self.now)

    def cash(self, portfolio: str) -> str:
        found = self.bulk.portfolio(PortfolioId(portfolio))
        assert found is not None
        return str(found.cash)


@pytest.mark.parametrize(
    "rows",
    [
        [row("B"), row("A")],
        [row("A"), row("B"), row("A", security=SECURITY)],
    ],
    ids=["another order", "in two places"],
)
def test_pages_in_another_order_are_not_used_and_left_alone_for_a_minute(rows: list[dict[str, Any]]) -> None:
    case = Case(pages(rows), "A", "B")

    assert [case.cash("A"), case.cash("B")] == ["7", "7"]
    assert case.upstream.calls[BALANCES] == 1

    case.now = 60.0
    assert case.cash("A") == "7"
    assert case.upstream.calls[BALANCES] == 2


def test_a_portfolio_larger_than_a_page_is_asked_for_by_itself_and_the_next_is_found() -> None:
    large = [row("L", security=f"{number:024d}") for number in range(2_500)]
    case = Case(pages([row("K", "1"), *large, row("M", "3"), row("N", "4")]), "L")

    assert [case.cash(one) for one in ("K", "L", "M", "N")] == ["1", "7", "3", "4"]


def test_a_short_page_is_the_end_only_where_the_count_agrees() -> None:
    """A service that gives fewer rows than it was asked for must not make the last portfolio look whole."""
    rows = [row("A", "1"), row("B", "2"), row("B", "9", SECURITY), row("C", "3")]
    case = Case(pages(rows[:2], total=4), "B")

    assert case.cash("B") == "7"
    assert case.cash("A") == "1"


def test_rows_that_all_went_away_leave_each_portfolio_to_its_own_answer() -> None:
    many = [row(f"P{number:04d}") for number in range(3_000)]
    case = Case(pages(many), "P2500")
    assert case.cash("P0001") == "1"

    del many[10:]

    assert case.cash("P2500") == "7"


def test_two_cash_rows_are_a_fault_as_they_are_in_a_single_answer() -> None:
    case = Case(pages([row("A"), row("A"), row("B")]))

    with pytest.raises(Exception, match="it has 2 cash balances"):
        case.cash("A")


@pytest.mark.parametrize(("age", "kind"), [(0.0, AccountingClient), (5.0, BulkAccounting)])
def test_pages_are_read_only_where_an_age_is_allowed(age: float, kind: type) -> None:
    url = "http://upstream.test"
    with sources_from_urls(
        prices=url, securities=url, accounting=url, directory=url, options=HttpOptions(bulk_age=age)
    ) as sources:
        assert type(sources.accounting) is kind
    assert QUICK.bulk_age == 0
