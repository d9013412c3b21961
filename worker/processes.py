"""The processes of the Procfile, one function each: settings in, running until told to stop."""

from pathlib import Path

from adapters.inbound.api import ApiOptions, create_app as create_api
from adapters.inbound.request_stream import RequestStream
from adapters.sandbox import Book, Faults, create_app as create_sandbox
from config.logging import configure_logging
from config.settings import Settings
from worker.celery_app import create_app, create_worker_app
from worker.container import build_services
from worker.loops import run_steward, serve, stop_on_signals
from worker.redis_client import redis_client
from worker.stack import BookOptions


def api(settings: Settings) -> None:
    with build_services(settings, create_app(settings)) as services:
        services.jobs.prepare()
        serve(create_api(services, _api_options(settings)), settings, host=settings.api_host, port=settings.api_port)


def steward(settings: Settings) -> None:
    stop = stop_on_signals()
    with build_services(settings, create_app(settings)) as services:
        services.jobs.prepare()
        run_steward(services, settings.steward_tick_seconds, stop)


def worker(settings: Settings) -> None:
    """Celery's own worker; each child opens its clients after the fork."""
    with build_services(settings, create_app(settings)) as services:
        services.jobs.prepare()
    arguments = ["worker", "--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--queues", settings.task_queue]
    create_worker_app(settings).worker_main(arguments)
