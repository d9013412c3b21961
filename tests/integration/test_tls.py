"""TLS by URL to each server behind us: it works with the right certificates, and is refused with any other."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.backoff import NoBackoff
from redis.retry import Retry

from adapters.results.kombu_queue import KombuQueuePublisher
from adapters.results.redis_stream import RedisStreamPublisher
from adapters.stores.open import open_store
from config.broker_tls import broker_tls
from config.settings import load_settings
from domain.errors import BrokerUnavailable, StoreUnavailable
from domain.ids import JobId
from domain.job import JobState
from domain.ports import Publication
from tests.support.lives import job
from tests.support.tls import Certificates, TlsFront
from worker.celery_app import create_sending_app
from worker.redis_client import redis_client
from worker.tokens import CeleryTokens

# Python's ssl (3.11 at least) leaves a socket open that its peer resets before the handshake, and a driver that connects
# in the background, as MongoDB's does, may meet that whenever a front closes. Nobody else has hold of that socket.
RESET_BEFORE_THE_HANDSHAKE = (
    r"ignore:Exception ignored in. <ssl\.SSLSocket fd=\d+, family=\d, type=1, proto=6, laddr=\([^)]*\)>"
    ":pytest.PytestUnraisableExceptionWarning"
)
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings(RESET_BEFORE_THE_HANDSHAKE)]

ENTRY = Publication("job:1", JobId("job"), b"{}")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("tls"))


@contextmanager
def front_of(url: str, certificates: Certificates) -> Iterator[str]:
    """Host and port of a TLS front before a server on loopback."""
    with closing(TlsFront(urlsplit(url).port or 0, certificates)) as front:
        yield f"127.0.0.1:{front.port}"


def test_the_streams_of_a_redis(redis_url: str, certificates: Certificates) -> None:
    number = urlsplit(redis_url).path
    with front_of(redis_url, certificates) as place:
        with closing(redis_client(f"rediss://{place}{number}?{certificates.in_query()}")) as client:
            RedisStreamPublisher(client).publish(ENTRY)
            assert client.xlen("trimtab.order-sets") == 1
        with closing(
            redis_client(f"rediss://{place}{number}")
        ) as stranger:  # trusts the usual authorities only
            stranger.set_retry(Retry(NoBackoff(), 0))
            with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
                RedisStreamPublisher(stranger).ping()


def test_the_task_queue_on_a_redis(redis_url: str, certificates: Certificates) -> None:
    number = urlsplit(redis_url).path
    with front_of(redis_url, certificates) as place:
        app = create_sending_app(
            load_settings(broker_url=f"rediss://{place}{number}?{certificates.in_query()}")
        )
        with closing(CeleryTokens(app)) as tokens:
            tokens.ping()
            assert tokens.length() == 0
        app.close()

        unverified = create_sending_app(load_settings(broker_url=f"rediss://{place}{number}"))
        with closing(CeleryTokens(unverified)) as tokens, pytest.raises(BrokerUnavailable):
            tokens.ping()
        unverified.close()


def test_a_queue_on_a_rabbitmq(rabbitmq_server: str, certificates: Certificates) -> None:
    with front_of(rabbitmq_server, certificates) as place:
        url, tls = broker_tls(f"amqps://guest:guest@{place}//?{certificates.in_query()}")
        with closing(KombuQueuePublisher(url, "tls", tls=tls)) as publisher:
            publisher.publish(ENTRY)

        url, tls = broker_tls(f"amqps://guest:guest@{place}//")
        with (
            closing(KombuQueuePublisher(url, "tls", tls=tls)) as publisher,
            pytest.raises(BrokerUnavailable, match="certificate verify failed"),
        ):
            publisher.publish(ENTRY)


def test_the_store_on_a_mongodb(mongo_url: str, certificates: Certificates, tmp_path: Path) -> None:
    database = urlsplit(mongo_url).path
    with front_of(mongo_url, certificates) as place:
        trusted = f"tlsCAFile={certificates.ca}&tlsCertificateKeyFile={certificates.client_both}"
        url = f"mongodb://{place}{database}?directConnection=true&tls=true"
        with closing(open_store(f"{url}&{trusted}")) as store:
            store.prepare()
            assert store.insert_job(job()).state is JobState.ACCEPTED
        with closing(open_store(url, timeout_seconds=1)) as store, pytest.raises(StoreUnavailable):
            store.ping()
