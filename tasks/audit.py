"""What people did to a job: who, what and when. Kept beside the job, the last few, and shown with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import structlog

from domain.errors import StoreUnavailable
from domain.ids import JobId
from tasks.services import Services

KEPT: Final = 50
COMMAND_LINE: Final = "command line"  # whoever may log in there; the system knows who that was
_TRIES: Final = 8  # of a compare-and-set that others may win

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """``who``: the public id and the name of an API key, or what else is known. ``at``: the store's clock, UTC."""

    at: datetime
    who: str
    what: str


_DECODER = msgspec.json.Decoder(tuple[Action, ...])


def note_action(job_id: JobId, what: str, who: str, services: Services) -> None:
    """Write it to the log, and beside the job. Never raises: what was done is done, whether or not it can be noted.

    A note of the store is what it is kept in, so it survives whatever is deleted of the job.
    """
    log.info("job.action", job_id=job_id, what=what, who=who)
    try:
        _note(job_id, what, who, services)
    except StoreUnavailable as error:
        log.warning("job.action_not_noted", job_id=job_id, what=what, who=who, error=str(error))


def _note(job_id: JobId, what: str, who: str, services: Services) -> None:
    action = Action(at=services.jobs.now(), who=who, what=what)
    name = _name(job_id)
    for _ in range(_TRIES):
        old = services.jobs.get_note(name)
        actions = (*_read(old), action)[-KEPT:]
        if services.jobs.swap_note(name, old, msgspec.json.encode(actions).decode()):
            return
    log.warning("job.action_not_noted", job_id=job_id, what=what, who=who, error="others were faster")


def actions_on(job_id: JobId, services: Services) -> Sequence[Action]:
    """What was done to the job, oldest first.

    Raises:
        StoreUnavailable: the store is out of reach.
    """
    return _read(services.jobs.get_note(_name(job_id)))


def _read(note: str | None) -> tuple[Action, ...]:
    return () if note is None else _DECODER.decode(note)


def _name(job_id: JobId) -> str:
    return f"actions:{job_id}"
