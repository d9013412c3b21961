"""The HTTP API."""

from adapters.inbound.api import ApiOptions, create_app
from config.settings import Settings
from worker import __version__
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.loops import prepare_store, serve, stop_on_signals


def run(settings: Settings) -> None:
    with build_services(settings, create_sending_app(settings)) as services:
        stop = stop_on_signals()
        prepare_store(services.jobs, stop)
        options = ApiOptions(version=__version__, max_body_size=settings.max_body_bytes)
        app = create_app(services, options)
        serve(app, settings, host=settings.api_host, port=settings.api_port, stop=stop)
