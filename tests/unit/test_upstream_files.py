"""Files and inline data through the same ports; every fault names the file and line."""

from decimal import Decimal
from pathlib import Path

import pytest

from adapters.upstream.accounting import AccountingClient
from adapters.upstream.build import sources_from_urls
from adapters.upstream.directory import DirectoryClient
from adapters.upstream.files import FileDirectory, FilePortfolios, FilePrices, FileSecurities
from adapters.upstream.inline import InlinePortfolios, InlinePrices
from adapters.upstream.pricing import PricingClient
from adapters.upstream.securities import SecuritiesClient
from domain.errors import Invalid, UpstreamFault, UpstreamUnavailable
from domain.ids import PortfolioId, SecurityId
from domain.portfolio import Portfolio, Position

A, B = SecurityId("a" * 24), SecurityId("b" * 24)
P, Q = PortfolioId("p1"), PortfolioId("p2")


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ------------------------------------------------------------------------------------------------ prices


def test_prices_by_ticker_from_csv(tmp_path: Path) -> None:
    path = write(
        tmp_path, "p.csv", "\ufeffticker, price ,price_std\nA, 12.3400 ,9\nBRK.B,1\n".replace("1\n", "1,\n")
    )

    assert FilePrices(path).prices() == {"A": Decimal("12.3400"), "BRK.B": Decimal(1)}


def test_prices_from_json_are_exact(tmp_path: Path) -> None:
    path = write(
        tmp_path, "p.json", '[{"ticker":"A","price":1234567890.123456789},{"ticker":"B","price":"0.1"}]'
    )

    assert FilePrices(path).prices() == {"A": Decimal("1234567890.123456789"), "B": Decimal("0.1")}


def test_the_latest_date_of_the_whole_file_wins(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "p.csv",
        "price_date,ticker,price\n2026-01-02,A,2\n2026-01-01,A,1\n2026-01-01,B,7\n2026-01-02,C,3\n",
    )

    # B was last priced the day before: it has no price rather than an old one.
    assert FilePrices(path).prices() == {"A": Decimal(2), "C": Decimal(3)}


def test_prices_by_security_id_meet_the_securities_under_one_name(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv", f"security_id,price\n{A},2\n{B},3\n")

    by_id = FilePrices(path)
    assert by_id.prices() == {A: 2, B: 3}
    assert by_id.tickers([]) == {A: A, B: B}

    named = FilePrices(path, InlinePrices({A: Decimal(1)}, {A: "AAPL"}))
    assert named.prices() == {"AAPL": 2, B: 3}


def test_prices_with_id_and_ticker_tell_both(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv", f"security_id,ticker,price\n{A},AAPL,2\n,MSFT,3\n")

    source = FilePrices(path)

    assert source.prices() == {"AAPL": 2, "MSFT": 3}
    assert source.tickers([]) == {A: "AAPL"}


def test_two_ids_of_one_ticker_cannot_have_two_prices(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv", f"security_id,ticker,price\n,AAPL,2\n{A},,3\n")
    names = FileSecurities(write(tmp_path, "s.csv", f"security_id,ticker\n{A},AAPL\n"))

    with pytest.raises(UpstreamFault, match=r"p\.csv:3: a second price for ticker AAPL"):
        FilePrices(path, names).prices()


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("ticker,price\nA,1\nB,ten\n", 3, "B: price: 'ten' is not a number"),
        ("ticker,price\nA,NaN\n", 2, "A: price"),
        ("ticker,price\nA,0\n", 2, "A: the price 0 is not above zero"),
        ("ticker,price\nA,-1\n", 2, "A: the price -1 is not above zero"),
        ("ticker,price\nA,\n", 2, "A: price is missing"),
        ("ticker\nA\n", 2, "A: price is missing"),
        ("ticker,price\nA,1\n\nA,1\n", 4, "a second price for A: the first is on line 2"),
        (f"ticker,security_id,price\nX,{A},1\nY,{A},1\n", 3, f"a second price for {A}"),
        ("ticker,price\n,1\n", 2, "ticker and security_id are both missing"),
        ("ticker,price\nA,1,2\n", 2, "3 fields, but the header has 2"),
        ("ticker,price\nA\n", 2, "1 fields, but the header has 2"),
        ('ticker,price\n"A,1\n', 2, "not CSV"),
        ("ticker,ticker\nA,1\n", 1, "column 'ticker' comes twice"),
        ("", 1, "the file is empty"),
        ("ticker,price\n", 1, "there is no price at all"),
        ("ticker,price,price_date\nA,1,2026-13-01\n", 2, "price_date '2026-13-01' is not a date"),
        ("ticker,price,price_date\nA,1,\n", 2, "price_date is missing"),
        (b"ticker,price\nA,1\n\xff,2\n", 3, "not UTF-8"),
    ],
)
def test_a_fault_in_a_csv_file_names_file_and_line(
    tmp_path: Path, content: str | bytes, line: int, words: str
) -> None:
    path = write(tmp_path, "p.csv", content)

    with pytest.raises(UpstreamFault) as fault:
        FilePrices(path).prices()

    assert f"{path}:{line}: {words}" in str(fault.value)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (
            '[\n {"ticker":"A","price":1},\n {"ticker":"B","price":0}\n]',
            3,
            "B: the price 0 is not above zero",
        ),
        ('[\n {"ticker":"A","price":NaN}]', 2, "NaN is not a JSON number"),
        ('[\n {"ticker":7,"price":1}]', 2, "ticker is 7, not text"),
        ('[{"ticker":null,"price":1}]', 1, "ticker and security_id are both missing"),
        ('[{"ticker":"A","price":[1]}]', 1, "A: price: a value of type list is not a number"),
        ('[\n {"ticker":"A","price":1},\n 3]', 3, "3 is not an object"),
        ('[\n {"ticker":"A",\n "price"}]', 3, "not JSON"),
        ('[{"ticker":"A","price":1},]', 1, "not JSON"),
        ('[{"ticker":"A","price":1}\n', 2, "the list does not end here"),
        ('[{"ticker":"A","price":1}]\n x', 1, "the list does not end here"),
        ('{"A": 1}', 1, "not a JSON list"),
        ("[" * 100_000, 1, "recursion"),
        ("[]", 1, "there is no price at all"),
        (
            '[\n{"ticker":"A","price":1,"price_date":"2026-01-01"},\n{"ticker":"B","price":1}]',
            1,
            "some records have a",
        ),
    ],
)
def test_a_fault_in_a_json_file_names_file_and_line(
    tmp_path: Path, content: str, line: int, words: str
) -> None:
    path = write(tmp_path, "p.json", content)

    with pytest.raises(UpstreamFault) as fault:
        FilePrices(path).prices()

    assert f"{path}:{line}: " in str(fault.value)
    assert words in str(fault.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UpstreamFault, match=r"'\.xlsx': give \.csv or \.json"):
        FilePrices(write(tmp_path, "p.xlsx", "")).prices()


def test_a_missing_file_is_unavailable_until_it_is_there(tmp_path: Path) -> None:
    source = FilePrices(tmp_path / "p.csv")
    with pytest.raises(UpstreamUnavailable, match=r"p\.csv: No such file"):
        source.prices()

    write(tmp_path, "p.csv", "ticker,price\nA,1\n")

    assert source.prices() == {"A": 1}


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    path = write(tmp_path, "s.csv", f"security_id,ticker\n{A},AAPL\n")
    source = FileSecurities(path)

    first = source.tickers([])
    assert source.tickers([]) is first

    write(tmp_path, "s.csv", f"security_id,ticker\n{A},AAPL\n{B},MSFT\n")
    assert source.tickers([]) == {A: "AAPL", B: "MSFT"}


# ------------------------------------------------------------------------------------------------ the others


def test_portfolios_from_csv(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "positions.csv",
        f"portfolio_id,security_id,quantity,market_value\n{P},{A},10.5,105\n{P},,-2.50,\n{P},{B},0,\n{Q},{B},-3,\n",
    )
    source = FilePortfolios(path)

    assert source.portfolio(P) == Portfolio(
        portfolio_id=P,
        cash=Decimal("-2.50"),
        positions=(Position(security_id=A, quantity=Decimal("10.5")),),
        stated_market_value=Decimal("102.50"),
    )
    assert source.portfolio(Q) == Portfolio(
        portfolio_id=Q, cash=Decimal(0), positions=(Position(security_id=B, quantity=Decimal(-3)),)
    )
    assert source.portfolio(PortfolioId("p3")) is None
    assert (source.name(P), source.name(PortfolioId("p3"))) == (P, None)


def test_a_fault_of_a_file_names_the_service_whose_url_it_is(tmp_path: Path) -> None:
    """TRIMTAB_ACCOUNTING_URL: what people set is what they read."""
    header = "portfolio_id,security_id,quantity\n"
    with pytest.raises(UpstreamFault) as spoiled:
        FilePortfolios(write(tmp_path, "positions.csv", f"{header}{P},,many\n")).portfolio(P)
    with pytest.raises(UpstreamUnavailable) as absent:
        FilePortfolios(tmp_path / "none.csv").portfolio(P)

    assert (spoiled.value.service, absent.value.service) == ("accounting", "accounting")


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (f"{P},{A},1,\n{P},{A},1,", 3, f"security {A} comes twice"),
        (f"{P},,1,\n{P},,1,", 3, "a second cash line"),
        (f"{P},{A},,", 2, "quantity is missing"),
        (f"{P},{A},1e99,", 2, "quantity: "),
        (f",{A},1,", 2, "portfolio_id is missing"),
        (
            f"{Q},,1,\n{P},{A},1,5\n{P},{B},1,",
            3,
            f"portfolio p1: market_value is given for some positions, but not for {B}",
        ),
        (f"x:y,{A},1,", 2, "portfolio x:y: "),
    ],
)
def test_a_fault_in_the_positions_names_file_and_line(
    tmp_path: Path, lines: str, line: int, words: str
) -> None:
    path = write(tmp_path, "p.csv", f"portfolio_id,security_id,quantity,market_value\n{lines}\n")

    with pytest.raises(UpstreamFault) as fault:
        FilePortfolios(path).portfolio(P)

    assert f"{path}:{line}: {words}" in str(fault.value)


def test_names_from_a_file(tmp_path: Path) -> None:
    source = FileDirectory(write(tmp_path, "n.csv", f"portfolio_id,name\n{P},Growth\n"))

    assert (source.name(P), source.name(Q)) == ("Growth", None)


def test_an_id_that_comes_twice_is_named_with_its_line(tmp_path: Path) -> None:
    names = write(tmp_path, "n.csv", f"portfolio_id,name\n{P},x\n{P},y\n")
    securities = write(
        tmp_path, "s.json", f'[{{"security_id":"{A}","ticker":"A"}},\n{{"security_id":"{A}","ticker":"A"}}]'
    )

    with pytest.raises(UpstreamFault, match=r"n\.csv:3: portfolio p1 comes twice"):
        FileDirectory(names).name(P)
    with pytest.raises(UpstreamFault, match=rf"s\.json:2: security {A} comes twice"):
        FileSecurities(securities).tickers([])


# ------------------------------------------------------------------------------------------------ inline


def test_inline_prices_answer_through_both_ports() -> None:
    source = InlinePrices({A: Decimal("1.50"), B: Decimal(2)}, {A: "AAPL"})

    assert source.prices() == {"AAPL": Decimal("1.50"), B: Decimal(2)}
    assert source.tickers([A]) == {A: "AAPL", B: B}


@pytest.mark.parametrize(
    "price", [Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity"), Decimal("1e99")]
)
def test_an_inline_price_that_makes_no_sense_names_the_security(price: Decimal) -> None:
    with pytest.raises(Invalid, match=f"security {A}"):
        InlinePrices({A: price})


def test_two_inline_securities_cannot_share_a_ticker() -> None:
    with pytest.raises(Invalid, match="ticker 'X'"):
        InlinePrices({A: Decimal(1), B: Decimal(1)}, {A: "X", B: "X"})


def test_inline_portfolios_answer_through_both_ports() -> None:
    first, second = Portfolio(portfolio_id=P, cash=Decimal(1)), Portfolio(portfolio_id=Q, cash=Decimal(2))
    source = InlinePortfolios([first, second], {P: "Growth"})

    assert [source.portfolio(key) for key in (P, Q, PortfolioId("x"))] == [first, second, None]
    assert [source.name(key) for key in (P, Q, PortfolioId("x"))] == ["Growth", "p2", None]


def test_an_inline_portfolio_that_comes_twice_is_refused() -> None:
    portfolio = Portfolio(portfolio_id=P, cash=Decimal(1))

    with pytest.raises(Invalid, match="portfolio p1 is given twice"):
        InlinePortfolios([portfolio, portfolio])


# ------------------------------------------------------------------------------------------------ by URL


def test_each_source_is_chosen_by_its_url(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = write(folder, "n.csv", f"portfolio_id,name\n{P},Growth\n")

    with sources_from_urls(
        prices="http://pricing:8083",
        accounting="https://accounting:8087/base",
        securities="http://securities:8000",
        directory=f"file://{path.as_posix().replace(' ', '%20')}",
    ) as sources:
        assert isinstance(sources.prices, PricingClient)
        assert isinstance(sources.accounting, AccountingClient)
        assert isinstance(sources.securities, SecuritiesClient)
        assert sources.directory.name(P) == "Growth"
        assert [service.name for service in sources.services] == ["securities", "prices", "accounting"]


def test_files_alone_are_enough(tmp_path: Path) -> None:
    prices = write(tmp_path, "p.csv", f"security_id,price\n{A},2\n")
    positions = write(tmp_path, "h.csv", f"portfolio_id,security_id,quantity\n{P},{A},1\n")

    with sources_from_urls(prices=prices.as_uri(), accounting=positions.as_uri()) as sources:
        assert isinstance(sources.prices, FilePrices)
        assert sources.securities.tickers([]) == {A: A}
        assert isinstance(sources.accounting, FilePortfolios)
        assert sources.directory.name(P) == P
        assert sources.services == ()


def test_a_securities_file_and_a_directory_service_can_be_mixed(tmp_path: Path) -> None:
    prices = write(tmp_path, "p.csv", f"security_id,price\n{A},2\n")
    securities = write(tmp_path, "s.csv", f"security_id,ticker\n{A},AAPL\n")

    with sources_from_urls(
        prices=prices.as_uri(),
        securities=securities.as_uri(),
        accounting="http://accounting",
        directory="http://directory",
    ) as sources:
        assert sources.prices.prices() == {"AAPL": 2}
        assert isinstance(sources.directory, DirectoryClient)


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ({"prices": "ftp://x/p.csv", "accounting": "http://a"}, "prices begins with 'ftp'"),
        ({"prices": "prices.csv", "accounting": "http://a"}, "prices begins with 'no scheme'"),
        ({"prices": "file://elsewhere/p.csv", "accounting": "http://a"}, "prices"),
        ({"prices": "http://", "accounting": "http://a"}, "prices"),
        ({"prices": "http://p", "accounting": "file:///h.csv"}, "securities: give a URL"),
        ({"prices": "file:///p.csv", "accounting": "http://a"}, "directory: give a URL"),
    ],
)
def test_a_url_that_is_neither_service_nor_file_is_refused_by_name(urls: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        sources_from_urls(**urls)  # type: ignore[arg-type]  # mypy takes the dict for the options too

    assert refused.value.code == "invalid_upstream_url"
