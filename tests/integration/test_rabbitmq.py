"""A real RabbitMQ: order sets, job events and tokens on it, whole jobs through it, and what happens when it takes no more."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from kombu import Connection, Queue

from adapters.results.kombu_queue import KombuQueuePublisher
from config.settings import load_settings
from domain.errors import BrokerUnavailable
from domain.ids import JobId
from domain.ports import Publication, Token
from tests.support.servers import Server
from tests.support.waiting import eventually
from worker.celery_app import create_sending_app
from worker.tokens import CeleryTokens

pytestmark = pytest.mark.integration


def publication(number: int) -> Publication:
    return Publication(f"job:{number}", JobId("job"), json.dumps({"id": f"job:{number}"}).encode())


@pytest.fixture
def connection(rabbitmq_server: str) -> Iterator[Connection]:
    with Connection(rabbitmq_server) as connection:
        yield connection


def taken(connection: Connection, name: str) -> list[Any]:
    """Every message on a queue, acknowledged."""
    channel: Any = connection.channel()
    messages = []
    while (message := channel.basic_get(name)) is not None:
        channel.basic_ack(message.delivery_tag)
        messages.append(message)
    return messages


def test_an_order_set_is_a_durable_persistent_plain_json_message(
    rabbitmq_server: str, connection: Connection
) -> None:
    with closing(KombuQueuePublisher(rabbitmq_server, "plain")) as publisher:
        publisher.ping()
        publisher.publish(publication(1), publication(2))
        publisher.publish(publication(3))

    first, *others = taken(connection, "plain")
    assert (first.body, len(others)) == ('{"id": "job:1"}', 2)
    properties: Mapping[str, Any] = first.properties
    assert properties["content_type"] == "application/json"
    assert properties["message_id"] == "job:1"
    assert properties["correlation_id"] == "job"
    assert properties["delivery_mode"] == 2
    Queue("plain", durable=True, channel=connection.channel()).queue_declare(passive=True)


def test_a_queue_that_its_owner_made_is_used_as_it_is_and_one_that_is_full_is_told(
    rabbitmq_server: str, connection: Connection
) -> None:
    limited = {"x-max-length": 2, "x-overflow": "reject-publish", "x-queue-type": "quorum"}
    Queue("limited", durable=True, queue_arguments=limited, channel=connection.channel()).declare()

    with closing(KombuQueuePublisher(rabbitmq_server, "limited")) as publisher:
        twenty = [publication(number) for number in range(20)]  # a quorum queue counts later than it confirms
        with pytest.raises(BrokerUnavailable, match="the queue is full"):
            publisher.publish(*twenty)
        held = taken(connection, "limited")
        assert [message.properties["message_id"] for message in held] == [
            f"job:{number}" for number in range(len(held))
        ]
        publisher.publish(publication(99))  # there is room again: the same publisher goes on


def test_a_broker_short_of_memory_is_told_at_once_and_nothing_is_lost_when_it_has_room(
    rabbitmq_node: Server, connection: Connection
) -> None:
    if rabbitmq_node.call is None:
        pytest.skip("a RabbitMQ given by URL is not ours to starve")
    with closing(KombuQueuePublisher(rabbitmq_node.url, "blocked")) as publisher:
        publisher.publish(publication(1))
        rabbitmq_node.call("vm_memory_monitor set_vm_memory_high_watermark [0.00001]")
        try:
            eventually(lambda: refusal(publisher, publication(2)), lambda told: "connection.blocked" in told)
        finally:
            rabbitmq_node.call("vm_memory_monitor set_vm_memory_high_watermark [0.4]")

        eventually(lambda: refusal(publisher, publication(2)), lambda told: not told)

    ids = [message.properties["message_id"] for message in taken(connection, "blocked")]
    assert ids[0] == "job:1"
    assert set(ids[1:]) == {
        "job:2"
    }  # perhaps more than once: each try that was not confirmed may have arrived


def refusal(publisher: KombuQueuePublisher, wanted: Publication) -> str:
    """Why it was not published; empty when it was."""
    try:
        publisher.publish(wanted)
    except BrokerUnavailable as error:
        return str(error)
    return ""


def test_a_queue_of_events_drops_the_oldest_when_nobody_reads_it(
    rabbitmq_server: str, connection: Connection
) -> None:
    with closing(KombuQueuePublisher(rabbitmq_server, "events", keep=3)) as publisher:
        publisher.publish(*(publication(number) for number in range(10)))

    ids = [message.properties["message_id"] for message in taken(connection, "events")]
    assert ids == ["job:7", "job:8", "job:9"]


def test_a_connection_that_was_cut_while_it_lay_idle_costs_nothing(
    rabbitmq_server: str, connection: Connection
) -> None:
    with closing(KombuQueuePublisher(rabbitmq_server, "cut")) as publisher:
        publisher.publish(publication(1))
        publisher._connection.connection.transport.sock.close()

        publisher.publish(publication(2))

    ids = [message.properties["message_id"] for message in taken(connection, "cut")]
    assert ids == ["job:1", "job:2"]


def test_a_broker_that_went_away_is_told_and_what_was_not_sent_can_be_sent_again() -> None:
    with (
        closing(KombuQueuePublisher("amqp://guest:guest@127.0.0.1:1//")) as publisher,
        pytest.raises(BrokerUnavailable) as told,
    ):
        publisher.publish(publication(1))

    assert "guest:guest" not in str(told.value)


def test_tokens_go_by_celerys_own_way_and_are_counted(rabbitmq_server: str) -> None:
    settings = load_settings(broker_url=rabbitmq_server, task_queue="tokens")
    app = create_sending_app(settings)
    with closing(CeleryTokens(app)) as tokens, closing(Connection(rabbitmq_server)) as connection:
        tokens.ping()
        assert tokens.length() == 0

        tokens.send([Token(JobId("job"), seat) for seat in range(3)])

        eventually(tokens.length, lambda length: length == 3)
        message = taken(connection, "tokens")[0]
        assert json.loads(message.body)[1] == {"job_id": "job", "seat": 0, "probe": False}
        assert tokens.length() == 0
    app.close()
