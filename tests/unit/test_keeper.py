"""A part of an embedded stack that ends is started again, and one that cannot live ends the stack."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from worker.children import Child, ChildDied, StackFailed
from worker.keeper import MOST_ENDS, WITHIN_SECONDS, Keeper


@dataclass
class Desk:
    """What a keeper is given, and what it did."""

    now: float = 1000.0
    restarted: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def keeper(self) -> Keeper:
        return Keeper(restart=self.restarted.append, tell=self.told.append, clock=lambda: self.now)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture(scope="module")
def process() -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])
    process.wait(30)
    return process


@pytest.fixture
def worker(process: subprocess.Popen[bytes], tmp_path: Path) -> Child:
    log = tmp_path / "worker-1.log"
    log.write_text("it began\n[red]no memory[/red]\n")
    return Child("worker-1", process, log)


def test_a_part_that_ended_is_started_again_and_people_read_which_how_and_where(
    desk: Desk, worker: Child
) -> None:
    desk.keeper()(worker)

    assert desk.restarted == ["worker-1"]
    (told,) = desk.told
    assert "worker-1 ended with status 3" in told
    assert str(worker.log) in told


def test_a_part_that_ends_again_and_again_ends_the_stack_with_its_last_words(
    desk: Desk, worker: Child
) -> None:
    keeper = desk.keeper()
    for _ in range(MOST_ENDS - 1):
        keeper(worker)
        desk.now += WITHIN_SECONDS / MOST_ENDS

    with pytest.raises(ChildDied, match="worker-1 ended 5 times within 60 s") as died:
        keeper(worker)

    assert len(desk.restarted) == MOST_ENDS - 1
    assert "no memory" in str(died.value)
    assert str(worker.log) in str(died.value)


def test_ends_that_lie_further_apart_are_forgiven(desk: Desk, worker: Child) -> None:
    keeper = desk.keeper()
    for _ in range(3 * MOST_ENDS):
        keeper(worker)
        desk.now += WITHIN_SECONDS / (MOST_ENDS - 1)

    assert len(desk.restarted) == 3 * MOST_ENDS


def test_each_part_is_counted_for_itself(desk: Desk, worker: Child) -> None:
    keeper = desk.keeper()
    for number in range(MOST_ENDS):
        keeper(Child(f"worker-{number}", worker.process, worker.log))

    assert len(desk.restarted) == MOST_ENDS


def test_a_part_whose_address_is_taken_ends_the_stack_and_says_so(desk: Desk, worker: Child) -> None:
    def taken(_name: str) -> None:
        raise OSError(98, "Address already in use")

    keeper = Keeper(restart=taken, tell=desk.told.append)

    with pytest.raises(StackFailed, match=r"cannot be started again: .*Address already in use"):
        keeper(worker)
