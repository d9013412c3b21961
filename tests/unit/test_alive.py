"""A process gives a sign of life as long as its loop turns, and only then."""

import os
from pathlib import Path

import pytest

from worker.alive import LoopsStop, SignOfLife

LONG_AGO = 1_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Touched long ago."""
    path = tmp_path / "alive"
    path.touch()
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def fresh(path: Path) -> bool:
    return path.stat().st_mtime > LONG_AGO


def test_a_loop_that_asks_whether_to_end_gives_a_sign(file: Path) -> None:
    stop = LoopsStop(SignOfLife(file))
    assert not fresh(file)

    assert not stop.is_set()

    assert fresh(file)


def test_a_loop_that_waits_for_its_next_turn_gives_a_sign(file: Path) -> None:
    stop = LoopsStop(SignOfLife(file))

    assert not stop.wait(0)

    assert fresh(file)


def test_it_is_the_event_that_it_stands_for(file: Path) -> None:
    stop = LoopsStop(SignOfLife(file))
    stop.set()

    assert stop.is_set()
    assert stop.wait(10)


def test_the_first_sign_makes_the_file(tmp_path: Path) -> None:
    SignOfLife(tmp_path / "alive").give()

    assert (tmp_path / "alive").exists()


def test_a_sign_that_cannot_be_given_ends_nothing(tmp_path: Path) -> None:
    SignOfLife(tmp_path / "no" / "such" / "folder").give()
    SignOfLife(None).give()

    assert list(tmp_path.iterdir()) == []
