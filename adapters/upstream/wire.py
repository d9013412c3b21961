"""One upstream's connections: an httpx transport for plain GETs that costs a tenth of httpx's own.

httpx's pool spends 0.3 ms of CPU on a request of 7 KB over a kept-alive connection, most of it in layers that a GET
to a known host does not need; this one spends 0.04 ms (docs/performance.md). The parser is llhttp (``httptools``,
which uvicorn reads requests with). It keeps httpx's seam: any other ``httpx.BaseTransport`` can stand in its
place, and what it raises are httpx's errors, so that there is one table of what they mean (http.py).

What it does not do: proxies, HTTP/2, request bodies.
"""

import selectors
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

import httptools
import httpx

_CHUNK = 64 * 1024
_MOST_HEAD_BYTES = 100 * 1024  # as much as httpx's own parser takes
_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
_INFORMATIONAL = range(100, 200)
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # not every system has poll


class WireTransport(httpx.BaseTransport):
    """At most ``size`` connections to one origin; idle ones are used again for ``keepalive`` seconds.

    For several threads. Open it after any fork.

    Args:
        origin: scheme, host and port; the rest of it is not looked at.
        tls: for ``https``.
        size: connections at once, the idle ones included.
        keepalive: seconds an idle connection may be used again.

    Raises:
        httpx.UnsupportedProtocol: another scheme, or no host.
    """

    def __init__(self, origin: httpx.URL, tls: ssl.SSLContext, *, size: int, keepalive: float) -> None:
        if origin.scheme not in _PORTS or not origin.host:
            raise httpx.UnsupportedProtocol(f"{str(origin)!r}: give http://host or https://host")
        self._host = origin.host
        self._port = origin.port or _PORTS[origin.scheme]
        self._tls = tls if origin.scheme == "https" else None
        self._keepalive = keepalive
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[_Connection] = []  # append and pop are atomic; the last one used is the warmest
        self.closed = False
        self.opened = 0  # connections, since the beginning

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a GET; the body is read as the response is.

        Raises:
            httpx.TransportError: its subclasses, as httpx's own transport raises them.
        """
        times: Mapping[str, float] = request.extensions["timeout"]
        if not self._free.acquire(timeout=times["pool"]):
            raise httpx.PoolTimeout(f"no free connection within {times['pool']:g} s")
        connection = None
        try:
            connection = self._warm() or _Connection(self._connect(times["connect"]))
            connection.send(_head(request), times["write"])
            answer = _Answer(connection, times["read"])
            answer.read_head()
        except BaseException:
            self._give_back(connection, reusable=False)
            raise
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(self, connection, answer), request=request
        )

    def close(self) -> None:
        """Close what is idle; what is in use closes when its response does. Harmless when repeated."""
        self.closed = True
        while self._idle:
            self._idle.pop().close()

    @property
    def idle(self) -> int:
        """How many connections wait to be used again."""
        return len(self._idle)

    # ---------------------------------------------------------------------------------------------

    def _warm(self) -> "_Connection | None":
        """An idle connection that is young enough and that nobody has closed or written to meanwhile."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if monotonic() - connection.idle_since <= self._keepalive and connection.silent():
                return connection
            connection.close()

    def _connect(self, seconds: float) -> socket.socket:
        if self.closed:
            raise httpx.ConnectError("this client is closed")
        with _told_as(httpx.ConnectTimeout, httpx.ConnectError):
            plain = socket.create_connection((self._host, self._port), seconds)
            try:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.opened += 1
                return (
                    plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=self._host)
                )
            except BaseException:
                plain.close()
                raise

    def _give_back(self, connection: "_Connection | None", *, reusable: bool) -> None:
        if connection is not None:
            if reusable and not self.closed:
                connection.idle_since = monotonic()
                self._idle.append(connection)
            else:
                connection.close()
        self._free.release()


class _Connection:
    """A connected socket, and whether anything has come in while nobody asked."""

    __slots__ = ("_selector", "idle_since", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.idle_since = 0.0
        self._selector = _Selector()
        self._selector.register(sock, selectors.EVENT_READ)

    def send(self, head: bytes, seconds: float) -> None:
        with _told_as(httpx.WriteTimeout, httpx.WriteError):
            self.sock.settimeout(seconds)
            self.sock.sendall(head)

    def receive(self, seconds: float) -> bytes:
        with _told_as(httpx.ReadTimeout, httpx.ReadError):
            self.sock.settimeout(seconds)
            return self.sock.recv(_CHUNK)

    def silent(self) -> bool:
        """False: closed by the other side, or it sent what nobody asked for."""
        return not self._selector.select(0)

    def close(self) -> None:
        self._selector.close()
        self.sock.close()


class _Answer:
    """One response as it comes in. The ``on_`` methods are called by the parser."""

    def __init__(self, connection: _Connection, read_seconds: float) -> None:
        self._connection = connection
        self._read_seconds = read_seconds
        self._parser = httptools.HttpResponseParser(self)
        self._head_complete = False
        self._framed = False  # it says itself where it ends; otherwise it ends with the connection
        self._kept = True
        self._more_than_asked = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.complete = False
        self.parts: list[bytes] = []

    @property
    def reusable(self) -> bool:
        """Whether the connection stands where the next answer begins."""
        return self.complete and self._framed and self._kept and not self._more_than_asked

    def read_head(self) -> None:
        received = 0
        while not self._head_complete:
            received += self.read()
            if received > _MOST_HEAD_BYTES and not self._head_complete:
                raise httpx.RemoteProtocolError(f"a head of more than {_MOST_HEAD_BYTES} bytes")

    def read(self) -> int:
        """Take in what comes next, and say how many bytes that were."""
        data = self._connection.receive(self._read_seconds)
        if not data:
            self._end_with_connection()
            return 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise httpx.RemoteProtocolError(f"not HTTP: {error}") from error
        return len(data)

    def _end_with_connection(self) -> None:
        if not self._head_complete:
            raise httpx.RemoteProtocolError("the server closed the connection without an answer")
        if self._framed:
            raise httpx.RemoteProtocolError("the server closed the connection in the middle of its answer")
        self.complete = True

    # -- the parser's calls

    def on_message_begin(self) -> None:
        self._more_than_asked = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))
        name = name.lower()
        if name == b"content-length":
            self._framed = True
        elif name == b"transfer-encoding":
            self._framed = value.lower().endswith(b"chunked")
        elif name == b"connection":
            self._kept = b"close" not in value.lower()

    def on_headers_complete(self) -> None:
        if self._more_than_asked:
            return
        self.status = self._parser.get_status_code()
        self._head_complete = self.status not in _INFORMATIONAL
        self._kept = self._kept and self._parser.get_http_version() == "1.1"

    def on_body(self, part: bytes) -> None:
        if not self._more_than_asked:
            self.parts.append(part)

    def on_message_complete(self) -> None:
        if self._head_complete:
            self.complete = True
        else:
            self.headers.clear()  # of "100 Continue" and its like: the answer is still to come


class _Body(httpx.SyncByteStream):
    """The body of an answer, as it comes in. Closed, it gives its connection back."""

    def __init__(self, transport: WireTransport, connection: _Connection, answer: _Answer) -> None:
        self._transport = transport
        self._connection: _Connection | None = connection
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        answer = self._answer
        while True:
            parts, answer.parts = answer.parts, []
            yield from parts
            if answer.complete and not answer.parts:
                return
            answer.read()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport._give_back(connection, reusable=self._answer.reusable)  # noqa: SLF001  # they are one thing


def _head(request: httpx.Request) -> bytes:
    """The request as it goes out.

    Raises:
        httpx.LocalProtocolError: a header that would end before its end.
    """
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw]
    head = b"\r\n".join((*lines, b"", b""))
    if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1:
        raise httpx.LocalProtocolError("a line break inside a header")
    return head


@contextmanager
def _told_as(timeout: type[httpx.TransportError], other: type[httpx.TransportError]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise timeout("timed out") from error
    except OSError as error:
        raise other(str(error) or type(error).__name__) from error
