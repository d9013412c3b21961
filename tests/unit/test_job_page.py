"""What the page shows and does, over a whole world of fakes: jobs, failures, portfolios, buttons."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from jinja2 import UndefinedError
from starlette.testclient import TestClient

from adapters.inbound.page import advice
from adapters.inbound.page.render import HERE, Pages, grouped, link, moment, money, percent, took
from adapters.inbound.page.views import STATES, JobShown, positions_shown
from domain.errors import StoreUnavailable, UpstreamFault
from domain.ids import PortfolioId, item_id
from domain.item import Item, ItemState
from domain.job import Job, JobState
from domain.portfolio import Portfolio
from tasks.audit import actions_on
from tests.support import builders
from tests.support.job_page import broken_job, browser, press, text_of
from tests.support.lives import job as plain_job
from tests.support.schedules import schedule
from tests.support.world import SHORT_RULES, World

EVIL = "<script>alert(1)</script>"


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    with browser(world.services, leaving=lambda: True) as client:
        yield client


@pytest.fixture
def beside_the_api(world: World) -> Iterator[TestClient]:
    with browser(world.services, whole=True) as client:
        yield client


def portfolio_page(client: TestClient, job: Job, portfolio: str) -> Any:
    return client.get(f"/jobs/{job.job_id}/portfolio", params={"id": portfolio})


# ------------------------------------------------------------------------------------------------ all jobs


def test_an_empty_service_says_what_to_do(client: TestClient) -> None:
    shown = client.get("/")
    assert shown.status_code == 200
    assert "No job yet" in text_of(shown)
    assert "No job fits" in text_of(client.get("/", params={"model": "NOBODY1"}))


def test_the_page_tells_what_runs_what_failed_and_how_the_hour_went(world: World, client: TestClient) -> None:
    world.book(4)
    broken_job(world, key="nightly-1")
    world.submit("desk-1")
    shown = text_of(client.get("/"))
    for words in (
        "Open jobs 1 4 portfolios",
        "Last hour 4 portfolios",
        "1 with errors",
        "failed upstream_fault 1 portfolio in 1 job",
        "4 of 4 · 1 failed",
        "nightly-1",
        "desk-1",
    ):
        assert words in shown, shown


def test_what_waits_is_told_with_its_reason_and_the_next_try(world: World, client: TestClient) -> None:
    world.book(2)
    job = world.submit()
    world.tick(2)
    world.store.wait_job(job.job_id, "pricing is unavailable: refused", 42.0)
    for path in ("/", f"/jobs/{job.job_id}"):
        shown = text_of(client.get(path))
        assert "pricing is unavailable: refused \u2013 tries again in 4" in shown
        assert "the job then goes on by itself" in shown


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"state": "done"}, {"calm"}),
        ({"state": "done_with_errors", "outcome": "failed", "cause": "upstream_fault"}, {"broken"}),
        ({"model": "MODEL1"}, {"calm", "broken"}),
        ({"model": "OTHER1"}, set()),
        ({"portfolio": builders.portfolio_id(1)}, {"calm", "broken"}),
        ({"state": "", "model": "", "portfolio": "", "outcome": "", "cause": ""}, {"calm", "broken"}),
    ],
)
def test_the_filter_shows_what_it_names_and_stays_in_its_fields(
    world: World, client: TestClient, asked: dict[str, str], found: set[str]
) -> None:
    world.book(3)
    world.finish(world.submit("calm"))
    broken_job(world, key="broken")
    shown = client.get("/", params=asked)
    assert {key for key in ("calm", "broken") if f"<code>{key}</code>" in shown.text} == found
    for value in filter(None, asked.values()):
        assert re.search(f'value="{value}"( selected)?', shown.text)
    assert 'data-stream="/events' in shown.text


@pytest.mark.parametrize("query", ["state=odd", "outcome=odd", "offset=-1", "offset=x", f"model={'x' * 300}"])
def test_a_filter_that_cannot_be_used_is_a_page_that_says_so(client: TestClient, query: str) -> None:
    answer = client.get(f"/?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "cannot be used" in text_of(answer)


def test_long_lists_have_pages(world: World, client: TestClient) -> None:
    world.book(1)
    for number in range(26):
        world.submit(f"key-{number}")
    first = client.get("/")
    assert first.text.count('class="job"') == 25
    (older,) = re.findall(r'href="(/\?offset=25)"', first.text)
    second = client.get(older)
    assert second.text.count('class="job"') == 1
    assert ">Newest</a>" in second.text


# ------------------------------------------------------------------------------------------------ one job


def test_a_job_shows_how_far_it_is_and_each_portfolio(world: World, client: TestClient) -> None:
    world.book(4)
    job = broken_job(world)
    shown = client.get(f"/jobs/{job.job_id}")
    words = text_of(shown)
    assert "done with errors" in words
    assert "4 of 4 finished" in words
    assert "3 traded" in words
    assert "upstream_fault" in words
    assert shown.text.count('data-label="Portfolio"') == 4
    assert "Retries 0" in words


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"outcome": "failed"}, 1),
        ({"outcome": "traded"}, 3),
        ({"cause": "upstream"}, 1),
        ({"outcome": "traded", "cause": "upstream"}, 0),
        ({"after": "2"}, 1),
        ({"outcome": ""}, 4),
    ],
)
def test_portfolios_are_filtered_by_outcome_and_cause(
    world: World, client: TestClient, asked: dict[str, str], rows: int
) -> None:
    world.book(4)
    job = broken_job(world)
    shown = client.get(f"/jobs/{job.job_id}", params=asked)
    assert shown.text.count('data-label="Portfolio"') == rows
    assert ("No portfolio fits" in shown.text) is (rows == 0)


def test_long_jobs_have_pages(world: World, client: TestClient) -> None:
    world.book(53)
    job = world.finish(world.submit())
    first = client.get(f"/jobs/{job.job_id}", params={"outcome": "traded"})
    assert first.text.count('data-label="Portfolio"') == 50
    (following,) = re.findall(r'href="([^"]*after=49)"', first.text)
    assert client.get(following.replace("&amp;", "&")).text.count('data-label="Portfolio"') == 3


def test_a_job_that_is_just_accepted_says_that_it_is_being_opened(world: World, client: TestClient) -> None:
    world.book(2)
    job = world.submit()
    shown = text_of(client.get(f"/jobs/{job.job_id}"))
    assert "is being opened" in shown
    assert "trimtab steward" in shown


@pytest.mark.parametrize("path", ["/jobs/nobody", "/jobs/nobody/portfolio?id=x", "/jobs/nobody/raw"])
def test_what_is_not_there_is_a_page_that_says_so(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert answer.headers["X-Correlation-ID"] in answer.text


def test_the_api_s_own_errors_stay_documents(beside_the_api: TestClient) -> None:
    client = beside_the_api
    assert client.get("/api/v1/nowhere").json()["error"]["code"] == "no_such_route"
    assert client.get("/api/v1/jobs/nobody").json()["error"]["code"] == "job_not_found"
    refused = client.delete("/login")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, POST")


def test_while_the_store_is_out_the_page_says_so_and_tries_again(world: World) -> None:
    class Out:
        def __getattr__(self, name: str) -> object:
            def gone(*_: object, **__: object) -> None:
                raise StoreUnavailable("store", "connection refused")

            return gone

    services = replace(world.services, jobs=Out())  # type: ignore[arg-type]  # nothing of it answers
    with browser(services) as client:
        answer = client.get("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "connection refused" in text_of(answer)
    assert 'http-equiv="refresh"' in answer.text


@pytest.mark.parametrize("query", ["outcome=odd", "after=x", f"cause={'x' * 300}"])
def test_portfolios_cannot_be_filtered_by_what_there_is_not(client: TestClient, query: str) -> None:
    assert client.get(f"/jobs/j1?{query}").status_code == 422


# ------------------------------------------------------------------------------------------------ one portfolio


def test_a_portfolio_shows_before_and_after_orders_proof_and_attempts(
    world: World, client: TestClient
) -> None:
    world.book(2)
    job = world.finish(world.submit())
    portfolio = builders.portfolio_id(1)
    shown = portfolio_page(client, job, portfolio)
    words = text_of(shown)
    result = json.loads(client.get(f"/jobs/{job.job_id}/portfolio/raw", params={"id": portfolio}).text)[
        "result"
    ]
    assert shown.text.count('class="weights"') == len(result["positions"])
    for order in result["orders"]:
        assert order["security_id"] in words
        assert order["reason"].replace("_", " ") in words
    for heading in ("Before and after", "Drift against bounds", "Orders", "Proof", "Attempts"):
        assert heading in words
    assert money(result["cash_after"]) in shown.text
    assert "worker-1" in words


def test_a_portfolio_shows_what_gave_way_what_it_costs_and_why_with_nothing_unescaped(
    world: World, client: TestClient
) -> None:
    world.book(1)
    job = world.finish(world.submit())
    item = world.store.get_item(item_id(job.job_id, builders.portfolio_id(1)))
    rule = {"rule": "max_orders", "security_id": None, "group": None, "message": EVIL}
    result = {
        **json.loads(item.result or b"{}"),
        "cost": "12.50",
        "turnover": "3456.00",
        "relaxed": [{**rule, "amount": "2", "unit": "orders"}],
        "explanation": {
            "orders": [{"message": f"too much of it {EVIL}"}],
            "lowest_cash": "727.76",
            "slip_covered": "0.1334",
            "conflicts": [{"rules": [rule], "irreducible": True, "proved_by": "exact"}],
            "least_relaxation": [{**rule, "rule": "lower_bound", "amount": "450", "unit": "money"}],
        },
    }
    held = replace(item, result=json.dumps(result).encode())

    class Store:
        def get_item(self, _: object) -> Item:
            return held

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

    services = replace(world.services, jobs=Store())
    with browser(services, leaving=lambda: True) as other:
        shown = portfolio_page(other, job, builders.portfolio_id(1))
    words = text_of(shown)
    for told in (
        "(2 orders)",
        "(450.00)",
        "Cost of the orders 12.50",
        "Turnover 3 456.00",
    ):
        assert told in words, words
    for told in (
        "727.76",
        "13.34",
        "Cannot be kept together",
        "too much of it",
        "What would have to give way",
    ):
        assert told in words, words
    assert EVIL not in shown.text


def test_a_failed_portfolio_shows_its_attempts_what_to_do_and_is_retried_alone(
    world: World, client: TestClient
) -> None:
    world.book(4)
    job = broken_job(world, broken=(2, 3))
    shown = portfolio_page(client, job, builders.portfolio_id(2))
    assert "Retry this portfolio" in shown.text
    assert "A service answered, or a file holds, what cannot be used" in text_of(shown)
    assert shown.text.count('data-label="Attempt"') == SHORT_RULES.max_attempts
    press(client, f"/jobs/{job.job_id}/retry", portfolio=builders.portfolio_id(2))
    assert world.finish(job).counts == {"traded": 3, "failed": 1}
    assert actions_on(job.job_id, world.services)[0].what == f"retry {builders.portfolio_id(2)}"


def test_a_portfolio_that_is_not_decided_yet_has_a_page(world: World, client: TestClient) -> None:
    world.book(1)
    job = world.submit()
    world.tick(2)
    shown = text_of(portfolio_page(client, job, builders.portfolio_id(1)))
    assert "Not decided yet" in shown
    assert "None yet" in shown


def test_raw_documents_are_those_of_the_api(world: World, beside_the_api: TestClient) -> None:
    client = beside_the_api
    world.book(1)
    job = world.finish(world.submit())
    portfolio = builders.portfolio_id(1)
    api = f"/api/v1/jobs/{job.job_id}"
    assert client.get(f"/jobs/{job.job_id}/raw").json() == client.get(api).json()
    raw = client.get(f"/jobs/{job.job_id}/portfolio/raw", params={"id": portfolio})
    assert raw.content == client.get(f"{api}/items/{portfolio}").content


def position(**changes: str) -> dict[str, str]:
    standard = {
        "security_id": builders.security_id(1),
        "price": "10",
        "original_quantity": "30",
        "adjusted_quantity": "25",
        "target": "0.25",
        "low_drift": "0.02",
        "high_drift": "0.03",
        "actual": "0.2500",
    }
    return {**standard, **changes}


def test_a_drift_bar_stands_where_its_weights_are() -> None:
    (shown,) = positions_shown({"market_value": "1000", "positions": [position()]})
    assert (shown.before, shown.after, shown.low, shown.high) == (
        Decimal("0.3000"),
        Decimal("0.2500"),
        Decimal("0.23"),
        Decimal("0.28"),
    )
    assert (shown.was_inside, shown.is_inside) == (False, True)
    axis = 0.3 * 1.05
    drawn = (shown.bar.low, shown.bar.high, shown.bar.target, shown.bar.before, shown.bar.after)
    assert drawn == pytest.approx([100 * weight / axis for weight in (0.23, 0.28, 0.25, 0.3, 0.25)])


def test_bounds_below_nothing_and_portfolios_without_value_can_be_drawn() -> None:
    rows = [
        position(target="0.01", low_drift="0.05"),
        position(security_id=builders.security_id(2), target="0", high_drift="0", low_drift="0", actual="0"),
    ]
    shown = positions_shown({"market_value": None, "positions": rows})
    assert [each.before for each in shown] == [None, None]
    assert {each.was_inside for each in shown} == {None}
    assert min(each.bar.low for each in shown) == 0
    assert positions_shown({}) == []


# ------------------------------------------------------------------------------------------------ buttons


def test_all_failed_portfolios_are_retried_by_one_button(world: World, client: TestClient) -> None:
    world.book(4)
    job = broken_job(world, broken=(1, 2))
    press(client, f"/jobs/{job.job_id}/retry")
    assert world.finish(job).state is JobState.DONE
    assert "Retries 1" in text_of(client.get(f"/jobs/{job.job_id}"))


def test_a_cause_is_retried_by_its_button(world: World, client: TestClient) -> None:
    world.book(3)
    world.upstreams.broken[builders.portfolio_id(1)] = ValueError("a bug")
    job = broken_job(world, broken=(2,))
    shown = client.get(f"/jobs/{job.job_id}").text
    assert 'name="cause" value="upstream_fault"' in shown
    press(client, f"/jobs/{job.job_id}/retry", cause="upstream_fault")
    assert world.finish(job).counts == {"traded": 2, "failed": 1}


def test_seats_cancelling_and_publishing_again_have_buttons(world: World, client: TestClient) -> None:
    world.book(3)
    job = world.submit()
    world.tick(2)
    assert press(client, f"/jobs/{job.job_id}/parallelism", parallelism="2").status_code == 303
    assert world.job(job).parallelism == 2
    press(client, f"/jobs/{job.job_id}/cancel")
    over = world.finish(job)
    assert over.state is JobState.CANCELLED
    press(client, f"/jobs/{job.job_id}/cancel")  # over already: nothing to note
    press(client, f"/jobs/{job.job_id}/republish")
    assert [each.what for each in actions_on(job.job_id, world.services)] == [
        "parallelism 2",
        "cancel",
        "republish 0 order sets",
    ]
    assert "What people did" in text_of(client.get(f"/jobs/{job.job_id}"))


@pytest.mark.parametrize("parallelism", ["", "0", "-1", "x", "1e3", "99999999", "\u0663"])
def test_seats_that_cannot_be_are_refused(world: World, client: TestClient, parallelism: str) -> None:
    world.book(1)
    job = world.submit()
    assert press(client, f"/jobs/{job.job_id}/parallelism", parallelism=parallelism).status_code == 422
    assert actions_on(job.job_id, world.services) == ()


@pytest.mark.parametrize("name", ["retry", "cancel", "parallelism", "republish"])
def test_nothing_can_be_done_to_a_job_that_is_not_there(client: TestClient, name: str) -> None:
    assert press(client, f"/jobs/nobody/{name}", parallelism="2").status_code == 404


def test_a_job_that_runs_is_not_retried(world: World, client: TestClient) -> None:
    world.book(1)
    job = world.submit()
    answer = press(client, f"/jobs/{job.job_id}/retry")
    assert answer.status_code == 409
    assert "when it is over" in text_of(answer)


def test_many_jobs_are_asked_about_first_and_then_done(world: World, client: TestClient) -> None:
    world.book(3)
    jobs = [broken_job(world, key=key) for key in ("a", "b")]
    (asking,) = re.findall(r'href="(/many\?[^"]*cause=upstream_fault[^"]*)"', client.get("/").text)
    asked = client.get(asking.replace("&amp;", "&"))
    assert "Retry 2 jobs?" in text_of(asked)
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    assert press(client, "/many", fields).headers["location"] == "/?outcome=failed&cause=upstream_fault"
    assert [world.finish(job).state for job in jobs] == [JobState.DONE, JobState.DONE]
    assert "Nothing to retry" in text_of(client.get("/many", params=fields))


def test_many_are_cancelled_and_what_was_left_alone_is_told(world: World, client: TestClient) -> None:
    world.book(2)
    job = broken_job(world)
    opened = world.submit("open")
    asked = client.get("/many", params={"do": "cancel"})
    assert "Cancel 1 job?" in text_of(asked)
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    assert press(client, "/many", fields).headers["location"] == "/"
    assert world.job(opened).state is JobState.STOPPING
    refused = press(client, "/many", do="retry", portfolio=builders.portfolio_id(1), shown=job.job_id)
    assert "0 done, 1 left alone" in text_of(refused)
    assert job.job_id in refused.text


def test_of_many_those_are_touched_that_were_shown_and_no_others(world: World, client: TestClient) -> None:
    world.book(1)
    first, second = world.submit("first"), world.submit("second")
    asked = client.get("/many", params={"do": "cancel"})
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
    later = world.submit("later")
    press(client, f"/jobs/{first.job_id}/cancel")

    told = press(client, "/many", {**fields, "shown": f"{fields['shown']} nobody"})

    assert "1 done, 2 left alone" in text_of(told)
    assert first.job_id in told.text
    assert "nobody" in told.text
    assert world.job(second).state is JobState.STOPPING
    assert world.job(later).state is JobState.ACCEPTED
    assert press(client, "/many", {"do": "cancel", "shown": "x " * 401}).status_code == 422


def test_schedules_tell_their_next_run_and_are_run_by_hand(world: World) -> None:
    world.book(2)
    nightly = schedule("0 22 * * *", name="nightly", calendar=None)
    services = replace(world.services, schedules=lambda: [nightly, schedule(name="off", enabled=False)])
    with browser(services, leaving=lambda: True) as client:
        shown = text_of(client.get("/"))
        assert "nightly" in shown
        assert "next 20" in shown
        assert "off switched off" in shown
        assert "start trimtab beat" in shown
        ran = press(client, "/schedules/nightly/run").headers["location"]
        assert "run schedule nightly by hand" in text_of(client.get(ran))
        assert press(client, "/schedules/nightly/run").headers["location"] == ran  # the same run
        assert text_of(client.get(ran)).count("run schedule nightly by hand") == 1
        assert press(client, "/schedules/nobody/run").status_code == 404


def test_a_job_tells_when_its_model_runs_next_and_by_which_schedule(world: World) -> None:
    world.book(1)
    job = world.submit()
    of_the_model = schedule("0 22 * * *", name="nightly", calendar=None)
    of_another = schedule(name="elsewhere", model_id="MODEL2")
    of_all = schedule("0 6 * * *", name="catch-all", calendar=None, model_id=None)
    services = replace(world.services, schedules=lambda: [of_the_model, of_another, of_all])
    with browser(services, leaving=lambda: True) as client:
        posted = text_of(client.get(f"/jobs/{job.job_id}"))
        ran = press(client, "/schedules/catch-all/run").headers["location"]
        started = text_of(client.get(ran))

    assert "by nightly" in posted
    assert "catch-all" not in posted
    assert "elsewhere" not in posted + started
    assert "by nightly" in started
    assert "by catch-all" in started


# ------------------------------------------------------------------------------------------------ safety


def test_names_that_are_markup_are_shown_and_never_run(world: World, client: TestClient) -> None:
    portfolio = PortfolioId(EVIL)
    model = builders.model({1: "0.3"}, portfolios=())
    world.store.create_model(replace(model, name=f"{EVIL}\"'&", portfolios=(portfolio,)))
    world.upstreams.by_security[builders.security_id(1)] = "T1"
    world.upstreams.by_ticker["T1"] = Decimal(10)
    world.upstreams.broken[portfolio] = UpstreamFault("accounting", EVIL)
    world.upstreams.book[portfolio] = Portfolio(portfolio_id=portfolio, cash=Decimal(1), positions=())
    job = world.finish(world.submit(EVIL.replace(" ", "")))
    pages = [
        client.get("/"),
        client.get("/", params={"model": "x" + EVIL, "cause": EVIL, "portfolio": EVIL}),
        client.get(f"/jobs/{job.job_id}"),
        client.get(f"/jobs/{job.job_id}", params={"cause": f'">{EVIL}'}),
        portfolio_page(client, job, portfolio),
        client.get("/many", params={"do": "retry", "cause": "upstream"}),
        client.get("/jobs/<script>alert(1)"),
    ]
    for page in pages:
        assert "<script>alert" not in page.text
        assert page.text.count("<script") == 1  # our own file
        assert "alert(1)" in page.text
    assert pages[4].status_code == 200


def test_a_browser_runs_and_loads_nothing_but_our_own_files(world: World, client: TestClient) -> None:
    world.book(2)
    job = world.finish(world.submit())
    for path in ("/", f"/jobs/{job.job_id}", f"/jobs/{job.job_id}/portfolio?id={builders.portfolio_id(1)}"):
        answer = client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["Referrer-Policy"] == "same-origin"  # "no-referrer" would hide a form's origin
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r'\sstyle=|\son\w+="|<style|javascript:', answer.text)
        assert re.findall(r'(?:src|href)="(https?:|//)', answer.text) == []


def test_our_own_files_are_kept_by_browsers_under_an_address_of_their_content(client: TestClient) -> None:
    page = client.get("/").text
    for name, media in (
        ("page.css", "text/css"),
        ("page.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ):
        (path,) = re.findall(rf'"(/static/{re.escape(name)}\?v=\w+)"', page)
        answer = client.get(path)
        assert answer.headers["content-type"].startswith(media)
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["base.html", "..%2frender.py", "%2e%2e/render.py", "page.css.map", "."])
def test_no_other_file_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_the_script_is_small_and_depends_on_nothing() -> None:
    script = (HERE / "static/page.js").read_text()
    assert len(script.splitlines()) <= 100
    assert not re.search(r"\bimport\b|https?://|\beval\b|new Function", script)


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (None, ""),
        (0, "0.0 s"),
        (-1, "0.0 s"),
        (0.0004, "1 ms"),
        (0.25, "250 ms"),
        (4.06, "4.1 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (timedelta(days=2, minutes=5), "2 d"),
    ],
)
def test_lengths_of_time_are_told_in_two_units(length: Any, words: str) -> None:
    assert took(length) == words


def test_numbers_and_moments_are_written_for_people() -> None:
    assert grouped(1234567.4) == "1\u00a0234\u00a0567"
    assert [money(text) for text in (None, "1234.5", "0.00001", "-12", "n/a")] == [
        "\u2013",
        "1\u00a0234.50",
        "0.00001",
        "-12.00",
        "n/a",
    ]
    assert percent("0.2026") == "20.26\u00a0%"
    assert (moment(None), moment(builders.MORNING)) == ("", "2026-03-02 07:30:00")
    assert link("/x", a=None, b="", c="ä &") == "/x?c=%C3%A4+%26"
    assert link("/x") == "/x"


@pytest.mark.parametrize("state", JobState)
def test_every_state_in_which_somebody_may_have_to_act_says_what_to_do(state: JobState) -> None:
    settled = {JobState.DONE, JobState.CANCELLED}
    assert (advice.for_job(replace(plain_job(), state=state)) == "") is (state in settled)


def test_a_job_that_cannot_be_opened_says_that_it_is_tried_again() -> None:
    waiting = replace(plain_job(), reason="pricing is unavailable: refused")
    assert "tried again" in advice.for_job(waiting)


@pytest.mark.parametrize("cause", ["upstream_fault", "poison", "solver_timeout", "nobody_knows"])
def test_every_failure_says_what_to_do(cause: str) -> None:
    assert advice.for_failure(ItemState.FAILED, cause)
    assert advice.for_failure(ItemState.TRADED, cause) == ""


def shown(**changes: Any) -> JobShown:
    counts = changes.pop("counts", {})
    given = replace(plain_job(n=10), **{"started_at": builders.MORNING, "state": JobState.RUNNING, **changes})
    now = builders.MORNING + timedelta(seconds=20)
    return JobShown(job=given, counts=counts, reason=None, advice="", now=now)


def test_how_long_a_job_still_takes_is_told_at_its_own_rate() -> None:
    running = shown(counts={"traded": 4, "running": 1})
    assert (running.finished, running.rate, running.left) == (4, 0.2, 30.0)
    assert [(part.state, part.count) for part in running.segments] == [
        (ItemState.TRADED, 4),
        (ItemState.RUNNING, 1),
        (ItemState.PENDING, 5),
    ]
    assert sum(part.width for part in running.segments) == pytest.approx(100)


@pytest.mark.parametrize("changes", [{"gen": 1}, {"started_at": None}, {"counts": {}}])
def test_no_rate_is_told_where_none_is_known(changes: dict[str, Any]) -> None:
    known: dict[str, Any] = {"counts": {"traded": 4}, **changes}
    assert (shown(**known).rate, shown(**known).left) == (None, None)


@pytest.mark.parametrize("state", JobState)
def test_buttons_fit_the_state(state: JobState) -> None:
    job = shown(state=state, finished_at=builders.MORNING)
    closed = state.closed or state is JobState.STOPPING
    assert job.may_be_cancelled is not closed
    assert job.may_be_retried is (state is JobState.DONE_WITH_ERRORS)


def test_what_was_deleted_is_not_retried() -> None:
    assert not shown(state=JobState.DONE_WITH_ERRORS, deleted_at=builders.MORNING).may_be_retried


def test_the_bar_has_a_colour_for_every_state() -> None:
    style = (HERE / "static/page.css").read_text()
    assert set(STATES) == set(ItemState)
    assert [state for state in STATES if f".f-{state} {{" not in style] == []


def test_a_template_that_names_what_is_not_there_fails_loudly() -> None:
    with pytest.raises(UndefinedError):
        Pages("0").answer("login.html")
