"""One upstream service over HTTP. The only module that imports httpx.

Three layers, from the inside out: `HttpService.fetch` is one GET; the breaker decides whether it is made at
all; retries stand around both and end at once when the breaker opens. An operation may make several fetches:
it is retried and counted as a whole (`HttpService.run`).

Requests go to httpx's pooled transport directly: what ``httpx.Client`` adds (redirects, cookies, proxies from the
environment, event hooks) is not wanted here and costs more than the request itself.
"""

import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar
from urllib.parse import quote

import httpx
import stamina

from adapters.upstream.breaker import Breaker, ConsecutiveFailuresBreaker
from adapters.upstream.errors import (
    BreakerOpen,
    NoFreeConnection,
    NotThere,
    ServerError,
    StatusFault,
    Throttled,
    TimedOut,
)
from adapters.upstream.options import HttpOptions
from adapters.upstream.watch import ANSWERED, NOBODY_WATCHES, CallWatch, end_of
from domain.errors import UpstreamFault, UpstreamUnavailable

T = TypeVar("T")
Decode = Callable[[bytes], T]
Params = Mapping[str, str | int]
Correlation = Callable[[], str | None]

_SHOWN = 120  # characters of a bad answer that are quoted
_HEADER_SAFE = "!#$&'()*+,/:;=?@[]|"

# What each httpx error means. The most specific entry wins, so a leaf stands for itself and the roots catch
# what a later httpx may add (a test fails until it has an entry of its own).
TRANSLATION: Mapping[type[Exception], type[UpstreamUnavailable] | type[UpstreamFault]] = {
    httpx.ConnectTimeout: TimedOut,
    httpx.ReadTimeout: TimedOut,
    httpx.WriteTimeout: TimedOut,
    httpx.PoolTimeout: NoFreeConnection,
    httpx.ConnectError: UpstreamUnavailable,
    httpx.ReadError: UpstreamUnavailable,
    httpx.WriteError: UpstreamUnavailable,
    httpx.CloseError: UpstreamUnavailable,
    httpx.RemoteProtocolError: UpstreamUnavailable,  # also: the connection was cut in the middle of an answer
    httpx.ProxyError: UpstreamUnavailable,
    # From here on: our own mistake or an answer that makes no sense. Another try would end the same way.
    httpx.LocalProtocolError: UpstreamFault,
    httpx.UnsupportedProtocol: UpstreamFault,
    httpx.DecodingError: UpstreamFault,
    httpx.TooManyRedirects: UpstreamFault,
    httpx.HTTPStatusError: UpstreamFault,
    httpx.InvalidURL: UpstreamFault,
    httpx.CookieConflict: UpstreamFault,
    httpx.StreamConsumed: UpstreamFault,
    httpx.StreamClosed: UpstreamFault,
    httpx.ResponseNotRead: UpstreamFault,
    httpx.RequestNotRead: UpstreamFault,
    httpx.TransportError: UpstreamUnavailable,
    httpx.HTTPError: UpstreamFault,
    httpx.StreamError: UpstreamFault,
}
_TRANSLATED = tuple(TRANSLATION)

# A kept-alive connection that the server closed while it lay idle shows as one of these before any answer.
_CUT = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)

_NOT_RETRIED = (BreakerOpen, Throttled)

_NO_BODY = httpx.ByteStream(b"")


@contextmanager
def translated(service: str, path: str) -> Iterator[None]:
    """Every httpx error leaves here as UpstreamUnavailable or UpstreamFault, naming the service and the path."""
    try:
        yield
    except _TRANSLATED as exc:
        meaning = next(TRANSLATION[kind] for kind in type(exc).__mro__ if kind in TRANSLATION)
        detail = str(exc) or "no further word"
        raise meaning(service, f"GET {path}: {type(exc).__name__}: {detail}") from exc


def segment(value: str) -> str:
    """An id as one segment of a path: it brings no slash and no query of its own."""
    return quote(value, safe="")


class HttpService:
    """A named upstream with one pooled connection set, retries and a breaker.

    Open one per process and service, after any fork, and `close` it at the end. Environment variables (proxies,
    certificate files) are not looked at: what is not in the options does not apply.

    Args:
        name: the service's name in errors, logs and metrics.
        base_url: ``http(s)://host[:port][/prefix]``; ``user:password@`` becomes basic authentication.
        options: times, retries, breaker numbers, pool, TLS.
        correlation: asked once per request for the correlation id to pass on; None or "" sends no header.
        transport: stands in for the network (tests).
        breaker: stands in for the service's own breaker.
        watch: is told how each call ends and what the breaker does.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        options: HttpOptions,
        *,
        correlation: Correlation | None = None,
        transport: httpx.BaseTransport | None = None,
        breaker: Breaker | None = None,
        watch: CallWatch = NOBODY_WATCHES,
    ) -> None:
        self.name = name
        self._options = options
        self._correlation = correlation
        self._watch = watch
        self._breaker: Breaker = breaker or ConsecutiveFailuresBreaker(
            name, failures=options.breaker_failures, open_seconds=options.breaker_open, watch=watch
        )
        with translated(name, "/"):
            base = httpx.URL(base_url)
            prefix = base.raw_path.partition(b"?")[0].rstrip(b"/")
            self._root = httpx.URL(f"{base.scheme}://{base.netloc.decode('ascii')}")
            self._prefix = prefix.decode("ascii")
            self._headers = httpx.Headers(_headers(base, options))
            self._timeouts = _timeouts(options)
            if base.scheme not in {"http", "https"} or not base.host:
                raise httpx.UnsupportedProtocol(f"{base.scheme!r}: give http://host or https://host")
            self._transport = transport or _open_transport(base_url, options)

    def get_json(self, path: str, decode: Decode[T], params: Params | None = None) -> T:
        """GET a JSON document, with retries on connection errors, time-outs and 5xx.

        Args:
            path: absolute, below the base URL; ids in it quoted with `segment`.
            decode: turns the body into what is wanted, every number exact; a ValueError it raises becomes an
                UpstreamFault.
            params: the query.

        Raises:
            UpstreamUnavailable: out of reach after the retries, a 5xx, a 429, or the breaker is open.
            NotThere: a 404.
            StatusFault: any other 3xx or 4xx.
            UpstreamFault: the body is not what is wanted, or too large.
        """
        return self.run(lambda: self.fetch(path, decode, params))

    def run(self, operation: Callable[[], T]) -> T:
        """Run an operation made of `fetch` calls under the breaker and the retries, counted as one.

        Whatever the operation does with the errors of single fetches stays its own business: only what it
        raises itself is retried or counted.
        """
        begun = monotonic()
        try:
            return self._breaker.call(operation)
        except UpstreamUnavailable as failure:
            left = self._options.retry_total - (monotonic() - begun)
            if left <= 0 or not self._worth_another_try(failure):
                raise
            return self._once_more(operation, failure, left)

    def fetch(self, path: str, decode: Decode[T], params: Params | None = None) -> T:
        """One GET: no retry, no breaker. For use inside `run`; raises as `get_json` does."""
        begun = monotonic()
        try:
            answer = self._fetched(path, decode, params, begun + self._options.answer_total)
        except (UpstreamUnavailable, UpstreamFault) as error:
            self._watch.called(self.name, end_of(error), monotonic() - begun)
            raise
        self._watch.called(self.name, ANSWERED, monotonic() - begun)
        return answer

    def is_open(self) -> bool:
        """Whether the breaker keeps calls from this service at the moment."""
        return self._breaker.is_open()

    def close(self) -> None:
        """Close every connection. Harmless when repeated."""
        self._transport.close()

    # ---------------------------------------------------------------------------------------------

    def _fetched(self, path: str, decode: Decode[T], params: Params | None, deadline: float) -> T:
        with translated(self.name, path):
            response = self._send(path, params)
            try:
                body = self._read(response, path, deadline)
            finally:
                response.close()
        self._check_status(response, path, body)
        try:
            return decode(body)
        except (ValueError, RecursionError) as exc:
            raise UpstreamFault(
                self.name, f"{_told(response, path)}, not the JSON that is wanted ({exc}){_excerpt(body)}"
            ) from exc

    def _send(self, path: str, params: Params | None) -> httpx.Response:
        request = httpx.Request(
            "GET",
            self._root,
            headers=self._sent_headers(),
            stream=_NO_BODY,
            extensions={"timeout": self._timeouts, "target": self._target(path, params)},
        )
        try:
            return self._transport.handle_request(request)
        except _CUT:
            # A GET may be repeated, and a server that recycles its workers is not out: once more, at once,
            # before this counts as a failed try.
            return self._transport.handle_request(request)

    def _target(self, path: str, params: Params | None) -> bytes:
        """What is asked for, as it is sent. As a part of a URL it would be taken apart and put together again."""
        target = f"{self._prefix}{path}"
        return f"{target}?{httpx.QueryParams(params)}".encode() if params else target.encode()

    def _sent_headers(self) -> httpx.Headers:
        correlation_id = self._correlation() if self._correlation else None
        if not correlation_id:
            return self._headers
        headers = self._headers.copy()
        # It came from outside: what a header cannot carry is percent-encoded.
        headers[self._options.correlation_header] = quote(correlation_id, safe=_HEADER_SAFE)
        return headers

    def _read(self, response: httpx.Response, path: str, deadline: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._options.max_bytes:
                raise UpstreamFault(
                    self.name, f"{_told(response, path)} with more than {self._options.max_bytes} bytes"
                )
            if monotonic() > deadline:
                raise TimedOut(
                    self.name,
                    f"{_told(response, path)}, but not complete after {self._options.answer_total:g} s",
                )
        return bytes(body)

    def _check_status(self, response: httpx.Response, path: str, body: bytes) -> None:
        if response.is_success:
            return
        status = response.status_code
        told = f"{_told(response, path)}{_excerpt(body)}"
        if status == httpx.codes.NOT_FOUND:
            raise NotThere(self.name, told, status)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise Throttled(self.name, told)
        if response.is_server_error:
            raise ServerError(self.name, told, status)
        raise StatusFault(self.name, told, status)

    def _once_more(self, operation: Callable[[], T], failure: UpstreamUnavailable, seconds: float) -> T:
        """The retries, for as long as ``seconds``: made ready here, since nearly no call needs them.

        The first of their tries has been made. It ended with ``failure``, and so the wait after it comes first.
        """
        failures = [failure]

        def call() -> T:
            if failures:
                raise failures.pop()
            return self._breaker.call(operation)

        return _retries(self._options, seconds)(self._worth_another_try, call)

    def _worth_another_try(self, error: Exception) -> bool:
        return (
            isinstance(error, UpstreamUnavailable)
            and not isinstance(error, _NOT_RETRIED)
            and not self._breaker.is_open()  # this failure opened it: waiting for the refusal helps nobody
        )


def _retries(options: HttpOptions, seconds: float) -> stamina.RetryingCaller:
    longest = options.retry_wait * 2 ** max(options.retries - 1, 0)
    return stamina.RetryingCaller(
        attempts=options.retries + 1,
        timeout=seconds,
        wait_initial=options.retry_wait,
        wait_exp_base=2,
        wait_jitter=options.retry_jitter,
        wait_max=longest + options.retry_jitter,  # a lower ceiling would cut the last wait's jitter off
    )


def _open_transport(base_url: str, options: HttpOptions) -> httpx.HTTPTransport:
    return httpx.HTTPTransport(
        verify=tls_context(base_url, options),
        limits=httpx.Limits(
            max_connections=options.pool_size,
            max_keepalive_connections=options.pool_size,
            keepalive_expiry=options.keepalive,
        ),
        trust_env=False,
    )


def _headers(base: httpx.URL, options: HttpOptions) -> Mapping[str, str]:
    headers = {
        "Host": base.netloc.decode("ascii"),
        "User-Agent": options.user_agent,
        "Accept": "application/json",
        # Uncompressed: inside a data centre it is quicker, and the size limit means what it says.
        "Accept-Encoding": "identity",
    }
    if base.username or base.password:
        credentials = b64encode(f"{base.username}:{base.password}".encode()).decode("ascii")
        headers["Authorization"] = f"Basic {credentials}"
    return headers


def _timeouts(options: HttpOptions) -> Mapping[str, float]:
    """Seconds of each step, as an httpx transport takes them."""
    return {
        "connect": options.connect,
        "read": options.read,
        "write": options.write,
        "pool": options.pool,
    }


def tls_context(base_url: str, options: HttpOptions) -> ssl.SSLContext:
    """Whom a service at this URL must be vouched for by, and what is shown to it."""
    if not base_url.startswith("https:"):
        # Never used; this one is made at once (loading the authorities takes 20 ms) and trusts nobody.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if options.verify_tls and options.ca_file is not None:
        context = ssl.create_default_context(cafile=options.ca_file)
    else:
        context = httpx.create_ssl_context(verify=options.verify_tls, trust_env=False)
    if options.cert_file is not None:
        context.load_cert_chain(options.cert_file, options.key_file)
    return context


def _told(response: httpx.Response, path: str) -> str:
    content_type = response.headers.get("content-type", "no content type")
    return f"GET {path}: {response.status_code} ({content_type})"


def _excerpt(body: bytes) -> str:
    if not body:
        return "; the body is empty"
    return f"; it begins {body[:_SHOWN].decode('utf-8', 'replace')!r}"
