"""Fixtures for every test: real servers, started once per session (and per pytest-xdist worker) when first used."""

import itertools
import uuid
from collections.abc import Iterator

import pymongo
import pytest
import redis

from config.logging import configure_logging
from tests.support import servers

REDIS_DATABASES = itertools.count(1)
STARTED_ONCE = {"stack", "up", "guarded"}  # fixtures of a module whose start takes seconds

# As every process of ours does: structlog's default draws all local variables of every frame, seconds each.
configure_logging("debug", "json")


def pytest_report_header() -> str:
    return servers.describe()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Who shares what is started once a module runs in one process of pytest-xdist: each would start its own."""
    if STARTED_ONCE & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, so that no process is left alone with one at the end; else as shuffled."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[str]:
    """The URL of a server that speaks MongoDB's wire protocol."""
    server = servers.start(servers.mongo_candidate(), "mongodb")
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a real Redis or Valkey."""
    server = servers.start(servers.redis_candidate(), "redis")
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_node() -> Iterator[servers.Server]:
    """A real RabbitMQ."""
    server = servers.start(servers.rabbitmq_candidate(), "rabbitmq")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_server(rabbitmq_node: servers.Server) -> str:
    """Its URL."""
    return rabbitmq_node.url


@pytest.fixture
def mongo_url(mongo_server: str) -> Iterator[str]:
    """The URL of a database of this test's own."""
    name = f"trimtab_test_{uuid.uuid4().hex}"
    yield servers.with_database(mongo_server, name)
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(mongo_server)
    client.drop_database(name)
    client.close()


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """The URL of an empty database of this test's own (a server given by URL has 16 of them)."""
    client = redis.Redis.from_url(redis_server)
    number = next(REDIS_DATABASES) % int(client.config_get("databases")["databases"] or 16)
    client.close()
    url = servers.with_database(redis_server, str(number))
    client = redis.Redis.from_url(url)
    client.flushdb()
    yield url
    client.flushdb()
    client.close()
