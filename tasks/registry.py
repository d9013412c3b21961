"""The Celery tasks, all of them: names, limits, and which use case each one calls."""

from datetime import date
from typing import Protocol

from celery import Celery

from domain.errors import Busy, TrimtabError, Unavailable
from domain.ids import JobId
from domain.ports import Token

RUN = "trimtab.run"
START_SCHEDULED = "trimtab.start_scheduled"

# A schedule fires once a day: a store that is out for a moment, or too much open work, must not cost the day. With
# waits of 1 s, 2 s, 4 s ... 60 s (jittered) this gives up after half an hour to an hour.
SCHEDULED_RETRIES = 60
SCHEDULED_WAIT_MAX_SECONDS = 60


class UseCases(Protocol):
    """What the tasks call; a worker process answers with its own services."""

    def run_token(self, token: Token) -> None: ...

    def start_scheduled(self, name: str, business_date: date) -> str: ...


def register(app: Celery, use_cases: UseCases) -> None:
    """Register every task on this app and no other (``shared=False``)."""

    @app.task(name=RUN, shared=False, throws=(TrimtabError,))
    def run(job_id: str, seat: int, probe: bool = False) -> None:  # noqa: FBT001, FBT002 - a message's fields
        """Work one portfolio. A second run is harmless: it meets a busy seat, or takes the next portfolio."""
        use_cases.run_token(Token(JobId(job_id), seat, probe))

    @app.task(
        name=START_SCHEDULED,
        shared=False,
        throws=(TrimtabError,),
        autoretry_for=(Unavailable, Busy),
        retry_backoff=1,
        retry_backoff_max=SCHEDULED_WAIT_MAX_SECONDS,
        max_retries=SCHEDULED_RETRIES,
    )
    def start_scheduled(name: str, business_date: str) -> str:
        """Submit a schedule's job. A second run is harmless: schedule and business date are the key."""
        return use_cases.start_scheduled(name, date.fromisoformat(business_date))
