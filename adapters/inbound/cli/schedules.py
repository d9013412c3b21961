"""Schedules from the command line: list, next runs, and a run started by hand."""

import json
from typing import Annotated

import typer

from adapters.inbound.cli.output import MAX_INPUT_BYTES, AsJson, guarded, print_line, print_table, say
from adapters.inbound.cli.wiring import Wiring
from adapters.inbound.payloads import parse_schedule_run
from adapters.inbound.schedule_answers import (
    LAST_BUSINESS_DATE,
    NextRunAnswer,
    ScheduleAnswer,
    next_runs_answer,
    schedule_run_answer,
    schedules_answer,
)
from tasks.audit import COMMAND_LINE
from tasks.start_run import find_schedule, start_by_hand

_Name = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The schedule's name.")]


def add_schedule_commands(app: typer.Typer, wiring: Wiring) -> None:
    """``schedule list``, ``schedule next`` and ``schedule run``."""
    schedules = typer.Typer(no_args_is_help=True, help="Schedules and their runs.")
    app.add_typer(schedules, name="schedule")
    _add_list(schedules, wiring)
    _add_next(schedules, wiring)
    _add_run(schedules, wiring)


def _add_list(app: typer.Typer, wiring: Wiring) -> None:
    @app.command("list")
    @guarded
    def list_schedules(*, as_json: AsJson = False) -> None:
        """Schedules by name, with their next and their last run."""
        with wiring.services() as services:
            answers = schedules_answer(services).schedules
        if as_json:
            for answer in answers:
                print_line(answer.json_text())
            return
        print_table(
            ("schedule", "rebalances", "when", "time zone", "calendar", "next run", "last run"),
            (
                (
                    answer.schedule_id,
                    answer.model_id or _which(answer),
                    answer.in_words,
                    answer.time_zone,
                    answer.calendar or "every day",
                    _next(answer),
                    _last(answer),
                )
                for answer in answers
            ),
        )


def _add_next(app: typer.Typer, wiring: Wiring) -> None:
    @app.command("next")
    @guarded
    def show_next(
        schedule: _Name,
        *,
        count: Annotated[int, typer.Option(min=1, max=100, help="How many runs.")] = 5,
        as_json: AsJson = False,
    ) -> None:
        """The next runs with their business dates, and what is skipped, and why."""
        with wiring.services() as services:
            answer = next_runs_answer(find_schedule(schedule, services), count, services)
        if as_json:
            print_line(answer.json_text())
            return
        if not answer.enabled:
            say(f"{schedule} is disabled: this is what would run")
        print_table(
            ("day", "business date", "at", "why"),
            (
                (
                    each.day,
                    each.business_date or "skipped",
                    _clock(each),
                    "started already" if each.started else each.reason or "",
                )
                for each in answer.runs
            ),
        )


def _add_run(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def run(
        schedule: _Name,
        *,
        date: Annotated[
            str | None,
            typer.Option(metavar="YYYY-MM-DD", help="The business date; without it today, in its zone."),
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Start the run of a business date now. The same date is the same run, however often it is started."""
        body = json.dumps({} if date is None else {"business_date": date}).encode()
        business_date = parse_schedule_run(body, max_bytes=MAX_INPUT_BYTES)
        with wiring.services() as services:
            started = start_by_hand(find_schedule(schedule, services), business_date, COMMAND_LINE, services)
        if as_json:
            print_line(schedule_run_answer(started).json_text())
            return
        if not started.created and started.jobs:
            say(f"the run {started.key} was started before: these are its jobs")
        if not started.jobs:
            say(f"the run {started.key} has no job: no model needs a rebalance")
        for job in started.jobs:
            print_line(
                f"job {job.job_id} {job.state}: model {job.model.model_id}, {job.n} portfolios, {job.key}"
            )


def _which(answer: ScheduleAnswer) -> str:
    if answer.needing_rebalance == LAST_BUSINESS_DATE:
        return "models not rebalanced since the last business date"
    return f"models not rebalanced for {answer.needing_rebalance} days"


def _clock(run: NextRunAnswer) -> str:
    """As a clock there shows it; its date is the business date."""
    return run.local[:16].replace("T", " ")


def _next(answer: ScheduleAnswer) -> str:
    if answer.next_run is None:
        return "never" if answer.enabled else "disabled"
    return f"{_clock(answer.next_run)}{', started already' if answer.next_run.started else ''}"


def _last(answer: ScheduleAnswer) -> str:
    if answer.last_run is None:
        return "" if answer.known_since else "no scheduler has seen it"
    return f"{answer.last_run.business_date} {'started' if answer.last_run.started else 'not started'}"
