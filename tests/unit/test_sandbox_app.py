"""The sandbox answers as the real services do, asked in process."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapters.inbound.payloads.models import parse_new_model
from adapters.sandbox.app import create_app
from adapters.sandbox.book import Book, Kind
from adapters.sandbox.faults import Fault, Faults
from tests.support.pages import ROOT

BOOK = Book.generate(40, 10, seed=3)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(BOOK)) as client:
        yield client


def place_of(kind: Kind) -> int:
    return next(place for place in range(BOOK.portfolios) if BOOK.kind(place) is kind)


def get(client: TestClient, path: str, status: int = 200) -> Any:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


# ------------------------------------------------------------------------------------------------ pricing


def test_prices_are_numbers_and_stay_the_same(client: TestClient) -> None:
    first, second = client.get("/api/v1/prices"), client.get("/api/v1/prices")

    assert first.content == second.content
    row = first.json()[0]
    assert set(row) == {"id", "ticker", "date", "open", "close", "high", "low", "volume"}
    assert isinstance(row["close"], float | int)
    assert row["open"] == row["close"] == row["high"] == row["low"]


def test_a_security_without_a_price_and_a_price_without_a_security_exist(client: TestClient) -> None:
    priced = {row["ticker"] for row in get(client, "/api/v1/prices")}
    known = {row["ticker"] for row in get(client, "/api/v1/securities")}

    assert known - priced == {"UNPRICED"}
    assert len(priced - known) == 1


def test_noise_draws_prices_anew_at_each_call() -> None:
    with TestClient(create_app(BOOK, Faults(noise=True))) as client:
        first, second = get(client, "/api/v1/prices"), get(client, "/api/v1/prices")
        single = get(client, f"/api/v1/price/{first[0]['ticker']}")

    assert [row["ticker"] for row in first] == [row["ticker"] for row in second]
    assert [row["close"] for row in first] != [row["close"] for row in second]
    assert all(row["close"] >= 0.01 for row in first)
    assert single["ticker"] == first[0]["ticker"]


def test_a_single_price_or_the_404_of_its_framework(client: TestClient) -> None:
    first = get(client, "/api/v1/prices")[0]

    assert get(client, f"/api/v1/price/{first['ticker']}") == first
    assert get(client, "/api/v1/price/NONE", 404)["error"] == "Not Found"


# ------------------------------------------------------------------------------------------------ security


def test_securities_by_list_and_by_id(client: TestClient) -> None:
    rows = get(client, "/api/v1/securities")

    assert len(rows) == len(BOOK.securities)
    assert get(client, f"/api/v1/security/{rows[0]['securityId']}") == rows[0]
    assert get(client, f"/api/v1/security/{'0' * 24}", 404) == {"detail": "Security not found"}
    assert "error" in get(client, "/api/v1/security/nonsense", 500)


def test_securities_page_by_page_in_order_of_ticker(client: TestClient) -> None:
    page = get(client, "/api/v2/securities?limit=4&offset=4")
    everything = get(client, "/api/v2/securities?limit=1000")

    assert page["securities"] == everything["securities"][4:8]
    assert page["pagination"] == {
        "totalElements": len(BOOK.securities),
        "totalPages": 4,
        "currentPage": 1,
        "pageSize": 4,
        "hasNext": True,
        "hasPrevious": True,
    }
    tickers = [row["ticker"] for row in everything["securities"]]
    assert tickers == sorted(tickers)


def test_securities_are_searched_by_ticker_whose_point_matches_anything(client: TestClient) -> None:
    assert [row["ticker"] for row in get(client, "/api/v2/securities?ticker=UN.RICED")["securities"]] == [
        "UNPRICED"
    ]
    assert [row["ticker"] for row in get(client, "/api/v2/securities?ticker_like=nprice")["securities"]] == [
        "UNPRICED"
    ]
    get(client, "/api/v2/securities?ticker=A&ticker_like=B", 400)
    get(client, "/api/v2/securities?ticker=A*", 400)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1", "offset=x"])
@pytest.mark.parametrize("path", ["/api/v2/securities", "/api/v2/portfolios"])
def test_the_second_versions_refuse_a_page_out_of_range(client: TestClient, path: str, query: str) -> None:
    get(client, f"{path}?{query}", 422)


def test_an_orphan_type_breaks_the_list_the_page_and_its_own_security() -> None:
    with TestClient(create_app(BOOK, Faults(orphan_type=True))) as client:
        get(client, "/api/v1/securities", 400)
        get(client, f"/api/v1/security/{BOOK.orphan.security_id}", 404)
        statuses = [
            client.get(f"/api/v2/securities?limit=1&offset={offset}").status_code
            for offset in range(len(BOOK.securities))
        ]

    assert sorted(statuses) == [200] * (len(BOOK.securities) - 1) + [400]


# ------------------------------------------------------------------------------------------------ portfolio


def test_portfolios_by_list_by_id_and_page_by_page(client: TestClient) -> None:
    rows = get(client, "/api/v1/portfolios")
    page = get(client, "/api/v2/portfolios?limit=3")

    assert [row["portfolioId"] for row in rows] == list(BOOK.portfolio_ids)
    assert get(client, f"/api/v1/portfolio/{BOOK.portfolio_ids[7]}") == rows[7]
    assert get(client, "/api/v1/portfolio/none", 404) == {"detail": "Portfolio not found"}
    assert page["portfolios"] == rows[:-4:-1]
    assert page["pagination"]["totalElements"] == 40


def test_portfolios_are_searched_by_name(client: TestClient) -> None:
    name = BOOK.portfolio_name(7)

    assert [row["name"] for row in get(client, f"/api/v2/portfolios?name={name}")["portfolios"]] == [name]
    assert (
        get(client, "/api/v2/portfolios?name_like=00003")["pagination"]["totalElements"] == 11
    )  # 3, 30 to 39
    get(client, "/api/v2/portfolios?name=a&name_like=b", 400)
    get(client, "/api/v2/portfolios?name=a*", 400)


# ------------------------------------------------------------------------------------------------ accounting


def test_a_summary_tells_decimals_as_strings(client: TestClient) -> None:
    portfolio = BOOK.portfolio(0)
    body = get(client, f"/api/v1/portfolios/{portfolio.portfolio_id}/summary")

    assert body["portfolioId"] == portfolio.portfolio_id
    assert body["cashBalance"] == f"{portfolio.cash:f}"
    assert body["securityCount"] == len(body["securities"]) == len(portfolio.holdings)
    assert [(row["securityId"], row["quantityLong"]) for row in body["securities"]] == [
        (holding.security_id, f"{holding.quantity:f}") for holding in portfolio.holdings
    ]


def test_a_portfolio_without_balances_is_a_500_and_an_empty_list(client: TestClient) -> None:
    for portfolio_id in (BOOK.portfolio_ids[place_of(Kind.EMPTY)], "f" * 24):
        error = get(client, f"/api/v1/portfolios/{portfolio_id}/summary", 500)["error"]
        assert error["code"] == "INTERNAL_ERROR"
        assert get(client, f"/api/v1/balances?portfolio_id={portfolio_id}")["balances"] == []


def test_balances_of_one_portfolio_end_with_its_cash(client: TestClient) -> None:
    portfolio = BOOK.portfolio(0)
    rows = get(client, f"/api/v1/balances?portfolio_id={portfolio.portfolio_id}&limit=1000")["balances"]

    assert [row.get("securityId") for row in rows] == [
        *(holding.security_id for holding in portfolio.holdings),
        None,
    ]
    assert rows[-1]["quantityLong"] == f"{portfolio.cash:f}"


def test_all_balances_page_by_page_are_every_row_once_in_order(client: TestClient) -> None:
    page = get(client, "/api/v1/balances?limit=37")
    rows = page["balances"]
    while page["pagination"]["hasMore"]:
        page = get(client, f"/api/v1/balances?limit=37&offset={len(rows)}")
        rows += page["balances"]

    keys = [(row["portfolioId"], row.get("securityId", "~")) for row in rows]
    assert keys == sorted(set(keys))
    assert page["pagination"]["total"] == len(rows)
    assert get(client, "/api/v1/balances?offset=100000")["balances"] == []


def test_balances_of_one_security(client: TestClient) -> None:
    security_id = BOOK.model().positions[0].security_id
    rows = get(client, f"/api/v1/balances?security_id={security_id}&limit=1000")["balances"]

    assert len(rows) > 30
    assert {row["securityId"] for row in rows} == {security_id}


@pytest.mark.parametrize("query", ["limit=1001", "limit=0", "limit=x", "limit=-3", "offset=x", "offset=-1"])
def test_balances_ignore_what_they_cannot_read(client: TestClient, query: str) -> None:
    pagination = get(client, f"/api/v1/balances?{query}")["pagination"]

    assert (pagination["limit"], pagination["offset"]) == (50, 0)


# ------------------------------------------------------------------------------------------------ its own


def test_calls_are_counted_by_route_and_by_service(client: TestClient) -> None:
    get(client, "/api/v1/prices")
    get(client, f"/api/v1/portfolios/{BOOK.portfolio_ids[0]}/summary")
    get(client, f"/api/v1/portfolios/{BOOK.portfolio_ids[1]}/summary")
    get(client, "/health")

    assert get(client, "/sandbox/calls") == {
        "total": 3,
        "services": {"pricing": 1, "security": 0, "portfolio": 0, "accounting": 2},
        "routes": {"GET /api/v1/portfolios/{portfolio_id}/summary": 2, "GET /api/v1/prices": 1},
    }
    assert client.delete("/sandbox/calls").status_code == 204
    assert get(client, "/sandbox/calls")["total"] == 0


def test_faults_are_set_while_running_and_strike_every_so_often(client: TestClient) -> None:
    told = client.put("/sandbox/faults", json={"pricing": {"status": 503, "every": 3}})

    assert told.json()["pricing"]["every"] == 3
    assert get(client, "/sandbox/faults") == told.json()
    assert [client.get("/api/v1/prices").status_code for _ in range(6)] == [200, 200, 503, 200, 200, 503]
    client.put("/sandbox/faults", json={})
    assert [client.get("/api/v1/prices").status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"pricing": {"statis": 500}}', 400),
        (b'{"nobody": {}}', 400),
        (b'{"pricing": {"every": 0}}', 400),
        (b'{"pricing": {"status": 99}}', 400),
        (b'{"pricing": {"latency_ms": -1}}', 400),
        (b"[" * 60_000, 400),
        (b" " * 70_000, 413),
    ],
    ids=lambda value: str(value)[:30],
)
def test_faults_that_make_no_sense_are_refused_and_change_nothing(
    client: TestClient, body: bytes, status: int
) -> None:
    before = get(client, "/sandbox/faults")

    assert client.put("/sandbox/faults", content=body).status_code == status
    assert get(client, "/sandbox/faults") == before


def test_html_half_a_body_and_json_of_another_shape_can_be_answered() -> None:
    faults = Faults(
        pricing=Fault(html=True),
        security=Fault(truncate=True),
        portfolio=Fault(latency_ms=1),
        accounting=Fault(other_shape=True),
    )
    with TestClient(create_app(BOOK, faults)) as client:
        page = client.get("/api/v1/prices")
        half = client.get("/api/v1/securities")
        late = client.get("/api/v1/portfolios")
        other = client.get(f"/api/v1/portfolios/{BOOK.portfolio_ids[0]}/summary")

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    with pytest.raises(ValueError, match=r".+"):
        half.json()
    assert half.headers["content-length"] == str(len(half.content))
    assert late.status_code == 200
    assert (other.status_code, "cashBalance" in other.json()) == (200, False)


def test_the_model_is_told(client: TestClient) -> None:
    model = get(client, "/sandbox/model")

    assert len(model["positions"]) == 10
    assert model["portfolio_ids"] == list(BOOK.portfolio_ids)
    assert set(model["positions"][0]) == {"security_id", "target", "low_drift", "high_drift"}


def test_the_model_is_told_as_a_document_that_can_be_posted(client: TestClient) -> None:
    told, document = get(client, "/sandbox/model"), client.get("/sandbox/model/sample").content

    model = parse_new_model(document, max_bytes=1_000_000, new_id=lambda: "unused")

    assert (model.model_id, model.portfolios) == ("sample", BOOK.portfolio_ids)
    assert len(model.positions) == len(told["positions"])


def test_the_quick_start_has_every_fault() -> None:
    page = (ROOT / "docs/quick-start.md").read_text()
    told = {name for line in page.splitlines() if line.startswith("| `") for name in line.split("`")[1::2]}
    wanted = {*Fault.__struct_fields__, *Faults.__struct_fields__} - {
        "pricing",
        "security",
        "portfolio",
        "accounting",
    }

    assert wanted - {name.partition(":")[0] for name in told} == set()
