"""The operators' window on Celery. It sees tasks only where workers send events (TRIMTAB_TASK_EVENTS)."""

from config.settings import Settings
from worker.celery_app import create_sending_app
from worker.loops import exit_on_sigterm

COLUMNS = "name,uuid,kwargs,state,received,runtime,worker"


def run(settings: Settings) -> None:
    exit_on_sigterm()
    arguments = [
        f"--address={settings.flower_host}",
        f"--port={settings.flower_port}",
        f"--tasks-columns={COLUMNS}",
    ]
    create_sending_app(settings).start(["flower", *arguments])
