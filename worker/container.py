"""The composition root: settings in, services out. Opened once a process, after any fork; closed at its end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import cache, partial

import structlog
from celery import Celery

from adapters.results.kombu_queue import KombuQueuePublisher
from adapters.results.redis_stream import JOB_EVENT_SCHEMA, JOB_EVENTS_KEPT, RedisStreamPublisher
from adapters.solver.deferred import DeferredSolver
from adapters.stores.open import open_store
from adapters.system_clock import SystemClock
from adapters.upstream.build import sources_from_urls
from adapters.upstream.options import HttpOptions
from adapters.upstream.watch import NOBODY_WATCHES
from config.broker_tls import broker_tls
from config.settings import Settings
from domain.ports import JobEventPublisher, OrderSetPublisher
from tasks.services import Rules, Services
from worker.crash_points import crash_point, watch_services
from worker.redis_client import is_redis, redis_client
from worker.schedules import build_schedules
from worker.tokens import CeleryTokens
from worker.watching import UNWATCHED, Watching


@contextmanager
def build_services(settings: Settings, app: Celery, watching: Watching = UNWATCHED) -> Iterator[Services]:
    """Nothing is connected yet when this yields; every client connects at its first use and is closed at the end.

    ``watching`` is told what happens.

    Raises:
        Invalid: a URL whose scheme nobody here knows; a crash point that does not exist.
    """
    point = crash_point(settings)
    with ExitStack() as held:
        store = open_store(settings.effective_store_url, synchronous=settings.sqlite_synchronous)
        held.callback(store.close)
        sources = held.enter_context(
            sources_from_urls(
                prices=settings.pricing_url,
                securities=settings.securities_url,
                accounting=settings.accounting_url,
                directory=settings.portfolios_url,
                options=http_options(settings),
                correlation=_correlation_id,
                watch=NOBODY_WATCHES if watching.metrics is None else watching.metrics.meter,
            )
        )
        tokens = CeleryTokens(app)
        held.callback(tokens.close)
        services = Services(
            models=store,
            jobs=store,
            prices=sources.prices,
            securities=sources.securities,
            accounting=sources.accounting,
            directory=sources.directory,
            solver=DeferredSolver(time_limit_seconds=settings.solver_time_limit_seconds),
            publisher=build_publisher(settings, held),
            events=build_event_publisher(settings, held),
            tokens=tokens,
            clock=SystemClock(),
            rules=_rules(settings),
            schedules=cache(partial(build_schedules, settings)),
        )
        yield watching.watched(watch_services(services, point))


def build_publisher(settings: Settings, held: ExitStack) -> OrderSetPublisher:
    """The result queue by URL: a Redis stream for Redis URLs, any kombu broker otherwise (``kombu+`` forces it)."""
    url = settings.effective_results_url
    if is_redis(url):
        client = redis_client(url)
        held.callback(client.close)
        return RedisStreamPublisher(client, settings.order_sets_stream)
    url, tls = broker_tls(url.removeprefix("kombu+"))
    publisher = KombuQueuePublisher(url, settings.order_sets_stream, tls=tls)
    held.callback(publisher.close)
    return publisher


def build_event_publisher(settings: Settings, held: ExitStack) -> JobEventPublisher:
    """Job events go to the same broker, on a stream or queue of their own that does not grow for ever."""
    url = settings.effective_results_url
    if is_redis(url):
        client = redis_client(url)
        held.callback(client.close)
        return RedisStreamPublisher(
            client, settings.job_events_stream, schema=JOB_EVENT_SCHEMA, keep=JOB_EVENTS_KEPT
        )
    url, tls = broker_tls(url.removeprefix("kombu+"))
    publisher = KombuQueuePublisher(url, settings.job_events_stream, keep=JOB_EVENTS_KEPT, tls=tls)
    held.callback(publisher.close)
    return publisher


def _rules(settings: Settings) -> Rules:
    """Every rule is the setting of the same name."""
    return Rules(**{rule.name: getattr(settings, rule.name) for rule in fields(Rules)})


def _correlation_id() -> str | None:
    """Of the job whose portfolio this thread works on, for the upstreams' own logs."""
    return structlog.contextvars.get_contextvars().get("correlation_id")


def http_options(settings: Settings) -> HttpOptions:
    """How upstreams are called: every option that has a setting ``upstream_<option>``; the others keep their defaults."""
    given = {
        option.name: getattr(settings, f"upstream_{option.name}", None) for option in fields(HttpOptions)
    }
    return HttpOptions(**{name: value for name, value in given.items() if value is not None})
