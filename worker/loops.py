"""The processes that are loops of ours: the steward, and a web server that stops when told to."""

import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from queue import Empty, SimpleQueue
from types import FrameType
from typing import ParamSpec, TypeAlias, TypeVar

import structlog
import uvicorn
from starlette.types import ASGIApp

from config.settings import Settings
from domain.errors import StoreUnavailable
from domain.ports import JobStore
from tasks.scheduler import Scheduler
from tasks.services import Services
from tasks.steward import Steward
from worker.alive import EVERY_SECONDS, LoopsStop, SignOfLife

log = structlog.get_logger(__name__)

OPENING_THREADS = 4
STORE_OUT_WAIT_MAX_SECONDS = 5.0

_P = ParamSpec("_P")
_T = TypeVar("_T")


def stop_on_signals(life: SignOfLife | None = None) -> threading.Event:
    """An event that SIGTERM and SIGINT set: a loop ends at its next turn, with nothing half done.

    ``life`` is given whenever the loop asks for it.
    """
    stop = LoopsStop(life or SignOfLife(None))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.set_by_signal)
    return stop


def exit_on_sigterm() -> None:
    """For the start of a process with signals of its own later: until then nothing is in hand."""

    def leave(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)


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


# How a round ended (``ok``, ``store_out``, ``failed``) and how many seconds it took.
RoundEnded: TypeAlias = Callable[[str, float], None]


def _untold(end: str, seconds: float) -> None: ...


def run_steward(
    services: Services,
    tick_seconds: float,
    stop: threading.Event,
    *,
    grace_seconds: float = 10.0,
    told: RoundEnded = _untold,
) -> None:
    """Tick until told to stop. A store that is out makes it wait, longer each time, and nothing ends it.

    A job that is being opened when it stops gets ``grace_seconds``: what is then left undone another steward does.
    ``told`` hears of the end of each round.
    """
    with _Openings(OPENING_THREADS, grace_seconds) as opening:
        names = _Names(store_out="steward.store_out", failed="steward.tick_failed")
        _tick_until_stopped(Steward(services, opening).tick, tick_seconds, stop, names, told)


def run_scheduler(
    services: Services, tick_seconds: float, stop: threading.Event, *, told: RoundEnded = _untold
) -> None:
    """Likewise, for the runs of schedules."""
    names = _Names(store_out="scheduler.store_out", failed="scheduler.tick_failed")
    _tick_until_stopped(Scheduler(services).tick, tick_seconds, stop, names, told)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """What a loop's troubles are called in the log."""

    store_out: str
    failed: str


def _tick_until_stopped(
    tick: Callable[[], object],
    tick_seconds: float,
    stop: threading.Event,
    names: _Names,
    told: RoundEnded,
) -> None:
    wait = tick_seconds
    while not stop.wait(wait):
        begun, end = time.monotonic(), "failed"
        try:
            tick()
            wait, end = tick_seconds, "ok"
        except StoreUnavailable as error:
            end = "store_out"
            wait = min(wait * 2, STORE_OUT_WAIT_MAX_SECONDS)
            log.warning(names.store_out, error=str(error), again_in_seconds=wait)
        except Exception:
            # One thing it cannot do must not keep it from everything else, nor end it: nobody else heals.
            wait = min(wait * 2, STORE_OUT_WAIT_MAX_SECONDS)
            log.exception(
                names.failed,
                again_in_seconds=wait,
                advice="a bug: report it; what the round still had to do waits for the next one",
            )
        told(end, time.monotonic() - begun)


class _Openings(Executor):
    """A few threads that the end of the process does not wait for longer than it has time.

    Those of the standard library's pool are joined at exit, and may sit in a call to an upstream that hangs.
    """

    def __init__(self, threads: int, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"open-job-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - a future holds whatever was raised
                future.set_exception(error)

        self._waiting.put(run)
        return future

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - the base class's
        """Nothing new is begun; what was begun has the grace period."""
        with suppress(Empty):
            while True:
                self._waiting.get_nowait()
        for _ in self._threads:
            self._waiting.put(None)
        give_up = time.monotonic() + self._grace_seconds
        for thread in self._threads:
            thread.join(max(give_up - time.monotonic(), 0))
        left = [thread.name for thread in self._threads if thread.is_alive()]
        if left:
            log.warning("steward.left_undone", threads=left)


class _Server(uvicorn.Server):
    """Says at once that it is leaving; uvicorn tells the application when the last answer is out."""

    def __init__(self, config: uvicorn.Config, leaving: threading.Event) -> None:
        super().__init__(config)
        self._leaving = leaving

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._leaving.set()
        super().handle_exit(sig, frame)


def serve(
    app: ASGIApp, settings: Settings, *, host: str, port: int, stop: threading.Event | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, and answer what came before; on the socket handed down where there is one.

    ``stop`` is what `stop_on_signals` gave while the process was starting. A signal sets it while it serves, too: an
    answer that would last for ever looks at it.
    """
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            callback_notify=SignOfLife(settings.alive_file).given,
            timeout_notify=EVERY_SECONDS,
            timeout_graceful_shutdown=ceil(settings.shutdown_grace_seconds),
        ),
        stop or threading.Event(),
    )

    def leave(*_: object) -> None:
        server.should_exit = True

    # uvicorn has handlers of its own while it runs, and passes the signal on to these when it is done.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    server.should_exit = stop is not None and stop.is_set()
    if settings.listen_fd is None:
        server.run()
    else:
        server.run(sockets=[socket.socket(fileno=settings.listen_fd)])
