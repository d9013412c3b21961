"""What callers get: jobs, items and models as documents, the same over HTTP and from the command line.

Decimals are strings, moments are UTC, and a field that has no value is null rather than absent.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from domain.item import FINAL_STATES, Attempt, Item, ItemState, Out
from domain.job import Job, JobState
from domain.model import InvestmentModel
from domain.money import plain
from domain.ports import ModelCounts
from tasks.services import Services

DecimalText = Annotated[Decimal, PlainSerializer(plain, return_type=str)]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)

    def json_text(self) -> str:
        """The document on one line."""
        return self.model_dump_json()


# ------------------------------------------------------------------------------------------------ jobs


class JobAnswer(Answer):
    """A job and how far it is. ``counts`` holds the portfolios by state, those in work included."""

    job_id: str
    key: str
    state: JobState
    reason: str | None = Field(description="Why it waits, or why it was stopped.")
    model_id: str
    model_version: int
    portfolios: int = Field(description="How many the job has.")
    finished: int = Field(description="How many of them have their outcome.")
    counts: dict[str, int] | None = Field(description="Null in lists of jobs while the job is open.")
    parallelism: int
    dry_run: bool
    deadline: datetime | None
    probe_at: datetime | None = Field(description="When a waiting job tries again.")
    correlation_id: str
    request_sha256: str
    retries: int
    healing: dict[str, int] = Field(description="What had to be repaired; empty on an undisturbed run.")
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class JobsAnswer(Answer):
    jobs: list[JobAnswer]
    next_offset: int | None = Field(description="Null on the last page.")


def job_answer(job: Job, counts: Mapping[str, int] | None) -> JobAnswer:
    return JobAnswer(
        job_id=job.job_id,
        key=job.key,
        state=job.state,
        reason=job.reason,
        model_id=job.model.model_id,
        model_version=job.model.version,
        portfolios=job.n,
        finished=finished(counts or {}),
        counts=None if counts is None else dict(counts),
        parallelism=job.parallelism,
        dry_run=job.dry_run,
        deadline=job.deadline,
        probe_at=job.probe_at if job.state is not JobState.RUNNING else None,
        correlation_id=job.correlation_id,
        request_sha256=job.request_sha256,
        retries=job.gen,
        healing=dict(job.healing),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def describe_job(job: Job, services: Services) -> JobAnswer:
    """With the counts of this moment: the stored ones of a closed job, counted ones of an open job.

    Raises:
        StoreUnavailable: the store is out of reach.
    """
    return job_answer(job, job.counts if job.state.closed else services.jobs.count_items(job.job_id))


def list_answer(jobs: Sequence[Job], *, offset: int, limit: int) -> JobsAnswer:
    """``jobs`` holds one more than ``limit`` where there is another page. Open jobs are not counted here."""
    return JobsAnswer(
        jobs=[job_answer(job, job.counts if job.state.closed else None) for job in jobs[:limit]],
        next_offset=offset + limit if len(jobs) > limit else None,
    )


def finished(counts: Mapping[str, int]) -> int:
    """How many portfolios have their outcome."""
    return sum(n for state, n in counts.items() if state in FINAL_STATES)


# ------------------------------------------------------------------------------------------------ items


class ItemAnswer(Answer):
    """One portfolio of a job. ``outcome`` is its state: an outcome, or pending, running, delayed."""

    item_id: str
    job_id: str
    portfolio_id: str
    seq: int
    outcome: ItemState
    reason: str | None
    attempts: int
    given_back: int = Field(description="How often an outage gave it back; that burns no attempt.")
    published: bool = Field(description="Whether its order set is known to be on the result queue.")
    changed_at: datetime | None


class ItemsAnswer(Answer):
    items: list[ItemAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class AttemptAnswer(Answer):
    """One time somebody worked on it. In work: no end and no cause yet."""

    retry: int = Field(description="How many retries the job had had.")
    number: int = Field(description="Counted anew by each retry; an outage burns no number.")
    owner: str | None = Field(description="The claim: host, process and count.")
    started: datetime | None
    ended: datetime | None
    cause: str | None = Field(description="How it ended: the outcome, the error, the outage, or lost_worker.")


class RepublishAnswer(Answer):
    order_sets: int = Field(description="How many fell due. The queue takes those it does not have.")


class ItemDetailAnswer(ItemAnswer):
    """With its last attempts, and the whole stored result as it was written; null while there is none."""

    history: list[AttemptAnswer]
    result: dict[str, Any] | None


def item_answer(item: Item) -> ItemAnswer:
    return ItemAnswer(
        item_id=item.item_id,
        job_id=item.job_id,
        portfolio_id=item.portfolio_id,
        seq=item.seq,
        outcome=item.state,
        reason=item.reason,
        attempts=item.attempt,
        given_back=item.given_back,
        published=item.out is Out.SENT,
        changed_at=item.touched,
    )


def attempt_answer(attempt: Attempt) -> AttemptAnswer:
    return AttemptAnswer(
        retry=attempt.gen,
        number=attempt.number,
        owner=attempt.owner,
        started=attempt.started,
        ended=attempt.ended,
        cause=attempt.cause,
    )


def items_answer(items: Sequence[Item], *, limit: int) -> ItemsAnswer:
    """``items`` holds one more than ``limit`` where there is another page."""
    page = items[:limit]
    return ItemsAnswer(
        items=[item_answer(item) for item in page],
        next_cursor=str(page[-1].seq) if len(items) > limit else None,
    )


def item_detail(item: Item) -> bytes:
    """An ``ItemDetailAnswer`` as JSON bytes. The stored result goes in byte for byte, never parsed."""
    document: dict[str, Any] = item_answer(item).model_dump(mode="json")
    document["history"] = [attempt_answer(attempt).model_dump(mode="json") for attempt in item.attempts]
    document["result"] = None if item.result is None else msgspec.Raw(item.result)
    return msgspec.json.encode(document)


# ------------------------------------------------------------------------------------------------ models


class ModelPositionAnswer(Answer):
    security_id: str
    target: DecimalText
    low_drift: DecimalText
    high_drift: DecimalText


class PolicyAnswer(Answer):
    cash_floor: DecimalText
    cash_floor_amount: DecimalText
    missing_price: str
    fractional_holding: str
    short_holding: str
    negative_cash: str


class ModelAnswer(Answer):
    model_id: str
    name: str
    positions: list[ModelPositionAnswer]
    portfolios: list[str]
    policy: PolicyAnswer
    version: int
    last_rebalance_date: datetime | None


class ModelsAnswer(Answer):
    """A page of models; the counts are over all that match."""

    models: list[ModelAnswer]
    total: int
    total_positions: int
    total_portfolios: int
    next_offset: int | None = Field(description="Null on the last page.")


def model_answer(model: InvestmentModel) -> ModelAnswer:
    return ModelAnswer(
        model_id=model.model_id,
        name=model.name,
        positions=[
            ModelPositionAnswer(
                security_id=position.security_id,
                target=position.target,
                low_drift=position.low_drift,
                high_drift=position.high_drift,
            )
            for position in model.positions
        ],
        portfolios=list(model.portfolios),
        policy=PolicyAnswer(
            cash_floor=model.policy.cash_floor,
            cash_floor_amount=model.policy.cash_floor_amount,
            missing_price=model.policy.missing_price,
            fractional_holding=model.policy.fractional_holding,
            short_holding=model.policy.short_holding,
            negative_cash=model.policy.negative_cash,
        ),
        version=model.version,
        last_rebalance_date=model.last_rebalance_date,
    )


def models_answer(
    models: Sequence[InvestmentModel], counts: ModelCounts, *, offset: int, limit: int
) -> ModelsAnswer:
    following = offset + limit
    return ModelsAnswer(
        models=[model_answer(model) for model in models],
        total=counts.models,
        total_positions=counts.positions,
        total_portfolios=counts.portfolios,
        next_offset=following if following < counts.models else None,
    )
