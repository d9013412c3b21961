"""Child processes that never outlive us: started with a leash, asked to stop, and stopped for good."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent(sent: int = signal.SIGKILL) -> None:
    """Ask the kernel to send us ``sent`` when our parent dies. Linux only; elsewhere a no-op."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, sent)


@dataclass(slots=True)
class Child:
    """One started process and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def ending(self) -> str:
        """How it ended, for people; it has."""
        status = self.process.returncode
        return f"ended with status {status}" if status >= 0 else f"was killed by signal {-status}"

    def last_words(self, lines: int = 15) -> str:
        """The end of its output: what an operator wants to see when it died."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL to its whole group after the grace period."""
        stop_together([self], grace_seconds)

    def _end_within(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill_group()
        self.process.wait(10)

    def _kill_group(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self.process.kill()


def stop_together(children: Sequence[Child], grace_seconds: float) -> None:
    """As each one's ``stop``, but all are told before any is waited for: it takes as long as the slowest."""
    for child in children:
        if not child.ended:
            child.process.terminate()
    give_up = time.monotonic() + grace_seconds
    for child in children:
        child._end_within(max(give_up - time.monotonic(), 0.0))  # noqa: SLF001 - the other half of `stop`


def start_child(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start it in a session of its own, so that a Ctrl-C meant for us does not reach it before we say so."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one call into the C library, and we start from one thread
        )
    return Child(name, process, log)


def wait_until(ready: Callable[[], bool], *, seconds: float, watched: Sequence[Child] = ()) -> None:
    """Poll ``ready`` until it is true.

    Raises:
        ChildDied: a watched process ended meanwhile, with its last words.
        TimeoutError: it took too long.
    """
    give_up = time.monotonic() + seconds
    while not ready():
        for child in watched:
            if child.ended:
                raise ChildDied(child)
        if time.monotonic() > give_up:
            raise TimeoutError(f"not ready after {seconds:g} s")
        time.sleep(0.05)


class StackFailed(RuntimeError):
    """The stack could not be brought up, or a part of it ended by itself; the message has that part's last words."""


class ChildDied(StackFailed):
    def __init__(self, child: Child, what: str = "") -> None:
        super().__init__(
            f"{what or child.name}{', at last it' if what else ''} {child.ending()}; its log is {child.log}, "
            f"its last output:\n{child.last_words()}"
        )


def end_with(child: Child) -> None:
    """Raises ChildDied: one part has ended, and with it everything."""
    raise ChildDied(child)
