"""Changes of a job that stands, from the command line: retry, parallelism, republish."""

import json
from typing import Annotated, Any

import typer

from adapters.inbound.answers import RepublishAnswer, describe_job
from adapters.inbound.cli.output import MAX_INPUT_BYTES, AsJson, guarded, print_line, say
from adapters.inbound.cli.wiring import Wiring
from adapters.inbound.payloads import parse_retry
from domain.ids import JobId
from domain.job import Job
from tasks.audit import COMMAND_LINE, note_action
from tasks.change_parallelism import change_parallelism
from tasks.republish import republish_job, republish_recent
from tasks.retry_job import retry_job
from tasks.services import Services
from tasks.watch_jobs import described

_JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]


def add_job_change_commands(app: typer.Typer, wiring: Wiring) -> None:
    """``retry``, ``parallelism`` and ``republish``."""
    _add_retry(app, wiring)
    _add_parallelism(app, wiring)
    _add_republish(app, wiring)


def _add_retry(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def retry(
        job: _JobArgument,
        *,
        portfolio: Annotated[
            list[str] | None, typer.Option(help="Only this failed portfolio; repeat for more.")
        ] = None,
        cause: Annotated[
            str | None, typer.Option(metavar="PREFIX", help="Only those whose reason begins so.")
        ] = None,
        deadline: Annotated[
            str | None, typer.Option(help="Its new deadline, such as 2026-11-30T21:00:00Z.")
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Bring failed portfolios of a job that is over back, under the same ids: without options all of them."""
        asked: dict[str, Any] = {"portfolio_ids": portfolio or None, "cause": cause, "deadline": deadline}
        body = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
        command = parse_retry(body, JobId(job), max_bytes=MAX_INPUT_BYTES)
        with wiring.services() as services:
            retried = retry_job(command, services)
            note_action(retried.job_id, described(command.retry), COMMAND_LINE, services)
            _tell(retried, services, as_json=as_json)
        say(f"follow it with: trimtab watch {job}")


def _add_parallelism(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def parallelism(
        job: _JobArgument,
        number: Annotated[int, typer.Argument(metavar="N", help="Portfolios in work at once from now on.")],
        *,
        as_json: AsJson = False,
    ) -> None:
        """Give an open job more or fewer seats. What is in work ends in peace."""
        with wiring.services() as services:
            changed = change_parallelism(JobId(job), number, services)
            note_action(changed.job_id, f"parallelism {number}", COMMAND_LINE, services)
            _tell(changed, services, as_json=as_json)


def _add_republish(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def republish(
        job: Annotated[
            str | None,
            typer.Argument(
                metavar="[JOB]", help="The job's id; without it, open jobs and those of the last day."
            ),
        ] = None,
        *,
        as_json: AsJson = False,
    ) -> None:
        """Publish stored order sets again, byte for byte, those the result queue does not have."""
        with wiring.services() as services:
            if job is None:
                count = republish_recent(services)
            else:
                count = republish_job(JobId(job), services)
                note_action(JobId(job), f"republish {count} order sets", COMMAND_LINE, services)
        print_line(
            RepublishAnswer(order_sets=count).json_text() if as_json else f"{count} order sets are due again"
        )


def _tell(job: Job, services: Services, *, as_json: bool) -> None:
    if as_json:
        print_line(describe_job(job, services).json_text())
    else:
        print_line(f"job {job.job_id} {job.state}: {job.n} portfolios, {job.parallelism} at once")
