"""Child processes are asked to end, all at once, and stopped for good when they do not."""

import os
import sys
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from worker.children import Child, start_child, stop_together

pytestmark = pytest.mark.integration

# On SIGTERM it says so, and ends once all the others have said so as well.
_WAITS_FOR_THE_OTHERS = """
import pathlib, signal, sys, time
folder, name, others = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
def told(*_):
    (folder / f"{name}.told").touch()
    while not all((folder / f"{other}.told").exists() for other in others):
        time.sleep(0.01)
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
(folder / f"{name}.up").touch()
while True:
    signal.pause()
"""
_WILL_NOT_END = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(pathlib.Path(sys.argv[1]) / f"{sys.argv[2]}.up").touch()
while True:
    signal.pause()
"""


def started(folder: Path, name: str, script: str, *others: str) -> Child:
    command = [sys.executable, "-c", script, str(folder), name, *others]
    child = start_child(name, command, log=folder / f"{name}.log", environment=dict(os.environ))
    eventually((folder / f"{name}.up").exists, bool, seconds=30)
    return child


def test_all_are_told_to_end_before_any_is_waited_for(tmp_path: Path) -> None:
    first = started(tmp_path, "first", _WAITS_FOR_THE_OTHERS, "second")
    second = started(tmp_path, "second", _WAITS_FOR_THE_OTHERS, "first")

    stop_together([first, second], 30)

    assert [first.process.returncode, second.process.returncode] == [0, 0]


def test_one_that_will_not_end_is_killed_after_the_grace_period_and_the_others_are_left_in_peace(
    tmp_path: Path,
) -> None:
    deaf = started(tmp_path, "deaf", _WILL_NOT_END)
    polite = started(tmp_path, "polite", _WAITS_FOR_THE_OTHERS)

    stop_together([deaf, polite], 2)
    deaf.stop(0)  # of one that is gone there is nothing to stop

    assert (deaf.ending(), polite.process.returncode) == ("was killed by signal 9", 0)
