"""When a schedule runs and which business date a run has: clock changes, holidays, half days, moved days."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.timetables.cron import CronsimLine
from adapters.timetables.trading_days import ExchangeDays
from domain.errors import Invalid
from domain.schedule import OnClosedDay, Schedule
from tests.support.schedules import schedule, there

DAY = timedelta(days=1)


def runs(of: Schedule, first: str, days: int) -> list[str]:
    """Business date and moment (UTC) of each run that is due in these days there."""
    start = there(first, zone=of.zone)
    return [
        f"{each.business_date} {each.at:%d %H:%M}"
        for each in of.occurrences(start - timedelta(seconds=1), start + days * DAY)
        if each.business_date is not None
    ]


def skipped(of: Schedule, first: str, days: int) -> list[str]:
    start = there(first, zone=of.zone)
    return [
        f"{each.day} {each.reason}"
        for each in of.occurrences(start - timedelta(seconds=1), start + days * DAY)
        if each.business_date is None
    ]


# ------------------------------------------------------------------------------------------------ clock changes


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 1 * * *", ["2026-10-31 31 05:30", "2026-11-01 01 05:30", "2026-11-02 02 06:30"]),
        ("*/20 * * * *", ["2026-10-31 31 04:00", "2026-11-01 01 04:00", "2026-11-02 02 05:00"]),
    ],
)
def test_when_the_clock_is_set_back_a_night_has_one_run(cron: str, expected: list[str]) -> None:
    assert runs(schedule(cron, calendar=None), "2026-10-31", 3) == expected


def test_when_the_clock_is_set_forward_no_night_goes_without() -> None:
    assert runs(schedule("30 2 * * *", calendar=None), "2026-03-07", 3) == [
        "2026-03-07 07 07:30",
        "2026-03-08 08 07:00",  # 02:30 does not come: 03:00 there
        "2026-03-09 09 06:30",
    ]


@pytest.mark.parametrize("cron", ["*/15 2 * * *", "* 2 * * *", "0,30 2 * * *"])
def test_a_line_that_begins_with_a_star_does_not_lose_the_night_either(cron: str) -> None:
    assert runs(schedule(cron, calendar=None), "2026-03-07", 3) == [
        "2026-03-07 07 07:00",
        "2026-03-08 08 07:00",  # 02:00 does not come: 03:00 there
        "2026-03-09 09 06:00",
    ]


def test_a_zone_that_changes_at_midnight_has_one_run_each_day() -> None:
    """Chile: 24:00 becomes 23:00 on 4 April 2026, and 00:00 becomes 01:00 on 6 September 2026."""
    every_minute = schedule("* * * * *", zone="America/Santiago", calendar=None)

    assert [each.split()[0] for each in runs(every_minute, "2026-04-03", 4)][:4] == [
        "2026-04-03",
        "2026-04-04",
        "2026-04-05",
        "2026-04-06",
    ]
    assert runs(schedule("0 0 * * *", zone="America/Santiago", calendar=None), "2026-09-05", 2) == [
        "2026-09-05 05 04:00",
        "2026-09-06 06 04:00",
        "2026-09-07 07 03:00",
    ]


def test_the_zone_is_that_of_the_schedule() -> None:
    assert runs(schedule("0 22 * * *", zone="Asia/Tokyo", calendar=None), "2026-11-23", 1) == [
        "2026-11-23 23 13:00"
    ]


# ------------------------------------------------------------------------------------------------ trading days


def test_a_weekend_and_a_holiday_are_skipped_and_a_half_day_runs() -> None:
    nightly = schedule()

    assert runs(nightly, "2026-11-25", 6) == [
        "2026-11-25 26 03:00",
        "2026-11-27 28 03:00",  # closes at 13:00: a trading day
        "2026-11-30 01 03:00",
    ]
    assert skipped(nightly, "2026-11-25", 6) == [
        "2026-11-26 Thanksgiving Day",
        "2026-11-28 weekend",
        "2026-11-29 weekend",
    ]


def test_the_owner_s_own_days_stand_above_the_calendar() -> None:
    nightly = schedule(extra_closed=[date(2026, 11, 25)], extra_open=[date(2026, 11, 26)])

    assert [each.split()[0] for each in runs(nightly, "2026-11-24", 3)] == ["2026-11-24", "2026-11-26"]
    assert skipped(nightly, "2026-11-24", 3) == ["2026-11-25 closed by the schedule's own list"]


def test_without_a_calendar_every_day_but_the_owner_s_is_open() -> None:
    nightly = schedule(calendar=None, extra_closed=[date(2026, 12, 25)])

    assert [each.split()[0] for each in runs(nightly, "2026-12-24", 4)] == [
        "2026-12-24",
        "2026-12-26",
        "2026-12-27",
    ]


@pytest.mark.parametrize(
    ("on_closed", "expected"),
    [
        (OnClosedDay.SKIP, []),
        (OnClosedDay.PREVIOUS, ["2026-12-31 01 03:00"]),
        (OnClosedDay.NEXT, ["2027-01-04 05 03:00"]),
    ],
)
def test_a_run_of_the_first_of_the_month_moves_as_its_owner_says(
    on_closed: OnClosedDay, expected: list[str]
) -> None:
    """New Year 2027 is a Friday."""
    assert runs(schedule("0 22 1 * *", on_closed=on_closed), "2026-12-20", 20) == expected


@pytest.mark.parametrize("on_closed", [OnClosedDay.PREVIOUS, OnClosedDay.NEXT])
def test_what_moves_to_a_day_with_a_run_of_its_own_is_that_run(on_closed: OnClosedDay) -> None:
    assert [each.split()[0] for each in runs(schedule(on_closed=on_closed), "2026-11-25", 6)] == [
        "2026-11-25",
        "2026-11-27",
        "2026-11-30",
    ]


def test_a_line_that_fires_twice_a_day_has_one_run_a_business_date_the_first() -> None:
    assert runs(schedule("0 10,22 * * *"), "2026-11-23", 2) == ["2026-11-23 23 15:00", "2026-11-24 24 15:00"]


def test_an_exchange_that_never_opens_again_is_told_not_searched_for_ever() -> None:
    class Shut(ExchangeDays):
        def closed(self, day: date) -> str | None:
            return "bankrupt"

    given: dict[str, Any] = {
        "name": "shut",
        "line": CronsimLine("0 22 * * *"),
        "zone": ZoneInfo("UTC"),
        "days": Shut(None),
    }

    assert skipped(Schedule(**given, on_closed=OnClosedDay.NEXT), "2026-11-23", 1) == [
        "2026-11-23 bankrupt; no trading day within 31 days"
    ]
    assert len(Schedule(**given).coming(there("2026-11-23"), 3)) == 3
    assert Schedule(**given).latest(there("2026-11-23")) is None


# ------------------------------------------------------------------------------------------------ next and latest


def test_what_is_skipped_stands_between_the_next_runs() -> None:
    coming = schedule().coming(there("2026-11-25", "22:00"), 2)

    assert [(str(each.day), each.business_date is None, each.reason) for each in coming] == [
        ("2026-11-26", True, "Thanksgiving Day"),
        ("2026-11-27", False, None),
        ("2026-11-28", True, "weekend"),
        ("2026-11-29", True, "weekend"),
        ("2026-11-30", False, None),
    ]


def test_a_line_of_leap_days_finds_its_next_and_its_latest_run() -> None:
    leap = schedule("0 0 29 2 *", calendar=None)

    assert [str(each.day) for each in leap.coming(there("2026-11-23"), 2)] == ["2028-02-29", "2032-02-29"]
    latest = leap.latest(there("2026-11-23"))
    assert latest is not None
    assert str(latest.business_date) == "2024-02-29"


# ------------------------------------------------------------------------------------------------ needing


@pytest.mark.parametrize(
    ("needing", "business_date", "since"),
    [
        (None, "2026-11-24", there("2026-11-24", "10:00")),
        (None, "2026-11-23", there("2026-11-21", "10:00")),  # a Monday: the business date before is Friday
        (None, "2026-11-27", there("2026-11-26", "10:00")),  # Thanksgiving between
        (1, "2026-11-23", there("2026-11-23", "10:00")),
        (7, "2026-11-23", there("2026-11-17", "10:00")),
    ],
)
def test_a_run_that_ends_after_midnight_counts_for_its_night(
    needing: int | None, business_date: str, since: datetime
) -> None:
    nightly = schedule(model_id=None, needing_days=needing)

    found = nightly.needing_since(date.fromisoformat(business_date), there(business_date, "22:00"))

    assert found == since


def test_the_run_of_a_day_the_line_does_not_name_is_of_now() -> None:
    mondays = schedule("0 22 * * MON", model_id=None, needing_days=1)

    found = mondays.needing_since(date(2026, 11, 24), there("2026-11-24", "15:00"))

    assert found == there("2026-11-24", "03:00")


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "cron", ["61 * * * *", "0 22 * *", "nightly", "* * * * * *", "", "0 0 31 2 *", "*/0 * * * *"]
)
def test_what_is_no_cron_line_is_refused_by_its_words(cron: str) -> None:
    with pytest.raises(Invalid, match="is no cron line of five fields"):
        CronsimLine(cron)


def test_a_line_says_itself_in_words() -> None:
    assert CronsimLine("0 22 * * 1-5").in_words() == "At 22:00 on Monday through Friday"


@pytest.mark.parametrize("exchange", ["NOWHERE", "US", "HolidayBase"])
def test_an_exchange_nobody_knows_is_refused_and_some_are_named(exchange: str) -> None:
    with pytest.raises(Invalid, match=r"XLON.*XNYS"):
        ExchangeDays(exchange)


def test_a_day_cannot_be_closed_and_open() -> None:
    with pytest.raises(Invalid, match="2026-12-24"):
        ExchangeDays("XNYS", extra_closed=[date(2026, 12, 24)], extra_open=[date(2026, 12, 24)])


def test_moments_are_utc() -> None:
    coming = schedule().coming(there("2026-11-23"), 1)
    assert coming[0].at.tzinfo is UTC
