"""Order sets and job events on any broker kombu knows, by URL: a durable queue of plain JSON bodies, message id = their id.

Such a queue cannot look before it adds: after a crash between publish and mark, or a connection that broke before a
message was confirmed, the same id may stand in it twice, with identical bytes, and the consumer drops the second one.
"""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from amqp.exceptions import MessageNacked
from kombu import Connection, Producer, Queue
from kombu.exceptions import OperationalError

from domain.errors import BrokerUnavailable
from domain.ports import Publication

WRITE_SECONDS: Final = 5.0
CONFIRM_SECONDS: Final = 10.0  # a mirrored queue syncs to disk before it confirms


class _Blocked(Exception):
    """A broker that is short of memory or disk takes nothing more, and says so (RabbitMQ)."""


def _raise_blocked(_reason: str) -> None:
    raise _Blocked("it is short of memory or disk and takes no messages (connection.blocked)")


class KombuQueuePublisher:
    """One connection, opened at the first publish, with publisher confirms where the broker has them.

    A queue that is there already is used as it is, whatever its arguments (a quorum queue, a limit, a dead-letter
    exchange); else a durable one is made. ``keep``: how many messages that one holds before it drops the oldest; 0: no
    limit. ``tls``: what kombu is told of TLS, where the URL's scheme asks for it.
    """

    def __init__(
        self,
        url: str,
        queue: str = "trimtab.order-sets",
        *,
        keep: int = 0,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        self._connection = Connection(
            url, transport_options=_options(url), connect_timeout=5, ssl=dict(tls) if tls else False
        )
        self._queue = Queue(queue, durable=True, routing_key=queue, max_length=keep or None)
        self._producer: Producer | None = None
        self._lock = threading.Lock()  # an AMQP connection is not for several threads
        self._lost: tuple[type[BaseException], ...] = (
            OperationalError,
            OSError,
            *self._connection.connection_errors,
            *self._connection.channel_errors,
        )
        self._out: tuple[type[BaseException], ...] = (_Blocked, *self._lost)

    def publish(self, *publications: Publication) -> None:
        waiting = deque(publications)
        with self._translated(), self._lock:
            lay_idle = self._producer is not None
            try:
                self._publish_all(waiting)
            except self._lost:
                if not lay_idle:
                    raise
                # It may only have been closed meanwhile: once more, on a new one, from what was not confirmed.
                self._drop()
                self._publish_all(waiting)

    def _publish_all(self, waiting: deque[Publication]) -> None:
        producer = self._producer or self._open()
        while waiting:
            self._publish(producer, waiting[0])
            waiting.popleft()

    def _open(self) -> Producer:
        # Who publishes must not stall: whoever could not publish now does it again later.
        self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=5)
        try:
            self._queue.bind(self._connection.channel()).queue_declare(passive=True)
        except self._connection.channel_errors:  # it is not there; and that channel is closed
            self._queue.bind(self._connection.channel()).declare()
        self._producer = Producer(self._connection.channel(), auto_declare=False)
        return self._producer

    def _publish(self, producer: Producer, publication: Publication) -> None:
        producer.publish(
            publication.body,
            routing_key=self._queue.name,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            mandatory=True,
            timeout=WRITE_SECONDS,
            confirm_timeout=CONFIRM_SECONDS,
            message_id=publication.entry_id,
            correlation_id=publication.job_id,
        )

    def identity(self) -> None:
        """Such a broker does not say whether it forgot something: `trimtab republish` is for that."""

    def ping(self) -> None:
        with self._translated(), self._lock:
            self._connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=5)

    def close(self) -> None:
        self._producer = None
        self._connection.release()

    def _drop(self) -> None:
        """Let go of a connection that is of no more use, without a word to the other side."""
        self._producer = None
        self._connection.collect(socket_timeout=0.1)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except MessageNacked as error:
            raise BrokerUnavailable(
                "result queue", "the broker refused the message: the queue is full"
            ) from error
        except self._out as error:
            self._drop()
            raise BrokerUnavailable("result queue", str(error) or type(error).__name__) from error


def _options(url: str) -> dict[str, Any]:
    """Of the transport. What only RabbitMQ has would stop other transports."""
    if not url.startswith(("amqp", "pyamqp")):
        return {}
    return {"confirm_publish": True, "on_blocked": _raise_blocked, "write_timeout": WRITE_SECONDS}
