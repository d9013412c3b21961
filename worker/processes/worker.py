"""Celery's own worker. Each child opens its clients after the fork."""

import gc
import os
import threading
import uuid
import warnings

import structlog
from celery import signals
from celery.apps.worker import Worker
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

import adapters.solver.cvxpy_solver  # noqa: F401 - before the fork, so that the children share its memory
from config.settings import Settings
from worker import __version__
from worker.alive import SignOfLife
from worker.celery_app import create_sending_app, create_worker_app, worker_command
from worker.container import build_services
from worker.loops import exit_on_sigterm, prepare_store
from worker.stopping import Countdown
from worker.watching import watch_pool

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    exit_on_sigterm()
    with build_services(settings, create_sending_app(settings)) as services:
        prepare_store(services.jobs, threading.Event())
    with watch_pool(settings) as watching:
        app = create_worker_app(settings, watching=watching)
        _tell_of_life_and_death(settings)
        _keep_warnings_short()
        share_memory()
        app.start(worker_command(settings, node_name()))


def node_name() -> str:
    """Of this very process: Celery warns of, and mixes up, two nodes of one name; a pid alone is 1 in a container."""
    return f"trimtab-{os.getpid()}-{uuid.uuid4().hex[:6]}@%h"


def share_memory() -> None:
    """Keep the collector off what is loaded so far: a child that looks through it all would copy half of it.

    It halves the memory of a child's own, from 77 MB to 37 MB (docs/performance.md), and spares it the time.
    """
    gc.collect()
    gc.freeze()


def _tell_of_life_and_death(settings: Settings) -> None:
    countdown = Countdown(settings.shutdown_grace_seconds)
    life = SignOfLife(settings.alive_file)
    known: dict[str, Worker] = {}

    def made(sender: str, instance: Worker, **_more: object) -> None:
        known[sender] = instance

    def ready(sender: object, **_more: object) -> None:  # noqa: ARG001 - Celery's signature
        for node in known:
            log.info(
                "worker.started",
                node=node,
                version=__version__,
                pool=settings.worker_pool,
                concurrency=settings.worker_concurrency,
                queue=settings.task_queue,
                task_events=settings.task_events,
            )

    def stopping(sender: str, **_more: object) -> None:
        countdown.start(sender, known[sender])

    def heartbeat(sender: object, **_more: object) -> None:  # noqa: ARG001 - Celery's signature
        life.give()

    signals.celeryd_after_setup.connect(made, weak=False)
    signals.heartbeat_sent.connect(heartbeat, weak=False)
    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(stopping, weak=False)


def _keep_warnings_short() -> None:
    """Celery warns of a root user in seven lines, and at each lost connection of a default that we have set."""
    for told in (SecurityWarning, CPendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=told)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        log.warning("worker.runs_as_root", advice="give it a user of its own; the image has one")
