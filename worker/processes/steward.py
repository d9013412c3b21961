"""The steward; any number of copies."""

from config.settings import Settings
from worker.alive import SignOfLife
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.loops import prepare_store, run_steward, stop_on_signals
from worker.watching import watch_loop


def run(settings: Settings) -> None:
    stop = stop_on_signals(SignOfLife(settings.alive_file))
    with (
        watch_loop(settings, "steward") as watching,
        build_services(settings, create_sending_app(settings), watching) as services,
    ):
        prepare_store(services.jobs, stop)
        watching.show_state(services)
        run_steward(
            services,
            settings.steward_tick_seconds,
            stop,
            grace_seconds=settings.shutdown_grace_seconds,
            told=watching.round_over,
        )
