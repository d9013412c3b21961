"""The Celery tasks, all of them: names, limits, and which use case each one calls."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import structlog
from celery import Celery, Task

from domain.errors import TrimtabError
from domain.ids import JobId
from domain.ports import Token
from tasks.account import Account

RUN = "trimtab.run"

log = structlog.get_logger(__name__)


class UseCases(Protocol):
    """What the tasks call; a worker process answers with its own services."""

    def run_token(self, token: Token, account: Account) -> None: ...


class PortfolioFailed(TrimtabError):
    """Tells Celery, and so Flower, what the store knows already: an attempt at a portfolio failed in this task."""

    code = "portfolio_failed"


def register(app: Celery, use_cases: UseCases) -> None:
    """Register every task on this app and no other (``shared=False``)."""
    watched = bool(app.conf.worker_send_task_events)

    @app.task(name=RUN, shared=False, throws=(TrimtabError,), bind=True)
    def run(task: "Task[..., str]", job_id: str, seat: int, probe: bool = False) -> str:  # noqa: FBT001, FBT002 - a message's fields
        """Work one portfolio. A second run is harmless: it meets a busy seat, or takes the next portfolio."""
        trace_parent = getattr(task.request, "traceparent", None) or ""
        token = Token(JobId(job_id), seat, probe, trace_parent)
        account = Account(partial(_tell, task, token)) if watched else Account()
        use_cases.run_token(token, account)
        if account.failed:
            raise PortfolioFailed(str(account))
        return str(account)


def shown(token: Token, portfolio_ids: Sequence[str] = ()) -> str:
    """A task's arguments as people read them in Flower. Which portfolio it is a token finds out when it is worked."""
    portfolios = f"portfolio={','.join(portfolio_ids)} " if portfolio_ids else ""
    return f"{portfolios}job={token.job_id} seat={token.seat}{' probe' if token.probe else ''}"


def _tell(task: "Task[..., str]", token: Token, portfolio_ids: Sequence[str]) -> None:
    """An event of our own, which Celery's tools merge into what they show of the task's arguments."""
    try:
        task.send_event("task-claimed", retry=False, kwargs=shown(token, portfolio_ids))
    except Exception as error:  # noqa: BLE001 - whatever keeps news from those who watch must not touch the work
        log.info("task.not_told", job=token.job_id, error=str(error))
