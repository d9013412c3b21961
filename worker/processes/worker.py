"""Celery's own worker. Each child opens its clients after the fork."""

import threading

import adapters.solver.cvxpy_solver  # noqa: F401 - before the fork, so that the children share its memory
from config.settings import Settings
from worker.celery_app import create_sending_app, create_worker_app
from worker.container import build_services
from worker.loops import prepare_store


def run(settings: Settings) -> None:
    with build_services(settings, create_sending_app(settings)) as services:
        prepare_store(services.jobs, threading.Event())
    arguments = [
        "--loglevel",
        "WARNING",
        "--without-gossip",
        "--without-mingle",
        "--queues",
        settings.task_queue,
    ]
    create_worker_app(settings).worker_main(["worker", *arguments])
