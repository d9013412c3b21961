"""What every use case is given: the ports, and the few numbers that shape a job's life."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from domain.ports import (
    Clock,
    JobEventPublisher,
    JobStore,
    Meter,
    ModelStore,
    OrderSetPublisher,
    PortfolioAccounting,
    PortfolioDirectory,
    PriceSource,
    SecurityMaster,
    Solver,
    TokenQueue,
    Tracing,
)
from domain.schedule import Schedule
from tasks.unwatched import NO_METER, NO_TRACING


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Settings the use cases need, as plain values. Lease > Celery's hard limit > the solver's limit."""

    default_parallelism: int = 4
    max_parallelism: int = 256
    max_portfolios: int = 1_000_000
    max_open_jobs: int = 400
    max_open_portfolios: int = 10_000_000
    max_queue_age_seconds: float = 24 * 3600.0
    busy_retry_seconds: float = 30.0
    max_attempts: int = 3
    lease_seconds: float = 150.0
    retry_delay_seconds: float = 2.0
    outage_delay_seconds: float = 5.0
    max_delay_seconds: float = 60.0
    due_after_seconds: float = 10.0
    lost_token_seconds: float = 3.0
    slice_portfolios: int = 1
    slice_milliseconds: float = 400.0
    default_deadline_seconds: float = 6 * 3600.0
    republish_window_seconds: float = 24 * 3600.0
    stated_value_low: float = 0.85
    stated_value_high: float = 1.05


def _no_schedules() -> Sequence[Schedule]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """``schedules`` are read when first asked for: most processes never ask, and calendars take a while to load."""

    models: ModelStore
    jobs: JobStore
    prices: PriceSource
    securities: SecurityMaster
    accounting: PortfolioAccounting
    directory: PortfolioDirectory
    solver: Solver
    publisher: OrderSetPublisher
    events: JobEventPublisher
    tokens: TokenQueue
    clock: Clock
    rules: Rules
    schedules: Callable[[], Sequence[Schedule]] = _no_schedules
    meter: Meter = NO_METER
    tracing: Tracing = NO_TRACING
