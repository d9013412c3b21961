"""Metrics of a worker: each of its processes writes files of its own, and the parent tells the sum.

Files of children that ended must stay in the sum; but a child is replaced every few thousand portfolios, and in a
week there would be a hundred thousand files to read at every scrape. So the parent adds the files of the dead to one
pair of files, from which the sum goes on, and removes them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

_ADDED_UP = ("counter", "histogram")
_DEAD = "dead"  # in place of a pid


def fold_dead(folder: Path) -> None:
    """Add up what the processes that ended have left. For one thread of one process, the one that also reads."""
    for pid in sorted(_pids(folder)):
        if not _alive(pid):
            _fold(folder, pid)


def _pids(folder: Path) -> set[int]:
    names = (path.stem.rpartition("_")[2] for path in folder.glob("*.db"))
    return {int(name) for name in names if name.isdigit()}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, with the same number: the files wait until it is gone
        return True
    return True


def _fold(folder: Path, pid: int) -> None:
    for kind in _ADDED_UP:
        left = folder / f"{kind}_{pid}.db"
        if not left.exists():
            continue
        total = MmapedDict(str(folder / f"{kind}_{_DEAD}.db"))  # type: ignore[no-untyped-call]  # as all of it
        for key, value in _values(left):
            so_far, _ = total.read_value(key)  # type: ignore[no-untyped-call]
            total.write_value(key, so_far + value, 0.0)  # type: ignore[no-untyped-call]
        total.close()  # type: ignore[no-untyped-call]
        left.unlink()
    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _values(path: Path) -> Iterator[tuple[str, float]]:
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
        yield key, value
