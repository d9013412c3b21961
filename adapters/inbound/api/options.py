"""What the wiring decides about the HTTP door."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HealthPart:
    """Something the service stands on. ``check`` raises when it is out; ``needed``: not ready without it."""

    name: str
    check: Callable[[], object]
    needed: bool = True


def new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """``parts`` are checked besides the store, the result queue and the broker, which every service has."""

    version: str
    service: str = "trimtab"
    max_body_size: int = 64 * MEBIBYTE
    retry_after_seconds: int = 5
    parts: tuple[HealthPart, ...] = ()
    new_id: Callable[[], str] = new_id
