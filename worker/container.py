"""The composition root: settings in, services out. Opened once a process, after any fork; closed at its end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields

from celery import Celery

from adapters.results.kombu_queue import KombuQueuePublisher
from adapters.results.redis_stream import RedisStreamPublisher
from adapters.solver.cvxpy_solver import CvxpySolver
from adapters.stores import open_store
from adapters.system_clock import SystemClock
from adapters.upstream import HttpOptions, SourceUrls, sources_from_urls
from config.settings import Settings
from domain.ports import OrderSetPublisher
from tasks.services import Rules, Services
from worker.redis_client import is_redis, redis_client
from worker.tokens import CeleryTokens


@contextmanager
def build_services(settings: Settings, app: Celery) -> Iterator[Services]:
    """Nothing is connected yet when this yields; every client connects at its first use and is closed at the end.

    Raises:
        Invalid: a URL whose scheme nobody here knows.
    """
    with ExitStack() as held:
        store = open_store(settings.effective_store_url, sqlite_synchronous=settings.sqlite_synchronous)
        held.callback(store.close)
        sources = sources_from_urls(_urls(settings), _http_options(settings))
        held.callback(sources.close)
        yield Services(
            models=store,
            jobs=store,
            prices=sources.prices,
            securities=sources.securities,
            accounting=sources.accounting,
            directory=sources.directory,
            solver=CvxpySolver(time_limit_seconds=settings.solver_time_limit_seconds),
            publisher=build_publisher(settings, held),
            tokens=CeleryTokens(app),
            clock=SystemClock(),
            rules=_rules(settings),
        )


def build_publisher(settings: Settings, held: ExitStack) -> OrderSetPublisher:
    """The result queue by URL: a Redis stream for Redis URLs, any kombu broker otherwise (``kombu+`` forces it)."""
    url = settings.effective_results_url
    if is_redis(url):
        client = redis_client(url)
        held.callback(client.close)
        return RedisStreamPublisher(client, settings.order_sets_stream)
    publisher = KombuQueuePublisher(url.removeprefix("kombu+"), settings.order_sets_stream)
    held.callback(publisher.close)
    return publisher


def _rules(settings: Settings) -> Rules:
    """Every rule is the setting of the same name."""
    return Rules(**{rule.name: getattr(settings, rule.name) for rule in fields(Rules)})


def _urls(settings: Settings) -> SourceUrls:
    return SourceUrls(
        prices=settings.pricing_url,
        securities=settings.securities_url,
        accounting=settings.accounting_url,
        portfolios=settings.portfolios_url,
    )


def _http_options(settings: Settings) -> HttpOptions:
    return HttpOptions(
        connect_seconds=settings.upstream_connect_seconds,
        read_seconds=settings.upstream_read_seconds,
        write_seconds=settings.upstream_write_seconds,
        pool_seconds=settings.upstream_pool_seconds,
        retries=settings.upstream_retries,
        retry_first_seconds=settings.upstream_retry_first_seconds,
        retry_max_seconds=settings.upstream_retry_max_seconds,
        breaker_failures=settings.breaker_failures,
        breaker_open_seconds=settings.breaker_open_seconds,
        max_bytes=settings.upstream_max_bytes,
        ca_file=settings.upstream_ca_file,
    )
