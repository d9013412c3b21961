"""What callers get to see of schedules and their runs, the same over HTTP and from the command line."""

from datetime import date, datetime
from typing import Any

from pydantic import Field

from adapters.inbound import examples
from adapters.inbound.answers import Answer, JobAnswer, example, job_answer
from domain.schedule import Occurrence, OnClosedDay, Schedule
from tasks.scheduler import known_since
from tasks.services import Services
from tasks.start_run import Run, jobs_of_run

LAST_BUSINESS_DATE = "last_business_date"


class NextRunAnswer(Answer):
    """One time the line fires."""

    at: datetime
    local: str = Field(description="The same moment in the zone of the schedule.")
    day: date = Field(description="The day the cron line names.")
    business_date: date | None = Field(description="Of the run; null: it does not run.")
    reason: str | None = Field(description="Why the day is skipped, or its run has moved to another day.")
    started: bool = Field(description="By hand, before its time: it is not started again.")


class LastRunAnswer(Answer):
    """The latest run that was due since schedulers know the line."""

    at: datetime
    business_date: date
    started: bool
    job_ids: list[str]


class ScheduleAnswer(Answer):
    model_config = example(examples.SCHEDULE)

    schedule_id: str
    enabled: bool
    cron: str
    in_words: str
    time_zone: str
    calendar: str | None = Field(description="The exchange whose trading days count; null: every day is one.")
    on_closed_day: OnClosedDay
    catch_up_seconds: float = Field(description="How long after its time a missed run is still started.")
    model_id: str | None = Field(description="Null: every model that needs a rebalance.")
    needing_rebalance: int | str | None = Field(
        description="Of all models those not rebalanced for so many days, or since the last business date."
    )
    parallelism: int | None
    policy: dict[str, Any]
    known_since: datetime | None = Field(
        description="When a scheduler first saw this line. Null: none has, so nothing is started."
    )
    next_run: NextRunAnswer | None = Field(description="Null where it is disabled, or never runs again.")
    last_run: LastRunAnswer | None


class SchedulesAnswer(Answer):
    model_config = example(examples.SCHEDULES)

    schedules: list[ScheduleAnswer]


class NextRunsAnswer(Answer):
    """What is skipped stands between the runs. Of a disabled schedule: what would run."""

    model_config = example(examples.NEXT_RUNS)

    schedule_id: str
    enabled: bool
    runs: list[NextRunAnswer]


class ScheduleRunAnswer(Answer):
    """``key`` is that of the job, or the beginning of the keys of all its jobs."""

    model_config = example(examples.SCHEDULE_RUN)

    schedule_id: str
    business_date: date
    key: str
    created: int = Field(description="How many of the jobs were not there before.")
    jobs: list[JobAnswer]


def schedule_answer(schedule: Schedule, services: Services) -> ScheduleAnswer:
    """Raises StoreUnavailable: it knows the time, and what was started."""
    now = services.jobs.now()
    coming = schedule.coming(now, 1) if schedule.enabled else ()
    runs = coming and coming[-1].business_date is not None
    return ScheduleAnswer(
        schedule_id=schedule.name,
        enabled=schedule.enabled,
        cron=schedule.line.text,
        in_words=schedule.line.in_words(),
        time_zone=schedule.zone.key,
        calendar=schedule.days.name,
        on_closed_day=schedule.on_closed,
        catch_up_seconds=schedule.catch_up.total_seconds(),
        model_id=schedule.model_id,
        needing_rebalance=_needing(schedule),
        parallelism=schedule.parallelism,
        policy=dict(schedule.policy),
        known_since=known_since(schedule, services),
        next_run=_next_run(coming[-1], schedule, services) if runs else None,
        last_run=_last_run(schedule, now, services),
    )


def schedules_answer(services: Services) -> SchedulesAnswer:
    """Raises StoreUnavailable."""
    return SchedulesAnswer(schedules=[schedule_answer(each, services) for each in services.schedules()])


def next_runs_answer(schedule: Schedule, count: int, services: Services) -> NextRunsAnswer:
    """Raises StoreUnavailable: it knows the time."""
    coming = schedule.coming(services.jobs.now(), count)
    return NextRunsAnswer(
        schedule_id=schedule.name,
        enabled=schedule.enabled,
        runs=[_next_run(each, schedule, services) for each in coming],
    )


def schedule_run_answer(run: Run) -> ScheduleRunAnswer:
    """Open jobs are not counted here, as in lists."""
    return ScheduleRunAnswer(
        schedule_id=run.schedule,
        business_date=run.business_date,
        key=run.key,
        created=run.created,
        jobs=[job_answer(job, job.counts if job.state.closed else None) for job in run.jobs],
    )


def _next_run(occurrence: Occurrence, schedule: Schedule, services: Services) -> NextRunAnswer:
    business_date = occurrence.business_date
    return NextRunAnswer(
        at=occurrence.at,
        local=occurrence.at.astimezone(schedule.zone).isoformat(),
        day=occurrence.day,
        business_date=business_date,
        reason=occurrence.reason,
        started=business_date is not None and jobs_of_run(schedule, business_date, services) is not None,
    )


def _last_run(schedule: Schedule, now: datetime, services: Services) -> LastRunAnswer | None:
    latest = schedule.latest(now)
    if latest is None or latest.business_date is None:
        return None
    jobs = jobs_of_run(schedule, latest.business_date, services)
    since = known_since(schedule, services)
    if jobs is None and (since is None or latest.at <= since):
        return None
    return LastRunAnswer(
        at=latest.at,
        business_date=latest.business_date,
        started=jobs is not None,
        job_ids=list(jobs or ()),
    )


def _needing(schedule: Schedule) -> int | str | None:
    if schedule.model_id is not None:
        return None
    return LAST_BUSINESS_DATE if schedule.needing_days is None else schedule.needing_days
