"""The connections to an upstream, against a server that says exactly the bytes a test wants."""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from adapters.upstream.wire import WireTransport

TIMES = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"
CLOSE = b""  # in a script: the server closes the connection here


@dataclass
class Scripted:
    """Each accepted connection answers request after request with the next script: parts, sent one by one."""

    port: int
    scripts: list[Sequence[bytes]]
    heads: list[bytes] = field(default_factory=list)
    accepted: int = 0

    def serve(self, listener: socket.socket, stop: threading.Event) -> None:
        with listener:
            while not stop.is_set():
                ready, _, _ = select.select([listener], [], [], 0.02)
                if ready:
                    peer, _ = listener.accept()
                    self.accepted += 1
                    with peer:
                        self._converse(peer, stop)

    def _converse(self, peer: socket.socket, stop: threading.Event) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not stop.is_set() and self.scripts:
            ready, _, _ = select.select([peer], [], [], 0.02)
            if not ready:
                continue
            head = peer.recv(65536)
            if not head:
                return
            self.heads.append(head)
            for part in self.scripts.pop(0):
                if part == CLOSE:
                    return
                peer.sendall(part)


@contextmanager
def scripted(*scripts: Sequence[bytes]) -> Iterator[Scripted]:
    listener, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()
    server = Scripted(listener.getsockname()[1], list(scripts))
    thread = threading.Thread(target=server.serve, args=(listener, stop), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def transport_to(port: int, *, size: int = 2, keepalive: float = 5.0) -> Iterator[WireTransport]:
    with WireTransport(
        httpx.URL(f"http://127.0.0.1:{port}"), NO_TLS, size=size, keepalive=keepalive
    ) as transport:
        yield transport


def get(transport: WireTransport, path: str = "/thing", **times: float) -> httpx.Response:
    """The response, its body still to be read."""
    request = httpx.Request("GET", f"http://host{path}", extensions={"timeout": {**TIMES, **times}})
    return transport.handle_request(request)


def read(transport: WireTransport, path: str = "/thing", **times: float) -> bytes:
    response = get(transport, path, **times)
    try:
        return b"".join(response.iter_raw())
    finally:
        response.close()


# ------------------------------------------------------------------------------------------------ what is said


def test_the_request_is_a_plain_get_with_its_headers_and_no_more() -> None:
    with scripted([HELLO]) as server, transport_to(server.port) as transport:
        request = httpx.Request(
            "GET", "http://host:81/a%20b?c=d", headers={"Accept": "x"}, extensions={"timeout": TIMES}
        )
        response = transport.handle_request(request)
        response.read()
        response.close()

    assert server.heads == [b"GET /a%20b?c=d HTTP/1.1\r\nHost: host:81\r\nAccept: x\r\n\r\n"]
    assert (response.status_code, response.headers["content-type"], response.text) == (
        200,
        "text/plain",
        "hello",
    )


def test_a_header_with_a_line_break_is_never_sent() -> None:
    with scripted([HELLO]) as server, transport_to(server.port) as transport:
        request = httpx.Request(
            "GET", "http://host/", headers=[(b"X", b"a\r\nEvil: 1")], extensions={"timeout": TIMES}
        )
        with pytest.raises(httpx.LocalProtocolError):
            transport.handle_request(request)
        assert server.heads == []


@pytest.mark.parametrize(
    "answer",
    [
        [HELLO],
        [HELLO[i : i + 1] for i in range(len(HELLO))],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", b"lo\r\n", b"0\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", HELLO],
        [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HELLO],
    ],
    ids=["whole", "byte by byte", "chunked", "chunked in parts", "after 100", "after 103"],
)
def test_a_body_arrives_whole_and_the_connection_is_used_again(answer: Sequence[bytes]) -> None:
    with scripted(answer, [HELLO]) as server, transport_to(server.port) as transport:
        assert (read(transport), read(transport)) == (b"hello", b"hello")
        assert (server.accepted, transport.opened, transport.idle) == (1, 1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        [b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", CLOSE],
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", CLOSE],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", CLOSE],
        [HELLO + HELLO, CLOSE],
    ],
    ids=["until it closes", "close", "1.0", "more than asked"],
)
def test_a_connection_that_cannot_be_trusted_again_is_closed(answer: Sequence[bytes]) -> None:
    with scripted(answer, [HELLO]) as server, transport_to(server.port) as transport:
        assert read(transport) == b"hello"
        assert transport.idle == 0
        assert read(transport) == b"hello"
        assert server.accepted == 2


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_status_without_a_body_ends_at_once(status: bytes) -> None:
    with scripted([b"HTTP/1.1 " + status + b"\r\n\r\n"]) as server, transport_to(server.port) as transport:
        assert read(transport) == b""


# ------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ([CLOSE], "without an answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-", CLOSE], "without an answer"),
        ([HELLO[:-2], CLOSE], "in the middle"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", CLOSE], "in the middle"),
        ([b"220 mail.example ESMTP\r\n"], "not HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], "not HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"], "not HTTP"),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"], "not HTTP"),
        ([b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 20_000], "a head of more than"),
    ],
    ids=[
        "nothing",
        "half a head",
        "half a body",
        "half a chunk",
        "mail",
        "length",
        "two",
        "upgrade",
        "endless",
    ],
)
def test_an_answer_that_is_none_is_a_protocol_error_and_gives_its_place_back(
    answer: Sequence[bytes], cause: str
) -> None:
    with scripted(answer, [HELLO]) as server, transport_to(server.port, size=1) as transport:
        with pytest.raises(httpx.RemoteProtocolError, match=cause):
            read(transport)
        assert transport.idle == 0
        assert read(transport, pool=5.0) == b"hello"


def test_silence_is_a_read_time_out() -> None:
    with (
        scripted([], [HELLO]) as server,
        transport_to(server.port) as transport,
        pytest.raises(httpx.ReadTimeout),
    ):
        read(transport, read=0.05)


def test_a_reset_is_a_read_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        transport_to(listener.getsockname()[1]) as transport,
    ):

        def reset() -> None:
            peer, _ = listener.accept()
            peer.recv(65536)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close() sends RST
            peer.close()

        thread = threading.Thread(target=reset)
        thread.start()
        with pytest.raises(httpx.ReadError):
            read(transport)
        thread.join(10)


def test_a_request_nobody_takes_is_a_write_time_out() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        transport_to(listener.getsockname()[1]) as transport,
    ):
        path = "/" + "x" * 16_000_000  # more than the buffers of both sides hold
        request = httpx.Request("GET", "http://host/", extensions={"timeout": {**TIMES, "write": 0.05}})
        request.headers["X"] = path
        with pytest.raises(httpx.WriteTimeout):
            transport.handle_request(request)


def test_a_connection_that_cannot_be_made_in_time_is_a_connect_time_out() -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(8)]
    try:
        for each in waiting:  # nobody accepts: the queue fills, and a further handshake is not answered
            each.settimeout(0.0)
            each.connect_ex(full.getsockname())
        with transport_to(full.getsockname()[1]) as transport, pytest.raises(httpx.ConnectTimeout):
            read(transport, connect=0.05)
    finally:
        for each in (*waiting, full):
            each.close()


def test_a_handshake_that_fails_is_a_connect_error() -> None:
    with scripted([b"this is no TLS\r\n", CLOSE]) as server:
        url = httpx.URL(f"https://127.0.0.1:{server.port}")
        with (
            WireTransport(url, ssl.create_default_context(), size=1, keepalive=5.0) as transport,
            pytest.raises(httpx.ConnectError),
        ):
            read(transport)


# ------------------------------------------------------------------------------------------------ the pool


def test_an_idle_connection_that_the_server_closed_is_not_used() -> None:
    with scripted([HELLO, CLOSE], [HELLO]) as server, transport_to(server.port) as transport:
        assert read(transport) == b"hello"
        _wait_for(lambda: not transport._idle[0].silent())

        assert read(transport) == b"hello"
        assert (server.accepted, transport.idle) == (2, 1)


def test_an_idle_connection_grows_too_old() -> None:
    with scripted([HELLO], [HELLO]) as server, transport_to(server.port, keepalive=-1.0) as transport:
        assert (read(transport), read(transport)) == (b"hello", b"hello")
        assert transport.opened == 2


def test_no_more_connections_than_allowed_and_the_wait_for_one_ends() -> None:
    with scripted([HELLO], [HELLO]) as server, transport_to(server.port, size=1) as transport:
        held = get(transport)

        with pytest.raises(httpx.PoolTimeout):
            get(transport, pool=0.02)

        held.close()  # unread: its connection cannot be used again, but its place can
        assert read(transport) == b"hello"


def test_a_response_closed_twice_gives_one_place_back() -> None:
    with scripted([HELLO], [HELLO]) as server, transport_to(server.port, size=1) as transport:
        response = get(transport)
        response.read()
        response.close()
        response.stream.close()  # type: ignore[union-attr]  # a sync stream

        assert transport.idle == 1


def test_what_is_in_use_while_it_closes_is_closed_afterwards() -> None:
    with scripted([HELLO]) as server, transport_to(server.port) as transport:
        response = get(transport)
        transport.close()
        assert response.read() == b"hello"
        response.close()

        assert transport.idle == 0
        with pytest.raises(httpx.ConnectError, match="closed"):
            get(transport)


def _wait_for(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(500):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it never came to that")
