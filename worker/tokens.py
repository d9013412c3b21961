"""The task queue as the steward and the workers see it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from celery import Celery
from kombu.exceptions import OperationalError

from domain.errors import BrokerUnavailable
from domain.ports import Token
from tasks.registry import RUN


class CeleryTokens:
    """Tokens as Celery messages: arguments only, since all state is in the store."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        connection = app.connection_for_write()  # not connected: only asked which errors its transport raises
        self._errors: tuple[type[BaseException], ...] = (
            OperationalError,
            OSError,
            *connection.connection_errors,
            *connection.channel_errors,
        )

    def send(self, tokens: Sequence[Token]) -> None:
        with self._translated(), self._app.producer_or_acquire() as producer:
            for token in tokens:
                self._app.send_task(
                    RUN,
                    kwargs={"job_id": token.job_id, "seat": token.seat, "probe": token.probe},
                    kwargsrepr=f"job={token.job_id} seat={token.seat}{' probe' if token.probe else ''}",
                    producer=producer,
                )

    def length(self) -> int:
        with self._translated(), self._app.connection_or_acquire() as connection:
            queue = self._app.conf.task_default_queue
            return int(connection.default_channel.queue_declare(queue=queue, durable=True).message_count)

    def ping(self) -> None:
        """Raises BrokerUnavailable when the broker does not answer."""
        with self._translated(), self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise BrokerUnavailable("broker", str(error) or type(error).__name__) from error
