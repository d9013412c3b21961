"""Is it alive, is it ready, and what is wrong with it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from adapters.inbound.api.errors import ErrorAnswer, ErrorWriter
from adapters.inbound.api.options import ApiOptions, HealthPart
from domain.errors import TrimtabError
from domain.ports import Clock
from tasks.services import Services


class LiveAnswer(BaseModel):
    status: Literal["alive"] = "alive"


class ReadyAnswer(BaseModel):
    status: Literal["ready"] = "ready"


class PartAnswer(BaseModel):
    name: str
    status: Literal["up", "down"]
    needed: bool
    error: str | None
    last_error: str | None
    last_error_at: datetime | None


class HealthAnswer(BaseModel):
    status: Literal["ok", "degraded", "down"]
    service: str
    version: str
    timestamp: datetime
    parts: list[PartAnswer]


@dataclass(frozen=True, slots=True)
class _LastError:
    message: str
    at: datetime


class HealthBoard:
    """Checks every part and remembers what was wrong last. Safe to ask from several threads."""

    def __init__(self, parts: Sequence[HealthPart], clock: Clock) -> None:
        self._parts = tuple(parts)
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, _LastError] = {}

    def look(self, *, needed_only: bool = False) -> list[PartAnswer]:
        return [self._check(part) for part in self._parts if part.needed or not needed_only]

    def _check(self, part: HealthPart) -> PartAnswer:
        error = self._error_of(part)
        with self._lock:
            if error is not None:
                self._last[part.name] = _LastError(error, self._clock.now())
            last = self._last.get(part.name)
        return PartAnswer(
            name=part.name,
            status="up" if error is None else "down",
            needed=part.needed,
            error=error,
            last_error=last.message if last else None,
            last_error_at=last.at if last else None,
        )

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


def health_router(services: Services, options: ApiOptions, errors: ErrorWriter) -> APIRouter:
    """``/health`` for people, ``/health/live`` and ``/health/ready`` for what keeps us running."""
    router = APIRouter(prefix="/health", tags=["health"])
    board = HealthBoard((*standard_parts(services), *options.parts), services.clock)

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
            details=[{"field": part.name, "message": part.error} for part in red],
            headers={"Retry-After": str(options.retry_after_seconds)},
        )

    @router.get("", summary="Each part, and the last thing that went wrong with it")
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
