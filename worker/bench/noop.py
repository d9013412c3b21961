"""A plain Celery worker with a task that does nothing: ``python -m worker.bench.noop``. Settings as for any worker."""

import os
from pathlib import Path

from config.logging import configure_logging
from config.settings import load_settings
from worker.celery_app import create_sending_app

NOOP = "trimtab.bench.noop"
TOUCH = "trimtab.bench.touch"


def main() -> None:
    """Run until SIGTERM."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    app = create_sending_app(settings)

    @app.task(name=NOOP, shared=False)
    def noop(job_id: str, seat: int) -> None:
        """The arguments of a token, and nothing done with them."""

    @app.task(name=TOUCH, shared=False)
    def touch(path: str) -> None:
        """Says that all before it is done."""
        Path(path).touch()

    app.start(
        [
            *("--quiet", "worker", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"),
            *("--queues", settings.task_queue, "--hostname", f"noop-{os.getpid()}@%h"),
        ]
    )


if __name__ == "__main__":
    main()
