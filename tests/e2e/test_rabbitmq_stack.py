"""The whole of it with RabbitMQ as task broker and result queue, and no Redis anywhere."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from adapters.inbound.cli.wiring import BookOptions
from tests.support.messages import require_exactly
from tests.support.stacks import SHORT, Api
from tests.support.waiting import eventually
from worker.stack import Stack

pytestmark = pytest.mark.e2e

PORTFOLIOS = 20


@dataclass(slots=True)
class RabbitStack(Stack):
    """The broker is one that runs already."""

    url: str = ""

    def _start_broker(self, binary: Path, runtime_dir: Path) -> None:
        self.settings["broker_url"] = self.url


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, rabbitmq_server: str) -> Iterator[Stack]:
    with RabbitStack(
        state_dir=tmp_path_factory.mktemp("rabbit"),
        book=BookOptions(portfolios=PORTFOLIOS, securities=8, seed=3, prices=None),
        settings={**SHORT, "task_queue": "e2e.run"},
        parts=("steward",),
        url=rabbitmq_server,
    ) as stack:
        yield stack


def taken(url: str, name: str) -> list[dict[str, Any]]:
    """Every message on a queue, acknowledged."""
    with Connection(url) as connection:
        channel: Any = connection.channel()
        found = []
        while (message := channel.basic_get(name)) is not None:
            channel.basic_ack(message.delivery_tag)
            found.append(json.loads(message.body))
        return found


def test_a_job_is_worked_published_and_told_through_rabbitmq(
    stack: Stack, api: Api, rabbitmq_server: str
) -> None:
    api.create_model()
    job = api.finished(api.submit("rabbit-1")["job_id"])

    assert (job["state"], job["healing"]) == ("done", {})
    order_sets = {}

    def all_order_sets() -> int:
        order_sets.update({each["id"]: each for each in taken(rabbitmq_server, "trimtab.order-sets")})
        return len(order_sets)

    eventually(all_order_sets, lambda count: count == PORTFOLIOS)
    events: list[dict[str, Any]] = []

    def all_events() -> list[str]:
        events.extend(taken(rabbitmq_server, "trimtab.job-events"))
        return [event["event"] for event in events]

    eventually(all_events, lambda told: told == ["accepted", "started", "finished"])
    for order_set in order_sets.values():
        require_exactly("trimtab.order-set.v1", order_set)
    for event in events:
        require_exactly("trimtab.job-event.v1", event)


def test_the_request_stream_says_that_it_needs_a_redis(stack: Stack) -> None:
    stack._start_part("requests")
    refused = stack.children.pop()

    assert refused.process.wait(20) == 2
    assert "TRIMTAB_REQUESTS_URL" in refused.last_words()
