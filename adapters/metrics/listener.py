"""A port for Prometheus beside a process that serves nothing else.

Nothing here imports prometheus_client: a worker has to know its port before that is imported (see `files`).
"""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from domain.errors import Invalid

ANSWER_SECONDS = 5.0  # who asks and does not read holds up the next one for so long
TIDY_SECONDS = 10.0
_TURN_SECONDS = 0.25  # how soon it notices that it shall end

Page: TypeAlias = Callable[[Any, Any], Iterable[bytes]]  # a WSGI application


class MetricsListener:
    """Bound at once, so that a port that is taken keeps the process from starting; served later, by one thread.

    One thread for everything: what it tidies between two questions cannot meet an answer that is being written.
    """

    def __init__(self, host: str, port: int) -> None:
        """Port 0: any that is free.

        Raises:
            Invalid: nobody can listen there.
        """
        try:
            self._server = _Server(host, port)
        except OSError as error:
            raise Invalid(
                f"cannot listen on {host} port {port} for metrics: {error.strerror or error}",
                code="metrics_port",
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return self._server.server_port

    def serve(self, page: Page, *, tidy: Callable[[], None] = lambda: None) -> None:
        """Answer every question with the page; ``tidy`` is called before each, and every TIDY_SECONDS."""
        self._server.begin(page, tidy)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_TURN_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    def leave(self) -> None:
        """In a child that was forked: the port is its parent's."""
        self._server.socket.close()

    def close(self) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(ANSWER_SECONDS)
        self._server.server_close()


class _Server(WSGIServer):
    def __init__(self, host: str, port: int) -> None:
        self._tidy: Callable[[], None] = lambda: None
        self._turns = 0
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def begin(self, page: Page, tidy: Callable[[], None]) -> None:
        def tidied(environ: Any, start_response: Any) -> Iterable[bytes]:  # noqa: ANN401 - WSGI's own shapes
            tidy()
            return page(environ, start_response)

        self._tidy = tidy
        self.set_app(tidied)

    def server_bind(self) -> None:
        """As its base class does, without asking the name service who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def service_actions(self) -> None:
        self._turns = (self._turns + 1) % round(TIDY_SECONDS / _TURN_SECONDS)
        if self._turns == 0:
            self._tidy()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's
        """Who hung up, or asked in no known language, is no news."""


class _Handler(WSGIRequestHandler):
    timeout = ANSWER_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """A line for every scrape would be the most of the log."""
