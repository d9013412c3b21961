"""A sign of life: a file that a process touches as long as its loop turns, for whoever restarts what hangs.

What it means differs, and so does what may be done about it (docs/operations.md). Steward, stream consumer, scheduler
and the web servers give it whether or not anything else is out: one that has stopped giving it hangs. A worker gives it with
Celery's heartbeat, so only while it is connected to its broker: one that has stopped is not ready, which in an outage
no restart would mend.
"""

import _thread
import threading
from contextlib import suppress
from pathlib import Path

EVERY_SECONDS = 5  # a web server, which has no turns of its own


class SignOfLife:
    """Touches its file, where it has one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def give(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # a file that cannot be touched grows old, and is seen by who looks at it
                self._file.touch()

    async def given(self) -> None:
        """`give`, as a loop of asyncio calls it."""
        self.give()


class LoopsStop(threading.Event):
    """What a loop asks at each turn whether it is to end. That it asks is its sign of life."""

    def __init__(self, life: SignOfLife) -> None:
        super().__init__()
        self._life = life
        self._asked = False

    def set_by_signal(self, *_signal: object) -> None:
        """A handler of signals. It interrupts the loop anywhere, so it must not want a lock.

        The loop may be about to wait, and hold the event's: waiting for it here would be for ever. So another thread
        sets the event, started by the lower module, since the loop may hold a lock of ``threading`` as well. Who asks
        without waiting is told at once.
        """
        self._asked = True
        _thread.start_new_thread(self.set, ())

    def is_set(self) -> bool:
        self._life.give()
        return self._asked or super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self._life.give()
        return super().wait(timeout)
