"""The store of a chaos run: whether it is a process that can be killed, and how."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import servers
from worker.children import die_with_parent

START_SECONDS = 30.0


class StoreServer:
    """A store that is no process of ours: SQLite (no URL: the stack's own file), or a server by URL."""

    can_restart = False

    def __init__(self, url: str, description: str) -> None:
        self.url = url
        self.description = description

    def kill(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError


class OwnMongo(StoreServer):
    """A mongod from PATH, or the surrogate: killed, and started again on the same files."""

    can_restart = True

    def __init__(self, folder: Path) -> None:
        port = servers.free_port()
        candidate = servers.mongo_candidate()
        super().__init__(
            f"mongodb://127.0.0.1:{port}/trimtab?directConnection=true",
            f"{candidate.description if candidate else 'none'}, killed and restarted",
        )
        self._data = folder / "mongo"
        self._data.mkdir()
        self._command = _mongod(port) if shutil.which("mongod") else _surrogate(port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._data.parent / "mongo.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, str(self._data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - started from the main thread
            )
        give_up = time.monotonic() + START_SECONDS
        while not servers._mongo_answers(self.url):
            assert time.monotonic() < give_up, "the store does not come back"
            assert self._process.poll() is None, "the store died"
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


def _surrogate(port: int) -> list[str]:
    words = (sys.executable, "-m", "secantus", "--port", str(port), "--sync-on-commit")
    return [*words, "--log-level", "WARNING", "--storage-path"]


def _mongod(port: int) -> list[str]:
    return ["mongod", "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath"]


@contextmanager
def store_server(store: str, folder: Path) -> Iterator[StoreServer]:
    """``sqlite`` (a file: nothing to restart), ``mongodb`` (a server of our own), or the URL of somebody's."""
    if store == "mongodb":
        server: StoreServer = OwnMongo(folder)
        server.start()
    elif store == "sqlite":
        server = StoreServer(
            "", f"SQLite in process {os.getpid()}'s folder; a file, so no store is restarted"
        )
    else:
        server = StoreServer(store, "a server given by URL; not ours to restart")
    try:
        yield server
    finally:
        if server.can_restart:
            server.kill()
