"""What callers get: jobs, items and models as documents, the same over HTTP and from the command line.

Decimals are strings, moments are UTC, and a field that has no value is null rather than absent.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from adapters.inbound import examples
from domain.item import FINAL_STATES, Attempt, Item, ItemState, Out
from domain.job import Job, JobState
from domain.model import InvestmentModel
from domain.money import plain
from domain.policy import Policy
from domain.ports import ModelCounts
from tasks import what_if
from tasks.broker_outage import why_it_waits
from tasks.compare import Compared, Frontier
from tasks.rebalances import version_of
from tasks.services import Services

_ZERO = Decimal(0)

DecimalText = Annotated[Decimal, PlainSerializer(plain, return_type=str)]


def example(document: dict[str, Any]) -> ConfigDict:
    """What one looks like, for the OpenAPI document."""
    return ConfigDict(frozen=True, json_schema_extra={"examples": [document]})


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)

    def json_text(self) -> str:
        """The document on one line."""
        return self.model_dump_json()


# ------------------------------------------------------------------------------------------------ jobs


class JobAnswer(Answer):
    """A job and how far it is. ``counts`` holds the portfolios by state, those in work included."""

    model_config = example(examples.JOB)

    job_id: str
    key: str
    state: JobState
    reason: str | None = Field(description="Why it waits or stands still, or why it was stopped.")
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
    deleted_at: datetime | None = Field(description="When what it came to was deleted; the job itself stays.")


class JobsAnswer(Answer):
    model_config = example(examples.JOBS)

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
        deleted_at=job.deleted_at,
    )


def describe_job(job: Job, services: Services) -> JobAnswer:
    """With the counts of this moment: the stored ones of a closed job, counted ones of an open job.

    Raises:
        StoreUnavailable: the store is out of reach.
    """
    told = replace(job, reason=why_it_waits(job, services))
    return job_answer(told, job.counts if job.state.closed else services.jobs.count_items(job.job_id))


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
    model_config = example(examples.ITEMS)

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
    model_config = example(examples.REPUBLISH)

    order_sets: int = Field(description="How many fell due. The queue takes those it does not have.")


class ItemDetailAnswer(ItemAnswer):
    """With its last attempts, and the whole stored result as it was written; null while there is none."""

    model_config = example(examples.ITEM_DETAIL)

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


# ------------------------------------------------------------------------------------------------ rebalances


class RebalanceAnswer(Answer):
    """What a job that is over has come to. ``version`` is 1, and one more with each retry."""

    model_config = example(examples.REBALANCE)

    rebalance_id: str = Field(description="The job's id.")
    model_id: str
    model_name: str
    model_version: int
    rebalance_date: datetime = Field(description="When the job was over.")
    state: JobState
    portfolios: int
    counts: dict[str, int] = Field(description="Portfolios by outcome.")
    dry_run: bool
    correlation_id: str
    version: int


class RebalancesAnswer(Answer):
    model_config = example(examples.REBALANCES)

    rebalances: list[RebalanceAnswer]
    next_offset: int | None = Field(description="Null on the last page.")


class OrderAnswer(Answer):
    side: str
    security_id: str
    quantity: int
    price: str
    notional: str
    reason: str


class ProofAnswer(Answer):
    method: str
    objective: str
    lower_bound: str
    gap: str
    solver: str
    bound_by: str


class RelaxedAnswer(Answer):
    """A rule that gave way."""

    rule: str
    security_id: str | None
    group: str | None
    amount: str
    unit: str = Field(description="money or orders.")
    message: str


class RebalancedPortfolioAnswer(Answer):
    """One portfolio. Sums are null where its input did not allow them, and where it failed or was cancelled."""

    portfolio_id: str
    outcome: ItemState
    reason: str | None
    market_value: str | None = None
    cash_before: str | None = None
    cash_after: str | None = None
    drift_before: str | None = None
    drift_after: str | None = None
    orders: list[OrderAnswer] = []
    proof: ProofAnswer | None = None
    cost: str | None = Field(
        default=None, description="Of the orders, where the policy asks for such things."
    )
    turnover: str | None = Field(default=None, description="Likewise: bought and sold together.")
    relaxed: list[RelaxedAnswer] = []


class RebalancePortfoliosAnswer(Answer):
    """A rebalance and a page of its portfolios."""

    model_config = example(examples.REBALANCE_PORTFOLIOS)

    rebalance: RebalanceAnswer
    portfolios: list[RebalancedPortfolioAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class RebalancedPositionAnswer(Answer):
    """One security of one portfolio. ``actual`` is its weight after trading."""

    security_id: str
    price: str
    original_quantity: str
    adjusted_quantity: str
    target: str
    low_drift: str
    high_drift: str
    actual: str


class RebalancePositionsAnswer(Answer):
    model_config = example(examples.REBALANCE_POSITIONS)

    rebalance_id: str
    portfolio_id: str
    outcome: ItemState
    positions: list[RebalancedPositionAnswer]


def rebalance_answer(job: Job) -> RebalanceAnswer:
    """``job`` is over."""
    assert job.finished_at is not None  # noqa: S101 - every store stamps a job that it closes
    return RebalanceAnswer(
        rebalance_id=job.job_id,
        model_id=job.model.model_id,
        model_name=job.model.name,
        model_version=job.model.version,
        rebalance_date=job.finished_at,
        state=job.state,
        portfolios=job.n,
        counts=dict(job.counts),
        dry_run=job.dry_run,
        correlation_id=job.correlation_id,
        version=version_of(job),
    )


def rebalances_answer(jobs: Sequence[Job], *, offset: int, limit: int) -> RebalancesAnswer:
    """``jobs`` holds one more than ``limit`` where there is another page."""
    return RebalancesAnswer(
        rebalances=[rebalance_answer(job) for job in jobs[:limit]],
        next_offset=offset + limit if len(jobs) > limit else None,
    )


def rebalance_portfolios(job: Job, items: Sequence[Item], *, limit: int) -> RebalancePortfoliosAnswer:
    """``items`` come with their bodies; one more than ``limit`` where there is another page."""
    page = items[:limit]
    return RebalancePortfoliosAnswer(
        rebalance=rebalance_answer(job),
        portfolios=[_rebalanced(item) for item in page],
        next_cursor=str(page[-1].seq) if len(items) > limit else None,
    )


def rebalance_positions(job: Job, item: Item) -> RebalancePositionsAnswer:
    """``item`` comes with its bodies. Without an answer there are no positions."""
    return RebalancePositionsAnswer(
        rebalance_id=job.job_id,
        portfolio_id=item.portfolio_id,
        outcome=item.state,
        positions=stored_result(item).get("positions", []),
    )


def stored_result(item: Item) -> Mapping[str, Any]:
    """The result as it was written; empty where there is none."""
    return {} if item.result is None else dict(json.loads(item.result))


def _rebalanced(item: Item) -> RebalancedPortfolioAnswer:
    known = stored_result(item)
    asked = RebalancedPortfolioAnswer.model_fields.keys() - {"portfolio_id", "outcome", "reason"}
    return RebalancedPortfolioAnswer(
        portfolio_id=item.portfolio_id,
        outcome=item.state,
        reason=item.reason,
        **{name: known[name] for name in asked & known.keys()},
    )


# ------------------------------------------------------------------------------------------------ models


class ModelPositionAnswer(Answer):
    security_id: str
    target: DecimalText
    low_drift: DecimalText
    high_drift: DecimalText


class GroupAnswer(Answer):
    name: str
    security_ids: list[str]
    min: DecimalText
    max: DecimalText


class PolicyAnswer(Answer):
    """Every key, also where nothing is asked: then it stands at its default."""

    cash_floor: DecimalText
    cash_floor_amount: DecimalText
    raise_cash: DecimalText
    run_type: str
    bounds: str
    on_infeasible: str
    lot_size: int
    lot_sizes: dict[str, int]
    min_trade: DecimalText
    max_orders: int | None
    max_turnover: DecimalText | None
    cost_rate: DecimalText
    cost_per_order: DecimalText
    no_buy: list[str]
    no_sell: list[str]
    no_trade: list[str]
    groups: list[GroupAnswer]
    missing_price: str
    fractional_holding: str
    short_holding: str
    negative_cash: str


def policy_answer(policy: Policy) -> PolicyAnswer:
    told = {name: getattr(policy, name) for name in PolicyAnswer.model_fields}
    told |= {name: list(told[name]) for name in ("no_buy", "no_sell", "no_trade")}
    told["lot_sizes"] = {lot.security_id: lot.size for lot in policy.lot_sizes}
    told["groups"] = [
        GroupAnswer(name=each.name, security_ids=list(each.security_ids), min=each.min, max=each.max)
        for each in policy.groups
    ]
    return PolicyAnswer(**told)


def asked_of(policy: PolicyAnswer) -> Iterator[tuple[str, str]]:
    """Key and value of what is asked at all, for people."""
    told, nothing = policy.model_dump(mode="json"), policy_answer(Policy()).model_dump(mode="json")
    for name, value in told.items():
        if value != nothing[name]:
            yield name, value if isinstance(value, str) else json.dumps(value)


class ModelAnswer(Answer):
    model_config = example(examples.MODEL)

    model_id: str
    name: str
    positions: list[ModelPositionAnswer]
    portfolios: list[str]
    policy: PolicyAnswer
    version: int
    last_rebalance_date: datetime | None


class ModelsAnswer(Answer):
    """A page of models; the counts are over all that match."""

    model_config = example(examples.MODELS)

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
        policy=policy_answer(model.policy),
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


# ------------------------------------------------------------------------------------------------ what if


class ComparedProofAnswer(Answer):
    method: str
    objective: DecimalText
    lower_bound: DecimalText
    gap: DecimalText
    solver: str
    bound_by: str


class ConflictAnswer(Answer):
    rule: str
    message: str
    security_id: str | None
    amount: DecimalText | None


class ComparedAnswer(Answer):
    """One portfolio in one scenario. Sums are null where there is no such number."""

    portfolio_id: str
    scenario: str = Field(
        description="do_nothing, policy (as asked, without a scenario's keys), or its name."
    )
    outcome: str = Field(
        description="An outcome; do_nothing; failed: the solver gave nothing; skipped: the time was up."
    )
    reason: str | None
    market_value: DecimalText | None
    cash_before: DecimalText | None
    cash_after: DecimalText | None
    drift_before: DecimalText | None
    drift_after: DecimalText | None
    turnover: DecimalText | None = Field(description="Bought and sold together, in money.")
    cost: DecimalText | None = Field(description="What the policy says that the orders cost.")
    orders: int | None = Field(description="How many.")
    proof: ComparedProofAnswer | None
    relaxed: list[RelaxedAnswer]
    conflicts: list[ConflictAnswer]


class FrontierPointAnswer(Answer):
    max_turnover: DecimalText | None = Field(
        description="The limit, as a weight of market value; null: none."
    )
    spent: DecimalText = Field(description="Turnover or cost, as the frontier says.")
    drift: DecimalText
    turnover: DecimalText
    cost: DecimalText
    orders: int
    cash_after: DecimalText
    gap: DecimalText = Field(description="0: no answer under this limit has a lower objective.")


class FrontierAnswer(Answer):
    """The points that no other beats, in order of what they spend."""

    portfolio_id: str
    spent: str = Field(description="cost where the policy has costs, else turnover.")
    drift_before: DecimalText | None
    market_value: DecimalText | None
    points: list[FrontierPointAnswer]
    dominated: int = Field(description="Limits whose answer another one beats.")
    infeasible: int = Field(description="Limits that leave no answer.")
    unfinished: int = Field(description="Limits without an answer in time.")


class WhatIfAnswer(Answer):
    """Each portfolio in each scenario, doing nothing first."""

    model_config = example(examples.WHAT_IF)

    rows: list[ComparedAnswer]
    frontier: FrontierAnswer | None


def what_if_answer(found: what_if.WhatIfAnswer) -> WhatIfAnswer:
    return WhatIfAnswer(
        rows=[_compared(row) for row in found.rows],
        frontier=None if found.frontier is None else _frontier(found.frontier),
    )


def _compared(row: Compared) -> ComparedAnswer:
    told = {field.name: getattr(row, field.name) for field in fields(row)}
    told["proof"] = None if row.proof is None else ComparedProofAnswer(**asdict(row.proof))
    told["relaxed"] = [
        RelaxedAnswer(**{**asdict(each), "amount": plain(each.amount)}) for each in row.relaxed
    ]
    told["conflicts"] = [
        ConflictAnswer(rule=each.rule, message=each.message, security_id=each.security_id, amount=each.amount)
        for each in row.conflicts
    ]
    return ComparedAnswer(**told)


def _frontier(found: Frontier) -> FrontierAnswer:
    return FrontierAnswer(
        portfolio_id=found.portfolio_id,
        spent=found.spent,
        drift_before=found.present.drift_before,
        market_value=found.present.market_value,
        points=[
            FrontierPointAnswer(
                max_turnover=limit,
                spent=getattr(row, found.spent),
                drift=row.drift_after or _ZERO,
                turnover=row.turnover or _ZERO,
                cost=row.cost or _ZERO,
                orders=row.orders or 0,
                cash_after=row.cash_after or _ZERO,
                gap=_ZERO if row.proof is None else row.proof.gap,
            )
            for limit, row in found.points
        ],
        dominated=found.dominated,
        infeasible=found.infeasible,
        unfinished=found.unfinished,
    )
