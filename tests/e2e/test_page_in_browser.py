"""The job page and Flower as people use them: a real Chromium on a real stack."""

import base64
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from adapters.inbound.keys import KeyFile, Role
from adapters.system_clock import SystemClock
from tests.support.chromium import PATIENCE_MS, chromium, opened
from tests.support.parts import start_part, terminated
from tests.support.stacks import Api, short_stack
from tests.support.waiting import eventually
from worker.children import Child
from worker.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

SIGN_IN = {"status": 403, "html": True}
USER = ("desk", "a-long-password")
SCREEN = ViewportSize(width=1200, height=900)
PHONE = ViewportSize(width=360, height=740)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    quick = {"task_events": "true", "max_attempts": "1"}  # what fails, fails at once
    with short_stack(tmp_path_factory.mktemp("page"), portfolios=20, settings=quick) as stack:
        with closing(Api(stack)) as api:
            api.create_model()
        yield stack


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    with opened(browser.new_context(base_url=stack.api_url, viewport=SCREEN)) as page:
        yield page


@pytest.fixture(scope="module")
def done(stack: Stack) -> dict[str, Any]:
    """A job of the whole book that is over."""
    with closing(Api(stack)) as api:
        return api.finished(api.submit("calm", parallelism=4)["job_id"])


def broken(api: Api, key: str, **request: Any) -> dict[str, Any]:
    """A job that is over, all of whose portfolios failed by an upstream that is mended now."""
    api.faults(accounting=SIGN_IN)
    job = api.finished(api.submit(key, **request)["job_id"])
    api.faults()
    assert job["state"] == "done_with_errors"
    return job


def some(api: Api, done: dict[str, Any], count: int) -> list[str]:
    return [item["portfolio_id"] for item in api.items(done["job_id"])[:count]]


def live(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator("#live")).to_have_text("live")


# ------------------------------------------------------------------------------------------------ clicking through


def test_a_failure_is_seen_and_retried_without_touching_the_reload_button(
    page: Page, api: Api, done: dict[str, Any]
) -> None:
    live(page, "/?state=done_with_errors")
    row = page.locator(".job", has_text="seen-and-retried")
    expect(row).to_have_count(0)

    job = broken(api, "seen-and-retried", portfolio_ids=some(api, done, 3))

    expect(row).to_contain_text("3 failed")  # by itself
    expect(page.locator("#failures")).to_contain_text("upstream_fault")
    row.get_by_role("link").click()
    expect(page).to_have_url(re.compile(f"/jobs/{job['job_id']}$"))
    expect(page.locator("#causes")).to_contain_text("Please sign in")
    page.get_by_role("button", name="Retry this cause").click()
    expect(page.locator("h1")).to_contain_text("done")
    expect(page.locator("#causes")).to_be_empty()
    expect(page.locator("#history")).to_contain_text(
        "retry all failed portfolios of cause upstream_fault by anybody"
    )
    assert api.job(job["job_id"])["state"] == "done"


def test_one_failed_portfolio_is_retried_from_its_own_page(
    page: Page, api: Api, done: dict[str, Any]
) -> None:
    first, _ = chosen = some(api, done, 2)
    job = broken(api, "one-of-two", portfolio_ids=chosen)

    page.goto(f"/jobs/{job['job_id']}")
    page.get_by_role("link", name=first).click()
    expect(page.get_by_text("How it ended")).to_be_visible()
    page.get_by_role("button", name="Retry this portfolio").click()

    eventually(lambda: api.job(job["job_id"]), lambda seen: seen["finished_at"] is not None, seconds=30)
    assert api.job(job["job_id"])["counts"]["failed"] == 1
    expect(page.locator("#portfolios")).to_contain_text("failed")


def test_a_job_moves_by_itself_gets_fewer_seats_and_is_cancelled(page: Page, api: Api) -> None:
    api.faults(accounting={"latency_ms": 400})
    job_id = api.submit("cancelled-by-click", parallelism=2)["job_id"]
    live(page, f"/jobs/{job_id}")
    expect(page.locator("#head")).to_contain_text(re.compile(r"[1-9]\d* of 20 finished"))

    page.get_by_label("Seats").fill("1")
    page.get_by_role("button", name="Set").click()
    expect(page.locator("#facts")).to_contain_text("1 at once")
    page.get_by_text("Cancel…").click()
    page.wait_for_timeout(1200)  # news come in, and do not close what somebody reads
    page.get_by_role("button", name="Yes, cancel the job").click()

    expect(page.locator("h1")).to_contain_text("cancelled")
    expect(page.locator("#history")).to_contain_text("cancel by anybody")
    assert api.finished(job_id)["state"] == "cancelled"


def test_many_jobs_are_retried_by_their_filter(page: Page, api: Api, done: dict[str, Any]) -> None:
    jobs = [broken(api, f"many-{number}", portfolio_ids=some(api, done, 2))["job_id"] for number in range(2)]

    page.goto("/")
    page.get_by_label("State").select_option("done_with_errors")
    page.get_by_label("Cause").fill("upstream_fault")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="Retry these…").click()
    expect(page.locator("h1")).to_contain_text("Retry")
    page.get_by_role("button", name="Yes, retry").click()

    for job_id in jobs:
        assert api.finished(job_id)["state"] == "done"
        assert api.job(job_id)["retries"] == 1


def test_a_portfolio_shows_its_bars_its_orders_and_the_very_document_of_the_api(
    page: Page, api: Api, done: dict[str, Any]
) -> None:
    item = next(item for item in api.items(done["job_id"]) if item["outcome"] == "traded")
    result = api.result(done["job_id"], item["portfolio_id"])

    page.goto(f"/jobs/{done['job_id']}?outcome=traded")
    page.get_by_role("link", name=item["portfolio_id"]).click()

    expect(page.locator("svg.weights")).to_have_count(len(result["positions"]))
    expect(page.locator("td.side-buy, td.side-sell")).to_have_count(len(result["orders"]))
    expect(page.get_by_text("Proof")).to_be_visible()
    for bar in page.locator("svg.weights .band").all():
        assert (bar.bounding_box() or {"width": 0})["width"] > 0
    page.get_by_role("link", name="Raw JSON").click()
    assert json.loads(page.locator("body").inner_text())["result"] == result


def test_everything_works_without_scripts(
    browser: Browser, stack: Stack, api: Api, done: dict[str, Any]
) -> None:
    job = broken(api, "no-scripts", portfolio_ids=some(api, done, 1))
    context = browser.new_context(base_url=stack.api_url, java_script_enabled=False)
    with opened(context) as page:
        page.goto(f"/jobs/{job['job_id']}")
        assert page.content().count('http-equiv="refresh"') == 1
        page.get_by_role("button", name="Retry all failed").click()
        api.finished(job["job_id"])
        page.reload()
        expect(page.locator("h1 .state")).to_have_text("done")


# ------------------------------------------------------------------------------------------------ hands and eyes


def test_the_keyboard_reaches_everything_and_news_do_not_take_it_away(
    page: Page, api: Api, done: dict[str, Any]
) -> None:
    job = broken(api, "by-keyboard", portfolio_ids=some(api, done, 1))
    live(page, f"/jobs/{job['job_id']}")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")

    def focused() -> str:
        return str(page.evaluate("document.activeElement.id"))

    pressed = 0
    while focused() != "retry-all":
        page.keyboard.press("Tab")
        pressed += 1
        assert pressed < 20, "the button is not reached"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("done")
    assert api.finished(job["job_id"])["retries"] == 1

    page.locator("#item-0").focus()
    api._client.post(f"/jobs/{job['job_id']}/republish").raise_for_status()
    expect(page.locator("#history")).to_contain_text("republish")
    assert focused() == "item-0"


def test_on_a_phone_nothing_runs_off_the_screen_and_every_button_can_be_hit(
    browser: Browser, stack: Stack, api: Api, done: dict[str, Any]
) -> None:
    portfolio = next(
        item["portfolio_id"] for item in api.items(done["job_id"]) if item["outcome"] == "traded"
    )
    paths = ("/", f"/jobs/{done['job_id']}", f"/jobs/{done['job_id']}/portfolio?id={portfolio}", "/login")
    context = browser.new_context(base_url=stack.api_url, viewport=PHONE, is_mobile=True, has_touch=True)
    with opened(context) as page:
        for path in paths:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
            for button in page.locator("button:visible, .button:visible, summary:visible").all():
                box = button.bounding_box()
                assert box is not None
                assert box["height"] >= 32, path


def test_it_is_dark_where_people_want_it_dark(page: Page) -> None:
    page.goto("/")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ground, ink = page.evaluate(
            "(({backgroundColor: a, color: b}) => [a, b])(getComputedStyle(document.body))"
        )
        assert (brightness(ground) > 200) is (scheme == "light")
        assert abs(brightness(ground) - brightness(ink)) > 150


def brightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


# ------------------------------------------------------------------------------------------------ who may what


@pytest.fixture(scope="module")
def guarded(
    browser: Browser, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """A second API on the same store, with keys; its address and the keys by role. At its end somebody looks."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    file = KeyFile(path, SystemClock())
    keys = {role: file.add(role, frozenset({role})).text for role in (Role.READ, Role.OPERATE, Role.SUBMIT)}
    port = free_port()
    child = start_part(stack, "api", "--port", str(port), log_name="api-keys", api_keys_file=str(path))
    url = f"http://127.0.0.1:{port}"
    answers(child, f"{url}/health/live")
    yield url, {str(role): key for role, key in keys.items()}
    stops_in_time_while_somebody_looks(browser, stack, child, url, keys[Role.READ])


def stops_in_time_while_somebody_looks(
    browser: Browser, stack: Stack, child: Child, url: str, key: str
) -> None:
    """A stream would last for ever: it must end with the process, not hold it up."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    page.goto("/")
    logged_in(page, key)
    expect(page.locator("#live")).to_have_text("live")
    assert terminated(stack, child, within=5) == 0
    expect(page.locator("#live")).to_contain_text("not live")
    context.close()


def test_each_role_sees_and_does_what_it_may_and_nothing_more(
    browser: Browser, guarded: tuple[str, dict[str, str]], api: Api, done: dict[str, Any]
) -> None:
    url, keys = guarded
    job = broken(api, "roles", portfolio_ids=some(api, done, 1))
    with opened(browser.new_context(base_url=url)) as page:
        page.goto(f"/jobs/{job['job_id']}")
        logged_in(page, keys["read"])
        expect(page).to_have_url(f"{url}/jobs/{job['job_id']}")
        expect(page.locator("#live")).to_have_text("live")
        assert page.get_by_role("button", name=re.compile("Retry")).count() == 0
        cookie = next(each for each in page.context.cookies() if each["name"] == "trimtab_session")
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert keys["read"] not in cookie["value"]
        page.get_by_role("button", name="Log out").click()

        page.goto("/")
        logged_in(page, keys["operate"])
        page.goto(f"/jobs/{job['job_id']}")
        page.get_by_role("button", name="Retry all failed").click()
        expect(page.locator("#history")).to_contain_text("retry all failed portfolios by operate (")
    assert api.finished(job["job_id"])["state"] == "done"


def logged_in(page: Page, key: str) -> None:
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_a_key_that_may_not_look_and_a_wrong_one_get_nobody_in(
    browser: Browser, guarded: tuple[str, dict[str, str]]
) -> None:
    url, keys = guarded
    context = browser.new_context(base_url=url)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()  # which may complain: 401 is an error to a browser
    page.goto("/login")
    for key in (keys["submit"], "trimtab_000000000000_nobody"):
        logged_in(page, key)
        expect(page.get_by_role("alert")).to_contain_text("not valid")
    assert context.cookies() == []
    context.close()


# ------------------------------------------------------------------------------------------------ Flower


NAME_UNSEEN = ""  # in Flower's metrics: a task received before Flower listened; only that event has a name


def test_flower_asks_for_the_password_and_shows_the_tasks_of_a_job(
    browser: Browser, stack: Stack, api: Api
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    child = start_part(stack, "flower", "--port", str(port), flower_users=":".join(USER))
    answers(child, f"{url}/healthcheck")
    assert httpx.get(f"{url}/tasks").status_code == 401
    eventually(lambda: workers_of(url), bool, seconds=30)
    job_id = api.submit("in-flower", parallelism=2)["job_id"]
    api.finished(job_id)

    credentials: Any = {"username": USER[0], "password": USER[1]}
    context = browser.new_context(base_url=url, http_credentials=credentials)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto("/tasks")
    claimed = re.compile(rf"portfolio=\w+ job={job_id} seat=\d")
    row = page.locator("#tasks-table tbody tr", has_text=claimed).first
    expect(row).to_contain_text("trimtab.run")
    row.get_by_role("link").last.click()  # its id
    expect(page.locator("body")).to_contain_text(f"job={job_id}")

    failed = broken(api, "in-flower-failed", portfolio_ids=some(api, {"job_id": job_id}, 1))
    page.goto("/tasks")
    claimed = re.compile(rf"portfolio=\w+ job={failed['job_id']} seat=\d")
    row = page.locator("#tasks-table tbody tr", has_text=claimed).first
    expect(row).to_contain_text("FAILURE")
    row.get_by_role("link").last.click()  # its id
    expect(page.locator("body")).to_contain_text("attempt 1 failed: ")
    expect(page.locator("body")).to_contain_text("Please sign in")
    assert page.get_by_role("button", name=re.compile("revoke|terminate", re.IGNORECASE)).count() == 0
    context.close()
    (worker, *_) = workers_of(url)
    stopped = httpx.post(f"{url}/api/worker/shutdown/{worker}", headers=basic(), timeout=10)
    assert stopped.status_code == 403
    labels = set(re.findall(r'\btask="([^"]*)"', httpx.get(f"{url}/metrics").text))
    assert labels - {NAME_UNSEEN} <= {"trimtab.run", "trimtab.start_scheduled"}
    assert "trimtab.run" in labels
    assert terminated(stack, child, within=10) == 0


def workers_of(url: str) -> dict[str, Any]:
    answer = httpx.get(f"{url}/api/workers", params={"refresh": "1"}, headers=basic(), timeout=10)
    return dict(answer.json()) if answer.status_code == 200 else {}


def basic() -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(":".join(USER).encode()).decode()}


def answers(child: Child, url: str) -> None:
    def asked() -> bool:
        assert not child.ended, child.last_words()
        try:
            return httpx.get(url, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    eventually(asked, bool, seconds=30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
