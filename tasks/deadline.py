"""When a job must be done: as asked, or as long from now as jobs have by default."""

from datetime import datetime, timedelta

from domain.errors import Invalid
from tasks.services import Services


def deadline_of(asked: datetime | None, services: Services) -> datetime:
    """By the store's clock, the one that stewards compare it with.

    Raises:
        Invalid: it has passed already.
        StoreUnavailable: ask again.
    """
    now = services.jobs.now()
    if asked is None:
        return now + timedelta(seconds=services.rules.default_deadline_seconds)
    if asked <= now:
        raise Invalid(
            f"the deadline {asked.isoformat()} has passed already",
            details=({"field": "deadline", "message": "must lie in the future"},),
        )
    return asked
