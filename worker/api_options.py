"""What the HTTP API is told by the settings: who may call, how often, from where, and what it stands on."""

import secrets
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address

from celery import Celery

from adapters.inbound.api import ApiOptions, HealthPart
from adapters.inbound.api.rate import Limiter, LocalLimiter, Rate, RedisLimiter
from adapters.inbound.keys import KeyRing
from adapters.inbound.tiny_problem import solve_tiny
from config.settings import UPSTREAMS, Settings
from domain.errors import Invalid
from tasks.services import Services
from worker import __version__
from worker.container import http_options
from worker.looks import look_at_upstream, look_at_workers
from worker.redis_client import is_redis, redis_client
from worker.watching import Watching

_LIMITER_PATIENCE_SECONDS = 0.25  # every request waits for it
_KEEP_LOOKS_SECONDS = 15.0
_KEEP_SOLVED_SECONDS = 600.0


def api_options(
    settings: Settings,
    services: Services,
    app: Celery,
    held: ExitStack,
    *,
    leaving: Callable[[], bool] = bool,
) -> ApiOptions:
    """``held`` closes what is opened here. ``leaving`` says that the process is about to end.

    Raises:
        Invalid: the file of keys cannot be used, something unknown is needed, or the API would be open to the
            network without keys and nobody said that it may.
    """
    keys = None if settings.api_keys_file is None else KeyRing(settings.api_keys_file, services.clock)
    if keys is None:
        _refuse_to_be_open(settings)
    return ApiOptions(
        version=__version__,
        max_body_size=settings.max_body_bytes,
        keys=keys,
        limiter=None if keys is None else _limiter(settings, held),
        origins=settings.api_origins,
        hosts=_names(settings, anybody=keys is not None or settings.api_without_keys),
        needed=settings.ready_needs,
        page_secret=settings.page_secret.get_secret_value().encode() or secrets.token_bytes(32),
        page_session=timedelta(seconds=settings.page_session_seconds),
        leaving=leaving,
        parts=(
            HealthPart("solver", lambda: solve_tiny(services.solver), _KEEP_SOLVED_SECONDS),
            HealthPart("workers", lambda: look_at_workers(app), _KEEP_LOOKS_SECONDS),
            *(_upstream(name, settings) for name in UPSTREAMS),
        ),
    )


def watched_options(options: ApiOptions, watching: Watching) -> ApiOptions:
    """The same API, telling what it does to whoever watches."""
    if watching.metrics is not None:
        options = replace(options, watch=watching.metrics.meter, metrics=watching.metrics.page)
    if (tracing := watching.tracing) is not None:
        options = replace(options, trace=lambda correlation_id: tracing.note(correlation_id=correlation_id))
    return options


def _refuse_to_be_open(settings: Settings) -> None:
    """A socket handed down by `up` listens on loopback, whatever the address in the settings."""
    if settings.listen_fd is None and not settings.api_without_keys and not is_loopback(settings.api_host):
        raise Invalid(
            f"{settings.api_host} can be reached by others, and there are no API keys: "
            "set TRIMTAB_API_KEYS_FILE ('trimtab keys add' makes one), or TRIMTAB_API_WITHOUT_KEYS=true "
            "if something before it decides who may call",
            code="open_to_all",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. A name other than localhost may mean anything."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(settings: Settings, *, anybody: bool) -> Collection[str] | None:
    """The names we answer to, None for any: what the settings say, else our own, unless ``anybody`` may reach us."""
    if settings.api_hosts:
        return settings.api_hosts
    return None if anybody else {"localhost", "127.0.0.1", "::1", settings.api_host}


def _limiter(settings: Settings, held: ExitStack) -> Limiter | None:
    """Shared by all API processes on the broker's Redis, or the requests'; without any, each counts alone."""
    if not settings.api_calls_per_second:
        return None
    rate = Rate(per_second=settings.api_calls_per_second, burst=settings.api_burst)
    urls = (settings.broker_url.get_secret_value(), settings.effective_requests_url)
    url = next((url for url in urls if is_redis(url)), None)
    if url is None:
        return LocalLimiter(rate, time.monotonic)
    client = redis_client(url, patience_seconds=_LIMITER_PATIENCE_SECONDS)
    held.callback(client.close)
    return RedisLimiter(client, rate, time.monotonic)


def _upstream(name: str, settings: Settings) -> HealthPart:
    url, options = getattr(settings, f"{name}_url"), http_options(settings)
    return HealthPart(name, lambda: look_at_upstream(url, options), _KEEP_LOOKS_SECONDS)
