"""The sandbox on a real loopback port, in a thread with a loop of its own."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import uvicorn

from adapters.sandbox.app import create_app
from adapters.sandbox.book import Book
from adapters.sandbox.faults import Faults
from tests.support.plain_http import request

_START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SandboxServer:
    """``url`` has no slash at its end."""

    url: str
    book: Book

    def set_faults(self, faults: Faults) -> None:
        request("PUT", f"{self.url}/sandbox/faults", msgspec.json.encode(faults))

    def calls(self) -> dict[str, int]:
        """Calls since the last reset, by route (``GET /api/v1/prices``)."""
        answer = msgspec.json.decode(request("GET", f"{self.url}/sandbox/calls"))
        routes: dict[str, int] = answer["routes"]
        return routes

    def reset_calls(self) -> None:
        request("DELETE", f"{self.url}/sandbox/calls")


@contextmanager
def running_sandbox(book: Book, faults: Faults | None = None) -> Iterator[SandboxServer]:
    """Serve the book until the block ends; the thread is gone and the port closed when this returns."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(book, faults),
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,  # a request that hangs on purpose does not hold the shutdown up
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        request(
            "GET", f"{url}/health", timeout=_START_SECONDS
        )  # the socket listens already: this waits for the loop
        yield SandboxServer(url, book)
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)
        listener.close()
        assert not thread.is_alive(), "the sandbox did not stop"
