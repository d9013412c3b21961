"""kombu's Redis transport, guarded against stray messages.

Anything that is not a Celery envelope on the task queue (text, a JSON list, a body that is not base64) makes
kombu raise out of its event loop: the worker exits, and where the message was put back, so does every later one.
Here such a message is set aside on the list ``<queue>.strays`` and logged, and the worker goes on. Nobody has to
write to this queue but Trimtab itself; this is for the day somebody does.
"""

import base64
import binascii
from queue import Empty
from typing import Any

import structlog
from kombu import transport
from kombu.transport import redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

log = structlog.get_logger(__name__)

STRAYS_KEPT = 1000

# The queues that only Celery's own messages may stand on; others (control replies, order sets) are not looked at.
_guarded: set[str] = set()


def install(task_queue: str) -> None:
    """Make ``redis://``, ``rediss://`` and ``redis+socket://`` brokers guard this queue. Repeatable."""
    _guarded.add(task_queue)
    for scheme in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:GuardedTransport"
        transport._transport_cache.pop(scheme, None)  # type: ignore[attr-defined]  # noqa: SLF001 - kombu has no other way


def is_envelope(message: object) -> bool:
    """Whether Celery can take this message apart. What the task then makes of its arguments is its own matter."""
    match message:
        case {
            "body": str(body),
            "headers": {"id": str(), "task": str()},
            "content-type": str(),
            "content-encoding": str(),
            "properties": {"delivery_tag": str(), "delivery_info": dict(), **properties},
        }:
            return _decodes(body, properties.get("body_encoding"))
        case _:
            return False


def _decodes(body: str, encoding: object) -> bool:
    if encoding != "base64":
        return encoding is None
    try:
        base64.b64decode(body, validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return True


class GuardedChannel(redis.Channel):
    """Reads as kombu's own channel does, but looks at a message before it hands it on."""

    def _brpop_read(self, **options: Any) -> bool:  # noqa: ANN401 - kombu's signature
        try:
            reply = self._reply(**options)
            if not reply:
                raise Empty
            key, item = reply
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)  # type: ignore[attr-defined]  # the stubs leave it out
            message = _parse(item)
            if queue in _guarded and not is_envelope(message):
                self._set_aside(queue, item)
                raise Empty
            self.connection._deliver(message, queue)  # noqa: SLF001 - as the method this stands for does
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()  # type: ignore[attr-defined]  # the stubs leave it out

    def _reply(self, **options: Any) -> Any:  # noqa: ANN401 - a reply of redis-py
        try:
            return self.client.parse_response(self.client.connection, "BRPOP", **options)
        except self.connection_errors:  # type: ignore[attr-defined]  # the stubs leave it out
            # The next poll connects again.
            self.client.connection.disconnect()
            raise

    def _set_aside(self, queue: str, item: bytes) -> None:
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.lpush(f"{queue}.strays", item)
            pipe.ltrim(f"{queue}.strays", 0, STRAYS_KEPT - 1)
            pipe.execute()
        log.error(
            "queue.stray_message",
            queue=queue,
            kept_in=f"{queue}.strays",
            size=len(item),
            advice="find out who writes there: the queue is Celery's alone",
        )


def _parse(item: bytes) -> object:
    try:
        return loads(bytes_to_str(item))
    except (ValueError, RecursionError):
        return None


class GuardedTransport(redis.Transport):
    Channel = GuardedChannel
