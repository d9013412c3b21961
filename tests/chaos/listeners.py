"""Two who listen at the broker: one reads every order set there ever is, one sends every token a second time."""

import ast
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from adapters.results.redis_stream import RedisStreamPublisher
from domain.errors import BrokerUnavailable
from worker.redis_client import redis_client

ORDER_SETS: Final = "trimtab.order-sets"
JOB_EVENTS: Final = "trimtab.job-events"
TASKS: Final = "trimtab.run"
QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def impatient_client(url: str) -> Redis:
    """Says at once that nobody is there, where others would try again."""
    client = redis_client(url)
    client.set_retry(Retry(NoBackoff(), 0))
    return client


class _Listener:
    """A thread with a connection of its own, which it opens again whenever the broker went away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            client = impatient_client(self._url)
            try:
                self._listen(client)
            except (RedisError, OSError):
                self._stop.wait(0.05)
            finally:
                client.close()

    def _listen(self, client: Redis) -> None:
        raise NotImplementedError


class Reader(_Listener):
    """Remembers every entry of the result stream, also those that the broker forgets later."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._lock = threading.Lock()
        self._entries: dict[bytes, tuple[str, bytes]] = {}
        self._last = b"0-0"
        self._thread.start()

    def entries(self) -> Sequence[tuple[str, bytes]]:
        with self._lock:
            return tuple(self._entries.values())

    def catch_up(self) -> None:
        """Everything that stands there now."""
        client = impatient_client(self._url)
        self.remember(client.xrange(ORDER_SETS))
        client.close()

    def standing(self) -> frozenset[str]:
        """The ids that stand there now."""
        client = impatient_client(self._url)
        entries: Any = client.xrange(ORDER_SETS)
        client.close()
        return frozenset(fields[b"id"].decode() for _, fields in entries)

    def events(self) -> Sequence[Mapping[str, Any]]:
        """The job events that stand on their stream now."""
        client = impatient_client(self._url)
        entries: Any = client.xrange(JOB_EVENTS)
        client.close()
        return [json.loads(fields[b"data"]) for _, fields in entries]

    def identity(self) -> str | None:
        """The life of the queue's data, as stewards tell it; None while the broker is away."""
        client = impatient_client(self._url)
        try:
            return RedisStreamPublisher(client, ORDER_SETS).identity()
        except BrokerUnavailable:
            return None
        finally:
            client.close()

    def remember(self, entries: Any) -> None:
        with self._lock:
            for entry_id, fields in entries:
                self._entries[entry_id] = (fields[b"id"].decode(), fields[b"data"])
                self._last = max(self._last, entry_id, key=_moment)

    def _listen(self, client: Redis) -> None:
        while not self._stop.is_set():
            reply: Any = client.xread({ORDER_SETS: self._last}, count=500, block=200)
            for _, entries in reply or ():
                self.remember(entries)


def _moment(entry_id: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split(b"-")))


class Doubler(_Listener):
    """Every token that is sent is sent once more, at the other end of the queue, where nobody else sends."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.doubled = 0

    def start(self) -> None:
        self._thread.start()

    def _listen(self, client: Redis) -> None:
        sender = impatient_client(self._url)
        connection: Any = client.connection_pool.get_connection()
        try:
            connection.send_command("MONITOR")
            connection.read_response()
            while not self._stop.is_set():
                if connection.can_read(timeout=0.2):
                    self._double(connection.read_response(), sender.rpush)
        finally:
            connection.disconnect()
            sender.close()

    def _double(self, line: bytes, send: Callable[..., object]) -> None:
        """A line of MONITOR: a moment, who, and each word of the command in quotes with C's escapes."""
        words = QUOTED.findall(line.decode())
        if len(words) == 3 and words[0].upper() == '"LPUSH"' and words[1] == f'"{TASKS}"':
            send(TASKS, ast.literal_eval(f"b{words[2]}"))
            self.doubled += 1
