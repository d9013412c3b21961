"""The Celery application: built by a function, configured from settings, with this project's tasks and no others."""

import os
import signal
from typing import TYPE_CHECKING

import structlog
from celery import Celery, signals

from config.celery_settings import celery_settings
from config.logging import configure_logging
from config.settings import Settings
from tasks.registry import register
from worker import guarded_redis
from worker.children import die_with_parent
from worker.watching import UNWATCHED, Watching

if TYPE_CHECKING:
    from tasks.run_token import Work
    from worker.process import WorkerProcess


def create_sending_app(settings: Settings) -> Celery:
    """For those who only send messages or look at the queue: steward, API, Flower."""
    guarded_redis.install(settings.task_queue)
    app = Celery("trimtab", set_as_current=False)
    app.conf.update(celery_settings(settings))
    return app


def create_worker_app(
    settings: Settings, work: "Work | None" = None, watching: Watching = UNWATCHED
) -> Celery:
    """For a process that works: with the tasks, and the signals that open and close what they need.

    ``work``: what is done with a portfolio; None: what Trimtab is for. ``watching`` is told what happens.
    """
    from tasks.run_token import answered  # noqa: PLC0415 - who only sends needs nothing of what works
    from worker.process import WorkerProcess  # noqa: PLC0415 - likewise

    app = create_sending_app(settings)
    process = WorkerProcess(settings, app, work or answered, watching)
    register(app, process)
    _connect_signals(process, settings, watching)
    return app


def worker_command(settings: Settings, node: str) -> list[str]:
    """What ``app.start`` is told to become a worker of the task queue."""
    return [
        "--quiet",  # the banner is art for a terminal; `worker.started` says it in a line
        "worker",
        *("--loglevel", "WARNING"),
        "--without-gossip",
        "--without-mingle",
        *("--queues", settings.task_queue),
        *("--hostname", node),
    ]


def _connect_signals(process: "WorkerProcess", settings: Settings, watching: Watching) -> None:
    def start(**_sender: object) -> None:
        configure_logging(settings.log_level, settings.log_format, listener=watching.listener)
        structlog.contextvars.clear_contextvars()

    parent = os.getpid()

    def start_child(**_sender: object) -> None:
        start()
        if os.getpid() != parent:  # a pool without processes sends this signal, too
            _never_outlive(parent)
            watching.leave()
        process.in_hand.in_child()
        process.begin()

    def stop(**_sender: object) -> None:
        process.close()

    signals.setup_logging.connect(start, weak=False)
    signals.worker_process_init.connect(start_child, weak=False)
    signals.worker_process_shutdown.connect(stop, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)


def _never_outlive(parent: int) -> None:
    """Killed, it cannot end its children, and idle ones would sleep for ever: each holds the others' pipes open.

    What one of them has in hand comes back with its lease, as after any kill.
    """
    die_with_parent()
    if os.getppid() != parent:  # it died before we had asked
        os.kill(os.getpid(), signal.SIGKILL)
