"""The whole stack as threads of one process, on ``memory://``: for platforms without a server binary.

It shows the pipeline at work; it cannot show crash recovery, and nothing outside this process can reach its broker.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Self

import uvicorn
from celery import Celery
from kombu import Connection
from starlette.types import ASGIApp

from adapters.inbound.api import ApiOptions
from adapters.inbound.api import create_app as create_api
from adapters.inbound.cli.wiring import BookOptions
from adapters.inbound.page import page_router
from adapters.sandbox.app import create_app as create_sandbox
from adapters.sandbox.book import Book
from config.settings import Settings, load_settings
from worker.celery_app import create_sending_app, create_worker_app
from worker.children import wait_until
from worker.container import build_services
from worker.loops import run_steward

MEMORY = "memory://"
READY_SECONDS = 30.0


class InProcessStack:
    """Starts on entering, stops on leaving; what `worker.stack.Stack` offers, for one process."""

    def __init__(self, state_dir: Path, book: BookOptions, *, settings: dict[str, str]) -> None:
        self.state_dir = state_dir
        self.settings = settings
        self.api_url = ""
        self._book = book
        self._held = ExitStack()
        self._order_sets: dict[str, Mapping[str, Any]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as held:
            self._start(held)
            self._held = held.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._held.close()

    def watch(self, stop: threading.Event) -> None:
        stop.wait()

    def order_sets(self) -> Mapping[str, Mapping[str, Any]]:
        """What has come out of the queue so far, by id."""
        with Connection(MEMORY) as connection, closing(connection.SimpleQueue("trimtab.order-sets")) as queue:
            while queue.qsize():
                message = queue.get()
                self._order_sets[str(message.properties["message_id"])] = message.payload
                message.ack()
        return self._order_sets

    # Each part is stopped, and waited for, in reverse order of its start.

    def _start(self, held: ExitStack) -> None:
        book = Book.generate(
            self._book.portfolios, self._book.securities, seed=self._book.seed, prices=self._book.prices
        )
        sandbox_url = _serve(create_sandbox(book), held)
        services_urls = {
            f"{name}_url": sandbox_url for name in ("pricing", "securities", "accounting", "portfolios")
        }
        self.settings.update(services_urls, state_dir=str(self.state_dir), broker_url=MEMORY)
        settings = load_settings(
            **self.settings, worker_pool="solo", worker_concurrency=1, sqlite_synchronous="off"
        )
        services = held.enter_context(build_services(settings, create_sending_app(settings)))
        services.jobs.prepare()
        stop = threading.Event()
        options = ApiOptions(version="in-process", hosts={"127.0.0.1"}, leaving=stop.is_set)
        self.api_url = _serve(create_api(services, options, beside=[page_router(services, options)]), held)
        _run("steward", partial(run_steward, services, settings.steward_tick_seconds, stop), stop.set, held)
        _work(create_worker_app(settings), settings, held)


def _run(name: str, target: Callable[[], object], stop: Callable[[], object], held: ExitStack) -> None:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    held.callback(thread.join, 20)
    held.callback(stop)


def _serve(app: ASGIApp, held: ExitStack) -> str:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))

    def stop() -> None:
        server.should_exit = True

    _run("web", partial(server.run, sockets=[listener]), stop, held)
    wait_until(lambda: server.started, seconds=READY_SECONDS)
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _work(app: Celery, settings: Settings, held: ExitStack) -> None:
    app.set_default()  # a pool without processes looks its tasks up in the default application
    worker = app.WorkController(
        pool_cls="solo",
        concurrency=1,
        queues=[settings.task_queue],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    _run("worker", worker.start, worker.stop, held)
