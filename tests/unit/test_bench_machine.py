"""CPU and memory of real processes, from the kernel's books."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.bench.machine import busy_seconds, cores, cpu_of, memory_of, peak_memory_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")

# Burns in a child that ends and in one that stays, and says when that is done.
_FAMILY = """
import subprocess, sys, time
burn = "import time; t = time.process_time\\nwhile t() < 0.1: pass\\n"
subprocess.run([sys.executable, "-c", burn], check=True)
stays = subprocess.Popen([sys.executable, "-c", burn + "print(1, flush=True); import sys; sys.stdin.read()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
stays.stdout.readline()
print(1, flush=True)
sys.stdin.read()
stays.communicate()
"""


def test_cpu_counts_children_that_ended_and_those_that_live() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as family:
        assert family.stdout is not None
        assert family.stdout.readline()
        cpu = cpu_of(family.pid)
        whole, alone = memory_of(family.pid), peak_memory_of(family.pid)
        family.communicate(b"")

    assert cpu.children >= 0.18  # two of 0.1 s each, in ticks of 10 ms
    assert cpu.own < cpu.children + 1.0
    assert whole > 0
    assert alone > 1_000_000


def test_the_machine_is_at_least_as_busy_as_we_are() -> None:
    before, until = busy_seconds(), time.process_time() + 0.2
    while time.process_time() < until:
        pass

    assert busy_seconds() - before >= 0.18  # in ticks of 10 ms
    assert cores() >= 1
