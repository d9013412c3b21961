"""What the wiring decides about the HTTP door."""

import secrets
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from adapters.inbound.api.access import Keys
from adapters.inbound.api.edge import nobody_traces
from adapters.inbound.api.rate import Limiter
from adapters.inbound.api.watched import RequestWatch

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HealthPart:
    """Something the service stands on. ``check`` raises when it is out.

    What a check found holds for a second; where it takes long, for ``keep_seconds``.
    """

    name: str
    check: Callable[[], object]
    keep_seconds: float = 0.0


def new_id() -> str:
    return uuid.uuid4().hex


def no_metrics() -> bytes:
    return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """What the wiring chose.

    ``keys`` None: everybody may do everything. ``limiter`` counts by key, so it does nothing without keys.
    ``origins``: pages that may call, as browsers write them. ``hosts``: names we answer to; None: any.
    ``needed`` are the parts without which the service is not ready; ``parts`` are checked besides the store, the
    result queue and the broker, which every service has.
    ``watch`` is told of each answer, ``metrics`` is what ``/metrics`` says, and ``trace`` is told the correlation id of
    each request.

    ``page_secret`` signs the sessions of the page, and ends them all when it changes; the same in every API process.
    ``leaving`` says that the process is about to end: nothing that lasts is begun or gone on with.
    ``monotonic``: seconds of a clock that nobody sets, for what is found out once for all who ask soon.

    ``what_ifs_at_once``: comparisons in work in this process, each of which begins no answer after ``what_if_seconds``.
    """

    version: str
    service: str = "trimtab"
    max_body_size: int = 64 * MEBIBYTE
    retry_after_seconds: int = 5
    keys: Keys | None = None
    limiter: Limiter | None = None
    origins: Collection[str] = ()
    hosts: Collection[str] | None = None
    needed: Collection[str] = ("store", "results", "broker")
    parts: tuple[HealthPart, ...] = ()
    what_ifs_at_once: int = 1
    what_if_seconds: float = 20.0
    new_id: Callable[[], str] = new_id
    watch: RequestWatch | None = None
    metrics: Callable[[], bytes] = no_metrics
    trace: Callable[[str], None] = nobody_traces
    page_secret: bytes = field(default_factory=partial(secrets.token_bytes, 32))
    page_session: timedelta = timedelta(hours=8)
    leaving: Callable[[], bool] = bool
    monotonic: Callable[[], float] = time.monotonic
