"""Is it alive, is it ready, and what is wrong with it."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from adapters.inbound import examples
from adapters.inbound.answers import Answer, example
from adapters.inbound.api.access import Access
from adapters.inbound.api.errors import ErrorAnswer, ErrorWriter, responses
from adapters.inbound.api.options import ApiOptions, HealthPart
from adapters.inbound.keys import Role
from domain.errors import Invalid, TrimtabError
from domain.ports import Clock
from tasks.services import Services

# However many ask, and whoever asks without a key: what stands behind is asked no oftener.
KEEP_SECONDS: Final = 1.0


class LiveAnswer(Answer):
    model_config = example(examples.LIVE)

    status: Literal["alive"] = "alive"


class ReadyAnswer(Answer):
    model_config = example(examples.READY)

    status: Literal["ready"] = "ready"


class PartAnswer(Answer):
    name: str
    status: Literal["up", "down"]
    needed: bool
    error: str | None
    last_error: str | None
    last_error_at: datetime | None


class HealthAnswer(Answer):
    model_config = example(examples.HEALTH)

    status: Literal["ok", "degraded", "down"]
    service: str
    version: str
    timestamp: datetime
    parts: list[PartAnswer]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a check found, and the last thing that was wrong. ``at``: by a clock that nobody sets."""

    at: float
    error: str | None
    last_error: str | None
    last_error_at: datetime | None


class HealthBoard:
    """Checks every part and remembers what was wrong last. Safe to ask from several threads.

    What was found holds for KEEP_SECONDS, or as long as the part says. Of each part one check is under way at a time:
    who asks meanwhile waits for it, and is told what it finds.
    """

    def __init__(
        self,
        parts: Sequence[HealthPart],
        needed: Collection[str],
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises Invalid: something is needed that is no part."""
        self._parts = tuple(parts)
        self._needed = frozenset(needed)
        if unknown := sorted(self._needed - {part.name for part in parts}):
            raise Invalid(f"needed, but no part of this service: {', '.join(unknown)}")
        self._clock = clock
        self._monotonic = monotonic
        self._under_way = {part.name: threading.Lock() for part in parts}
        self._looked: dict[str, _Looked] = {}

    def look(self, *, needed_only: bool = False) -> list[PartAnswer]:
        return [self._look_at(part) for part in self._parts if not needed_only or part.name in self._needed]

    def _look_at(self, part: HealthPart) -> PartAnswer:
        with self._under_way[part.name]:
            looked = self._fresh(part) or self._check(part)
        return PartAnswer(
            name=part.name,
            status="up" if looked.error is None else "down",
            needed=part.name in self._needed,
            error=looked.error,
            last_error=looked.last_error,
            last_error_at=looked.last_error_at,
        )

    def _fresh(self, part: HealthPart) -> _Looked | None:
        looked = self._looked.get(part.name)
        if looked is None or self._monotonic() - looked.at >= max(part.keep_seconds, KEEP_SECONDS):
            return None
        return looked

    def _check(self, part: HealthPart) -> _Looked:
        error, before = self._error_of(part), self._looked.get(part.name)
        at = self._monotonic()  # once it is known: who waited for a slow check need not ask again
        if error is not None:
            looked = _Looked(at, error, error, self._clock.now())
        elif before is not None:
            looked = _Looked(at, None, before.last_error, before.last_error_at)
        else:
            looked = _Looked(at, None, None, None)
        self._looked[part.name] = looked
        return looked

    @staticmethod
    def _error_of(part: HealthPart) -> str | None:
        try:
            part.check()
        except TrimtabError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a check that breaks is a part that is down, whatever broke it
            return type(error).__name__  # its text was not written for callers
        return None


def standard_parts(services: Services) -> tuple[HealthPart, ...]:
    return (
        HealthPart("store", services.jobs.ping),
        HealthPart("results", services.publisher.ping),
        HealthPart("broker", services.tokens.length),
    )


def health_router(services: Services, options: ApiOptions, errors: ErrorWriter, access: Access) -> APIRouter:
    """``/health`` for people, ``/health/live`` and ``/health/ready`` for what keeps us running."""
    router = APIRouter(prefix="/health", tags=["health"])
    board = HealthBoard(
        (*standard_parts(services), *options.parts), options.needed, services.clock, options.monotonic
    )

    # On the event loop: the threads may all be waiting for a store that is out, which no restart would mend.
    @router.get("/live", summary="The process answers")
    async def live() -> LiveAnswer:
        return LiveAnswer()

    @router.get(
        "/ready",
        response_model=ReadyAnswer,
        responses={503: {"model": ErrorAnswer, "description": "Something needed is out; details name it"}},
        summary="Everything that is needed answers",
    )
    def ready(request: Request) -> ReadyAnswer | JSONResponse:
        red = [part for part in board.look(needed_only=True) if part.status == "down"]
        if not red:
            return ReadyAnswer()
        return errors.answer(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not_ready",
            f"out: {', '.join(part.name for part in red)}",
            correlation_id=request.state.correlation_id,
            # No story: who asks without a key need not know where our parts live. `/health` tells it.
            details=[{"field": part.name, "message": "does not answer as it must"} for part in red],
            headers={"Retry-After": str(options.retry_after_seconds)},
        )

    @router.get(
        "",
        responses=responses(),
        dependencies=access.needs(Role.READ),
        summary="Each part, and the last thing that went wrong with it",
    )
    def health() -> HealthAnswer:
        parts = board.look()
        down = [part for part in parts if part.status == "down"]
        status: Literal["ok", "degraded", "down"] = "degraded" if down else "ok"
        if any(part.needed for part in down):
            status = "down"
        return HealthAnswer(
            status=status,
            service=options.service,
            version=options.version,
            timestamp=services.clock.now(),
            parts=parts,
        )

    return router
