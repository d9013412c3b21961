"""Where a process can be told to die: ``CRASH_AT=<point>[:n]`` ends it by SIGKILL, nothing flushed, nothing closed.

A point is ``before.<step>`` or ``after.<step>``: before anything was asked of the port, or after it has answered
and before the caller learns of it. Steps are everything a job's life writes, sends, solves or acknowledges, and
stand in the one table here. The ports are wrapped at the composition root, so no use case knows of it; without the
setting nothing is wrapped.
"""

import itertools
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

from config.settings import Settings
from domain.errors import Invalid
from tasks.run_token import Work
from tasks.services import Services

# What is not among the services: the client of the request stream, and the work on one portfolio.
REQUESTS = "requests"
WORK = "work"

PortT = TypeVar("PortT")


@dataclass(frozen=True, slots=True)
class Step:
    """One method of one port: a field of `Services`, the client of the request stream, or the work itself."""

    port: str
    method: str


_JOB_STORE_WRITES = (
    "prepare",
    # API, request stream or schedule accept one
    "put_members",
    "insert_job",
    # the steward opens a job, once it knows whose data it publishes to
    "swap_note",
    "freeze_inputs",
    "insert_items",
    "start_job",
    # more or fewer seats, asked for at the API
    "set_parallelism",
    # a worker and one portfolio
    "claim",
    "finish",
    "finish_and_claim",
    "mark_sent",
    "fail_attempt",
    "give_back",
    # an outage, seen by a worker, probed by the steward
    "wait_job",
    "probed_job",
    "resume_job",
    # healing by the steward, and noting it
    "expire_items",
    "wake_items",
    "note_healing",
    # stopping and closing, by whoever is there
    "stop_job",
    "sweep_items",
    "close_job",
    # a result queue that lost its data: the steward has everything recent published again
    "due_again",
    # a retry, asked for at the API, done by the steward; reaccepted where no market was frozen yet
    "retry_job",
    "reopen_items",
    "reopened_job",
    "reaccept_job",
    # what happened to jobs is told by the steward, and told again when the queue lost it
    "mark_told",
    "tell_again",
)

STEPS: Mapping[str, Step] = MappingProxyType(
    {
        **{method: Step("jobs", method) for method in _JOB_STORE_WRITES},
        "note_rebalanced": Step("models", "note_rebalanced"),
        "solve": Step(WORK, "__call__"),  # from the fetch to the answer, whoever finds it
        "publish": Step("publisher", "publish"),
        "tell": Step("events", "publish"),
        "send": Step("tokens", "send"),
        "ack": Step(REQUESTS, "execute"),
    }
)

POINTS: tuple[str, ...] = tuple(f"{side}.{step}" for step in STEPS for side in ("before", "after"))


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Dies the ``turn``-th time this process gets there; with a ``marker``, only where that file is not there yet."""

    side: str
    step: Step
    turn: int = 1
    marker: Path | None = None
    _turns: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def parse(cls, text: str, marker: Path | None = None) -> "CrashPoint":
        """``before.finish``, or ``before.finish:3`` for the third time.

        Raises:
            Invalid: no such point; the message lists them all.
        """
        point, _, turn = text.partition(":")
        if point not in POINTS:
            raise Invalid(
                f"no crash point {point!r}; there are {', '.join(POINTS)}", code="unknown_crash_point"
            )
        if turn and not (turn.isascii() and turn.isdigit() and int(turn) > 0):
            raise Invalid(
                f"{text!r}: after the colon stands which time, from 1 on", code="unknown_crash_point"
            )
        side, _, step = point.partition(".")
        return cls(side, STEPS[step], int(turn or 1), marker)

    def watched(self, port: PortT) -> PortT:
        """The port, with this point's step under watch."""
        return cast(PortT, _Watched(port, {self.step.method: self.around}))

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: object, **named: object) -> object:
            if self.side == "before":
                self._reached()
            answer = method(*args, **named)
            if self.side == "after":
                self._reached()
            return answer

        return call

    def _reached(self) -> None:
        if next(self._turns) == self.turn and self._first():
            os.kill(os.getpid(), signal.SIGKILL)

    def _first(self) -> bool:
        """Whether nobody died here before: the file is made in the same step that looks for it."""
        if self.marker is None:
            return True
        try:
            self.marker.open("x").close()
        except FileExistsError:
            return False
        return True


class _Watched:
    """Answers as the port does; the named methods go through what stands round them."""

    def __init__(self, port: object, around: Mapping[str, Callable[[Any], Any]]) -> None:
        self._port = port
        self._around = around

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the port has under that name
        attribute = getattr(self._port, name)
        return self._around[name](attribute) if name in self._around else attribute


# ------------------------------------------------------------------------------------------------ wiring


def crash_point(settings: Settings) -> CrashPoint | None:
    """As the settings say; None: nowhere.

    Raises:
        Invalid: they name a point that does not exist.
    """
    if not settings.crash_at:
        return None
    return CrashPoint.parse(settings.crash_at, marker_of(settings) if settings.crash_once else None)


def marker_of(settings: Settings) -> Path:
    """The file that tells that some process of this stack died at the point."""
    return settings.state_dir / f"crashed-at.{settings.crash_at.replace(':', '.')}"


def watch_services(services: Services, point: CrashPoint | None) -> Services:
    """The services, with the point's port under watch where it is one of theirs."""
    if point is None or point.step.port not in {each.name for each in fields(Services)}:
        return services
    port = getattr(services, point.step.port)
    return replace(services, **{point.step.port: point.watched(port)})


def watch_work(work: Work, point: CrashPoint | None) -> Work:
    """What a worker does with a portfolio once it is claimed."""
    return work if point is None or point.step.port != WORK else point.around(work)


def watch_requests(client: PortT, point: CrashPoint | None) -> PortT:
    """The client of the request stream, whose only transactions are its acknowledgements."""
    if point is None or point.step.port != REQUESTS:
        return client
    return cast(PortT, _Watched(client, {"pipeline": partial(_watched_pipelines, point)}))


def _watched_pipelines(point: CrashPoint, pipeline: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: point.watched(pipeline(*args, **named))
