"""Trading days of an exchange, by the holidays library, with the days an owner knows better."""

from collections.abc import Collection
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

from domain.errors import Invalid

if TYPE_CHECKING:
    from holidays import HolidayBase

_EXTRA = "closed by the schedule's own list"
_WEEKEND = "weekend"


class ExchangeDays:
    """``exchange``: a code the library knows (``XNYS``, ``XLON``, ``XETR`` ...); None: every day is a trading day.

    Days of ``extra_closed`` and ``extra_open`` are what they say, whatever the exchange's calendar holds. The library
    works out holidays by rule for years ahead; a closure that is announced later it learns with its next release.

    Raises:
        Invalid: an exchange nobody knows; a day that is to be closed and open.
    """

    def __init__(
        self,
        exchange: str | None,
        *,
        extra_closed: Collection[date] = (),
        extra_open: Collection[date] = (),
    ) -> None:
        both = sorted(set(extra_closed) & set(extra_open))
        if both:
            raise Invalid(f"{', '.join(map(str, both))}: closed and open at once")
        self._name = exchange
        self._closed = frozenset(extra_closed)
        self._open = frozenset(extra_open)
        self._calendar = None if exchange is None else _calendar(exchange)

    @property
    def name(self) -> str | None:
        """As the port says (``domain.schedule.TradingDays``)."""
        return self._name

    def closed(self, day: date) -> str | None:
        """As the port says."""
        if day in self._open:
            return None
        if day in self._closed:
            return _EXTRA
        if self._calendar is None or self._calendar.is_working_day(day):
            return None
        return str(self._calendar.get(day) or _WEEKEND)


@cache
def _calendar(exchange: str) -> "HolidayBase":
    """Its years are worked out as they are asked for."""
    # Half a second: only who has a schedule with an exchange pays for it.
    from holidays import financial_holidays, list_supported_financial  # noqa: PLC0415 - see above

    supported = list_supported_financial()
    if exchange not in supported:  # the next call would answer for countries, too
        known = ", ".join(sorted(code for code in supported if code.startswith("X")))
        raise Invalid(f"no calendar of an exchange {exchange!r}; there are {known}, and others")
    return financial_holidays(exchange)
