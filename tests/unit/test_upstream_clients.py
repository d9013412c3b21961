"""The clients of the four services against scripted answers: each habit of the real services has a test."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.upstream.accounting import AccountingClient
from adapters.upstream.directory import DirectoryClient
from adapters.upstream.errors import StatusFault
from adapters.upstream.pricing import PricingClient
from adapters.upstream.securities import SecuritiesClient
from domain.errors import UpstreamFault, UpstreamUnavailable
from domain.ids import PortfolioId, SecurityId
from domain.portfolio import Portfolio, Position
from tests.support.upstream import QUICK, Answer, Upstream, ok, raw

PORTFOLIO = PortfolioId("aaaaaaaaaaaaaaaaaaaaaaaa")
SUMMARY = f"/api/v1/portfolios/{PORTFOLIO}/summary"
BALANCES = "/api/v1/balances"


def security(number: int) -> SecurityId:
    return SecurityId(f"{number:024x}")


def summary_row(number: int, long: str | float, short: str = "0") -> dict[str, object]:
    return {
        "securityId": security(number),
        "quantityLong": long,
        "quantityShort": short,
        "netQuantity": "ignored",
        "lastUpdated": "2026-01-01T00:00:00Z",
    }


def summary(*rows: dict[str, object], cash: object = "100.00", **changes: object) -> dict[str, object]:
    return {
        "portfolioId": PORTFOLIO,
        "cashBalance": cash,
        "securityCount": len(rows),
        "lastUpdated": "now",
        "securities": list(rows),
    } | changes


def balance_row(
    number: int | None, long: str, short: str = "0", portfolio: str = PORTFOLIO
) -> dict[str, object]:
    row: dict[str, object] = {"id": 1, "portfolioId": portfolio, "quantityLong": long, "quantityShort": short}
    return row if number is None else row | {"securityId": security(number)}


def balances(*rows: dict[str, object], total: int | None = None) -> dict[str, object]:
    return {
        "balances": list(rows),
        "pagination": {"total": len(rows) if total is None else total, "hasMore": False},
    }


def pages_of(rows: Sequence[dict[str, object]]) -> Callable[[httpx.Request], httpx.Response]:
    """The balances as the service pages them."""

    def answer(request: httpx.Request) -> httpx.Response:
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        return ok(balances(*rows[offset : offset + limit], total=len(rows)))

    return answer


def read(**answers: Answer | Sequence[Answer]) -> tuple[Portfolio | None, Upstream]:
    """The portfolio, read from an upstream with these answers for ``summary`` and ``balances``."""
    paths = {"summary": SUMMARY, "balances": BALANCES}
    upstream = Upstream({paths[key]: answer for key, answer in answers.items()})
    return AccountingClient(upstream.service()).portfolio(PORTFOLIO), upstream


# ------------------------------------------------------------------------------------------------ accounting


def test_a_portfolio_is_one_call_with_exact_quantities_long_less_short() -> None:
    portfolio, upstream = read(
        summary=ok(
            summary(
                summary_row(1, "10.00000001"),
                summary_row(2, "5", "12.5"),
                summary_row(3, "123456789.12345678"),
                cash="-0.10",
            )
        )
    )

    assert portfolio == Portfolio(
        portfolio_id=PORTFOLIO,
        cash=Decimal("-0.10"),
        positions=(
            Position(security_id=security(1), quantity=Decimal("10.00000001")),
            Position(security_id=security(2), quantity=Decimal("-7.5")),
            Position(security_id=security(3), quantity=Decimal("123456789.12345678")),
        ),
    )
    assert len(upstream.requests) == 1


def test_numbers_that_come_as_json_numbers_are_exact_too() -> None:
    body = f'{{"portfolioId":"{PORTFOLIO}","cashBalance":1234567890.123456789,"securityCount":0,"securities":[]}}'

    portfolio, _ = read(summary=raw(body))

    assert portfolio is not None
    assert portfolio.cash == Decimal("1234567890.123456789")


def test_rows_of_what_was_sold_out_are_no_positions() -> None:
    portfolio, _ = read(
        summary=ok(summary(summary_row(1, "0"), summary_row(2, "3", "3"), summary_row(3, "0.00000000")))
    )

    assert portfolio == Portfolio(portfolio_id=PORTFOLIO, cash=Decimal(100))


def test_an_empty_list_may_be_told_as_null() -> None:
    cash_only, _ = read(summary=ok(summary(securities=None)))
    nothing, _ = read(summary=ok({}, 500), balances=ok(balances() | {"balances": None}))

    assert cash_only == Portfolio(portfolio_id=PORTFOLIO, cash=Decimal(100))
    assert nothing is None


def test_a_portfolio_without_balances_is_none_after_two_calls_and_no_wait() -> None:
    portfolio, upstream = read(
        summary=ok({"error": {"code": "INTERNAL_ERROR"}}, 500), balances=ok(balances())
    )

    assert portfolio is None
    assert upstream.calls == {SUMMARY: 1, BALANCES: 1}
    assert upstream.requests[1].url.params["portfolio_id"] == PORTFOLIO


def test_a_404_for_the_summary_means_the_same() -> None:
    portfolio, _ = read(summary=ok({}, 404), balances=ok(balances()))

    assert portfolio is None


def test_balances_stand_in_for_a_summary_that_answers_500() -> None:
    portfolio, upstream = read(
        summary=ok({}, 500),
        balances=ok(balances(balance_row(1, "4", "1"), balance_row(2, "0"), balance_row(None, "7.5"))),
    )

    assert portfolio == Portfolio(
        portfolio_id=PORTFOLIO,
        cash=Decimal("7.5"),
        positions=(Position(security_id=security(1), quantity=Decimal(3)),),
    )
    assert upstream.calls == {SUMMARY: 1, BALANCES: 1}


def test_balances_without_a_cash_row_mean_no_cash() -> None:
    portfolio, _ = read(summary=ok({}, 500), balances=ok(balances(balance_row(1, "4"))))

    assert portfolio is not None
    assert portfolio.cash == 0


def test_a_book_of_empty_portfolios_does_not_open_the_breaker() -> None:
    upstream = Upstream({SUMMARY: ok({}, 500), BALANCES: ok(balances())})
    service = upstream.service(replace(QUICK, breaker_failures=2))
    client = AccountingClient(service)

    assert [client.portfolio(PORTFOLIO) for _ in range(20)] == [None] * 20
    assert not service.is_open()
    assert upstream.calls == {SUMMARY: 20, BALANCES: 20}


def test_an_outage_of_summary_and_balances_is_retried_and_opens_the_breaker() -> None:
    upstream = Upstream({SUMMARY: ok({}, 500), BALANCES: ok({}, 500)})
    service = upstream.service(replace(QUICK, breaker_failures=5))
    client = AccountingClient(service)

    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            client.portfolio(PORTFOLIO)

    assert service.is_open()
    assert upstream.calls == {SUMMARY: 5, BALANCES: 5}


def test_any_other_5xx_of_the_summary_is_a_plain_outage() -> None:
    with pytest.raises(UpstreamUnavailable, match="503"):
        read(summary=ok({}, 503), balances=ok(balances()))


@pytest.mark.parametrize("count", [999, 1000])
def test_a_summary_that_may_have_been_cut_gives_way_to_the_balances_page_by_page(count: int) -> None:
    rows = [balance_row(number, "1") for number in range(1500)] + [balance_row(None, "5")]
    cut = [summary_row(number, "1") for number in range(count)]

    portfolio, upstream = read(summary=ok(summary(*cut)), balances=pages_of(rows))

    assert portfolio is not None
    assert (len(portfolio.positions), portfolio.cash) == (1500, Decimal(5))
    assert upstream.calls == {SUMMARY: 1, BALANCES: 2}
    assert upstream.requests[1].url.params["sortby"] == "portfolio_id,security_id"
    assert upstream.requests[1].url.params["limit"] == "1000"


def test_a_summary_that_counts_other_rows_than_it_shows_gives_way_to_the_balances() -> None:
    portfolio, upstream = read(
        summary=ok(summary(summary_row(1, "4"), securityCount=2)),
        balances=ok(balances(balance_row(1, "4"), balance_row(2, "6"))),
    )

    assert portfolio is not None
    assert len(portfolio.positions) == 2
    assert upstream.calls[BALANCES] == 1


def test_a_large_portfolio_behind_a_500_is_read_to_its_last_page() -> None:
    rows = [balance_row(number, "1") for number in range(1200)]

    portfolio, _ = read(summary=ok({}, 500), balances=pages_of(rows))

    assert portfolio is not None
    assert len(portfolio.positions) == 1200


def test_balances_that_change_between_two_pages_are_read_again() -> None:
    before = [balance_row(number, "1") for number in range(1500)]
    after = [balance_row(number, "2") for number in range(1501)]
    portfolio, upstream = read(
        summary=ok(summary(securityCount=1500)),
        balances=[pages_of(before), pages_of(after), pages_of(after)],
    )

    assert portfolio is not None
    assert len(portfolio.positions) == 1501
    assert {position.quantity for position in portfolio.positions} == {Decimal(2)}
    assert upstream.calls[BALANCES] == 4


@pytest.mark.parametrize(
    "unsteady",
    [
        [ok(balances(balance_row(1, "1"), total=2)), ok(balances(total=2))],
        [ok(balances(balance_row(1, "1"), total=2)), ok(balances(balance_row(1, "1"), total=2))],
        [ok(balances(balance_row(1, "1"), total=2)), ok(balances(balance_row(2, "1"), total=3))],
        [ok(balances(total=2))],
    ],
    ids=["a page is missing", "a row comes twice", "the total moves", "no rows but a total"],
)
def test_balances_that_never_hold_still_are_a_fault_after_three_readings(
    unsteady: list[httpx.Response],
) -> None:
    with pytest.raises(UpstreamFault, match=rf"portfolio {PORTFOLIO}.*changed during each of 3 readings"):
        read(summary=ok(summary(securityCount=2)), balances=unsteady * 4)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (summary(summary_row(1, "1"), summary_row(1, "2")), f"holds security {security(1)} twice"),
        (summary(portfolioId="b" * 24), "about portfolio 'bbb"),
        (summary(summary_row(1, "NaN")), security(1)),
        (summary(summary_row(1, "Infinity", "Infinity")), security(1)),
        (summary(summary_row(1, "1", "1e99")), security(1)),
        (summary(summary_row(1, "1e99")), security(1)),
        (summary(cash="NaN"), "cash"),
        (summary(summary_row(1, "ten")), r"quantityLong"),
        (summary(cash=None), "cashBalance"),
        ([], "Expected `object`"),
    ],
    ids=repr,
)
def test_a_summary_that_makes_no_sense_is_a_fault(body: object, words: str) -> None:
    with pytest.raises(UpstreamFault, match=words):
        read(summary=ok(body))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([balance_row(1, "1"), balance_row(1, "1")], "twice"),
        ([balance_row(None, "1"), balance_row(None, "1")], "2 cash balances"),
        ([balance_row(1, "1", portfolio="b" * 24)], "rows of portfolio 'bbb"),
    ],
    ids=["security twice", "cash twice", "the filter was ignored"],
)
def test_balances_that_make_no_sense_are_a_fault(rows: list[dict[str, object]], words: str) -> None:
    with pytest.raises(UpstreamFault, match=words):
        read(summary=ok({}, 500), balances=ok(balances(*rows)))


def test_a_filter_that_was_ignored_is_noticed_on_the_first_page_of_everybodys_rows() -> None:
    upstream = Upstream(
        {
            SUMMARY: ok({}, 500),
            BALANCES: ok(balances(balance_row(1, "1", portfolio="b" * 24), total=1_000_000)),
        }
    )

    with pytest.raises(UpstreamFault, match="rows of portfolio 'bbb"):
        AccountingClient(upstream.service()).portfolio(PORTFOLIO)

    assert upstream.calls[BALANCES] == 1


def test_a_refused_summary_is_a_fault_and_not_an_empty_portfolio() -> None:
    with pytest.raises(StatusFault, match="INVALID_ID"):
        read(summary=ok({"error": {"code": "INVALID_ID"}}, 400), balances=ok(balances()))


# ------------------------------------------------------------------------------------------------ pricing


def prices(body: str) -> Any:
    return PricingClient(Upstream({"/api/v1/prices": raw(body)}).service(name="pricing")).prices()


def test_prices_are_read_in_one_call_without_losing_a_digit() -> None:
    upstream = Upstream(
        {
            "/api/v1/prices": raw(
                '[{"id":1,"ticker":"A","close":1234567890.123456789},{"id":2,"ticker":"BRK.B","close":12},'
                '{"id":3,"ticker":"C","close":"0.10"}]'
            )
        }
    )

    found = PricingClient(upstream.service()).prices()

    assert found == {"A": Decimal("1234567890.123456789"), "BRK.B": Decimal(12), "C": Decimal("0.10")}
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "close", ["NaN", "Infinity", "-Infinity", '"NaN"', '"ten"', "null", "true", "[]", "1e99"]
)
def test_a_price_that_is_no_number_is_a_fault_that_names_the_ticker(close: str) -> None:
    with pytest.raises(UpstreamFault, match=r"pricing .* ticker 'BAD'"):
        prices(f'[{{"ticker":"GOOD","close":1.5}},{{"ticker":"BAD","close":{close}}}]')


@pytest.mark.parametrize("close", ["0", "0.0", "-1", "-0.01"])
def test_a_price_that_is_not_above_zero_is_a_fault_that_names_the_ticker(close: str) -> None:
    with pytest.raises(UpstreamFault, match=r"ticker 'BAD': the price .* is not above zero"):
        prices(f'[{{"ticker":"BAD","close":{close}}}]')


def test_a_ticker_that_comes_twice_is_a_fault() -> None:
    with pytest.raises(UpstreamFault, match="ticker 'A' comes twice"):
        prices('[{"ticker":"A","close":1.5},{"ticker":"A","close":1.5}]')


@pytest.mark.parametrize(
    "body",
    ["[]", "{}", '[{"close":1}]', '[{"ticker":1,"close":1}]', '[{"ticker":"A"}]', "[1e99999999999999999999]"],
)
def test_a_price_list_of_another_shape_is_a_fault(body: str) -> None:
    with pytest.raises(UpstreamFault):
        prices(body)


# ------------------------------------------------------------------------------------------------ securities

LIST, PAGES = "/api/v1/securities", "/api/v2/securities"


def security_row(number: int) -> dict[str, object]:
    return {"securityId": security(number), "ticker": f"T{number}", "description": "", "version": 1}


def security_pages(count: int, bad: set[int]) -> Callable[[httpx.Request], httpx.Response]:
    """The second version's pages over ``count`` securities, of which the bad ones break their page."""

    def answer(request: httpx.Request) -> httpx.Response:
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        numbers = range(count)[offset : offset + limit]
        if bad & set(numbers):
            return ok({"detail": "Invalid security type"}, 400)
        rows = [security_row(number) for number in numbers]
        return ok({"securities": rows, "pagination": {"totalElements": count, "hasNext": False}})

    return answer


def tickers(upstream: Upstream, *wanted: SecurityId) -> dict[SecurityId, str]:
    return dict(SecuritiesClient(upstream.service(name="security")).tickers(wanted))


def test_tickers_are_read_in_one_call() -> None:
    upstream = Upstream({LIST: ok([security_row(1), security_row(2)])})

    assert tickers(upstream, security(1)) == {security(1): "T1", security(2): "T2"}
    assert len(upstream.requests) == 1


def test_a_wanted_security_that_is_not_listed_is_looked_up_by_itself() -> None:
    upstream = Upstream({LIST: ok([security_row(1)]), f"/api/v1/security/{security(2)}": ok(security_row(2))})

    assert tickers(upstream, security(1), security(2)) == {security(1): "T1", security(2): "T2"}
    assert len(upstream.requests) == 2


def test_a_security_nobody_knows_is_absent() -> None:
    upstream = Upstream({LIST: ok([security_row(1)])})

    assert tickers(upstream, security(9)) == {security(1): "T1"}


def test_a_500_for_an_id_the_service_cannot_have_given_out_means_absent_without_a_retry() -> None:
    odd = SecurityId("Z" * 24)
    path = f"/api/v1/security/{odd}"
    upstream = Upstream({LIST: ok([security_row(1)]), path: ok({"error": "Internal"}, 500)})

    assert tickers(upstream, odd) == {security(1): "T1"}
    assert upstream.calls[path] == 1


def test_a_500_for_a_well_formed_id_is_an_outage() -> None:
    path = f"/api/v1/security/{security(2)}"
    upstream = Upstream({LIST: ok([]), path: ok({}, 500)})

    with pytest.raises(UpstreamUnavailable):
        tickers(upstream, security(2))

    assert upstream.calls[path] == 4


def test_an_answer_about_another_security_is_a_fault() -> None:
    upstream = Upstream({LIST: ok([]), f"/api/v1/security/{security(2)}": ok(security_row(3))})

    with pytest.raises(UpstreamFault, match="the answer is about"):
        tickers(upstream, security(2))


def test_a_security_with_two_tickers_is_a_fault() -> None:
    upstream = Upstream({LIST: ok([security_row(1), security_row(1) | {"ticker": "X"}])})

    with pytest.raises(UpstreamFault, match="two tickers, 'T1' and 'X'"):
        tickers(upstream)


@pytest.mark.parametrize(
    ("count", "bad"),
    [(5, {2}), (5, {0, 4}), (1500, {999}), (2500, {0, 1, 1000, 2499}), (3, {0, 1, 2})],
    ids=str,
)
def test_a_broken_list_costs_only_the_broken_securities(count: int, bad: set[int]) -> None:
    upstream = Upstream({LIST: ok({"detail": "orphan"}, 400), PAGES: security_pages(count, bad)})

    found = tickers(upstream)

    assert set(found) == {security(number) for number in range(count) if number not in bad}
    assert upstream.calls[PAGES] <= 3 + 1 + 22 * len(bad)


def test_pages_that_are_all_refused_are_a_fault_in_bounded_time() -> None:
    upstream = Upstream({LIST: ok({}, 400), PAGES: ok({"detail": "no"}, 400)})

    with pytest.raises(StatusFault, match="400"):
        tickers(upstream)

    assert upstream.calls[PAGES] <= 501


@pytest.mark.parametrize(("list_status", "page_status"), [(403, 200), (400, 403)])
def test_any_other_refusal_is_a_fault(list_status: int, page_status: int) -> None:
    upstream = Upstream({LIST: ok({}, list_status), PAGES: ok({}, page_status)})

    with pytest.raises(StatusFault, match="403"):
        tickers(upstream)


# ------------------------------------------------------------------------------------------------ portfolios


def test_a_portfolio_name_is_one_call() -> None:
    upstream = Upstream({f"/api/v1/portfolio/{PORTFOLIO}": ok({"portfolioId": PORTFOLIO, "name": "Growth"})})

    assert DirectoryClient(upstream.service()).name(PORTFOLIO) == "Growth"
    assert len(upstream.requests) == 1


def test_a_portfolio_nobody_knows_has_no_name() -> None:
    assert DirectoryClient(Upstream({}).service()).name(PORTFOLIO) is None


def test_an_answer_about_another_portfolio_is_a_fault() -> None:
    upstream = Upstream({f"/api/v1/portfolio/{PORTFOLIO}": ok({"portfolioId": "b" * 24, "name": "Other"})})

    with pytest.raises(UpstreamFault, match="the answer is about"):
        DirectoryClient(upstream.service()).name(PORTFOLIO)
