"""The tests' own servers: which is taken, what a missing one means, and that none outlives the tests."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import servers

PARENT = """
import subprocess, sys, os
child = subprocess.Popen([sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), "sleep", "60"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "TRIMTAB_TEST_MONGODB_URL", "TRIMTAB_TEST_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_missing_server_is_a_visible_skip_on_a_laptop() -> None:
    with pytest.raises(pytest.skip.Exception, match="TRIMTAB_TEST_MONGODB_URL"):
        servers.start(None, "mongodb")


def test_a_missing_server_is_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="TRIMTAB_TEST_REDIS_URL"):
        servers.start(None, "redis")


def test_a_server_named_by_url_goes_first_and_its_password_is_not_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "mongodb://user:secret@db.example:27017/?replicaSet=rs0"
    monkeypatch.setenv("TRIMTAB_TEST_MONGODB_URL", url)
    monkeypatch.setenv("TRIMTAB_TEST_REDIS_URL", "redis://:secret@cache.example:6379/0")
    assert "db.example" in servers.describe()
    assert "cache.example" in servers.describe()
    assert "secret" not in servers.describe()
    candidate = servers.mongo_candidate()
    assert candidate is not None
    assert servers.start(candidate, "mongodb").url == url


def test_a_database_is_named_in_the_path_and_options_stay() -> None:
    url = servers.with_database("mongodb://h:1/?directConnection=true", "own")
    assert url == "mongodb://h:1/own?directConnection=true"


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux only")
def test_a_server_dies_with_whoever_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(servers._SHIM)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    """A zombie nobody has reaped yet is not alive."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
