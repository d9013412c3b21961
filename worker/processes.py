"""The processes of the Procfile, one function each: settings in, running until told to stop."""

import os
import socket
import threading
from functools import partial
from importlib.metadata import version

from rich.console import Console

from adapters.inbound.api import ApiOptions
from adapters.inbound.api import create_app as create_api
from adapters.inbound.cli.wiring import BookOptions
from adapters.inbound.request_stream import RequestStream, RequestStreamOptions
from adapters.sandbox.app import create_app as create_sandbox
from adapters.sandbox.book import Book
from config.settings import Settings
from tasks.submit_job import submit_job
from worker.celery_app import create_app, create_worker_app
from worker.children import ChildDied
from worker.container import build_services
from worker.loops import run_steward, serve, stop_on_signals
from worker.redis_client import redis_client
from worker.stack import Stack


def api(settings: Settings) -> None:
    with build_services(settings, create_app(settings)) as services:
        services.jobs.prepare()
        options = ApiOptions(version=version("trimtab"), max_body_size=settings.max_body_bytes)
        serve(create_api(services, options), settings, host=settings.api_host, port=settings.api_port)


def steward(settings: Settings) -> None:
    stop = stop_on_signals()
    with build_services(settings, create_app(settings)) as services:
        services.jobs.prepare()
        run_steward(services, settings.steward_tick_seconds, stop)


def requests(settings: Settings) -> None:
    """The consumer of the request stream; any number of copies."""
    stop = stop_on_signals()
    with build_services(settings, create_app(settings)) as services:
        services.jobs.prepare()
        options = RequestStreamOptions(
            consumer=f"{socket.gethostname()}:{os.getpid()}",
            stream=settings.requests_stream,
            dead=f"{settings.requests_stream}.dead",
            max_bytes=settings.max_body_bytes,
        )
        client = redis_client(settings.effective_requests_url)
        RequestStream(client, partial(submit_job, services=services), options).run(stop)


def worker(settings: Settings) -> None:
    """Celery's own worker. Each child opens its clients after the fork."""
    with build_services(settings, create_app(settings)) as services:
        services.jobs.prepare()
    create_worker_app(settings).worker_main(
        [
            "worker",
            "--loglevel",
            "WARNING",
            "--without-gossip",
            "--without-mingle",
            "--queues",
            settings.task_queue,
        ]
    )


def beat(settings: Settings) -> None:
    """Celery's own scheduler; any number of copies, since a run key lets each schedule start one job a day."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    create_app(settings).start(
        ["beat", "--loglevel", "WARNING", "--schedule", str(settings.state_dir / "beat")]
    )


def flower(settings: Settings) -> None:
    """The operators' window on Celery. It sees tasks only where workers send events (TRIMTAB_TASK_EVENTS)."""
    create_worker_app(settings).start(
        [
            "flower",
            f"--address={settings.flower_host}",
            f"--port={settings.flower_port}",
            "--tasks-columns=name,uuid,kwargs,state,received,runtime,worker",
        ]
    )


def sandbox(settings: Settings, options: BookOptions) -> None:
    """The four upstream services over a generated book."""
    book = Book.generate(options.portfolios, options.securities, seed=options.seed, prices=options.prices)
    serve(create_sandbox(book), settings, host=settings.sandbox_host, port=settings.sandbox_port)


def up(stack: Stack, stop: threading.Event) -> int:
    """The whole stack until told to stop; status 1 when a part ends by itself, with its last words."""
    console = Console(stderr=True)
    with stack:
        console.print(f"API at {stack.api_url} (its OpenAPI document: {stack.api_url}/openapi.json)")
        console.print(
            f"State and logs are in {stack.state_dir}; other trimtab commands started here find this stack."
        )
        console.print("Ctrl-C stops everything.")
        try:
            stack.watch(stop)
        except ChildDied as died:
            console.print(f"[red]{died}[/red]")
            return 1
    return 0
