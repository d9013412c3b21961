"""Start a schedule's run of one business date: one job, or one for each model that needs a rebalance.

The key of a job is that of its run, so whoever starts it, a scheduler, a second one, or somebody by hand, and however
often: it is the same job.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import structlog

from domain.errors import Busy, Invalid, KeyReused, NotFound, TrimtabError, Unavailable
from domain.ids import JobId, ModelId
from domain.job import Job
from domain.ports import ModelQuery
from domain.schedule import Schedule
from tasks.audit import note_action
from tasks.services import Services
from tasks.submit_job import SubmitJob, job_id_for, require_acceptable, submit_job

log = structlog.get_logger(__name__)

RUN_KEYS = "schedule:"  # what the keys of runs begin with, and no key that a caller sends
OLDEST_BY_HAND = timedelta(days=366)
_MODELS_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``jobs`` in order of their models; ``new`` are those of them that were not there before."""

    key: str
    schedule: str
    business_date: date
    jobs: Sequence[Job]
    new: Sequence[JobId]

    @property
    def created(self) -> int:
        """How many of the jobs were not there before."""
        return len(self.new)


def find_schedule(name: str, services: Services) -> Schedule:
    """Raises NotFound."""
    for schedule in services.schedules():
        if schedule.name == name:
            return schedule
    raise NotFound("schedule", name)


def run_key(schedule: Schedule, business_date: date) -> str:
    """Names the run; the key of its job where it has one model, the beginning of their keys where it has several."""
    return f"{RUN_KEYS}{schedule.name}:{business_date.isoformat()}"


def start_run(schedule: Schedule, business_date: date, services: Services) -> Run:
    """Harmless to repeat. A disabled schedule's run is started as well: disabled says that no scheduler does it.

    Raises:
        Invalid, NotFound: the one model cannot be rebalanced. Of a run of many models such a one is left out and told.
        Busy: too much is open; what was started stays so, and the next call goes on with the rest.
        StoreUnavailable: likewise.
    """
    if schedule.model_id is not None:
        key = run_key(schedule, business_date)
        job, created = _submit(key, schedule.model_id, schedule, business_date, services)
        return Run(
            key=key,
            schedule=schedule.name,
            business_date=business_date,
            jobs=(job,),
            new=(job.job_id,) if created else (),
        )
    return _start_many(schedule, business_date, services)


def require_startable(schedule: Schedule, services: Services) -> None:
    """Whether a run would be refused as the schedule's one model stands; of many models each run decides.

    Raises:
        Invalid, NotFound: it would.
        StoreUnavailable: the model could not be read.
    """
    if schedule.model_id is not None:
        require_acceptable(_command("", schedule.model_id, schedule), services)


def start_by_hand(schedule: Schedule, business_date: date | None, who: str, services: Services) -> Run:
    """The run of that business date, or of today (there) without one. Noted on each new job as what ``who`` did.

    Raises:
        Invalid: a day to come (when it comes its run would count as started), one too long ago, or no trading day.
        TrimtabError: as `start_run`.
    """
    today = services.jobs.now().astimezone(schedule.zone).date()
    business_date = business_date or today
    if not today - OLDEST_BY_HAND <= business_date <= today:
        raise Invalid(
            f"{business_date} is not one of the last {OLDEST_BY_HAND.days} days up to {today} there",
            code="business_date_out_of_range",
        )
    reason = schedule.days.closed(business_date)
    if reason is not None:
        raise Invalid(f"{business_date} is no business date: {reason}", code="no_business_date")
    run = start_run(schedule, business_date, services)
    for job_id in run.new:
        note_action(job_id, f"run schedule {schedule.name} by hand", who, services)
    return run


def jobs_of_run(schedule: Schedule, business_date: date, services: Services) -> Sequence[JobId] | None:
    """The jobs that make up that run; None: it was not started."""
    key = run_key(schedule, business_date)
    if schedule.model_id is None:
        models = _frozen_models(key, services)
        return None if models is None else [job_id_for(_key_of(key, model_id)) for model_id in models]
    try:
        return [services.jobs.get_job(job_id_for(key)).job_id]
    except NotFound:
        return None


# ------------------------------------------------------------------------------------------------ many models


def _start_many(schedule: Schedule, business_date: date, services: Services) -> Run:
    """Which models they are is decided once: a scheduler that goes on with another's run must not add to it."""
    key = run_key(schedule, business_date)
    models = _frozen_models(key, services)
    if models is None:
        since = schedule.needing_since(business_date, services.jobs.now())
        found = json.dumps(_models_needing(since, services))
        services.jobs.swap_note(key, None, found)
        models = _frozen_models(key, services) or []
    jobs: list[Job] = []
    new: list[JobId] = []
    for model_id in models:
        try:
            job, created = _submit(_key_of(key, model_id), model_id, schedule, business_date, services)
        except (Unavailable, Busy):
            raise
        except TrimtabError as error:
            log.error(  # noqa: TRY400 - what is wrong with a model needs no stack of ours
                "schedule.model_not_started",
                schedule=schedule.name,
                business_date=business_date.isoformat(),
                model=model_id,
                code=error.code,
                error=str(error),
                advice="mend the model, then `trimtab schedule run --date` starts it; the run goes on without it",
            )
        else:
            jobs.append(job)
            new.extend([job.job_id] if created else ())
    return Run(key=key, schedule=schedule.name, business_date=business_date, jobs=jobs, new=new)


def _key_of(run: str, model_id: ModelId) -> str:
    return f"{run}:{model_id}"


def _frozen_models(key: str, services: Services) -> Sequence[ModelId] | None:
    note = services.jobs.get_note(key)
    return None if note is None else [ModelId(model_id) for model_id in json.loads(note)]


def _models_needing(since: datetime, services: Services) -> list[ModelId]:
    """Those with portfolios and targets; others have nothing to rebalance.

    Each page begins with the last model of the one before: where that is another one, models came or went meanwhile,
    and the pages would leave one out. Then it begins anew.
    """
    read: list[ModelId] = []
    wanted: list[ModelId] = []
    while True:
        offset = max(len(read) - 1, 0)
        query = ModelQuery(needing_rebalance_since=since, offset=offset, limit=_MODELS_AT_ONCE)
        page = services.models.list_models(query)
        if read and (not page or page[0].model_id != read[-1]):
            read, wanted = [], []
            continue
        new = page[1:] if read else page
        read.extend(model.model_id for model in new)
        wanted.extend(
            model.model_id
            for model in new
            if model.portfolios and any(position.target > 0 for position in model.positions)
        )
        if len(page) < _MODELS_AT_ONCE:
            return wanted


# ------------------------------------------------------------------------------------------------ one model


def _submit(
    key: str, model_id: ModelId, schedule: Schedule, business_date: date, services: Services
) -> tuple[Job, bool]:
    command = _command(key, model_id, schedule, correlation_id=run_key(schedule, business_date))
    try:
        submitted = submit_job(command, services)
    except KeyReused:  # the schedule was changed since: the run of that date is the one there is
        return services.jobs.get_job(job_id_for(key)), False
    return submitted.job, submitted.created


def _command(key: str, model_id: ModelId, schedule: Schedule, *, correlation_id: str = "") -> SubmitJob:
    request: dict[str, Any] = {
        "model_id": model_id,
        "parallelism": schedule.parallelism,
        "policy": dict(schedule.policy),
    }
    canonical = json.dumps(request, sort_keys=True, default=str).encode()
    return SubmitJob(
        key=key,
        request_sha256=hashlib.sha256(canonical).hexdigest(),
        model_id=model_id,
        policy=schedule.policy,
        parallelism=schedule.parallelism,
        correlation_id=correlation_id,
    )
