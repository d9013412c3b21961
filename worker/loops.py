"""The processes that are loops of ours: the steward, and a web server that stops when told to."""

import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import structlog
import uvicorn
from starlette.types import ASGIApp

from config.settings import Settings
from domain.errors import StoreUnavailable
from domain.ports import JobStore
from tasks.services import Services
from tasks.steward import Steward

log = structlog.get_logger(__name__)

OPENING_THREADS = 4
STORE_OUT_WAIT_MAX_SECONDS = 5.0


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set: a loop ends at its next turn, with nothing half done."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def prepare_store(jobs: JobStore, stop: threading.Event) -> None:
    """Create what is missing in the store. A process may start before its store: it waits, longer each time."""
    wait = 0.5
    while not stop.is_set():
        try:
            jobs.prepare()
        except StoreUnavailable as error:
            log.warning("store.not_there_yet", error=str(error), again_in_seconds=wait)
            stop.wait(wait)
            wait = min(wait * 2, STORE_OUT_WAIT_MAX_SECONDS)
        else:
            return


def run_steward(services: Services, tick_seconds: float, stop: threading.Event) -> None:
    """Tick until told to stop. A store that is out makes it wait, longer each time, and never ends it."""
    wait = tick_seconds
    with ThreadPoolExecutor(OPENING_THREADS, thread_name_prefix="open-job") as opening:
        steward = Steward(services, opening)
        while not stop.wait(wait):
            try:
                steward.tick()
                wait = tick_seconds
            except StoreUnavailable as error:
                wait = min(wait * 2, STORE_OUT_WAIT_MAX_SECONDS)
                log.warning("steward.store_out", error=str(error), again_in_seconds=wait)


def serve(app: ASGIApp, settings: Settings, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; on the socket handed down where there is one."""
    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, server_header=False)
    )
    if settings.listen_fd is None:
        server.run()
    else:
        server.run(sockets=[socket.socket(fileno=settings.listen_fd)])
