"""The scheduler: sees to it that each business date of a schedule gets its run, once, whoever else sees to it, too.

What is due follows from the schedule and from one note in the store, up to which moment everything of it is decided:
started, skipped or missed. The note moves by compare-and-set after the run was started, and a run's key starts one job
however often it is tried. So there may be any number of schedulers, and any of them may die anywhere.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from domain.errors import Busy, Invalid, NotFound, StoreUnavailable, TrimtabError, Unavailable
from domain.schedule import Occurrence, Schedule
from tasks.services import Services
from tasks.start_run import Run, jobs_of_run, require_startable, start_run

log = structlog.get_logger(__name__)

# While a changed schedule is rolled out, schedulers with the old line and with the new one take turns in noting theirs.
# Each begins so long before, and a run that falls due meanwhile is not lost.
ROLLING = timedelta(seconds=60)
# A start that failed is tried again after 2, 4, 8 ... seconds: soon where the fault passes by itself, else with patience.
PASSING_WAIT_MAX = timedelta(minutes=1)
LASTING_WAIT_MAX = timedelta(minutes=10)
_DOUBLINGS_MAX = 12
_NAMED_IN_A_LINE = 31


@dataclass(slots=True)
class _Watch:
    """What one scheduler remembers of a schedule. Forgetting it only costs a look at the store."""

    schedule: Schedule
    looked_into: bool = False  # whether its runs could be started as its model stands
    look_at: datetime | None = None  # nothing is due before; None: look at once
    failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What schedulers tell each other of a schedule: its line, since when they know it, and what is decided of it."""

    line: str
    since: datetime
    decided: datetime

    @classmethod
    def read(cls, text: str) -> "Note":
        told = json.loads(text)
        return cls(
            line=told["line"],
            since=datetime.fromisoformat(told["since"]),
            decided=datetime.fromisoformat(told["decided"]),
        )

    def text(self) -> str:
        since, decided = self.since.isoformat(), self.decided.isoformat()
        return json.dumps({"line": self.line, "since": since, "decided": decided})


class Scheduler:
    """``tick`` does everything that is due by the store's clock."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watches = [_Watch(schedule) for schedule in services.schedules()]

    def tick(self) -> None:
        """Raises StoreUnavailable: nothing was lost, tick again."""
        now = self._services.jobs.now()
        for watch in self._watches:
            if watch.look_at is None or watch.look_at <= now:
                with structlog.contextvars.bound_contextvars(schedule=watch.schedule.name):
                    self._tend(watch, now)

    def _tend(self, watch: _Watch, now: datetime) -> None:
        """One schedule that cannot be tended must not keep the others waiting."""
        try:
            self._decide(watch.schedule, now)
            coming = watch.schedule.coming(now, 1)
            self._look_into(watch)  # last: what only tells must not keep a run waiting
        except StoreUnavailable:
            raise
        except (Unavailable, Busy) as error:
            wait = _again(watch, now, PASSING_WAIT_MAX)
            log.warning("schedule.delayed", code=error.code, error=str(error), again_in_seconds=wait)
        except TrimtabError as error:
            wait = _again(watch, now, LASTING_WAIT_MAX)
            log.error(  # noqa: TRY400 - what is wrong with a request needs no stack of ours
                "schedule.not_started",
                code=error.code,
                error=str(error),
                again_in_seconds=wait,
                advice="mend the model or the schedule: it is tried again until its window ends, "
                "then `trimtab schedule run` starts it",
            )
        except Exception:
            wait = _again(watch, now, LASTING_WAIT_MAX)
            log.exception(
                "schedule.not_tended",
                again_in_seconds=wait,
                advice="a bug: report it; `trimtab schedule run` starts the run by hand",
            )
        else:
            watch.failures = 0
            watch.look_at = coming[0].at if coming else datetime.max.replace(tzinfo=now.tzinfo)
            log.debug("schedule.next", at=watch.look_at.isoformat())

    def _look_into(self, watch: _Watch) -> None:
        """Once, when a scheduler starts: what schedule and model cannot both ask for is not left for the night to find.

        It only tells. The model may be mended, or made, before the run, which decides by what it then is.
        """
        if watch.looked_into or not watch.schedule.enabled:
            return
        try:
            require_startable(watch.schedule, self._services)
        except (Invalid, NotFound) as error:
            log.error(  # noqa: TRY400 - what is wrong with a request needs no stack of ours
                "schedule.would_not_start",
                code=error.code,
                error=str(error),
                model=watch.schedule.model_id,
                advice="mend the model or the schedule before its next run",
            )
        watch.looked_into = True

    def _decide(self, schedule: Schedule, now: datetime) -> None:
        """Start the latest run that is due, once; then note that this and everything before it is decided."""
        text, note = self._noted(schedule, now)
        due = schedule.occurrences(note.decided, now)
        if not due:
            return
        runs = [each for each in due if each.business_date is not None]
        run = self._start(schedule, runs[-1], now) if runs else None
        missed = self._not_started(schedule, runs)
        if self._swap(schedule, text, replace(note, decided=due[-1].at)):
            _tell(schedule, due, missed)
            if run is not None:
                _tell_start(run, now - runs[-1].at)

    def _start(self, schedule: Schedule, due: Occurrence, now: datetime) -> Run | None:
        """None: it is too late, or the schedule is disabled."""
        if due.business_date is None or not schedule.enabled or now - due.at > schedule.catch_up:
            return None
        with self._services.tracing.entry("run of a schedule", schedule=schedule.name):
            return start_run(schedule, due.business_date, self._services)

    def _not_started(self, schedule: Schedule, runs: Sequence[Occurrence]) -> list[str]:
        return [
            each.business_date.isoformat()
            for each in runs[-_NAMED_IN_A_LINE:]
            if each.business_date is not None
            and jobs_of_run(schedule, each.business_date, self._services) is None
        ]

    def _noted(self, schedule: Schedule, now: datetime) -> tuple[str, Note]:
        """The note of this line, as it stands in the store and as it reads.

        What a line would have run before anybody knew of it was not missed: a new or changed one begins now.
        """
        while True:
            text = self._services.jobs.get_note(_name_of(schedule))
            if text is not None and (note := Note.read(text)).line == _line_of(schedule):
                return text, note
            since = now if text is None else now - ROLLING
            if self._swap(schedule, text, Note(line=_line_of(schedule), since=since, decided=since)):
                log.info("schedule.known", cron=schedule.line.text, time_zone=schedule.zone.key)

    def _swap(self, schedule: Schedule, old: str | None, new: Note) -> bool:
        return self._services.jobs.swap_note(_name_of(schedule), old, new.text())


def known_since(schedule: Schedule, services: Services) -> datetime | None:
    """Since when schedulers look after this line; None: none has seen it yet."""
    text = services.jobs.get_note(_name_of(schedule))
    note = None if text is None else Note.read(text)
    return note.since if note is not None and note.line == _line_of(schedule) else None


def _again(watch: _Watch, now: datetime, longest: timedelta) -> float:
    watch.failures = min(watch.failures + 1, _DOUBLINGS_MAX)
    wait = min(timedelta(seconds=2**watch.failures), longest)
    watch.look_at = now + wait
    return wait.total_seconds()


def _tell_start(run: Run, late: timedelta) -> None:
    """Whoever created its jobs: one that died before it could tell is told of here, too."""
    log.info(
        "schedule.started" if run.jobs else "schedule.nothing_to_do",
        business_date=run.business_date.isoformat(),
        key=run.key,
        jobs=len(run.jobs),
        late_seconds=round(late.total_seconds(), 1),
    )


def _tell(schedule: Schedule, due: Sequence[Occurrence], missed: Sequence[str]) -> None:
    """By the one scheduler that noted it."""
    for each in due[-_NAMED_IN_A_LINE:]:
        if each.business_date is None:
            log.info("schedule.skipped", day=each.day.isoformat(), reason=each.reason)
    if missed and not schedule.enabled:
        log.info("schedule.skipped", business_dates=missed, reason="the schedule is disabled")
    elif missed:
        log.error(
            "schedule.missed",
            business_dates=missed,
            advice="no scheduler could start these in time; `trimtab schedule run --date` starts one by hand",
        )


# ------------------------------------------------------------------------------------------------ the note


def _name_of(schedule: Schedule) -> str:
    return f"schedule:{schedule.name}"


def _line_of(schedule: Schedule) -> str:
    """When it fires. A change of anything else does not make another schedule of it."""
    return hashlib.sha256(f"{schedule.line.text}\n{schedule.zone.key}".encode()).hexdigest()[:16]
