"""What callers send: shapes, bounds and formats, checked before any use case sees them.

The rules of a model or a portfolio belong to the domain; here stand only the shapes, so that everything wrong
with a document is told at once, by field. Python values (from ``strict_json``) are validated, never bytes.

One file for each kind of document; `fields` has what they share. Whoever reads documents takes them from here.
"""

from adapters.inbound.payloads.fields import Moment, is_correlation_id
from adapters.inbound.payloads.job_changes import (
    ParallelismRequest,
    RetryRequest,
    parse_parallelism,
    parse_retry,
)
from adapters.inbound.payloads.models import (
    ModelCreate,
    ModelUpdate,
    PositionCreate,
    PositionUpdate,
    parse_model_update,
    parse_new_model,
    parse_new_position,
    parse_position_update,
)
from adapters.inbound.payloads.policies import PolicyPayload
from adapters.inbound.payloads.portfolios import (
    PortfoliosQuery,
    PortfoliosRequest,
    parse_portfolios,
    parse_portfolios_query,
)
from adapters.inbound.payloads.requests import (
    REQUEST_SCHEMA,
    Beside,
    ModelRebalance,
    PortfolioRebalance,
    RebalanceRequest,
    parse_model_rebalance,
    parse_portfolio_rebalance,
    parse_request,
)
from adapters.inbound.payloads.schedules import ScheduleRunRequest, parse_schedule_run
from adapters.inbound.payloads.solve import parse_solve
from adapters.inbound.payloads.what_if import WhatIfRequest, parse_what_if

__all__ = [
    "REQUEST_SCHEMA",
    "Beside",
    "ModelCreate",
    "ModelRebalance",
    "ModelUpdate",
    "Moment",
    "ParallelismRequest",
    "PolicyPayload",
    "PortfolioRebalance",
    "PortfoliosQuery",
    "PortfoliosRequest",
    "PositionCreate",
    "PositionUpdate",
    "RebalanceRequest",
    "RetryRequest",
    "ScheduleRunRequest",
    "WhatIfRequest",
    "is_correlation_id",
    "parse_model_rebalance",
    "parse_model_update",
    "parse_new_model",
    "parse_new_position",
    "parse_parallelism",
    "parse_portfolio_rebalance",
    "parse_portfolios",
    "parse_portfolios_query",
    "parse_position_update",
    "parse_request",
    "parse_retry",
    "parse_schedule_run",
    "parse_solve",
    "parse_what_if",
]
