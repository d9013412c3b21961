"""How a worker ends: SIGTERM finishes what is in hand; what is not finished after the grace period is handed back.

Celery's warm shutdown takes no new messages and waits for its children, however long they take. Its soft shutdown
(SIGQUIT, or SIGTERM with ``REMAP_SIGTERM``) is no help here: it sleeps its whole time-out inside the signal handler
even when everything was finished at once, kills what is left, and ends with status 1. So the shutdown stays warm,
and when the grace period is over each child is told by SIGTERM to hand back its portfolio: no attempt is burned,
no lease has to run out, and the status is 0.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any

import structlog
from celery.apps.worker import Worker

from tasks.run_token import HandBack

log = structlog.get_logger(__name__)


class Countdown:
    """Started by the first SIGTERM in the main process; the second changes nothing."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._thread: threading.Thread | None = None

    def start(self, node: str, worker: Worker) -> None:
        # A thread, since it outlives the signal handler, in which logging could meet itself as well.
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(node, worker), name="countdown", daemon=True
            )
            self._thread.start()

    def _run(self, node: str, worker: Worker) -> None:
        log.info("worker.stopping", node=node, grace_seconds=self._grace_seconds)
        threading.Event().wait(self._grace_seconds)
        children = children_of(worker)
        if not children:
            return
        log.warning("worker.out_of_time", node=node, children=len(children))
        for pid in children:
            tell(pid)


def children_of(worker: Worker) -> list[int]:
    """The pids of a prefork pool. Other pools have none: what they hold is finished, or lost with the process."""
    pool: Any = worker.pool
    info: Any = {}
    with suppress(AttributeError):  # it is gone already, or was never there
        info = pool.info
    return [pid for pid in info.get("processes") or () if isinstance(pid, int) and pid != os.getpid()]


def tell(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return  # it ended by itself


class _Hand(Enum):
    EMPTY = auto()
    FULL = auto()
    BUSY = auto()  # with handing it back, which must not be disturbed


class InHand:
    """What SIGTERM means to a child of the pool: hand back the portfolio it works on; with none, end.

    The whole process group may get the signal at once (a terminal, systemd, honcho): that is the same as a grace
    period of 0 for this child.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._hand = _Hand.EMPTY
        self._child: int | None = None  # its pid, until the handler stands

    def in_child(self) -> None:
        """We are a child of the pool. The handler has to wait for the first message: billiard sets its own after this."""
        self._child = os.getpid()

    @contextmanager
    def held(self) -> Iterator[None]:
        # A pool without processes may work in a thread of its parent (the one-process demo): no child to stop there.
        if self._child == os.getpid() and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
            self._child = None
        self._hand = _Hand.FULL
        try:
            yield
        finally:
            self._hand = _Hand.EMPTY

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._hand is _Hand.FULL:
            self._hand = _Hand.BUSY
            raise HandBack
        if self._hand is _Hand.EMPTY:
            self._close()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
