"""Jobs from the command line: submit, watch, look at what came out, cancel."""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from adapters.inbound.answers import describe_job, finished, list_answer
from adapters.inbound.cli.output import (
    MAX_INPUT_BYTES,
    AsJson,
    Exit,
    clean,
    console,
    guarded,
    print_line,
    print_table,
    read_input,
    say,
)
from adapters.inbound.cli.wiring import Wiring
from adapters.inbound.payloads import parse_request
from adapters.inbound.strict_json import load
from domain.errors import Invalid, StoreUnavailable
from domain.ids import JobId, ModelId
from domain.item import FINAL_STATES, ItemState
from domain.job import Job, JobState
from tasks.audit import COMMAND_LINE, note_action
from tasks.cancel_job import cancel_job
from tasks.services import Services
from tasks.submit_job import submit_job

_PATIENCE = 10  # polls in a row that may meet a store that is out

_JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
_Interval = Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.", show_default=True)]
_Watch = Annotated[bool, typer.Option("--watch", help="Stay until the job is over, with its progress.")]


def add_job_commands(app: typer.Typer, wiring: Wiring) -> None:
    """``submit``, ``watch``, ``cancel`` and ``jobs``."""
    _add_submit(app, wiring)
    _add_watch(app, wiring)
    _add_cancel(app, wiring)
    _add_jobs(app, wiring)


def _add_submit(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def submit(  # noqa: PLR0913 - one argument an option
        *,
        file: Annotated[
            str | None,
            typer.Argument(metavar="[FILE]", help="A rebalance request as JSON; - for standard input."),
        ] = None,
        model: Annotated[str | None, typer.Option(help="Without FILE: the model to rebalance to.")] = None,
        portfolio: Annotated[
            list[str] | None, typer.Option(help="With --model: only this portfolio; repeat for more.")
        ] = None,
        parallelism: Annotated[
            int | None, typer.Option(min=1, help="With --model: portfolios in work at once.")
        ] = None,
        policy: Annotated[
            str | None,
            typer.Option(metavar="JSON", help="With --model: policy keys that stand over the model's own."),
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="With --model: publish nothing.")] = False,
        key: Annotated[
            str | None, typer.Option(help="Idempotency key: the same key is the same job.")
        ] = None,
        watch: _Watch = False,
        interval: _Interval = 0.5,
        as_json: AsJson = False,
    ) -> None:
        """Submit a rebalance request. Status 1 when a watched job ends with errors or is cancelled."""
        asked = _Asked(
            model=model, portfolios=portfolio, parallelism=parallelism, policy=policy, dry_run=dry_run
        )
        command = parse_request(
            asked.body(file),
            header_key=key,
            max_bytes=MAX_INPUT_BYTES,
            new_key=_new_id,
            correlation_id=_new_id(),
        )
        with wiring.services() as services:
            submitted = submit_job(command, services)
            if not submitted.created:
                say(f"the key {command.key} was known: this is the job submitted before")
            job = submitted.job
            if watch:
                _watch_to_the_end(job.job_id, services, interval=interval, as_json=as_json)
            elif as_json:
                print_line(describe_job(job, services).json_text())
            else:
                print_line(f"job {job.job_id} {job.state}: {job.n} portfolios, {job.parallelism} at once")
                say(f"follow it with: trimtab watch {job.job_id}")


def _add_watch(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def watch(job: _JobArgument, *, interval: _Interval = 0.5, as_json: AsJson = False) -> None:
        """Stay until a job is over. Status 0 done, 1 done with errors or cancelled."""
        with wiring.services() as services:
            _watch_to_the_end(JobId(job), services, interval=interval, as_json=as_json)


def _add_cancel(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def cancel(job: _JobArgument, *, as_json: AsJson = False) -> None:
        """Stop a job: what is in work ends, the rest is cancelled. Harmless when it is over."""
        with wiring.services() as services:
            stopped = cancel_job(JobId(job), services)
            if not stopped.state.closed:
                note_action(stopped.job_id, "cancel", COMMAND_LINE, services)
            if as_json:
                print_line(describe_job(stopped, services).json_text())
            else:
                print_line(f"job {stopped.job_id} {stopped.state}")


def _add_jobs(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def jobs(
        *,
        state: Annotated[
            list[JobState] | None, typer.Option(help="Only in this state; repeat for more.")
        ] = None,
        model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
        as_json: AsJson = False,
    ) -> None:
        """Jobs, newest first."""
        with wiring.services() as services:
            found = services.jobs.list_jobs(
                states=tuple(state or ()), model_id=None if model is None else ModelId(model), limit=limit
            )
        answers = list_answer(found, offset=0, limit=limit).jobs
        if as_json:
            for answer in answers:
                print_line(answer.json_text())
            return
        print_table(
            ("job", "state", "model", "portfolios", "created", "outcomes", "reason"),
            (
                (
                    answer.job_id,
                    answer.state,
                    answer.model_id,
                    answer.portfolios,
                    answer.created_at and f"{answer.created_at:%Y-%m-%d %H:%M:%S}",
                    _in_words(answer.counts or {}),
                    answer.reason,
                )
                for answer in answers
            ),
            right=("portfolios",),
        )


# ------------------------------------------------------------------------------------------------ submit


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request told by options instead of a file."""

    model: str | None
    portfolios: Sequence[str] | None
    parallelism: int | None
    policy: str | None
    dry_run: bool

    def body(self, file: str | None) -> bytes:
        """The request's bytes: both ways go through the same reading and checking."""
        options = self._document()
        if file is None:
            if self.model is None:
                raise Invalid("give a FILE (- for standard input) or --model", code="usage")
            return json.dumps(options, default=str).encode()  # decimals as their own text
        if options:
            raise Invalid(
                "with a FILE the request stands in the file: leave out --model and what goes with it",
                code="usage",
            )
        return read_input(file)

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "model_id": self.model,
            "portfolio_ids": list(self.portfolios or ()) or None,
            "parallelism": self.parallelism,
            "policy": None if self.policy is None else self._policy(self.policy),
            "dry_run": self.dry_run or None,
        }
        return {name: value for name, value in document.items() if value is not None}

    @staticmethod
    def _policy(text: str) -> object:
        try:
            return load(text.encode("utf-8", "surrogateescape"), max_bytes=MAX_INPUT_BYTES)
        except Invalid as fault:
            raise Invalid(f"--policy: {fault}", code="usage") from None


# ------------------------------------------------------------------------------------------------ watch


class _Display(Protocol):
    def show(self, job: Job, counts: Mapping[str, int]) -> None:
        """The job as it stands now."""


class _Lines:
    """Without a terminal: one line on standard error whenever something has changed."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, job: Job, counts: Mapping[str, int]) -> None:
        line = f"{_headline(job)}  {finished(counts)}/{job.n}  {_in_words(counts)}".rstrip()
        if line != self._last:
            say(line)
            self._last = line


class _Bar:
    """With a terminal: one live line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, outcomes="")

    def show(self, job: Job, counts: Mapping[str, int]) -> None:
        self._progress.update(
            self._task,
            description=clean(_headline(job)),
            total=job.n,
            completed=finished(counts),
            outcomes=_in_words(counts),
        )


def _watch_to_the_end(job_id: JobId, services: Services, *, interval: float, as_json: bool) -> None:
    screen = console(error=True)
    try:
        if screen.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[outcomes]}", markup=False),
                TimeElapsedColumn(),
            )
            with Progress(*columns, console=screen) as progress:
                job = follow_job(job_id, services, _Bar(progress), pause=lambda: time.sleep(interval))
        else:
            job = follow_job(job_id, services, _Lines(), pause=lambda: time.sleep(interval))
    except KeyboardInterrupt:
        say(f"the job goes on; see it again with: trimtab watch {job_id}")
        raise
    if as_json:
        print_line(describe_job(job, services).json_text())
    else:
        print_line(f"job {job.job_id} {clean(_headline(job))}: {_in_words(job.counts)}")
    raise typer.Exit(Exit.OK if job.state is JobState.DONE else Exit.FAILED)


def follow_job(job_id: JobId, services: Services, display: _Display, *, pause: Callable[[], None]) -> Job:
    """Look until the job is closed. A store that is out for a moment does not end it.

    Raises:
        NotFound: no such job.
        StoreUnavailable: out for many looks in a row.
    """
    failures = 0
    while True:
        try:
            job = services.jobs.get_job(job_id)
            counts = job.counts if job.state.closed else services.jobs.count_items(job_id)
        except StoreUnavailable:
            failures += 1
            if failures >= _PATIENCE:
                raise
        else:
            failures = 0
            display.show(job, counts)
            if job.state.closed:
                return job
        pause()


def _headline(job: Job) -> str:
    return f"{job.state} ({job.reason})" if job.reason else str(job.state)


def _in_words(counts: Mapping[str, int]) -> str:
    """Outcomes first, then what is still open: ``traded 12, rejected 1, running 4``."""
    order = [state for state in ItemState if state in FINAL_STATES] + [ItemState.RUNNING, ItemState.DELAYED]
    return ", ".join(f"{state} {counts[state]}" for state in order if counts.get(state))
