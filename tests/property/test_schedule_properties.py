"""Whatever the line, the zone, the calendar and the clock's changes: a scheduler that looks often, or rarely, or again
after a stop decides the same runs, each business date once, each on a trading day.
"""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.schedule import OnClosedDay, Schedule
from tests.support.schedules import schedule

LINES = (
    "0 22 * * *",
    "30 1 * * *",
    "*/7 * * * *",
    "0 2 * * MON-FRI",
    "30 2 L * *",
    "0 0,12 1,15 * *",
    "15 23 * * FRI#3",
)
ZONES = ("UTC", "America/New_York", "Europe/London", "America/Santiago", "Australia/Lord_Howe", "Asia/Tokyo")
START = datetime(2026, 1, 1, tzinfo=UTC)

schedules = st.builds(
    schedule,
    st.sampled_from(LINES),
    zone=st.sampled_from(ZONES),
    calendar=st.sampled_from([None, "XNYS", "XJPX"]),
    extra_closed=st.sets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=5),
    on_closed=st.sampled_from(OnClosedDay),
)
moments = st.integers(0, 365 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes))


@settings(max_examples=60, deadline=None)
@given(schedules, moments, st.lists(st.integers(0, 20 * 24 * 60), min_size=1, max_size=4))
def test_however_often_one_looks_the_runs_are_the_same(
    looked_at: Schedule, first: datetime, waits: list[int]
) -> None:
    looks = [first]
    for wait in waits:
        looks.append(looks[-1] + timedelta(minutes=wait))

    together = looked_at.occurrences(looks[0], looks[-1])
    in_parts = [each for start, end in pairwise(looks) for each in looked_at.occurrences(start, end)]

    assert in_parts == list(together)
    dates = [each.business_date for each in together if each.business_date is not None]
    assert len(set(dates)) == len(dates)
    assert dates == sorted(dates)
    assert [day for day in dates if looked_at.days.closed(day) is not None] == []
    for each in together:
        assert looks[0] < each.at <= looks[-1]
        if each.business_date is not None:
            assert each.at.astimezone(looked_at.zone).date() == each.business_date


@settings(max_examples=60, deadline=None)
@given(schedules, moments)
def test_what_comes_next_is_what_is_due_then(looked_at: Schedule, now: datetime) -> None:
    coming = looked_at.coming(now, 2)

    assert list(coming) == list(looked_at.occurrences(now, coming[-1].at))
    assert [each.business_date is not None for each in coming].count(True) == 2
    assert looked_at.latest(coming[-1].at) == coming[-1]
    assert coming[-1].business_date is not None
    assert looked_at.run_of(coming[-1].business_date) == coming[-1]
