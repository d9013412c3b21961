import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import certifi
import httpx
import pytest
import stamina
from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks

from adapters.upstream.breaker import ConsecutiveFailuresBreaker
from adapters.upstream.errors import (
    BreakerOpen,
    NoFreeConnection,
    NotThere,
    ServerError,
    StatusFault,
    Throttled,
)
from adapters.upstream.http import TRANSLATION, HttpService, segment, tls_context, translated
from adapters.upstream.options import HttpOptions
from domain.errors import UpstreamFault, UpstreamUnavailable
from tests.support.upstream import QUICK, Upstream, decode, ok, raw

PATH = "/api/v1/thing"


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """How long each retry waited, as it was scheduled."""
    seen: list[float] = []

    def note(details: RetryDetails) -> None:
        seen.append(details.wait_for)

    before = get_on_retry_hooks()
    set_on_retry_hooks([note])
    yield seen
    set_on_retry_hooks(before)


# ------------------------------------------------------------------------------------------------ retries


def test_three_retries_wait_one_two_and_four_units(waits: list[float]) -> None:
    upstream = Upstream({PATH: httpx.ConnectError("refused")})
    service = upstream.service(replace(QUICK, retry_wait=0.004))

    with pytest.raises(UpstreamUnavailable, match=r"accounting .* GET /api/v1/thing: ConnectError: refused"):
        service.get_json(PATH, decode)

    assert upstream.calls[PATH] == 4
    assert waits == pytest.approx([0.004, 0.008, 0.016])


def test_jitter_is_added_to_every_wait_the_last_one_included(waits: list[float]) -> None:
    service = Upstream({PATH: ok({}, 503)}).service(replace(QUICK, retry_wait=0.001, retry_jitter=0.01))

    for _ in range(4):
        with pytest.raises(UpstreamUnavailable):
            service.get_json(PATH, decode)

    for index, base in enumerate([0.001, 0.002, 0.004]):
        drawn = waits[index::3]
        assert all(base <= wait <= base + 0.01 for wait in drawn)
        assert len(set(drawn)) == 4  # drawn anew each time


def test_the_default_schedule_is_one_two_four_seconds_and_five_failures_for_a_minute() -> None:
    options = HttpOptions()

    assert [options.retry_wait * 2**n for n in range(options.retries)] == [1.0, 2.0, 4.0]
    assert (options.breaker_failures, options.breaker_open) == (5, 60.0)


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.WriteTimeout("slow"),
        httpx.PoolTimeout("full"),
        ok({}, 500),
        ok({}, 502),
        ok({}, 503),
        ok({}, 504),
    ],
    ids=repr,
)
def test_connection_errors_time_outs_and_5xx_are_retried(trouble: Exception | httpx.Response) -> None:
    upstream = Upstream({PATH: [trouble, ok({"fine": 1})]})

    assert upstream.service().get_json(PATH, decode) == {"fine": 1}
    assert upstream.calls[PATH] == 2


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 422, 429])
def test_3xx_and_4xx_are_not_retried(status: int) -> None:
    upstream = Upstream({PATH: ok({"detail": "no"}, status)})

    with pytest.raises((UpstreamFault, UpstreamUnavailable), match=str(status)):
        upstream.service().get_json(PATH, decode)

    assert upstream.calls[PATH] == 1


@pytest.mark.parametrize(
    "cut", [httpx.RemoteProtocolError("disconnected"), httpx.ReadError("reset"), httpx.WriteError("pipe")]
)
def test_a_cut_kept_alive_connection_is_tried_again_at_once(cut: Exception, waits: list[float]) -> None:
    upstream = Upstream({PATH: [cut, ok({"fine": 1})]})

    assert upstream.service().get_json(PATH, decode) == {"fine": 1}
    assert (upstream.calls[PATH], waits) == (2, [])


def test_a_server_that_keeps_cutting_connections_runs_through_the_schedule(waits: list[float]) -> None:
    upstream = Upstream({PATH: httpx.RemoteProtocolError("disconnected")})

    with pytest.raises(UpstreamUnavailable, match="RemoteProtocolError"):
        upstream.service().get_json(PATH, decode)

    assert (upstream.calls[PATH], len(waits)) == (8, 3)


def test_no_new_try_begins_after_the_total_time() -> None:
    upstream = Upstream({PATH: ok({}, 500)})

    with pytest.raises(ServerError):
        upstream.service(replace(QUICK, retry_total=1e-9)).get_json(PATH, decode)

    assert upstream.calls[PATH] == 1


def test_retries_can_be_switched_off_by_option() -> None:
    upstream = Upstream({PATH: ok({}, 500)})

    with pytest.raises(ServerError):
        upstream.service(replace(QUICK, retries=0)).get_json(PATH, decode)

    assert upstream.calls[PATH] == 1


def test_the_retry_librarys_test_mode_takes_the_waits_away(waits: list[float]) -> None:
    upstream = Upstream({PATH: ok({}, 500)})

    with stamina.set_testing(True, attempts=2), pytest.raises(ServerError):
        upstream.service(HttpOptions()).get_json(PATH, decode)

    assert (upstream.calls[PATH], waits) == (2, [0.0])


# ------------------------------------------------------------------------------------------------ answers


def test_a_missing_thing_is_told_apart_from_every_other_refusal() -> None:
    service = Upstream({"/gone": ok({"detail": "Not found"}, 404), "/bad": ok({}, 400)}).service()

    with pytest.raises(NotThere) as missing:
        service.get_json("/gone", decode)
    with pytest.raises(StatusFault) as refused:
        service.get_json("/bad", decode)

    assert missing.value.status == 404
    assert "Not found" in str(missing.value)
    assert refused.value.status == 400
    assert not isinstance(refused.value, NotThere)


def test_html_is_refused_with_service_path_status_and_first_characters() -> None:
    service = Upstream({PATH: raw("<html>" + "x" * 500, content_type="text/html")}).service()

    with pytest.raises(UpstreamFault) as fault:
        service.get_json(PATH, decode)

    message = str(fault.value)
    assert all(part in message for part in ("accounting", PATH, "200", "text/html", "'<html>xxx"))
    assert len(message) < 400


@pytest.mark.parametrize(
    "body", ['[{"a": 1', "", "\xff", "[" * 100_000], ids=["truncated", "empty", "latin", "deep"]
)
def test_what_is_not_json_is_refused_without_a_retry(body: str) -> None:
    upstream = Upstream({PATH: raw(body.encode("latin-1"))})

    with pytest.raises(UpstreamFault, match="not the JSON that is wanted"):
        upstream.service().get_json(PATH, decode)

    assert upstream.calls[PATH] == 1


def test_an_answer_larger_than_allowed_is_refused() -> None:
    service = Upstream({PATH: raw("[" + "1," * 600 + "1]")}).service(replace(QUICK, max_bytes=1000))

    with pytest.raises(UpstreamFault, match="more than 1000 bytes"):
        service.get_json(PATH, decode)


def test_an_answer_that_drips_in_for_too_long_counts_as_unavailable() -> None:
    upstream = Upstream({PATH: ok({"slow": 1})})

    with pytest.raises(UpstreamUnavailable, match="not complete after"):
        upstream.service(replace(QUICK, answer_total=-1.0)).get_json(PATH, decode)

    assert upstream.calls[PATH] == 4


def test_the_correlation_id_is_passed_on_when_there_is_one() -> None:
    ids = iter(["job-7", None, ""])
    upstream = Upstream({PATH: ok({})})
    service = upstream.service(correlation=lambda: next(ids))

    for _ in range(3):
        service.get_json(PATH, decode)

    assert [request.headers.get("x-correlation-id") for request in upstream.requests] == ["job-7", None, None]


def test_a_correlation_id_cannot_break_the_request() -> None:
    upstream = Upstream({PATH: ok({})})

    upstream.service(correlation=lambda: "a:1/b\r\nX-Evil: 1 ä").get_json(PATH, decode)

    assert upstream.requests[0].headers["x-correlation-id"] == "a:1/b%0D%0AX-Evil:%201%20%C3%A4"
    assert "x-evil" not in upstream.requests[0].headers


def test_all_four_time_outs_are_set() -> None:
    upstream = Upstream({PATH: ok({})})
    options = replace(QUICK, connect=1.0, read=2.0, write=3.0, pool=4.0)

    upstream.service(options).get_json(PATH, decode)

    assert upstream.requests[0].extensions["timeout"] == {
        "connect": 1.0,
        "read": 2.0,
        "write": 3.0,
        "pool": 4.0,
    }


def test_the_query_is_sent_and_answers_are_asked_for_uncompressed() -> None:
    upstream = Upstream({PATH: ok({})})

    upstream.service().get_json(PATH, decode, {"limit": 1000, "name": "a b"})

    request = upstream.requests[0]
    assert dict(request.url.params) == {"limit": "1000", "name": "a b"}
    assert request.headers["accept-encoding"] == "identity"


def test_a_service_can_be_closed_again() -> None:
    service = HttpService("pricing", "http://127.0.0.1:1", QUICK)

    service.close()
    service.close()

    assert service._transport._pool.connections == []  # type: ignore[attr-defined]  # httpx's own pool


@pytest.mark.parametrize(
    ("base", "sent"),
    [
        ("http://upstream.test/", "http://upstream.test/api/v1/thing"),
        ("http://upstream.test:8080/a%20b/c/", "http://upstream.test:8080/a%20b/c/api/v1/thing"),
        ("http://[::1]:8080", "http://[::1]:8080/api/v1/thing"),
    ],
)
def test_a_path_is_added_to_that_of_the_base_url(base: str, sent: str) -> None:
    upstream = Upstream({})
    service = HttpService("pricing", base, QUICK, transport=httpx.MockTransport(upstream))

    with suppress(NotThere):  # the script knows one path only
        service.get_json(PATH, decode)

    assert str(upstream.requests[0].url) == sent


def test_a_user_in_the_url_becomes_basic_authentication() -> None:
    upstream = Upstream({PATH: ok({})})
    url = "http://desk%207:p%40ss@upstream.test"
    service = HttpService("pricing", url, QUICK, transport=httpx.MockTransport(upstream))

    service.get_json(PATH, decode)

    assert upstream.requests[0].headers["authorization"] == "Basic ZGVzayA3OnBAc3M="
    assert upstream.requests[0].url.userinfo == b""


@pytest.mark.parametrize("value", ["a/b", "../x", "a?b=c", "a#b", "ä"])
def test_an_id_stays_one_segment_of_the_path(value: str) -> None:
    upstream = Upstream({})

    with pytest.raises(NotThere):
        upstream.service().get_json(f"/api/{segment(value)}/end", decode)

    path = upstream.requests[0].url.raw_path.decode()
    assert path.startswith("/api/")
    assert path.endswith("/end")
    assert path.count("/") == 3


# ------------------------------------------------------------------------------------------------ translation


def _httpx_errors() -> list[type[Exception]]:
    return [
        value
        for value in vars(httpx).values()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == "httpx"
    ]


def test_every_error_httpx_can_raise_has_an_entry_of_its_own() -> None:
    errors = _httpx_errors()
    leaves = {
        error
        for error in errors
        if not any(other is not error and issubclass(other, error) for other in errors)
    }

    assert len(leaves) > 15
    assert leaves <= set(TRANSLATION)
    assert all(any(issubclass(error, entry) for entry in TRANSLATION) for error in errors)


@pytest.mark.parametrize("leaf", sorted(TRANSLATION, key=str))
def test_every_entry_is_translated_with_its_cause_kept(leaf: type[Exception]) -> None:
    error = leaf.__new__(leaf)
    error.args = ("the cause",)

    with (
        pytest.raises(TRANSLATION[leaf], match=r"pricing .* GET /p: ") as caught,
        translated("pricing", "/p"),
    ):
        raise error

    assert caught.value.__cause__ is error


def test_a_url_httpx_cannot_use_is_a_fault_at_the_start() -> None:
    with pytest.raises(UpstreamFault, match="InvalidURL"):
        HttpService("pricing", "http://host:port", QUICK)
    for url in ("ftp://host", "http://", "host/path"):
        with pytest.raises(UpstreamFault, match="UnsupportedProtocol"):
            HttpService("pricing", url, QUICK)


def test_a_certificate_authority_file_is_used_for_https_only() -> None:
    options = replace(QUICK, ca_file=Path(certifi.where()))

    assert tls_context("https://host", options).cert_store_stats()["x509_ca"] > 0
    assert tls_context("https://host", QUICK).verify_mode is ssl.CERT_REQUIRED
    assert tls_context("https://host", replace(QUICK, verify_tls=False)).verify_mode is ssl.CERT_NONE
    assert tls_context("http://host", options).cert_store_stats()["x509_ca"] == 0


# ------------------------------------------------------------------------------------------------ the circuit breaker


def _breaker(failures: int = 5, open_seconds: float = 60.0) -> ConsecutiveFailuresBreaker:
    return ConsecutiveFailuresBreaker("accounting", failures=failures, open_seconds=open_seconds)


def test_retries_stop_at_once_when_the_breaker_opens(waits: list[float]) -> None:
    upstream = Upstream({PATH: ok({}, 500)})
    service = upstream.service(replace(QUICK, breaker_failures=5))

    for _ in range(2):
        with pytest.raises(ServerError):
            service.get_json(PATH, decode)

    # Four tries, then the fifth failure opens it: no wait for a try that would be refused.
    assert (upstream.calls[PATH], len(waits), service.is_open()) == (5, 3, True)
    with pytest.raises(BreakerOpen, match=r"next try in 60 s; last failure: .*500") as refused:
        service.get_json(PATH, decode)
    assert (upstream.calls[PATH], len(waits)) == (5, 3)
    assert refused.value.retry_after == pytest.approx(60.0, abs=5.0)


def test_only_failures_in_a_row_open_the_breaker() -> None:
    failure, success = ok({}, 500), ok({})
    upstream = Upstream({PATH: [failure] * 4 + [success] + [failure] * 4 + [success]})
    service = upstream.service(replace(QUICK, retries=0, breaker_failures=5))

    for _ in range(10):
        try:
            service.get_json(PATH, decode)
        except ServerError:
            assert not service.is_open()

    assert upstream.calls[PATH] == 10


@pytest.mark.parametrize("status", [302, 400, 404, 422, 429])
def test_a_4xx_never_counts_as_a_failure(status: int) -> None:
    upstream = Upstream({PATH: ok({}, status)})
    service = upstream.service(replace(QUICK, breaker_failures=2))

    for _ in range(10):
        with pytest.raises((StatusFault, Throttled)):
            service.get_json(PATH, decode)

    assert upstream.calls[PATH] == 10
    assert not service.is_open()


def test_an_unusable_answer_never_counts_as_a_failure() -> None:
    upstream = Upstream({PATH: raw("<html>")})
    service = upstream.service(replace(QUICK, breaker_failures=2))

    for _ in range(5):
        with pytest.raises(UpstreamFault):
            service.get_json(PATH, decode)

    assert not service.is_open()


def test_exactly_one_of_eight_threads_probes_a_half_open_breaker() -> None:
    breaker = _breaker(failures=1, open_seconds=1e-6)
    with pytest.raises(UpstreamUnavailable):
        breaker.call(_fail)
    start, release = threading.Barrier(8), threading.Event()
    probes: list[str] = []
    refused: list[BreakerOpen] = []

    def probe() -> None:
        probes.append(threading.current_thread().name)
        assert release.wait(10)

    def caller() -> None:
        start.wait(10)
        try:
            breaker.call(probe)
        except BreakerOpen as exc:
            refused.append(exc)
            if len(refused) == 7:
                release.set()  # everybody else has been turned away while the probe was under way

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert (len(probes), len(refused)) == (1, 7)
    assert all(error.retry_after is None and "a probe is under way" in str(error) for error in refused)
    assert breaker.call(lambda: "closed again") == "closed again"


def test_calls_run_side_by_side_while_the_breaker_is_closed() -> None:
    breaker = _breaker()
    together = threading.Barrier(4)  # broken, and the test failed, unless all four are inside at once

    threads = [threading.Thread(target=breaker.call, args=(lambda: together.wait(10),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert not together.broken
    assert not breaker.is_open()


def test_a_failed_probe_opens_the_breaker_again() -> None:
    breaker = _breaker(failures=2, open_seconds=1e-6)
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            breaker.call(_fail)
    assert breaker.is_open()

    with pytest.raises(UpstreamUnavailable):
        breaker.call(_fail)

    assert breaker.is_open()


def test_a_probe_without_a_free_connection_says_nothing_about_the_upstream() -> None:
    def no_connection() -> None:
        raise NoFreeConnection("accounting", "pool")

    breaker = _breaker(failures=1, open_seconds=1e-6)
    with pytest.raises(UpstreamUnavailable):
        breaker.call(_fail)

    with pytest.raises(NoFreeConnection):
        breaker.call(no_connection)

    assert breaker.call(lambda: 1) == 1
    assert not breaker.is_open()


def _fail() -> None:
    raise UpstreamUnavailable("accounting", "out")


# ------------------------------------------------------------------------------------------------ for real


def test_a_refused_connection_is_unavailable_and_not_a_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    service = HttpService("pricing", f"http://127.0.0.1:{port}", replace(QUICK, retries=0))

    with pytest.raises(UpstreamUnavailable, match="ConnectError"):
        service.get_json(PATH, decode)

    service.close()


def test_the_environment_does_not_reroute_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    monkeypatch.setenv("ALL_PROXY", "http://proxy.invalid:1")

    service = HttpService("pricing", "http://127.0.0.1:1", replace(QUICK, retries=0))

    with pytest.raises(
        UpstreamUnavailable, match="ConnectError"
    ):  # refused on loopback: nobody looked for the proxy
        service.get_json(PATH, decode)
    service.close()
