"""The HTTP API, and the page for people beside it."""

from contextlib import ExitStack

from adapters.inbound.api import create_app
from adapters.inbound.page import page_router
from config.settings import Settings
from worker.api_options import api_options, watched_options
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.loops import prepare_store, serve, stop_on_signals
from worker.watching import watch_api


def run(settings: Settings) -> None:
    with ExitStack() as held:
        sending = create_sending_app(settings)
        watching = held.enter_context(watch_api(settings))
        services = held.enter_context(build_services(settings, sending, watching))
        services.schedules()  # what is wrong with them stops the start
        stop = stop_on_signals()
        options = api_options(settings, services, sending, held, leaving=stop.is_set)
        options = watched_options(options, watching)
        prepare_store(services.jobs, stop)
        app = create_app(services, options, beside=[page_router(services, options)])
        serve(app, settings, host=settings.api_host, port=settings.api_port, stop=stop)
