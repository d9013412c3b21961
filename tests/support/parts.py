"""Single parts of a running stack: started besides it, told to stop, away for a while."""

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from config.settings import environment
from tests.support.processes import children_of
from worker.children import Child, start_child
from worker.stack import Stack


def start_part(stack: Stack, name: str, *arguments: str, log_name: str = "", **settings: str) -> Child:
    """One more process of a stack, which stops it at its end if nobody did before."""
    log = stack.state_dir / f"{log_name or name}.log"
    command = [sys.executable, "-m", "worker", name, *arguments]
    child = start_child(log.stem, command, log=log, environment=environment({**stack.settings, **settings}))
    stack.children.append(child)
    return child


def part(stack: Stack, name: str) -> Child:
    return next(child for child in stack.children if child.name == name and not child.ended)


def terminated(stack: Stack, child: Child, *, within: float) -> int:
    """Send SIGTERM as an orchestrator does, and give the exit status. Late is a failure."""
    began = time.monotonic()
    child.process.send_signal(signal.SIGTERM)
    status = child.process.wait(60)
    took = time.monotonic() - began
    stack.children.remove(child)
    assert took <= within, f"{child.name} took {took:.1f} s to end:\n{child.last_words()}"
    return status


def logged(child: Child) -> list[dict[str, Any]]:
    """What it logged by itself, as documents; what a library wrote as ``{"text": line}``."""
    lines = child.log.read_text(errors="replace").splitlines()
    return [json.loads(line) if line.startswith("{") else {"text": line} for line in lines if line.strip()]


def events(child: Child) -> list[str]:
    return [str(entry.get("event", "")) for entry in logged(child)]


def catches_sigterm(child: Child) -> bool:
    """Whether it is far enough to decide for itself what SIGTERM means (Linux tells)."""
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


@contextmanager
def store_locked(stack: Stack) -> Iterator[None]:
    """Whoever wants to write to the stack's SQLite file waits meanwhile."""
    with (Path(stack.state_dir) / "trimtab.db.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # closing the file lets go


def killed(stack: Stack, name: str) -> Child:
    """SIGKILL; `started_again` brings it back."""
    child = part(stack, name)
    child.process.kill()
    child.process.wait(10)
    return child


def started_again(stack: Stack, ended: Child) -> Child:
    """The very same command, at its old place."""
    command = [str(word) for word in cast("list[str]", ended.process.args)]
    child = start_child(ended.name, command, log=ended.log, environment=environment(stack.settings))
    stack.children[stack.children.index(ended)] = child
    return child


@dataclass(frozen=True, slots=True)
class Effort:
    """What each part of a stack has spent so far: CPU seconds (its children's included) and lines of log."""

    cpu: Mapping[str, float]
    lines: Mapping[str, int]

    @classmethod
    def of(cls, stack: Stack) -> "Effort":
        ours = [child for child in stack.children if child.name not in {"broker", "sandbox"}]
        return cls(
            {child.name: _cpu_seconds(child.process.pid) for child in ours},
            {child.name: len(child.log.read_text(errors="replace").splitlines()) for child in ours},
        )

    def stays_small(self, later: "Effort", seconds: float) -> None:
        """Nobody spins: at most a quarter of a core, and a line of log a second, for each part."""
        spent = {name: later.cpu[name] - self.cpu[name] for name in self.cpu}
        wrote = {name: later.lines[name] - self.lines[name] for name in self.lines}
        assert {name: cpu for name, cpu in spent.items() if cpu > seconds / 4} == {}, spent
        assert {name: n for name, n in wrote.items() if n > 10 + seconds} == {}, wrote


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living children, as the kernel counts (Linux)."""
    total = 0.0
    for each in (pid, *children_of(pid)):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue  # it ended in this moment
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total
