"""A real broker that loses its data in the middle of a job: every order set stands on the stream again, byte for byte."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from adapters.results.kombu_queue import KombuQueuePublisher
from adapters.results.redis_stream import RedisStreamPublisher, RedisStreamReader
from domain.errors import BrokerUnavailable
from domain.ports import OrderSetPublisher
from tasks.bench import Outgoing
from tasks.steward import Steward
from tests.support.servers import free_port
from tests.support.waiting import eventually
from tests.support.world import SHORT_RULES, AtOnce, World
from worker.redis_client import redis_client
from worker.stack import NoBroker, broker_binary

pytestmark = pytest.mark.integration

SHIM = Path(__file__).parents[1] / "support" / "die_with_parent.py"
RULES = replace(SHORT_RULES, lost_token_seconds=60.0, lease_seconds=2.0, due_after_seconds=0.1)


class Broker:
    """A server without a disk, on one port, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process = self._start()

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def start(self) -> None:
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        address = ["--bind", "127.0.0.1", "--port", str(self._port)]
        no_disk = ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        command = [str(broker_binary()), *address, *no_disk]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(self._answers, bool, seconds=20)
        return process

    def _answers(self) -> bool:
        with closing(Redis.from_url(self.url)) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    try:
        broker = Broker(tmp_path)
    except NoBroker:
        pytest.skip("no valkey-server or redis-server")
    yield broker
    broker.kill()


@contextmanager
def world_on(publisher: OrderSetPublisher, folder: Path) -> Iterator[World]:
    world = World.create(folder, RULES)
    world.services = replace(world.services, publisher=publisher)
    world.bench = replace(world.bench, outgoing=Outgoing(publisher, world.bench.marks, every_seconds=60))
    world.steward = Steward(world.services, AtOnce())
    yield world
    world.store.close()


def stream(client: Redis) -> dict[str, bytes]:
    entries = list(RedisStreamReader(client).entries())
    found = {entry.order_set_id: entry.body for entry in entries}
    assert len(found) == len(entries)  # each id once
    return found


def stored(world: World) -> dict[str, bytes]:
    (job,) = world.store.list_jobs()
    return {item.item_id: item.order_set for item in world.items(job.job_id) if item.order_set is not None}


def halfway(world: World) -> None:
    """A job of ten portfolios of which five are done, published and marked."""
    world.book(10)
    world.submit(parallelism=2)
    world.tick(2)
    world.work(at_most=5)
    assert len(stored(world)) == 5


def finished(world: World, client: Redis) -> None:
    (job,) = world.store.list_jobs()
    world.finish(job)

    def on_the_stream() -> dict[str, bytes]:
        world.tick()
        return stream(client)

    eventually(on_the_stream, lambda entries: len(entries) == 10)
    assert stream(client) == stored(world)


def test_a_broker_that_is_killed_and_comes_back_empty_has_everything_again(
    broker: Broker, tmp_path: Path
) -> None:
    with (
        closing(redis_client(broker.url)) as client,
        world_on(RedisStreamPublisher(client), tmp_path) as world,
    ):
        halfway(world)
        assert len(stream(client)) == 5
        broker.kill()
        world.tick(3)
        world.work(at_most=2)  # stored, and due until the broker is back
        broker.start()
        assert stream(client) == {}

        finished(world, client)

        (job,) = world.store.list_jobs()
        assert job.healing["republished"] >= 5


def test_a_broker_that_is_flushed_has_everything_again(broker: Broker, tmp_path: Path) -> None:
    with (
        closing(redis_client(broker.url)) as client,
        world_on(RedisStreamPublisher(client), tmp_path) as world,
    ):
        halfway(world)
        client.flushall()
        finished(world, client)


def test_a_broker_that_kept_its_data_gets_nothing_twice(broker: Broker, tmp_path: Path) -> None:
    with (
        closing(redis_client(broker.url)) as client,
        world_on(RedisStreamPublisher(client), tmp_path) as world,
    ):
        halfway(world)
        world.store.swap_note("result queue", world.store.get_note("result queue"), "another run")
        world.steward = Steward(world.services, AtOnce())  # as one that starts anew

        finished(world, client)
        eventually(
            lambda: world.tick().store.get_note("result queue"),
            lambda note: note == world.services.publisher.identity(),
        )
        assert client.xlen("trimtab.order-sets") == 10


def test_the_identity_stays_until_the_data_or_the_run_changes(broker: Broker) -> None:
    with closing(redis_client(broker.url)) as client, closing(redis_client(broker.url)) as other:
        publisher = RedisStreamPublisher(client)
        first = publisher.identity()
        assert publisher.identity() == first == RedisStreamPublisher(other).identity()
        client.flushall()
        flushed = publisher.identity()
        broker.kill()
        with pytest.raises(BrokerUnavailable):
            publisher.identity()
        broker.start()
        assert len({first, flushed, publisher.identity()}) == 3


def test_another_kind_of_broker_cannot_tell() -> None:
    publisher: OrderSetPublisher = KombuQueuePublisher("memory://")
    assert publisher.identity() is None
