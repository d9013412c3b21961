"""What several files of unit tests begin with. A file that wants another world has its own, under the same name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.world import World


@pytest.fixture
def quiet() -> Iterator[None]:
    """Failures are told in full, with the locals of every frame: seconds each, where nobody reads them."""
    with capture_logs():
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path)
    yield world
    world.store.close()
