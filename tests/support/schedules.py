"""Schedules for tests, on the real cron lines and calendars, and a store whose clock a test sets."""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from adapters.stores.open import Store
from adapters.timetables.cron import CronsimLine
from adapters.timetables.trading_days import ExchangeDays
from domain.ids import ModelId
from domain.ports import JobStore
from domain.schedule import Schedule

NEW_YORK = ZoneInfo("America/New_York")


def schedule(
    cron: str = "0 22 * * *",
    *,
    name: str = "nightly",
    zone: str = "America/New_York",
    calendar: str | None = "XNYS",
    extra_closed: Collection[date] = (),
    extra_open: Collection[date] = (),
    model_id: str | None = "MODEL1",
    **more: Any,
) -> Schedule:
    return Schedule(
        name=name,
        line=CronsimLine(cron),
        zone=ZoneInfo(zone),
        days=ExchangeDays(calendar, extra_closed=extra_closed, extra_open=extra_open),
        model_id=None if model_id is None else ModelId(model_id),
        **more,
    )


def there(day: str, at: str = "00:00", *, zone: ZoneInfo = NEW_YORK) -> datetime:
    """``there("2026-11-23", "22:00")``: what a clock in New York shows, as a moment."""
    return datetime.fromisoformat(f"{day}T{at}").replace(tzinfo=zone).astimezone(UTC)


class StoreAt:
    """A store as its users see it, but for the time, which a test sets. ``fail_with`` ends the calls of one method."""

    def __init__(self, store: Store, time: datetime) -> None:
        self.store = store
        self.time = time
        self.fail_with: dict[str, Exception] = {}

    def now(self) -> datetime:
        return self.time

    def later(self, **by: float) -> datetime:
        self.time += timedelta(**by)
        return self.time

    def __getattr__(self, name: str) -> object:
        def call(*args: object, **named: object) -> object:
            if name in self.fail_with:
                raise self.fail_with[name]
            return getattr(self.store, name)(*args, **named)

        return call

    @property
    def as_jobs(self) -> JobStore:
        return cast(JobStore, self)
