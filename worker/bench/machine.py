"""What processes used of this machine, from the kernel's own books (``/proc``): CPU seconds and bytes of memory."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.bench.failed import BenchFailed

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
# After the command's name in /proc/PID/stat (proc(5)): the parent, and user and system time of the process itself
# and of its children that ended.
_PARENT, _OWN, _ENDED = 1, slice(11, 13), slice(13, 15)
_BUSY = slice(0, 3), slice(5, 8)  # of the first line of /proc/stat: all but idle, iowait and guests


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds since its start: of a process itself, and of everything it ever started."""

    own: float
    children: float


def cores() -> int:
    """How many this process, and what it starts, may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_of(pid: int) -> Cpu:
    """Children that ended count once their parent has waited for them. Resolution: 10 ms.

    Raises:
        BenchFailed: no such process, or no ``/proc``.
    """
    processes = _processes()
    if pid not in processes:
        raise BenchFailed(f"process {pid} is gone, or this system has no {_PROC}")
    below = list(_descendants(pid, processes))
    return Cpu(
        own=_seconds(processes[pid][_OWN]),
        children=_seconds(processes[pid][_ENDED])
        + sum(_seconds([*processes[child][_OWN], *processes[child][_ENDED]]) for child in below),
    )


def busy_seconds() -> float:
    """CPU seconds that all processes of this machine used since it started."""
    fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(_seconds(fields[part]) for part in _BUSY)


def memory_of(pid: int) -> int:
    """Bytes in memory of a process and everything below it; what several share counts once."""
    family = [pid, *_descendants(pid, _processes())]
    return sum(_field(member, "smaps_rollup", "Pss") for member in family)


def peak_memory_of(pid: int) -> int:
    """The most bytes the process itself ever had in memory."""
    return _field(pid, "status", "VmHWM")


def _field(pid: int, file: str, name: str) -> int:
    """A line ``Name:  12 kB``. A process that just ended has none."""
    try:
        lines = (_PROC / str(pid) / file).read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _processes() -> Mapping[int, list[str]]:
    """The fields of every process after its name, which may hold anything."""
    found = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            line = (folder / "stat").read_text()
        except OSError:  # it ended between the two looks
            continue
        found[int(folder.name)] = line.rpartition(")")[2].split()
    return found


def _descendants(pid: int, processes: Mapping[int, list[str]]) -> Iterable[int]:
    for child, fields in processes.items():
        if int(fields[_PARENT]) == pid:
            yield child
            yield from _descendants(child, processes)


def _seconds(ticks: Iterable[str]) -> float:
    return sum(map(int, ticks)) / _TICKS
