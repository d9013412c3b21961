"""The task queue as the steward and the workers see it."""

import base64
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import msgspec
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from domain.errors import BrokerUnavailable
from domain.ports import Token
from tasks.registry import RUN, shown
from worker.redis_client import is_redis, redis_client


class CeleryTokens:
    """Tokens as Celery messages: arguments only, since all state is in the store.

    A token is sent for every slice, so on Redis it goes the short way (docs/decisions/0018-slices.md): an envelope
    made of parts that Celery made once, put on the queue's list by one command for all. Other brokers get theirs
    from Celery.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._url = str(app.conf.broker_url)
        connection = app.connection_for_write()  # not connected: only asked which errors its transport raises
        self._errors: tuple[type[BaseException], ...] = (
            OperationalError,
            RedisError,
            OSError,
            *connection.connection_errors,
            *connection.channel_errors,
        )

    def send(self, tokens: Sequence[Token]) -> None:
        if not tokens:
            return
        with self._translated():
            if is_redis(self._url):
                self._client.lpush(self._queue, *(self._envelopes.of(token) for token in tokens))
            else:
                self._send_by_celery(tokens)

    def _send_by_celery(self, tokens: Sequence[Token]) -> None:
        with self._app.producer_or_acquire() as producer:
            for token in tokens:
                self._app.send_task(
                    RUN,
                    kwargs=_arguments(token),
                    kwargsrepr=shown(token),
                    headers=_traced(token),
                    producer=producer,
                )

    def length(self) -> int:
        with self._translated(), self._app.connection_or_acquire() as connection:
            # Told as Celery makes it: RabbitMQ refuses a declaration that differs from what is there.
            declared = connection.default_channel.queue_declare(
                queue=self._queue, durable=True, auto_delete=False
            )
            return int(declared.message_count)

    def close(self) -> None:
        """Close what is open. A later call opens again."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def ping(self) -> None:
        """Raises BrokerUnavailable when the broker does not answer."""
        with self._translated(), self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=3)

    @property
    def _queue(self) -> str:
        return str(self._app.conf.task_default_queue)

    @cached_property
    def _client(self) -> Redis:
        client = redis_client(self._url)
        # A worker must not stall in a send: the steward sends again what was not sent.
        client.set_retry(Retry(ConstantBackoff(0.2), 2))
        return client

    @cached_property
    def _envelopes(self) -> "Envelopes":
        return Envelopes(self._app, self._queue)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise BrokerUnavailable("broker", str(error) or type(error).__name__) from error


class Envelopes:
    """Tokens as kombu puts messages on a Redis list. Celery makes the headers once; a token changes five of them."""

    def __init__(self, app: Celery, queue: str) -> None:
        message = app.amqp.as_task_v2("id", RUN, kwargs={}, kwargsrepr="")
        self._headers: dict[str, Any] = {**message.headers, "ignore_result": None}  # the task says it
        self._embedded: Any = message.body[2]
        self._delivery = {"exchange": "", "routing_key": queue}

    def of(self, token: Token) -> bytes:
        task_id = str(uuid.uuid4())
        body = msgspec.json.encode([[], _arguments(token), self._embedded])
        own = {"id": task_id, "root_id": task_id, "kwargsrepr": shown(token), **_traced(token)}
        return msgspec.json.encode(
            {
                "body": base64.b64encode(body).decode(),
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": {**self._headers, **own},
                "properties": {
                    "correlation_id": task_id,
                    "reply_to": "",
                    "delivery_mode": 2,
                    "delivery_info": self._delivery,
                    "priority": 0,
                    "body_encoding": "base64",
                    "delivery_tag": task_id,
                },
            }
        )


def _traced(token: Token) -> dict[str, str]:
    """Where Celery's instrumentation looks for what a task is a part of; so does `tasks.registry`."""
    return {"traceparent": token.trace_parent} if token.trace_parent else {}


def _arguments(token: Token) -> dict[str, object]:
    return {"job_id": token.job_id, "seat": token.seat, "probe": token.probe}
