"""The HTTP API."""

from contextlib import ExitStack

from adapters.inbound.api import create_app
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
        options = watched_options(api_options(settings, services, sending, held), watching)
        stop = stop_on_signals()
        prepare_store(services.jobs, stop)
        app = create_app(services, options)
        serve(app, settings, host=settings.api_host, port=settings.api_port, stop=stop)
