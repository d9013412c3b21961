"""Rebalances: what jobs that are over have come to. Found, looked into, deleted; a rebalance has its job's id."""

from collections.abc import Sequence

from domain.errors import NotFound, StaleVersion, WrongState
from domain.ids import JobId, ModelId, PortfolioId
from domain.job import CLOSED, Job
from domain.ports import ModelQuery
from tasks.services import Services

JOB_NOT_OVER = "job_not_over"
ORDER_SETS_DUE = "order_sets_due"
SEVERAL_MODELS = "several_models"

_NAMED_IN_AN_ERROR = 10


def version_of(job: Job) -> int:
    """A retry makes something else of it: the version counts them, from 1."""
    return job.gen + 1


def list_rebalances(
    services: Services,
    *,
    model_id: ModelId | None = None,
    portfolio_ids: Sequence[PortfolioId] = (),
    dry_run: bool = False,
    offset: int,
    limit: int,
) -> Sequence[Job]:
    """Jobs that are over and not deleted, newest first. ``portfolio_ids``: with any of these in it.

    Dry runs traded nothing: they stand apart, and are listed when they are asked for.
    """
    return services.jobs.list_jobs(
        states=CLOSED,
        model_id=model_id,
        portfolio_ids=portfolio_ids,
        deleted=False,
        dry_run=dry_run,
        offset=offset,
        limit=limit,
    )


def get_rebalance(rebalance_id: JobId, services: Services) -> Job:
    """Raises NotFound: no such rebalance, its job is not over, or it was deleted."""
    try:
        job = services.jobs.get_job(rebalance_id)
    except NotFound:
        raise NotFound("rebalance", rebalance_id) from None
    if not job.state.closed or job.deleted_at is not None:
        raise NotFound("rebalance", rebalance_id)
    return job


def delete_rebalance(rebalance_id: JobId, version: int, services: Services) -> None:
    """Delete what the job came to: results, order sets, attempts, frozen prices. The job itself stays, marked.

    So its idempotency key is not free again: a second run under the same ids would contradict what the result queue
    carried. Repeated after a lost answer it finishes what is left to do.

    Raises:
        NotFound: no such rebalance, or nothing of it is left.
        WrongState: its job is not over, or some of its order sets are still to be published.
        StaleVersion: it is not at this version.
    """
    try:
        job = services.jobs.get_job(rebalance_id)
    except NotFound:
        raise NotFound("rebalance", rebalance_id) from None
    if job.deleted_at is None:
        _mark(job, version, services)
        services.jobs.delete_items(rebalance_id)
    elif not services.jobs.delete_items(rebalance_id):
        raise NotFound("rebalance", rebalance_id)


def _mark(job: Job, version: int, services: Services) -> None:
    if not job.state.closed:
        raise WrongState(
            f"job {job.job_id} is {job.state}: delete its rebalance when it is over", code=JOB_NOT_OVER
        )
    if services.jobs.has_due(job.job_id):
        raise WrongState(f"order sets of {job.job_id} are still to be published", code=ORDER_SETS_DUE)
    if version != version_of(job) or not services.jobs.delete_job(job.job_id, job.gen):
        raise StaleVersion("rebalance", job.job_id, version)


def model_followed_by(portfolio_id: PortfolioId, services: Services) -> ModelId:
    """The one model this portfolio follows.

    Raises:
        NotFound: it follows none.
        WrongState: it follows several; the request has to say which.
    """
    models = services.models.list_models(ModelQuery(portfolio_id=portfolio_id, limit=_NAMED_IN_AN_ERROR))
    if not models:
        raise NotFound("portfolio", portfolio_id)
    if len(models) > 1:
        named = ", ".join(model.model_id for model in models)
        raise WrongState(
            f"portfolio {portfolio_id!r} follows several models: say which ({named})", code=SEVERAL_MODELS
        )
    return models[0].model_id
