"""Order sets on any broker kombu knows, by URL: a durable queue of plain JSON bodies, message id = order-set id.

Such a queue cannot look before it adds: after a crash between publish and mark the same id may stand in it
twice, with identical bytes, and the consumer drops the second one.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kombu import Connection, Producer, Queue
from kombu.exceptions import OperationalError

from domain.errors import BrokerUnavailable
from domain.ports import Publication


class KombuQueuePublisher:
    """One connection, opened at the first publish, with publisher confirms where the broker has them."""

    def __init__(self, url: str, queue: str = "trimtab.order-sets") -> None:
        self._connection = Connection(url, transport_options={"confirm_publish": True}, connect_timeout=5)
        self._queue = Queue(queue, durable=True, routing_key=queue)
        self._lock = threading.Lock()  # an AMQP connection is not for several threads
        self._errors: tuple[type[BaseException], ...] = (
            OperationalError,
            OSError,
            *self._connection.connection_errors,
            *self._connection.channel_errors,
        )

    def publish(self, *publications: Publication) -> None:
        with self._translated(), self._lock:
            producer = self._connection.Producer()
            try:
                for publication in publications:
                    self._publish(producer, publication)
            finally:
                producer.release()

    def _publish(self, producer: Producer, publication: Publication) -> None:
        producer.publish(
            publication.body,
            routing_key=self._queue.name,
            declare=[self._queue],
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            retry=True,
            retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.2},
            message_id=publication.item_id,
            correlation_id=publication.job_id,
        )

    def identity(self) -> None:
        """Such a broker does not say whether it forgot something: `trimtab republish` is for that."""

    def ping(self) -> None:
        with self._translated(), self._lock:
            self._connection.ensure_connection(max_retries=1, timeout=5)

    def close(self) -> None:
        self._connection.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise BrokerUnavailable("result queue", str(error) or type(error).__name__) from error
