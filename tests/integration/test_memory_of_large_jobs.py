"""A job of any number of portfolios is taken to work, stopped and told in the same memory; only accepting it grows.

Each size runs in a process of its own. Compared are the peaks of two sizes, a step at a time.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(), reason="peaks are read where Linux tells them"
    ),
]

SMALL, LARGE = 10_000, 60_000
FLAT = ("expand", "fail", "reopen", "cancel", "results as JSON lines")
ACCEPT = ("accept by request", "accept by model")
SLACK_KIB = 4_096  # pages of the allocator, the driver's own output
ACCEPT_BYTES = 250  # a portfolio: its id in the body or model, decoded, checked, and once more as text


@pytest.fixture(scope="module")
def peaks() -> dict[int, dict[str, int]]:
    """KiB by step, for each size."""
    return {size: _peaks(size) for size in (SMALL, LARGE)}


def _peaks(size: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.support.memory_driver", str(size)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert finished.returncode == 0, finished.stderr
    measured: dict[str, int] = json.loads(finished.stdout)
    return measured


@pytest.mark.parametrize("step", FLAT)
def test_a_job_never_sits_in_memory(peaks: dict[int, dict[str, int]], step: str) -> None:
    assert peaks[LARGE][step] <= peaks[SMALL][step] + SLACK_KIB


@pytest.mark.parametrize("step", ACCEPT)
def test_accepting_takes_no_more_than_its_bytes_a_portfolio(
    peaks: dict[int, dict[str, int]], step: str
) -> None:
    assert peaks[LARGE][step] <= LARGE * ACCEPT_BYTES / 1024 + SLACK_KIB
