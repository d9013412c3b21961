"""What one worker process does with a Celery message. Everything is opened after the fork, at the first message."""

import os
import socket
import uuid
from zoneinfo import ZoneInfo

import structlog
from celery import Celery

from config.settings import Settings
from domain.errors import Invalid
from domain.ids import ModelId
from domain.ports import Token
from tasks.bench import Bench, FrozenJobs, Marks
from tasks.run_token import run_token
from tasks.start_scheduled import StartScheduled, start_scheduled
from worker.container import Container, build_services


class WorkerProcess:
    """The use cases behind the tasks (``tasks.registry.UseCases``), with this process's own services.

    Clients are not fork-safe: a child that finds another process's clients opens its own and leaves those alone.
    """

    def __init__(self, settings: Settings, app: Celery) -> None:
        self._settings = settings
        self._app = app
        self._pid = 0
        self._container: Container | None = None
        self._bench: Bench | None = None

    def run_token(self, token: Token) -> None:
        with structlog.contextvars.bound_contextvars(job=token.job_id, seat=token.seat):
            container, bench = self._opened()
            run_token(token, container.services, bench)

    def start_scheduled(self, name: str) -> str:
        container, _bench = self._opened()
        schedule = next((one for one in self._settings.schedules if one.name == name), None)
        if schedule is None:
            raise Invalid(f"no schedule named {name!r}", code="unknown_schedule")
        command = StartScheduled(
            name=schedule.name,
            model_id=ModelId(schedule.model_id),
            business_date=container.services.clock.now().astimezone(ZoneInfo("UTC")).date(),
            parallelism=schedule.parallelism,
            policy=schedule.policy,
        )
        return start_scheduled(command, container.services).job_id

    def close(self) -> None:
        """Write the marks that wait, and close the clients. Only what this very process opened."""
        if self._container is None or self._bench is None or self._pid != os.getpid():
            return
        self._bench.marks.flush()
        self._container.close()
        self._container = self._bench = None

    def _opened(self) -> tuple[Container, Bench]:
        if self._container is None or self._bench is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._container = build_services(self._settings, self._app)
            jobs = self._container.services.jobs
            owner = f"{socket.gethostname()}:{self._pid}:{uuid.uuid4().hex[:8]}"
            self._bench = Bench(owner=owner, frozen=FrozenJobs(jobs), marks=Marks(jobs))
        return self._container, self._bench
