"""What the hot path tells is counted a moment later, many at once.

Between two portfolios the code and data of a metric have left the processor's caches: one by one, the dozen things
told of a portfolio cost seven times what they cost in a row (docs/decisions/0023-watching.md).
"""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

WAIT_SECONDS = 1.0
AT_MOST = 512


class Target(Protocol):
    def take(self, values: Sequence[float]) -> None:
        """All of these were told."""


class Later:
    """Safe from several threads, and for children of a fork as long as their parent tells nothing.

    What waits dies with its process.
    """

    def __init__(self, *, wait_seconds: float = WAIT_SECONDS, at_most: int = AT_MOST) -> None:
        self._wait_seconds = wait_seconds
        self._at_most = at_most
        self._waiting: deque[tuple[Target, float]] = deque()
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def add(self, target: Target, value: float) -> None:
        """The target takes it within a second, or when enough of them wait."""
        self._waiting.append((target, value))
        if self._timer is None:
            self._start()
        elif len(self._waiting) >= self._at_most:
            self.flush()

    def flush(self) -> None:
        """Everything that waits, now."""
        with self._lock:
            by_target: dict[Target, list[float]] = {}
            for _ in range(len(self._waiting)):
                target, value = self._waiting.popleft()
                by_target.setdefault(target, []).append(value)
            for target, values in by_target.items():
                target.take(values)

    def _start(self) -> None:
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._wait_seconds, self._on_time)
                self._timer.daemon = True
                self._timer.start()

    def _on_time(self) -> None:
        self._timer = None
        self.flush()
