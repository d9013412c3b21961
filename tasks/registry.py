"""The Celery tasks, all of them: names, limits, and which use case each one calls."""

from typing import Protocol

from celery import Celery, Task

from domain.errors import TrimtabError
from domain.ids import JobId
from domain.ports import Token

RUN = "trimtab.run"


class UseCases(Protocol):
    """What the tasks call; a worker process answers with its own services."""

    def run_token(self, token: Token) -> None: ...


def register(app: Celery, use_cases: UseCases) -> None:
    """Register every task on this app and no other (``shared=False``)."""

    @app.task(name=RUN, shared=False, throws=(TrimtabError,), bind=True)
    def run(task: "Task[..., None]", job_id: str, seat: int, probe: bool = False) -> None:  # noqa: FBT001, FBT002 - a message's fields
        """Work one portfolio. A second run is harmless: it meets a busy seat, or takes the next portfolio."""
        trace_parent = getattr(task.request, "traceparent", None) or ""
        use_cases.run_token(Token(JobId(job_id), seat, probe, trace_parent))
