"""The result queue on a real server: each id once, bytes as given, outages told."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from kombu import Connection
from redis import Redis

from adapters.results.kombu_queue import KombuQueuePublisher
from adapters.results.redis_stream import RedisStreamPublisher, RedisStreamReader
from domain.errors import BrokerUnavailable
from domain.ids import ItemId, JobId
from domain.ports import Publication
from worker import guarded_redis
from worker.redis_client import redis_client

pytestmark = pytest.mark.integration

STREAM = "trimtab.order-sets"


def publication(number: int, body: bytes = b'{"orders":[]}') -> Publication:
    return Publication(ItemId(f"job:{number}"), JobId("job"), body)


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with closing(redis_client(redis_url)) as client:
        yield client


def test_an_order_set_stands_on_the_stream_as_plain_fields(client: Redis) -> None:
    RedisStreamPublisher(client).publish(publication(1, b'{"id":"job:1"}'))

    ((_, fields),) = list(client.xrange(STREAM) or ())
    assert fields == {
        b"id": b"job:1",
        b"job": b"job",
        b"schema": b"trimtab.order-set.v1",
        b"data": b'{"id":"job:1"}',
    }


def test_an_id_is_added_once_however_often_it_is_published(client: Redis) -> None:
    publisher = RedisStreamPublisher(client)

    def publish_all() -> None:
        for number in range(50):
            publisher.publish(publication(number))

    threads = [threading.Thread(target=publish_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert client.xlen(STREAM) == 50


def test_a_stream_the_broker_forgot_is_filled_again(client: Redis) -> None:
    publisher = RedisStreamPublisher(client)
    publisher.publish(publication(1))
    client.flushall()

    publisher.publish(publication(1))

    assert client.xlen(STREAM) == 1


def test_the_ids_of_a_job_do_not_stay_for_ever(client: Redis) -> None:
    RedisStreamPublisher(client).publish(publication(1))

    assert 0 < client.ttl(f"{STREAM}:ids:job") <= 14 * 24 * 3600


def test_a_reader_sees_every_entry_in_order_and_consumes_none(client: Redis) -> None:
    publisher = RedisStreamPublisher(client)
    for number in range(600):
        publisher.publish(publication(number))
    reader = RedisStreamReader(client)

    first = [entry.order_set_id for entry in reader.entries()]

    assert first == [f"job:{number}" for number in range(600)]
    assert [entry.order_set_id for entry in reader.entries()] == first


def test_a_reader_that_follows_sees_what_comes_later(client: Redis) -> None:
    publisher = RedisStreamPublisher(client)
    entries = RedisStreamReader(client).entries(follow=True, block_ms=100)
    publisher.publish(publication(1))
    assert next(entries).order_set_id == "job:1"

    later = threading.Timer(0.3, publisher.publish, [publication(2, b"later")])
    later.start()

    assert next(entries).body == b"later"
    later.join()  # it is read before its publisher has the answer, which the client must live to see


def test_a_kombu_queue_carries_the_plain_json_and_the_id(redis_url: str) -> None:
    guarded_redis.install("trimtab.run")  # as in a process of ours: it must leave other queues alone
    with closing(KombuQueuePublisher(redis_url, "orders")) as publisher:
        publisher.ping()
        publisher.publish(publication(1, b'{"id":"job:1"}'))

    with Connection(redis_url) as connection, closing(connection.SimpleQueue("orders")) as queue:
        message = queue.get(timeout=5)
        assert message.payload == {"id": "job:1"}
        assert message.properties["message_id"] == "job:1"
        message.ack()


@pytest.mark.parametrize(
    "publisher",
    [
        RedisStreamPublisher(redis_client("redis://127.0.0.1:1/0")),
        KombuQueuePublisher("redis://127.0.0.1:1/0"),
    ],
    ids=["stream", "kombu"],
)
def test_a_result_queue_that_is_away_is_told_as_such(
    publisher: RedisStreamPublisher | KombuQueuePublisher,
) -> None:
    with pytest.raises(BrokerUnavailable):
        publisher.publish(publication(1))
    with pytest.raises(BrokerUnavailable):
        publisher.ping()


def test_order_sets_of_several_jobs_published_together_are_each_added_once(client: Redis) -> None:
    publisher = RedisStreamPublisher(client)
    publisher.publish(publication(2))
    other = Publication(ItemId("other:1"), JobId("other"), b"{}")

    publisher.publish(publication(1), publication(2), other, publication(3))
    publisher.publish(publication(1), other)

    ids = [entry.order_set_id for entry in RedisStreamReader(client).entries()]
    assert ids == ["job:2", "job:1", "other:1", "job:3"]
    assert client.ttl("trimtab.order-sets:ids:other") > 0
