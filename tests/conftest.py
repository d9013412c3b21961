"""Fixtures for every test: real servers, started once per session (and per pytest-xdist worker) when first used."""

import itertools
import uuid
from collections.abc import Iterator

import pymongo
import pytest
import redis
from xdist.remote import Producer  # type: ignore[import-untyped]  # it ships no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # likewise

from config.logging import configure_logging
from tests.support import servers

REDIS_DATABASES = itertools.count(1)

# As every process of ours does: structlog's default draws all local variables of every frame, seconds each.
configure_logging("debug", "json")


def pytest_report_header() -> str:
    return servers.describe()


class ByStack(LoadScopeScheduling):  # type: ignore[misc]  # likewise
    """Of the end-to-end tests a whole module goes to one process, the rest one by one.

    A module's tests share a stack that takes ten seconds to start: dealt out singly, each process starts its own. They
    come first, so that no process is left alone with them at the end.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if "/e2e/" in module else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByStack:
    return ByStack(config, log)


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
