"""Celery's own scheduler; any number of copies, since a run key lets each schedule start one job a day."""

from config.settings import Settings
from worker.celery_app import create_sending_app
from worker.loops import exit_on_sigterm


def run(settings: Settings) -> None:
    exit_on_sigterm()
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    arguments = ["--loglevel", "WARNING", "--schedule", str(settings.state_dir / "beat")]
    create_sending_app(settings).start(["--quiet", "beat", *arguments])
