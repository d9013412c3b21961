"""Cron lines, by cronsim: each time of day fires once a day, also when the clock is set forward or back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from domain.errors import Invalid

_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)  # a line is read together with where to begin


@dataclass(frozen=True, slots=True)
class CronsimLine:
    """Five fields: minute, hour, day of month, month, day of week; also ``L``, ``LW``, ``FRI#3``.

    Raises:
        Invalid: it is no such line, or one that never fires (the 31st of February).
    """

    text: str

    def __post_init__(self) -> None:
        if len(self.text.split()) != 5:
            raise Invalid(f"{self.text!r} is no cron line of five fields")
        try:
            CronSim(self.text, _SOME_DAY)
        except CronSimError as error:
            raise Invalid(f"{self.text!r} is no cron line of five fields: {error}") from None

    def in_words(self) -> str:
        """For people: ``At 22:00 on Monday through Friday``."""
        return str(CronSim(self.text, _SOME_DAY).explain())

    def firings(self, zone: ZoneInfo, first: date, last: date) -> Iterator[datetime]:
        """As the port says (``domain.schedule.CronLine``)."""
        day = first - timedelta(days=1)
        while True:
            # One search a day: a line that fires every minute does not cost its 1,440 firings. By the clock alone: with
            # a zone, cronsim leaves out what the clock jumps over where a minute or an hour begins with a star.
            wall = next(CronSim(self.text, datetime.combine(day, time.max)), None)
            if wall is None:
                return
            firing = _there(wall, zone)
            if firing.date() > last:
                return
            yield firing
            day = firing.date()


def _there(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first of two where the clock shows it twice; the first moment after the jump where it never does."""
    while (there := wall.replace(tzinfo=zone)) != there.astimezone(UTC).astimezone(zone):
        wall += timedelta(minutes=1)
    return there
