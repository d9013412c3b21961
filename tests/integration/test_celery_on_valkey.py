"""Celery's worker on a real broker: tokens arrive, strays are set aside, outages are told."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from redis import Redis

from config.settings import Settings, load_settings
from domain.errors import BrokerUnavailable, Invalid
from domain.ids import JobId
from domain.ports import Token
from tasks.account import Account
from tasks.registry import register
from tests.support.waiting import eventually
from worker.celery_app import create_sending_app
from worker.redis_client import redis_client
from worker.tokens import CeleryTokens

pytestmark = pytest.mark.integration

QUEUE = "trimtab.run"


class Collector:
    """The use cases of a worker that only remembers what it was told."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []

    def run_token(self, token: Token, account: Account) -> None:
        self.tokens.append(token)
        if token.seat == 99:
            raise Invalid("a use case that fails")


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return load_settings(broker_url=redis_url, state_dir=tmp_path)


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    app = create_sending_app(settings)
    yield app
    app.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    client = redis_client(redis_url)
    yield client
    client.close()


@contextmanager
def working(app: Celery) -> Iterator[Collector]:
    collector = Collector()
    register(app, collector)
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20):
        yield collector


def test_a_token_is_the_message_that_celery_itself_would_send(app: Celery, client: Redis) -> None:
    token = Token(JobId("j"), 3, probe=True)
    tokens = CeleryTokens(app)
    tokens._send_by_celery([token])
    tokens.send([token])
    tokens.close()

    sent: list[Any] = [client.rpop(QUEUE) for _ in range(2)]
    theirs, ours = map(json.loads, sent)

    for message in (theirs, ours):
        task_id = message["headers"].pop("id")
        assert message["headers"].pop("root_id") == task_id == message["properties"].pop("correlation_id")
        assert message["properties"].pop("delivery_tag")
        message["properties"].pop("reply_to")  # for a result, of which there is none
        message["body"] = json.loads(base64.b64decode(message["body"]))
    theirs["properties"].pop("kwargsrepr")  # which stands in the headers
    assert ours == theirs


def test_no_tokens_are_no_message(app: Celery, client: Redis) -> None:
    CeleryTokens(app).send([])

    assert client.llen(QUEUE) == 0


def test_tokens_are_sent_again_after_a_close(app: Celery, client: Redis) -> None:
    tokens = CeleryTokens(app)
    for _ in range(2):
        tokens.send([Token(JobId("j"), 0)])
        tokens.close()

    assert client.llen(QUEUE) == tokens.length() == 2


def test_tokens_reach_the_worker_with_all_their_fields(app: Celery) -> None:
    tokens = [Token(JobId("j"), 0), Token(JobId("j"), 1, probe=True)]

    with working(app) as collector:
        CeleryTokens(app).send(tokens)
        eventually(lambda: sorted(collector.tokens), lambda seen: seen == tokens)


def test_the_length_counts_waiting_tokens(app: Celery) -> None:
    queue = CeleryTokens(app)
    assert queue.length() == 0

    queue.send([Token(JobId("j"), seat) for seat in range(5)])

    assert queue.length() == 5


def test_a_use_case_that_fails_does_not_come_back_in_the_broker(app: Celery) -> None:
    with working(app) as collector:
        CeleryTokens(app).send([Token(JobId("j"), 99), Token(JobId("j"), 1)])
        eventually(lambda: collector.tokens, lambda seen: len(seen) == 2)

    assert CeleryTokens(app).length() == 0


BAD_BODY = (
    b'{"body": "%%%", "headers": {"id": "1", "task": "trimtab.run"}, "content-type": "application/json",'
    b' "content-encoding": "utf-8",'
    b' "properties": {"delivery_tag": "t", "delivery_info": {}, "body_encoding": "base64"}}'
)


def test_a_worker_answers_a_ping_through_the_guard(app: Celery) -> None:
    with working(app):
        answers = eventually(lambda: app.control.ping(timeout=1.0) or [], bool, seconds=20)

    assert list(answers[0].values()) == [{"ok": "pong"}]


STRAYS = (
    b"rebalance everything",
    b"[1, 2, 3]",
    b"7",
    b'{"model_id": "m1"}',
    BAD_BODY,
    b"\xff\xfe\x00",
    b"[" * 100_000,
)


def test_stray_messages_are_set_aside_and_the_worker_goes_on(app: Celery, client: Redis) -> None:
    with working(app) as collector:
        for stray in STRAYS:
            client.lpush(QUEUE, stray)
        CeleryTokens(app).send([Token(JobId("after"), 0)])
        eventually(lambda: collector.tokens, lambda seen: seen == [Token(JobId("after"), 0)])

    assert sorted(client.lrange(f"{QUEUE}.strays", 0, -1)) == sorted(STRAYS)


def test_a_broker_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    app = create_sending_app(load_settings(broker_url="redis://127.0.0.1:1/0", state_dir=tmp_path))
    queue = CeleryTokens(app)

    with pytest.raises(BrokerUnavailable):
        queue.send([Token(JobId("j"), 0)])
    with pytest.raises(BrokerUnavailable):
        queue.length()
    with pytest.raises(BrokerUnavailable):
        queue.ping()
    app.close()
