"""Order sets and job events on Redis streams: plain fields, consumer groups, each id added once in one atomic step."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from redis import Redis
from redis.exceptions import NoScriptError, RedisError

from domain.errors import BrokerUnavailable
from domain.ports import Publication

# KEYS: the stream, the ids already added for this job. ARGV: job, schema, seconds the ids are kept, how many entries the
# stream keeps (0: all), then id and data of each entry. One script, so no crash can fall between the look and the add.
_ADD_ONCE: Final = """
for i = 5, #ARGV, 2 do
    if not redis.call('HGET', KEYS[2], ARGV[i]) then
        local entry = redis.call(
            'XADD', KEYS[1], '*', 'id', ARGV[i], 'job', ARGV[1], 'schema', ARGV[2], 'data', ARGV[i + 1])
        redis.call('HSET', KEYS[2], ARGV[i], entry)
    end
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
if ARGV[4] ~= '0' then
    redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[4])
end
"""

# KEYS: the marker. ARGV: what to write where there is none. A server that lost its data lost the marker too; one
# that started again with data from its disk may have lost the last second of it, and has another run id.
_MARK: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
"""

IDS_KEPT_SECONDS: Final = 14 * 24 * 3600
ORDER_SET_SCHEMA: Final = "trimtab.order-set.v1"
JOB_EVENT_SCHEMA: Final = "trimtab.job-event.v1"
JOB_EVENTS_KEPT: Final = 100_000  # nobody has to read them, so they must not fill the broker's memory


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One order set or event as a consumer sees it: where it stands, its id, and its JSON bytes."""

    entry_id: str
    order_set_id: str
    body: bytes


class RedisStreamPublisher:
    """The default result queue, and that of job events.

    ``stream`` also names the hash of ids, one a job: ``<stream>:ids:<job>``, and the marker ``<stream>:born``.
    ``keep``: about how many entries stay when more are added; 0: all of them.
    """

    def __init__(
        self,
        client: Redis,
        stream: str = "trimtab.order-sets",
        *,
        schema: str = ORDER_SET_SCHEMA,
        keep: int = 0,
    ) -> None:
        self._client = client
        self._stream = stream
        self._constants = (schema, IDS_KEPT_SECONDS, keep)
        self._add_once = client.register_script(_ADD_ONCE).sha
        self._mark = client.register_script(_MARK)

    def publish(self, *publications: Publication) -> None:
        """One round trip for those of one job."""
        for job_id, of_job in groupby(publications, attrgetter("job_id")):
            entries = [part for each in of_job for part in (each.entry_id, each.body)]
            keys = (self._stream, f"{self._stream}:ids:{job_id}")
            self._add(*keys, job_id, *self._constants, *entries)

    def _add(self, *keys_and_arguments: str | int | bytes) -> None:
        with _translated():
            try:  # not by a Script, which costs a fifth of a publication
                self._client.evalsha(self._add_once, 2, *keys_and_arguments)
            except NoScriptError:  # a server that started anew; EVAL makes it known again
                self._client.eval(_ADD_ONCE, 2, *keys_and_arguments)

    def identity(self) -> str:
        """The server's run and the life of its data: a restart changes the one, a FLUSHALL the other."""
        with _translated():
            run_id: Any = self._client.info("server")["run_id"]
            born: Any = self._mark(keys=[f"{self._stream}:born"], args=[uuid.uuid4().hex])
        return f"{run_id}:{born.decode()}"

    def ping(self) -> None:
        with _translated():
            self._client.ping()


class RedisStreamReader:
    """Reads the order sets from the beginning, and waits for more where asked. It consumes nothing."""

    def __init__(self, client: Redis, stream: str = "trimtab.order-sets") -> None:
        self._client = client
        self._stream = stream

    def entries(self, *, follow: bool = False, block_ms: int = 1000) -> Iterator[StreamEntry]:
        """Raises BrokerUnavailable."""
        last = "0-0"
        while True:
            with _translated():
                reply: Any = self._client.xread(
                    {self._stream: last}, count=256, block=block_ms if follow else None
                )
            entries = reply[0][1] if reply else []
            for entry_id, fields in entries:
                last = entry_id.decode()
                yield StreamEntry(last, fields[b"id"].decode(), bytes(fields[b"data"]))
            if not entries and not follow:
                return


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise BrokerUnavailable("result queue", str(error) or type(error).__name__) from error
