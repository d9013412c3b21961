"""When a schedule runs: the moments of its cron line, its business dates, and the days it does not run, and why.

Everything here follows from the schedule and the two ends of a period, so that any number of schedulers, the API and
the command line come to the same answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from domain.ids import ModelId

LONGEST_CLOSURE = timedelta(
    days=31
)  # exchanges close for nine or ten days in a row; a longer one is a mistake
COUNTS_FOR_THE_DAY_BEFORE = timedelta(hours=12)  # see `Schedule.needing_since`
_FARTHEST = timedelta(days=10 * 366)  # the 29th of February is at most 8 years away
_DAY = timedelta(days=1)


class OnClosedDay(StrEnum):
    """What becomes of a run whose day is no trading day: the business-day conventions of finance, or nothing."""

    SKIP = "skip"
    PREVIOUS = "previous"
    NEXT = "next"


class CronLine(Protocol):
    @property
    def text(self) -> str:
        """The line as it was given."""

    def in_words(self) -> str:
        """For people: ``At 22:00 on Monday through Friday``."""

    def firings(self, zone: ZoneInfo, first: date, last: date) -> Iterator[datetime]:
        """The first firing of each day from ``first`` to ``last`` on which it fires, in that zone, in order.

        A time that the clock jumps over is moved behind the jump; one that comes twice fires the first time.
        """


class TradingDays(Protocol):
    @property
    def name(self) -> str | None:
        """Of the exchange; None: every day is one, but for those named."""

    def closed(self, day: date) -> str | None:
        """Why it is no trading day; None: it is one. A half day is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One time the line fires. ``business_date`` None: it does not run, and ``reason`` says why.

    ``day`` is the one the line names. Where it is closed and the run has moved, the business date is another day.
    """

    at: datetime
    day: date
    business_date: date | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cron line that starts one run a business date.

    ``model_id`` None: every model that needs a rebalance, which is one that had none for ``needing_days``; where that
    is None, too, none since the business date before. ``catch_up``: a missed run is started so long after its time.
    """

    name: str
    line: CronLine
    zone: ZoneInfo
    days: TradingDays
    on_closed: OnClosedDay = OnClosedDay.SKIP
    catch_up: timedelta = timedelta(hours=12)
    enabled: bool = True
    model_id: ModelId | None = None
    needing_days: int | None = None
    parallelism: int | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)

    def occurrences(self, after: datetime, until: datetime) -> Sequence[Occurrence]:
        """Everything later than ``after`` and not later than ``until``, in order; one run a business date.

        Several firings with one business date (twice a day, or moved there from closed days) are the earliest.
        """
        reach = _DAY if self.on_closed is OnClosedDay.SKIP else LONGEST_CLOSURE + _DAY
        first, last = (after - reach).astimezone(self.zone), (until + reach).astimezone(self.zone)
        found: dict[tuple[bool, date], Occurrence] = {}
        for firing in self.line.firings(self.zone, first.date(), last.date()):
            occurrence = self._occurrence(firing)
            skipped = occurrence.business_date is None
            key = (skipped, occurrence.business_date or occurrence.day)
            if key not in found or occurrence.at < found[key].at:
                found[key] = occurrence
        within = [occurrence for occurrence in found.values() if after < occurrence.at <= until]
        return sorted(within, key=lambda occurrence: occurrence.at)

    def coming(self, after: datetime, runs: int) -> Sequence[Occurrence]:
        """The next so many runs, and what is skipped before the last of them. Fewer where the line ends."""
        span = timedelta(days=40)
        while True:
            found = self.occurrences(after, after + span)
            positions = [n for n, each in enumerate(found) if each.business_date is not None]
            if len(positions) >= runs:
                return found[: positions[runs - 1] + 1]
            if span > _FARTHEST:
                return found[: positions[-1] + 1] if positions else found[:runs]
            span *= 4

    def latest(self, until: datetime) -> Occurrence | None:
        """The last run not later than this; None: the line has none for years."""
        span = timedelta(days=40)
        while span <= _FARTHEST:
            runs = [each for each in self.occurrences(until - span, until) if each.business_date is not None]
            if runs:
                return runs[-1]
            span *= 3
        return None

    def run_of(self, business_date: date) -> Occurrence | None:
        """The run planned for that business date; None: the line has none."""
        start = moment(self.zone, business_date, time())
        around = self.occurrences(start - _DAY, start + 2 * _DAY)
        return next((each for each in around if each.business_date == business_date), None)

    def needing_since(self, business_date: date, now: datetime) -> datetime:
        """Who has been rebalanced at or after this moment needs no rebalance in the run of that business date.

        A night's run may end after midnight. So what ends within twelve hours of the time of day at which the
        schedule runs counts for the day before: else the run of Monday night would keep Tuesday's from running.
        """
        planned = self.run_of(business_date)
        at = (now if planned is None else planned.at).astimezone(self.zone).time()
        day = business_date - (self.needing_days or 1) * _DAY
        if self.needing_days is None:
            day = self._trading_day(day, -_DAY) or day
        return moment(self.zone, day, at) + COUNTS_FOR_THE_DAY_BEFORE

    def _occurrence(self, firing: datetime) -> Occurrence:
        day = firing.date()
        reason = self.days.closed(day)
        if reason is None:
            return Occurrence(at=firing.astimezone(UTC), day=day, business_date=day)
        if self.on_closed is OnClosedDay.SKIP:
            return Occurrence(at=firing.astimezone(UTC), day=day, business_date=None, reason=reason)
        business_date = self._trading_day(day, _DAY if self.on_closed is OnClosedDay.NEXT else -_DAY)
        if business_date is None:
            reason = f"{reason}; no trading day within {LONGEST_CLOSURE.days} days"
            return Occurrence(at=firing.astimezone(UTC), day=day, business_date=None, reason=reason)
        at = moment(self.zone, business_date, firing.time())
        return Occurrence(at=at, day=day, business_date=business_date, reason=reason)

    def _trading_day(self, day: date, step: timedelta) -> date | None:
        """The first trading day from ``day`` on, that way; None: none for so long that something is wrong."""
        for _ in range(LONGEST_CLOSURE.days):
            if self.days.closed(day) is None:
                return day
            day += step
        return None


def moment(zone: ZoneInfo, day: date, at: time) -> datetime:
    """When a clock on the wall there shows this, in UTC.

    The first of two where the clock is set back; moved behind the jump where it jumps over that time.
    """
    return datetime.combine(day, at.replace(fold=0), tzinfo=zone).astimezone(UTC)
