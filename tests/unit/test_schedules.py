"""Each business date of a schedule gets one run, whoever looks after it, and whatever was down meanwhile."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from config.schedules import ScheduleSettings
from config.settings import load_settings
from domain.errors import Busy, Invalid, NotFound, StoreUnavailable
from domain.ids import JobId, ModelId
from domain.job import Job
from domain.model import InvestmentModel
from domain.policy import Policy, RunType
from domain.schedule import Schedule
from tasks.scheduler import ROLLING, Scheduler
from tasks.services import Rules
from tasks.start_run import find_schedule, jobs_of_run, start_by_hand, start_run
from tests.support import builders
from tests.support.schedules import StoreAt, schedule, there
from tests.support.world import World
from worker.processes import beat
from worker.schedules import build_schedules

MONDAY = date(2026, 11, 23)


@dataclass
class Night:
    """A world whose store shows the time a test says, and a book of two portfolios."""

    world: World
    store: StoreAt

    @classmethod
    def fall(cls, folder: Path, **rules: Any) -> "Night":
        stores: list[StoreAt] = []

        def connect(store: Any) -> Any:
            stores.append(StoreAt(store, there("2026-11-23", "12:00")))
            return stores[0].as_jobs

        night = cls(World.create(folder, Rules(**rules), connect=connect), stores[0])
        night.world.book(2)
        return night

    def scheduler(self, *schedules: Schedule) -> Scheduler:
        return Scheduler(replace(self.world.services, schedules=lambda: schedules))

    def at(self, day: str, at: str = "22:00") -> "Night":
        self.store.time = there(day, at)
        return self

    def jobs(self) -> list[str]:
        return sorted(job.key for job in self.world.store.list_jobs(limit=1000))

    def add_model(self, name: str, **changes: Any) -> InvestmentModel:
        model = builders.model({1: "0.5"}, portfolios=[1], name=name)
        return self.world.store.create_model(replace(model, model_id=ModelId(name), **changes))


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    night = Night.fall(tmp_path)
    yield night
    night.world.store.close()


def told(logs: list[Any], event: str) -> list[Mapping[str, Any]]:
    return [entry for entry in logs if entry["event"] == event]


# ------------------------------------------------------------------------------------------------ a night


def test_a_run_starts_at_its_time_and_its_job_says_schedule_and_business_date(night: Night) -> None:
    scheduler = night.scheduler(schedule(parallelism=2, policy={"cash_floor": "0.02"}))
    scheduler.tick()
    night.at("2026-11-23", "21:59")
    scheduler.tick()
    assert night.jobs() == []

    night.at("2026-11-23")
    with capture_logs() as logs:
        scheduler.tick()

    (job,) = night.world.store.list_jobs()
    assert (job.key, job.correlation_id) == ("schedule:nightly:2026-11-23", "schedule:nightly:2026-11-23")
    assert (job.parallelism, str(job.policy.cash_floor), job.n) == (2, "0.02", 2)
    (started,) = told(logs, "schedule.started")
    assert (started["business_date"], started["jobs"], started["late_seconds"]) == ("2026-11-23", 1, 0.0)


@pytest.mark.parametrize(
    ("of_model", "of_schedule", "code"),
    [
        pytest.param({"run_type": "invest_cash"}, {"raise_cash": "100"}, "invalid", id="two_keys"),
        pytest.param({"cash_floor": "0.1"}, {"min_trade": "5"}, None, id="no_contradiction"),
        pytest.param(
            {"run_type": "raise_cash", "raise_cash": "5"}, {"raise_cash": "0"}, "invalid", id="no_amount"
        ),
    ],
)
def test_what_schedule_and_model_cannot_both_ask_for_is_told_when_the_scheduler_starts(
    night: Night, of_model: Mapping[str, Any], of_schedule: Mapping[str, Any], code: str | None
) -> None:
    """Each by itself can be used; at noon there is still time to mend what would be found at night."""
    night.add_model("BOTH", policy=Policy().with_changes(of_model))
    scheduler = night.scheduler(schedule(model_id="BOTH", policy=of_schedule), schedule(name="other"))
    with capture_logs() as logs:
        scheduler.tick()
        scheduler.tick()

    assert [entry["code"] for entry in told(logs, "schedule.would_not_start")] == ([code] if code else [])
    assert night.jobs() == []


def test_a_schedule_that_is_mended_before_its_time_runs_and_one_that_is_not_is_refused_at_its_run(
    night: Night,
) -> None:
    stored = night.add_model("BOTH", policy=Policy(run_type=RunType.INVEST_CASH))
    scheduler = night.scheduler(schedule(model_id="BOTH", policy={"raise_cash": "100"}))
    with capture_logs() as logs:
        scheduler.tick()
        night.at("2026-11-23")
        scheduler.tick()
        night.world.store.update_model(replace(stored, policy=Policy()))
        night.at("2026-11-23", "22:30")
        scheduler.tick()

    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "schedule.would_not_start",
        "schedule.not_started",
    ]
    assert night.jobs() == ["schedule:nightly:2026-11-23"]


def test_a_disabled_schedule_is_not_looked_into(night: Night) -> None:
    with capture_logs() as logs:
        night.scheduler(schedule(model_id="GONE", enabled=False)).tick()
    assert told(logs, "schedule.would_not_start") == []


def test_a_scheduler_that_looks_often_starts_a_night_s_run_once(night: Night) -> None:
    scheduler = night.scheduler(schedule())
    for hour in range(12, 24):
        for minute in (0, 20, 40):
            night.at("2026-11-23", f"{hour:02}:{minute:02}")
            scheduler.tick()

    assert night.jobs() == ["schedule:nightly:2026-11-23"]


def test_between_two_runs_nothing_but_the_time_is_asked_of_the_store(night: Night) -> None:
    scheduler = night.scheduler(schedule())
    scheduler.tick()
    for method in ("get_note", "swap_note", "get_job"):
        night.store.fail_with[method] = AssertionError(method)

    for _ in range(3):
        night.store.later(minutes=1)
        scheduler.tick()


def test_a_clock_set_back_and_one_set_forward_cost_no_night_and_double_none(night: Night) -> None:
    night.at("2026-10-30", "12:00")
    scheduler = night.scheduler(schedule("30 1 * * *", calendar=None))
    scheduler.tick()
    for _ in range(4 * 24 * 4):
        night.store.later(minutes=15)
        scheduler.tick()
    assert night.jobs() == [
        f"schedule:nightly:{day}" for day in ("2026-10-31", "2026-11-01", "2026-11-02", "2026-11-03")
    ]

    night.at("2027-03-12", "12:00")
    spring = night.scheduler(schedule("30 2 * * *", name="spring", calendar=None))
    spring.tick()
    for _ in range(3 * 24 * 4):
        night.store.later(minutes=15)
        spring.tick()
    assert [key for key in night.jobs() if "spring" in key] == [
        f"schedule:spring:{day}" for day in ("2027-03-13", "2027-03-14", "2027-03-15")
    ]


def test_a_holiday_is_skipped_and_told_once_and_a_half_day_runs(night: Night) -> None:
    schedulers = [night.scheduler(schedule()) for _ in range(2)]
    night.at("2026-11-25", "23:00")
    with capture_logs() as logs:
        for _ in range(3 * 24):
            for scheduler in schedulers:
                scheduler.tick()
            night.store.later(hours=1)

    assert night.jobs() == ["schedule:nightly:2026-11-27"]
    assert [(entry["day"], entry["reason"]) for entry in told(logs, "schedule.skipped")] == [
        ("2026-11-26", "Thanksgiving Day"),
        ("2026-11-28", "weekend"),
    ]


# ------------------------------------------------------------------------------------------------ several schedulers


def test_one_that_dies_between_job_and_note_leaves_a_run_that_another_does_not_repeat(night: Night) -> None:
    dying, other = night.scheduler(schedule()), night.scheduler(schedule())
    dying.tick()
    other.tick()
    night.at("2026-11-23")
    night.store.fail_with["swap_note"] = StoreUnavailable("store", "gone")
    with pytest.raises(StoreUnavailable):
        dying.tick()
    night.store.fail_with.clear()

    with capture_logs() as logs:
        other.tick()
        other.tick()

    assert night.jobs() == ["schedule:nightly:2026-11-23"]
    assert told(logs, "schedule.missed") == []


def test_who_is_second_to_note_a_new_schedule_goes_by_the_first_one_s_note(night: Night) -> None:
    first, second = night.scheduler(schedule()), night.scheduler(schedule())

    def overtaken(name: str, old: str | None, new: str) -> bool:
        del vars(night.store)["swap_note"]
        first.tick()
        return night.world.store.swap_note(name, old, new)

    vars(night.store)["swap_note"] = overtaken
    with capture_logs() as logs:
        second.tick()
    night.at("2026-11-23")
    second.tick()

    assert len(told(logs, "schedule.known")) == 1
    assert night.jobs() == ["schedule:nightly:2026-11-23"]


# ------------------------------------------------------------------------------------------------ missed runs


def test_after_a_night_without_a_scheduler_the_run_is_started_in_the_morning(night: Night) -> None:
    night.scheduler(schedule()).tick()

    night.at("2026-11-24", "08:00")
    with capture_logs() as logs:
        night.scheduler(schedule()).tick()

    assert night.jobs() == ["schedule:nightly:2026-11-23"]
    (started,) = told(logs, "schedule.started")
    assert started["late_seconds"] == 10 * 3600


def test_after_a_week_the_latest_run_is_started_once_and_the_others_are_told_once(night: Night) -> None:
    night.scheduler(schedule()).tick()

    night.at("2026-12-01", "08:00")
    with capture_logs() as logs:
        for _ in range(3):
            night.scheduler(schedule()).tick()

    assert night.jobs() == ["schedule:nightly:2026-11-30"]
    (missed,) = told(logs, "schedule.missed")
    assert missed["business_dates"] == ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-27"]
    assert missed["log_level"] == "error"


def test_a_run_that_is_later_than_its_window_is_told_and_not_started(night: Night) -> None:
    short = schedule(catch_up=there("2026-11-24", "01:00") - there("2026-11-23", "22:00"))
    night.scheduler(short).tick()

    night.at("2026-11-24", "01:01")
    with capture_logs() as logs:
        night.scheduler(short).tick()
        night.scheduler(short).tick()

    assert night.jobs() == []
    assert [entry["business_dates"] for entry in told(logs, "schedule.missed")] == [["2026-11-23"]]


def test_what_was_started_by_hand_was_not_missed(night: Night) -> None:
    night.scheduler(schedule()).tick()
    night.at("2026-11-24", "12:00")
    start_by_hand(schedule(), MONDAY, "ops", night.world.services)

    with capture_logs() as logs:
        night.scheduler(schedule()).tick()

    assert night.jobs() == ["schedule:nightly:2026-11-23"]
    assert told(logs, "schedule.missed") == []


# ------------------------------------------------------------------------------------------------ changes


def test_a_new_schedule_has_missed_nothing(night: Night) -> None:
    night.at("2026-11-23", "23:00").scheduler(schedule()).tick()

    assert night.jobs() == []


def test_a_changed_line_begins_when_it_is_first_seen(night: Night) -> None:
    night.at("2026-11-22", "12:00").scheduler(schedule()).tick()
    night.at("2026-11-23", "15:00")
    changed = night.scheduler(schedule("0 10 * * *"))
    changed.tick()
    assert night.jobs() == []

    night.at("2026-11-24", "10:00")
    changed.tick()

    assert night.jobs() == ["schedule:nightly:2026-11-24"]


def test_while_a_change_is_rolled_out_no_run_is_lost(night: Night) -> None:
    """Schedulers with the old line and the new one note theirs in turn, and the new run falls due meanwhile."""
    old, new = schedule("0 22 * * *"), schedule("30 21 * * *")
    night.scheduler(old).tick()
    night.at("2026-11-23", "21:29")
    night.scheduler(new).tick()
    night.scheduler(old).tick()

    night.at("2026-11-23", "21:30").store.later(seconds=ROLLING.total_seconds() / 2)
    night.scheduler(new).tick()
    night.at("2026-11-23")
    night.scheduler(old).tick()

    assert night.jobs() == ["schedule:nightly:2026-11-23"]


def test_a_change_of_anything_but_the_line_does_not_forget_what_was_missed(night: Night) -> None:
    night.scheduler(schedule()).tick()

    night.at("2026-11-24", "08:00")
    night.scheduler(schedule(parallelism=2, extra_closed=[date(2026, 12, 24)])).tick()

    assert night.jobs() == ["schedule:nightly:2026-11-23"]


def test_a_schedule_changed_after_its_run_began_does_not_run_twice(night: Night) -> None:
    first = start_run(schedule(), MONDAY, night.world.services)
    again = start_run(schedule(parallelism=2), MONDAY, night.world.services)

    assert (first.created, again.created) == (1, 0)
    assert again.jobs[0].job_id == first.jobs[0].job_id


def test_a_disabled_schedule_runs_nothing_and_has_missed_nothing_when_it_is_enabled(night: Night) -> None:
    disabled = night.scheduler(schedule(enabled=False))
    disabled.tick()
    night.at("2026-11-23")
    with capture_logs() as logs:
        disabled.tick()
    assert [(entry["reason"], entry["business_dates"]) for entry in told(logs, "schedule.skipped")] == [
        ("the schedule is disabled", ["2026-11-23"])
    ]

    enabled = night.scheduler(schedule())
    night.at("2026-11-24", "08:00")
    enabled.tick()
    assert night.jobs() == []
    night.at("2026-11-24")
    enabled.tick()
    assert night.jobs() == ["schedule:nightly:2026-11-24"]


# ------------------------------------------------------------------------------------------------ trouble


def test_a_run_that_cannot_start_is_told_and_tried_again_until_it_can(night: Night) -> None:
    scheduler = night.scheduler(schedule(model_id="later"))
    scheduler.tick()
    night.at("2026-11-23")
    with capture_logs() as logs:
        for _ in range(60):
            scheduler.tick()
            night.store.later(seconds=1)
        night.add_model("later")
        for _ in range(600):
            scheduler.tick()
            night.store.later(seconds=1)

    refused = told(logs, "schedule.not_started")
    assert {(entry["log_level"], entry["code"]) for entry in refused} == {("error", "model_not_found")}
    assert [entry["again_in_seconds"] for entry in refused] == [2, 4, 8, 16, 32]
    assert night.jobs() == ["schedule:nightly:2026-11-23"]


def test_too_much_work_delays_a_run_and_an_outage_of_the_store_loses_none(tmp_path: Path) -> None:
    night = Night.fall(tmp_path, max_open_jobs=1)
    other = night.world.submit("other")
    scheduler = night.scheduler(schedule())
    scheduler.tick()
    night.at("2026-11-23")
    with capture_logs() as logs:
        for _ in range(300):
            scheduler.tick()
            night.store.later(seconds=1)
    delayed = told(logs, "schedule.delayed")
    assert {(entry["log_level"], entry["code"]) for entry in delayed} == {("warning", "too_many_jobs")}
    assert [entry["again_in_seconds"] for entry in delayed][-2:] == [60, 60]
    end(night, other)

    night.store.fail_with["insert_job"] = StoreUnavailable("store", "connection refused")
    night.store.later(minutes=2)
    with pytest.raises(StoreUnavailable):
        scheduler.tick()
    night.store.fail_with.clear()
    scheduler.tick()

    assert "schedule:nightly:2026-11-23" in night.jobs()
    night.world.store.close()


def end(night: Night, job: Job) -> None:
    night.world.store.stop_job(job.job_id, "cancelled", "by a test")  # type: ignore[arg-type]  # the state's word
    night.world.finish(job)


def test_a_bug_in_one_schedule_does_not_keep_another_from_running(night: Night) -> None:
    class Broken(Schedule):
        def occurrences(self, *_: object) -> Any:
            raise ZeroDivisionError

    good = schedule()
    broken = Broken(name="broken", line=good.line, zone=good.zone, days=good.days)
    scheduler = night.scheduler(broken, good)
    with capture_logs(processors=[merge_contextvars]) as logs:
        scheduler.tick()
        night.at("2026-11-23")
        scheduler.tick()

    assert night.jobs() == ["schedule:nightly:2026-11-23"]
    assert {(entry["schedule"], entry["log_level"]) for entry in told(logs, "schedule.not_tended")} == {
        ("broken", "error")
    }


# ------------------------------------------------------------------------------------------------ many models


def many(**changes: Any) -> Schedule:
    return schedule(model_id=None, **changes)


def test_each_model_that_needs_a_rebalance_gets_a_job_of_the_run(night: Night) -> None:
    night.add_model("fresh", last_rebalance_date=there("2026-11-23", "11:00"))
    night.add_model(
        "last-night", last_rebalance_date=there("2026-11-21", "02:00")
    )  # Friday's run, two hours late
    night.add_model("nobodys", portfolios=())
    scheduler = night.scheduler(many())
    scheduler.tick()
    night.at("2026-11-23")
    scheduler.tick()
    scheduler.tick()

    run = "schedule:nightly:2026-11-23"
    assert night.jobs() == [f"{run}:MODEL1", f"{run}:last-night"]
    assert {job.correlation_id for job in night.world.store.list_jobs()} == {run}


def test_a_run_of_many_goes_on_where_it_was_and_with_the_models_it_began_with(tmp_path: Path) -> None:
    night = Night.fall(tmp_path, max_open_jobs=1)
    night.add_model("second")
    with pytest.raises(Busy):
        start_run(many(), MONDAY, night.world.services)
    (first,) = night.world.store.list_jobs()
    night.add_model("third")
    end(night, first)

    run = start_run(many(), MONDAY, night.world.services)

    assert (run.created, [job.model.model_id for job in run.jobs]) == (1, ["MODEL1", "second"])
    assert jobs_of_run(many(), MONDAY, night.world.services) == [job.job_id for job in run.jobs]
    night.world.store.close()


def test_a_model_that_cannot_be_rebalanced_is_told_and_does_not_keep_the_others(night: Night) -> None:
    gone = night.add_model("gone")
    night.world.store.swap_note("schedule:nightly:2026-11-23", None, '["gone", "MODEL1"]')
    night.world.store.delete_model(gone.model_id, 1)

    with capture_logs() as logs:
        run = start_run(many(), MONDAY, night.world.services)

    assert [job.model.model_id for job in run.jobs] == ["MODEL1"]
    (refused,) = told(logs, "schedule.model_not_started")
    assert (refused["model"], refused["code"]) == ("gone", "model_not_found")


def test_a_night_on_which_no_model_needs_a_rebalance_is_told(night: Night) -> None:
    night.world.store.note_rebalanced(ModelId("MODEL1"), there("2026-11-23", "11:00"))
    scheduler = night.scheduler(many())
    scheduler.tick()
    night.at("2026-11-23")
    with capture_logs() as logs:
        scheduler.tick()

    assert night.jobs() == []
    assert [entry["business_date"] for entry in told(logs, "schedule.nothing_to_do")] == ["2026-11-23"]
    assert told(logs, "schedule.missed") == []


def test_all_models_are_found_however_many_pages_and_whatever_comes_and_goes(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.start_run._MODELS_AT_ONCE", 3)
    for number in range(8):
        night.add_model(f"n{number}")
    listed = night.world.store.list_models
    looks = iter(range(100))

    class Models:
        def list_models(self, query: Any) -> Any:
            if next(looks) == 2:  # the first of all leaves between two pages
                night.world.store.note_rebalanced(ModelId("MODEL1"), there("2026-11-24", "11:00"))
            return listed(query)

        def __getattr__(self, name: str) -> object:
            return getattr(night.world.store, name)

    services = replace(night.world.services, models=Models())  # type: ignore[arg-type]  # the store, but for one method
    run = start_run(many(), MONDAY, services)

    assert [job.model.model_id for job in run.jobs] == [f"n{number}" for number in range(8)]


# ------------------------------------------------------------------------------------------------ by hand


def test_a_run_by_hand_is_the_scheduler_s_run(night: Night) -> None:
    night.scheduler(schedule()).tick()
    by_hand = start_by_hand(schedule(), None, "ops", night.world.services)
    night.at("2026-11-23").scheduler(schedule()).tick()

    assert by_hand.created == 1
    assert night.jobs() == [by_hand.key] == ["schedule:nightly:2026-11-23"]


@pytest.mark.parametrize(
    ("day", "code"),
    [
        ("2026-11-24", "business_date_out_of_range"),
        ("2025-11-01", "business_date_out_of_range"),
        ("2026-11-22", "no_business_date"),
        ("2025-11-27", "no_business_date"),
    ],
)
def test_a_day_that_has_no_run_is_refused(night: Night, day: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        start_by_hand(schedule(), date.fromisoformat(day), "ops", night.world.services)
    assert refused.value.code == code
    assert night.jobs() == []


def test_a_schedule_nobody_knows_is_not_found(night: Night) -> None:
    with pytest.raises(NotFound) as missing:
        find_schedule("nobody", night.world.services)
    assert missing.value.code == "schedule_not_found"


def test_a_run_that_was_not_started_has_no_jobs(night: Night) -> None:
    assert jobs_of_run(schedule(), MONDAY, night.world.services) is None
    assert jobs_of_run(many(), MONDAY, night.world.services) is None


# ------------------------------------------------------------------------------------------------ settings

NIGHTLY = {"name": "nightly", "model_id": "m", "cron": "0 22 * * 1-5"}


def test_a_schedule_of_the_settings_has_what_they_say() -> None:
    given = {
        **NIGHTLY,
        "time_zone": "Europe/London",
        "calendar": "XLON",
        "extra_closed": ["2026-12-24"],
        "on_closed_day": "next",
        "catch_up_seconds": 3600,
        "enabled": False,
    }
    (built,) = build_schedules(load_settings(schedules=[given]))

    assert (built.zone.key, built.days.name, built.on_closed, built.enabled) == (
        "Europe/London",
        "XLON",
        "next",
        False,
    )
    assert built.catch_up.total_seconds() == 3600
    assert built.days.closed(date(2026, 12, 24)) is not None


@pytest.mark.parametrize(("needing", "days"), [(7, 7), ("last_business_date", None)])
def test_all_models_are_chosen_by_when_they_were_rebalanced(needing: object, days: int | None) -> None:
    (built,) = build_schedules(
        load_settings(schedules=[{"name": "all", "cron": "0 22 * * *", "needing_rebalance": needing}])
    )
    assert (built.model_id, built.needing_days) == (None, days)


def test_a_policy_that_only_its_model_makes_whole_is_no_fault_of_the_schedule() -> None:
    """The amount to raise is the model's."""
    (built,) = build_schedules(load_settings(schedules=[{**NIGHTLY, "policy": {"run_type": "raise_cash"}}]))
    assert built.policy == {"run_type": "raise_cash"}


def test_everything_that_is_wrong_with_schedules_is_told_at_once_by_name() -> None:
    wrong = [
        {**NIGHTLY, "name": "a", "cron": "61 * * * *"},
        {**NIGHTLY, "name": "b", "time_zone": "Mars/Olympus"},
        {**NIGHTLY, "name": "c", "calendar": "XXXX"},
        {**NIGHTLY, "name": "d", "policy": {"cash": "1"}},
        {**NIGHTLY, "name": "e", "time_zone": "Europe"},
        {**NIGHTLY, "name": "f", "parallelism": 257},
        {**NIGHTLY, "name": "g", "policy": {"run_type": "raise_cash", "raise_cash": "0"}},
        {**NIGHTLY, "name": "h", "policy": {"no_buy": ["X"]}},
        NIGHTLY,
    ]
    with pytest.raises(Invalid) as refused:
        build_schedules(load_settings(schedules=wrong))

    told_of = str(refused.value)
    assert [name for name in "abcdefgh" if f"{name}: " not in told_of] == []
    assert "nightly" not in told_of


def test_a_scheduler_with_a_schedule_that_cannot_be_used_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    monkeypatch.setattr(
        "worker.processes.beat.stop_on_signals", lambda _life: stop
    )  # the signals are pytest's
    settings = load_settings(state_dir=tmp_path, schedules=[{**NIGHTLY, "calendar": "XXXX"}])

    with pytest.raises(Invalid, match="nightly: no calendar of an exchange 'XXXX'"):
        beat.run(settings)


def test_the_page_for_owners_tells_every_field_and_its_schedules_can_be_used() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to-run-nightly.md").read_text()
    table = page.split("| field | meaning | default |")[1].split("\n\n")[0]
    named = re.findall(r"`([a-z_]+)`", " ".join(row.split("|")[1] for row in table.splitlines()[2:]))
    (example,) = re.findall(r"TRIMTAB_SCHEDULES='(.+?)'", page, re.DOTALL)

    assert sorted(named) == sorted(ScheduleSettings.model_fields)
    monthly, nightly = build_schedules(load_settings(schedules=json.loads(example)))
    assert (monthly.name, monthly.on_closed, monthly.needing_days) == ("month-end", "previous", 7)
    assert nightly.days.name == "XNYS"
    assert f"| {ScheduleSettings.model_fields['catch_up_seconds'].default:.0f} |" in table


def test_the_moment_of_a_note_is_exact(night: Night) -> None:
    """A run due in the very second a scheduler was started in is neither lost nor doubled."""
    night.at("2026-11-23", "21:59:59.999999")
    scheduler = night.scheduler(schedule())
    scheduler.tick()
    night.store.time = datetime.fromisoformat("2026-11-24T03:00:00+00:00")
    scheduler.tick()

    assert night.jobs() == ["schedule:nightly:2026-11-23"]
    assert night.world.store.get_job(JobId(night.world.store.list_jobs()[0].job_id)).n == 2
