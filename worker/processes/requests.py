"""The consumer of the request stream; any number of copies."""

import os
import socket
from contextlib import closing

from adapters.inbound.request_stream import RequestStream, RequestStreamOptions
from config.settings import Settings
from domain.errors import Invalid
from tasks.submit_job import SubmitJob, Submitted, submit_job
from worker.alive import SignOfLife
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.crash_points import crash_point, watch_requests
from worker.loops import prepare_store, stop_on_signals
from worker.redis_client import is_redis, redis_client
from worker.watching import watch_loop


def run(settings: Settings) -> None:
    if not is_redis(settings.effective_requests_url):
        raise Invalid(
            "the request stream is a Redis stream, and the broker is none: name a Redis with TRIMTAB_REQUESTS_URL",
            code="no_request_stream",
        )
    stop = stop_on_signals(SignOfLife(settings.alive_file))
    options = RequestStreamOptions(
        consumer=f"{socket.gethostname()}:{os.getpid()}",
        stream=settings.requests_stream,
        dead=f"{settings.requests_stream}.dead",
        max_bytes=settings.max_body_bytes,
    )
    with (
        watch_loop(settings, "requests") as watching,
        build_services(settings, create_sending_app(settings), watching) as services,
        closing(redis_client(settings.effective_requests_url)) as client,
    ):

        def submit(command: SubmitJob) -> Submitted:
            with services.tracing.entry("request", correlation_id=command.correlation_id):
                return submit_job(command, services)

        prepare_store(services.jobs, stop)
        RequestStream(watch_requests(client, crash_point(settings)), submit, options).run(stop)
