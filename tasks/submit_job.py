"""Accept a rebalance request: the one door, behind HTTP, the request stream, the CLI and the schedule."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.ids import ModelId, PortfolioId, SecurityId
from domain.job import Job
from domain.portfolio import Portfolio
from tasks.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitJob:
    """A request whose shape was already checked. ``request_sha256`` is over its canonical bytes.

    Neither ``portfolio_ids`` nor ``portfolios``: every portfolio that follows the model.
    ``policy`` holds only the keys the request sets; they stand over the model's own.
    """

    key: str
    request_sha256: str
    model_id: ModelId
    portfolio_ids: tuple[PortfolioId, ...] | None = None
    portfolios: tuple[Portfolio, ...] | None = None
    prices: Mapping[SecurityId, Decimal] | None = None
    policy: Mapping[str, Any] | None = None
    parallelism: int | None = None
    dry_run: bool = False
    deadline: datetime | None = None
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """``created`` is False when the key was known: the job is the one stored before."""

    job: Job
    created: bool


def submit_job(command: SubmitJob, services: Services) -> Submitted:
    """Store the job; nothing else happens here, so the answer is quick and a repeat is harmless.

    Raises:
        NotFound: the model.
        Invalid: an empty model, no portfolios, too many, duplicate ids, parallelism or deadline out of range.
        KeyReused: the key was used with another request.
        StoreUnavailable: nothing was accepted.
    """
    raise NotImplementedError
