"""The scheduler: starts the runs of schedules; any number of copies, since the store decides what is due."""

import structlog

from config.settings import Settings
from worker.alive import SignOfLife
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.loops import prepare_store, run_scheduler, stop_on_signals
from worker.watching import watch_loop

TICK_SECONDS = 1.0

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    stop = stop_on_signals(SignOfLife(settings.alive_file))
    with (
        watch_loop(settings, "beat") as watching,
        build_services(settings, create_sending_app(settings), watching) as services,
    ):
        schedules = services.schedules()  # what is wrong with them stops the start
        prepare_store(services.jobs, stop)
        log.info("scheduler.started", schedules=[schedule.name for schedule in schedules])
        run_scheduler(services, TICK_SECONDS, stop, told=watching.round_over)
