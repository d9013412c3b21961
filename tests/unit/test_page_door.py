"""Who gets onto the page, for how long, and what each role may do there: a key becomes a session, and nothing more."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from adapters.inbound.api import ApiOptions
from adapters.inbound.api.access import role_of
from adapters.inbound.api.rate import LocalLimiter, Rate
from adapters.inbound.keys import GRANTS, KeyFile, KeyRing, Role
from adapters.inbound.page import page_router
from adapters.inbound.page.door import COOKIE, DOORSTEP, way_back
from domain.job import JobState
from tasks.audit import actions_on
from tests.support.api_keys import StaticKeys, bearer
from tests.support.job_page import ORIGIN, broken_job, browser, log_in, press, text_of
from tests.support.world import World

Browse = Callable[..., TestClient]

# Who may do what. A route that is not here fails a test.
TABLE: Mapping[str, Role | None] = {
    "GET /": Role.READ,
    "GET /events": Role.READ,
    "GET /jobs/{job_id}": Role.READ,
    "GET /jobs/{job_id}/events": Role.READ,
    "GET /jobs/{job_id}/raw": Role.READ,
    "GET /jobs/{job_id}/portfolio": Role.READ,
    "GET /jobs/{job_id}/portfolio/raw": Role.READ,
    "GET /many": Role.OPERATE,
    "POST /many": Role.OPERATE,
    "POST /jobs/{job_id}/retry": Role.OPERATE,
    "POST /jobs/{job_id}/cancel": Role.OPERATE,
    "POST /jobs/{job_id}/parallelism": Role.OPERATE,
    "POST /jobs/{job_id}/republish": Role.OPERATE,
    "POST /schedules/{schedule_id}/run": Role.OPERATE,
    "GET /login": None,
    "POST /login": None,
    "POST /logout": None,
    "GET /static/{name}": None,
}
GUARDED = [endpoint for endpoint, role in TABLE.items() if role is not None]
LOOKERS = [Role.READ, Role.OPERATE, Role.ADMIN]


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def browse(world: World) -> Iterator[Browse]:
    with ExitStack() as opened:

        def open_browser(**options: Any) -> TestClient:
            given = {"keys": StaticKeys.one_a_role(), "leaving": lambda: True, **options}
            return opened.enter_context(browser(world.services, **given))

        yield open_browser


def called(client: TestClient, endpoint: str, headers: Mapping[str, str] | None = None) -> Any:
    method, path = endpoint.split(" ")
    path = path.replace("{job_id}", "nobody").replace("{schedule_id}", "nobody")
    if method == "POST":
        return press(client, path, do="cancel", parallelism="2")
    return client.get(path, params={"id": "x", "do": "cancel"}, headers=headers)


# ------------------------------------------------------------------------------------------------ the table


def test_the_table_has_every_route_and_each_says_its_role(world: World) -> None:
    router = page_router(world.services, ApiOptions(version="0"))
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    assert {f"{next(iter(route.methods or ()))} {route.path}": role_of(route) for route in routes} == TABLE
    assert {endpoint.split(" ")[1] for endpoint, role in TABLE.items() if role is None} == DOORSTEP


def test_a_stranger_is_sent_to_the_login_and_told_nothing(browse: Browse) -> None:
    client = browse()
    for endpoint in GUARDED:
        answer = called(client, endpoint)
        assert (answer.status_code, answer.content) == (303, b""), endpoint
        assert answer.headers["location"].startswith("/login"), endpoint


def test_a_stranger_gets_no_stream(browse: Browse) -> None:
    answer = browse().get("/events", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.parametrize("held", LOOKERS)
def test_a_role_opens_what_it_should_and_nothing_more(browse: Browse, held: Role) -> None:
    client = browse()
    log_in(client, held)
    for endpoint in GUARDED:
        needed = TABLE[endpoint]
        answer = called(client, endpoint)
        if needed in GRANTS[held]:
            assert answer.status_code in {200, 303, 404}, (endpoint, answer.text)
            assert not answer.headers.get("location", "").startswith("/login"), endpoint
        else:
            assert answer.status_code == 403, endpoint
            assert f"this needs the role {needed}" in text_of(answer)


def test_who_may_only_look_sees_no_button_and_can_press_none(world: World, browse: Browse) -> None:
    world.book(3)
    job = broken_job(world)
    client = browse()
    log_in(client, "read")
    for path in ("/", f"/jobs/{job.job_id}"):
        shown = client.get(path).text
        assert "/retry" not in shown
        assert "/many" not in shown
        assert shown.count('method="post"') == 1  # the way out
    assert press(client, f"/jobs/{job.job_id}/retry").status_code == 403
    assert world.job(job).state is JobState.DONE_WITH_ERRORS


def test_who_operates_sees_the_buttons_and_what_is_done_bears_the_name(world: World, browse: Browse) -> None:
    world.book(3)
    job = broken_job(world)
    client = browse()
    log_in(client, "operate")
    assert f'action="/jobs/{job.job_id}/retry"' in client.get(f"/jobs/{job.job_id}").text
    assert press(client, f"/jobs/{job.job_id}/retry").headers["location"] == f"/jobs/{job.job_id}"
    (action,) = actions_on(job.job_id, world.services)
    assert (action.what, action.who) == ("retry all failed portfolios", "tests (000000000002)")
    assert "by tests (000000000002)" in text_of(client.get(f"/jobs/{job.job_id}"))


# ------------------------------------------------------------------------------------------------ in


def session_of(answer: Any) -> Morsel[str]:
    return SimpleCookie(answer.headers["set-cookie"])[COOKIE]


def test_the_session_is_a_cookie_that_no_script_and_no_other_site_gets(browse: Browse) -> None:
    answer = log_in(browse(), "read")
    cookie = session_of(answer)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert (cookie["max-age"], cookie["secure"]) == ("28800", "")
    assert "read" not in cookie.value  # the key of this test


def test_behind_tls_the_cookie_travels_by_tls_only(browse: Browse) -> None:
    answer = browse().post("/login", data={"key": "read"}, headers={**ORIGIN, "X-Forwarded-Proto": "https"})
    assert session_of(answer)["secure"] is True


@pytest.mark.parametrize("key", ["nobody", "", "submit", "read x"])
def test_what_is_no_key_that_may_look_gets_no_session(browse: Browse, key: str) -> None:
    client = browse()
    answer = log_in(client, key)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "not valid" in text_of(answer)
    assert client.get("/").status_code == 303


def test_neither_the_answer_nor_the_log_repeats_what_was_sent_as_a_key(browse: Browse) -> None:
    with capture_logs() as logs:
        answer = log_in(browse(), "trimtab_0_very-secret")
    assert "very-secret" not in answer.text + str(answer.headers) + str(logs)
    assert [entry["event"] for entry in logs] == ["page.login_refused"]


def test_login_leads_back_to_where_one_came_from(browse: Browse) -> None:
    client = browse()
    asked = client.get("/jobs/j1", params={"outcome": "failed"}).headers["location"]
    assert asked == "/login?back=%2Fjobs%2Fj1%3Foutcome%3Dfailed"
    assert 'value="/jobs/j1?outcome=failed"' in client.get(asked).text
    assert log_in(client, "read", "/jobs/j1?outcome=failed").headers["location"] == "/jobs/j1?outcome=failed"
    assert client.get(asked).headers["location"] == "/jobs/j1?outcome=failed"  # already in


@pytest.mark.parametrize(
    "asked",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\\b", "/a\r\nb", "/\u00e4"],
)
def test_login_leads_to_no_other_place(asked: str) -> None:
    assert way_back(asked) == "/"


# ------------------------------------------------------------------------------------------------ how long


def test_a_session_ends_when_its_time_is_over(world: World, browse: Browse) -> None:
    client = browse(page_session=timedelta(minutes=5))
    log_in(client, "read")
    world.clock.time += timedelta(minutes=4, seconds=58)
    assert client.get("/").status_code == 200
    world.clock.time += timedelta(seconds=3)
    assert client.get("/").status_code == 303


def test_a_key_that_ends_earlier_ends_its_session(world: World, browse: Browse) -> None:
    keys = StaticKeys.one_a_role()
    ends = world.clock.time + timedelta(minutes=1)
    keys.by_text["read"] = replace(keys.by_text["read"], expires_at=ends)
    assert session_of(log_in(browse(keys=keys), "read"))["max-age"] in {"59", "60"}


def test_a_revoked_key_ends_its_sessions_at_once(world: World, browse: Browse, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json", world.clock)
    gone = file.add("ops", frozenset({Role.OPERATE}))
    file.add("other", frozenset({Role.READ}))
    client = browse(keys=KeyRing(tmp_path / "keys.json", world.clock))
    log_in(client, gone.text)
    assert client.get("/").status_code == 200
    file.revoke(gone.key.key_id)
    assert client.get("/").status_code == 303


def test_an_expired_key_ends_its_sessions(world: World, browse: Browse, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json", world.clock)
    made = file.add("ops", frozenset({Role.READ}), lasts=timedelta(minutes=1))
    ring = KeyRing(tmp_path / "keys.json", world.clock)
    client = browse(keys=ring)
    log_in(client, made.text)
    world.clock.time += timedelta(minutes=2)
    assert ring.standing(made.key.key_id) is None
    assert client.get("/").status_code == 303


def test_logging_out_takes_the_cookie_away(browse: Browse) -> None:
    client = browse()
    log_in(client, "read")
    answer = press(client, "/logout")
    assert (answer.headers["location"], session_of(answer)["max-age"]) == ("/login", "0")
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "changed",
    [
        lambda head, signature: f"{head}.{signature.swapcase()}",
        lambda head, signature: f"{head}0.{signature}",  # ends later
        lambda head, signature: f"{head.replace('000000000000', '000000000003')}.{signature}",  # another's
        lambda head, _: head,
        lambda head, signature: f"{head}.{signature}.{signature}",
        lambda _, __: "",
        lambda _, signature: f"000000000000.99999999999999.{signature}",
    ],
    ids=["signature", "end", "key", "unsigned", "twice", "empty", "far away"],
)
def test_a_cookie_that_was_touched_is_none(browse: Browse, changed: Callable[[str, str], str]) -> None:
    client = browse()
    head, _, signature = session_of(log_in(client, "read")).value.rpartition(".")
    client.cookies.clear()
    client.cookies.set(COOKIE, changed(head, signature))
    assert client.get("/").status_code == 303


def test_another_secret_ends_all_sessions_and_the_same_one_keeps_them_in_every_process(
    browse: Browse,
) -> None:
    one, same, other = (browse(page_secret=secret) for secret in (b"a" * 32, b"a" * 32, b"b" * 32))
    cookie = session_of(log_in(one, "read")).value
    for client, status in ((same, 200), (other, 303)):
        client.cookies.set(COOKIE, cookie)
        assert client.get("/").status_code == status


# ------------------------------------------------------------------------------------------------ other pages, other doors


@pytest.mark.parametrize(
    "headers",
    [
        {},  # no origin at all
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://sibling.testserver", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://desk.example"},  # may call the API, and may press nothing here
    ],
)
def test_only_the_page_itself_presses_its_buttons(
    world: World, browse: Browse, headers: Mapping[str, str]
) -> None:
    world.book(1)
    job = world.submit()
    client = browse(whole=True, origins=["https://desk.example"])
    log_in(client, "admin")
    for path in (f"/jobs/{job.job_id}/cancel", "/many", "/logout", "/login"):
        assert client.post(path, data={"do": "cancel"}, headers=dict(headers)).status_code == 403
    assert world.job(job).state is JobState.ACCEPTED
    assert client.get("/").status_code == 200


def test_the_api_takes_no_cookie_and_the_page_no_key_in_a_header(browse: Browse) -> None:
    client = browse(whole=True)
    log_in(client, "admin")
    assert client.get("/api/v1/jobs").status_code == 401
    assert client.post("/api/v1/jobs/x/cancel", headers=ORIGIN).status_code == 401
    client.cookies.clear()
    assert client.get("/", headers=bearer("admin")).status_code == 303


def test_without_keys_everybody_may_do_everything_as_on_the_api(world: World, browse: Browse) -> None:
    world.book(1)
    job = world.submit()
    client = browse(keys=None)
    shown = text_of(client.get("/"))
    assert "open, no keys" in shown
    assert "Log out" not in shown
    assert press(client, f"/jobs/{job.job_id}/cancel").status_code == 303
    assert world.job(job).state is JobState.STOPPING
    assert actions_on(job.job_id, world.services)[0].who == "anybody (no keys)"
    assert client.get("/login").headers["location"] == "/"
    assert log_in(client, "anything").status_code == 401
    assert press(client, "/logout").status_code == 303


def test_a_session_that_calls_too_often_is_told_when_to_come_back(browse: Browse) -> None:
    client = browse(limiter=LocalLimiter(Rate(per_second=0.5, burst=2), partial(float, 0)))
    log_in(client, "read")
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"do": "cancel"}', "application/json", 415),
        (b"do=cancel", "text/plain", 415),
        (b"do=cancel", None, 415),
        (b"do=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(40)), "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"do=explode", "application/x-www-form-urlencoded", 422),
        (b"", "application/x-www-form-urlencoded", 422),
        (b"do=cancel&state=odd", "application/x-www-form-urlencoded", 422),
    ],
)
def test_what_is_no_form_of_the_page_is_refused_as_a_page(
    browse: Browse, body: bytes, kind: str | None, status: int
) -> None:
    client = browse(keys=None)
    headers = {**ORIGIN, **({} if kind is None else {"Content-Type": kind})}
    answer = client.post("/many", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
