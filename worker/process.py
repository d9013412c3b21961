"""What one worker process does with a Celery message. Everything is opened after the fork, at the first message."""

import os
import socket
import uuid
from contextlib import ExitStack
from dataclasses import dataclass

import structlog
from celery import Celery

from config.settings import Settings
from domain.errors import StoreUnavailable
from domain.ports import Token
from tasks.account import Account
from tasks.bench import Bench, FrozenJobs, Marks, Outgoing
from tasks.run_token import HandBack, Work, answered, run_token
from tasks.services import Services
from worker.container import build_services
from worker.crash_points import crash_point, watch_work
from worker.stopping import InHand
from worker.watching import UNWATCHED, Watching

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What one process holds open, and how to let go of it."""

    pid: int
    services: Services
    bench: Bench
    held: ExitStack


class WorkerProcess:
    """The use cases behind the tasks (``tasks.registry.UseCases``), with this process's own services.

    Clients are not fork-safe: a child that finds another process's clients opens its own and leaves those alone.
    """

    def __init__(
        self, settings: Settings, app: Celery, work: Work = answered, watching: Watching = UNWATCHED
    ) -> None:
        """``work``: what is done with a portfolio; another one to measure the way there and back alone."""
        self._settings = settings
        self._app = app
        self._work = watch_work(work, crash_point(settings))
        self._watching = watching
        self._opened: _Opened | None = None
        self.in_hand = InHand(self.close)

    def run_token(self, token: Token, account: Account) -> None:
        """A store that is out ends the token quietly: lease and steward bring back whatever it held."""
        with structlog.contextvars.bound_contextvars(job=token.job_id, seat=token.seat), self.in_hand.held():
            try:
                opened = self._open()
                run_token(token, opened.services, opened.bench, account.keep(self._work))
            except StoreUnavailable as error:
                log.warning("token.store_out", error=str(error))
            except HandBack:
                log.warning("token.interrupted")  # before or after its portfolio was in hand

    def close(self) -> None:
        """Publish and mark what waits, and close the clients. Only what this very process opened."""
        opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.bench.close()
            opened.held.close()
            self._watching.close()

    def begin(self) -> None:
        """In a process that will work, before its first task, so that this one is followed as well."""
        self._watching = self._watching.traced(self._settings, "worker")

    def _open(self) -> _Opened:
        if self._opened is None or self._opened.pid != os.getpid():
            held = ExitStack()
            services = held.enter_context(build_services(self._settings, self._app, self._watching))
            owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
            marks = Marks(services.jobs)
            bench = Bench(
                owner=owner,
                frozen=FrozenJobs(services.jobs),
                marks=marks,
                outgoing=Outgoing(services.publisher, marks),
            )
            self._opened = _Opened(os.getpid(), services, bench, held)
        return self._opened

    @property
    def hands(self) -> tuple[Services, Bench]:
        """What this process works with, opened at the first look: for whoever measures the work without Celery."""
        opened = self._open()
        return opened.services, opened.bench
