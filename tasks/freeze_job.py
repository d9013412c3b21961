"""Freeze a job's market: one set of prices and tickers, stored once, the same for every portfolio."""

from collections.abc import Mapping
from decimal import Decimal

from domain.ids import SecurityId
from domain.job import Inputs, Job
from domain.prices import freeze
from tasks.services import Services


def freeze_job(job: Job, services: Services) -> Inputs:
    """Two upstream calls for the whole job, none when it was frozen before. The first to store it wins.

    Prices that came inside the request are used as they are; nothing is asked of any upstream then, and the
    orders carry no tickers.

    Raises:
        UpstreamUnavailable, UpstreamFault: the job stays as it is; try again later.
        Invalid: a price that is not above 0.
    """
    stored = services.jobs.get_inputs(job.job_id)
    if stored is not None:
        return stored
    prices, tickers = _market(job, services)
    snapshot, body = freeze(services.clock.now(), prices, tickers)
    return services.jobs.freeze_inputs(Inputs(job_id=job.job_id, snapshot=body, sha256=snapshot.sha256))


def _market(job: Job, services: Services) -> tuple[Mapping[SecurityId, Decimal], Mapping[SecurityId, str]]:
    if job.inline_prices is not None:
        return job.inline_prices, {}
    tickers = services.securities.tickers(position.security_id for position in job.model.positions)
    by_ticker = services.prices.prices()
    prices = {security: by_ticker[ticker] for security, ticker in tickers.items() if ticker in by_ticker}
    return prices, tickers
