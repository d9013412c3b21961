"""The port for Prometheus beside a process that serves nothing else."""

import socket
import time
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from adapters.metrics.listener import MetricsListener
from domain.errors import Invalid
from tests.support.waiting import eventually


@pytest.fixture
def listener() -> Iterator[MetricsListener]:
    listener = MetricsListener("127.0.0.1", 0)
    yield listener
    listener.close()


def page(_environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"trimtab_up 1\n"]


def asked(listener: MetricsListener) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{listener.port}/metrics", timeout=10) as answer:
        return bytes(answer.read())


def test_it_answers_with_the_page_and_tidies_before_it(listener: MetricsListener) -> None:
    tidied: list[float] = []
    listener.serve(page, tidy=lambda: tidied.append(time.monotonic()))

    assert asked(listener) == asked(listener) == b"trimtab_up 1\n"
    assert len(tidied) == 2


def test_it_tidies_though_nobody_asks(listener: MetricsListener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.metrics.listener.TIDY_SECONDS", 0.5)
    tidied: list[float] = []
    listener.serve(page, tidy=lambda: tidied.append(time.monotonic()))

    eventually(lambda: len(tidied), lambda n: n >= 1, seconds=10)


def test_who_asks_for_nonsense_or_hangs_up_stops_nobody(
    listener: MetricsListener, capfd: pytest.CaptureFixture[str]
) -> None:
    listener.serve(page)
    for words in (b"\xff\xfe\r\n\r\n", b"", b"GET / HTTP/9.9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as caller:
            caller.sendall(words)

    assert asked(listener) == b"trimtab_up 1\n"
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_that_is_taken_is_told_at_once(listener: MetricsListener) -> None:
    with pytest.raises(Invalid, match=f"port {listener.port} for metrics: .*in use") as refused:
        MetricsListener("127.0.0.1", listener.port)
    assert refused.value.code == "metrics_port"


def test_a_child_that_lets_go_leaves_the_port_to_its_parent() -> None:
    listener = MetricsListener("::1", 0)
    listener.leave()
    listener.close()
