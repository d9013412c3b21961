"""What may be changed of a job that runs or is over: what comes back, how many at once."""

from pydantic import ConfigDict, Field, field_validator

from adapters.inbound.payloads.document import Payload, validated
from adapters.inbound.payloads.fields import MAX_COUNT, Moment, PortfolioIdText, as_ids, ids_once
from adapters.inbound.strict_json import load
from domain.ids import JobId
from domain.job import Retry
from tasks.retry_job import RetryJob


class RetryRequest(Payload):
    """Which failed portfolios of a job come back. An empty object: all of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"cause": "solver_timeout"}]})

    portfolio_ids: list[PortfolioIdText] | None = Field(
        default=None, min_length=1, max_length=1000, description="These; without it, all that failed."
    )
    cause: str | None = Field(
        default=None, min_length=1, max_length=200, description="Of these, only those whose reason begins so."
    )
    deadline: Moment | None = Field(
        default=None, description="Without it, as long as a new job has by default."
    )

    _ids_once = field_validator("portfolio_ids")(ids_once)


class ParallelismRequest(Payload):
    model_config = ConfigDict(json_schema_extra={"examples": [{"parallelism": 8}]})

    parallelism: int = Field(ge=1, le=MAX_COUNT, description="Portfolios in work at once from now on.")


def parse_retry(body: bytes, job_id: JobId, *, max_bytes: int) -> RetryJob:
    """Raises Invalid: the shape is broken."""
    request = validated(RetryRequest, load(body, max_bytes=max_bytes), "retry")
    retry = Retry(portfolio_ids=as_ids(request.portfolio_ids), cause=request.cause)
    return RetryJob(job_id=job_id, retry=retry, deadline=request.deadline)


def parse_parallelism(body: bytes, *, max_bytes: int) -> int:
    """Raises Invalid: the shape is broken."""
    return validated(ParallelismRequest, load(body, max_bytes=max_bytes), "parallelism").parallelism
