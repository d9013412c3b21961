"""Every metric there is: its name, its labels, and every value a label can have.

A label that could hold whatever comes (a job, a portfolio, a key) would make a new series of each, until nobody can
store them: so the values stand here, and what is not among them counts as ``other``. The page docs/how-to-watch.md,
the alerts and the dashboard are held against this list by tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from domain.item import FINAL_STATES, OPEN_STATES
from domain.job import CLOSED, OPEN
from domain.ladder import LAGRANGIAN, LISTING, PROGRAM
from domain.ports import Stage
from domain.rebalance import CASH_BOUND, CLOSED_FORM, CVXPY

OTHER = "other"
NO_PROOF = "none"

# Upstreams, as adapters/upstream/build.py names them, and how a call may end (adapters/upstream/watch.py).
SERVICES = ("prices", "securities", "accounting", "directory")
CALL_ENDS = (
    *("2xx", "1xx", "3xx", "404", "429", "4xx", "5xx"),
    *("no_connection", "no_answer", "timeout", "unusable"),
)

# Events of our own log at warning and above, as the source has them (a test reads it).
WARNINGS = (
    "item.expired",
    "item.given_back",
    "item.handed_back",
    "item.zombie",
    "job.action_not_noted",
    "job.not_opened",
    "job_events.untold",
    "order_sets.republished",
    "order_sets.still_due",
    "page.login_refused",
    "page.out",
    "rate_limit.alone",
    "request_refused",
    "requests_left_name",
    "requests_waiting",
    "result_queue.lost",
    "schedule.delayed",
    "scheduler.store_out",
    "steward.left_undone",
    "steward.store_out",
    "store.not_there_yet",
    "token.interrupted",
    "token.store_out",
    "token.stray",
    "tokens.not_counted",
    "tokens.not_sent",
    "tokens.resent",
    "worker.out_of_time",
    "worker.runs_as_root",
)
ERRORS = (
    "api_keys.unreadable",
    "item.attempt_failed",
    "job.not_tended",
    "job.open_failed",
    "order_set.missing",
    "order_sets.not_published",
    "queue.stray_message",
    "request_broke_us",
    "request_failed",
    "schedule.missed",
    "schedule.model_not_started",
    "schedule.not_started",
    "schedule.not_tended",
    "schedule.would_not_start",
    "scheduler.tick_failed",
    "solve.line_failed",
    "steward.tick_failed",
    "what_if.answer_failed",
)


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Label:
    """``values``: all it can have, besides ``other``. None: as many as the program has, at most ``most``."""

    name: str
    values: tuple[str, ...] | None
    most: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """``of``: the processes that expose it. ``buckets``: upper bounds of a histogram's."""

    name: str
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    of: tuple[str, ...]


_INTAKE = ("api", "beat", "requests")
_CALLERS = ("worker", "steward")
_ALL = ("api", "beat", "requests", "steward", "worker")

_PORTFOLIO_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REQUEST_SECONDS = (0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10, 60)
_JOB_SECONDS = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 21600)
_ROUND_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
_GAP = (0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)

_SERVICE = Label("service", SERVICES)

_METRICS = (
    # -- what there is, as the store has it: told by each steward, at every scrape
    Metric(
        name="trimtab_jobs",
        kind=Kind.GAUGE,
        help="Jobs that are not over, by state.",
        labels=(Label("state", tuple(sorted(OPEN))),),
        of=("steward",),
    ),
    Metric(
        name="trimtab_oldest_job_seconds",
        kind=Kind.GAUGE,
        help="Age of the oldest job in each state, retried ones aside: the age of the queue is the largest of them.",
        labels=(Label("state", tuple(sorted(OPEN))),),
        of=("steward",),
    ),
    Metric(
        name="trimtab_portfolios",
        kind=Kind.GAUGE,
        help="Portfolios that are not over, by state; a million at most is counted of each.",
        labels=(Label("state", tuple(sorted(OPEN_STATES))),),
        of=("steward",),
    ),
    Metric(
        name="trimtab_order_sets_due",
        kind=Kind.GAUGE,
        help="Order sets in the outbox: stored, and not known to be published; 10000 at most are counted.",
        of=("steward",),
    ),
    Metric(
        name="trimtab_oldest_due_seconds",
        kind=Kind.GAUGE,
        help="Since when the oldest order set in the outbox was decided; 0 without any.",
        of=("steward",),
    ),
    Metric(
        name="trimtab_tokens_queued",
        kind=Kind.GAUGE,
        help="Tokens that wait in the task queue.",
        of=("steward",),
    ),
    Metric(
        name="trimtab_up",
        kind=Kind.GAUGE,
        help="1: the steward gets answers from it; 0: it is out, and what it would tell is missing.",
        labels=(Label("part", ("store", "broker")),),
        of=("steward",),
    ),
    # -- jobs
    Metric(
        name="trimtab_jobs_accepted_total",
        kind=Kind.COUNTER,
        help="Jobs that were accepted; a known idempotency key is none.",
        of=_INTAKE,
    ),
    Metric(
        name="trimtab_jobs_refused_total",
        kind=Kind.COUNTER,
        help="Requests that were told to come back, by the limit that was reached.",
        labels=(Label("code", ("too_many_jobs", "too_many_open_portfolios", "queue_too_old")),),
        of=_INTAKE,
    ),
    Metric(
        name="trimtab_jobs_closed_total",
        kind=Kind.COUNTER,
        help="Jobs that ended, by their end.",
        labels=(Label("state", tuple(sorted(CLOSED))),),
        of=_CALLERS,
    ),
    Metric(
        name="trimtab_job_seconds",
        kind=Kind.HISTOGRAM,
        help="From accepted to closed, of jobs that ended without a retry.",
        buckets=_JOB_SECONDS,
        of=_CALLERS,
    ),
    # -- portfolios
    Metric(
        name="trimtab_portfolios_ended_total",
        kind=Kind.COUNTER,
        help="Portfolios whose end was stored, by outcome.",
        labels=(Label("outcome", tuple(sorted(FINAL_STATES))),),
        of=_CALLERS,
    ),
    Metric(
        name="trimtab_answers_total",
        kind=Kind.COUNTER,
        help="Answers that were found, by the rung of the ladder; none: nothing had to be solved.",
        labels=(Label("method", (CLOSED_FORM, CASH_BOUND, CVXPY, LAGRANGIAN, LISTING, PROGRAM, NO_PROOF)),),
        of=("worker",),
    ),
    Metric(
        name="trimtab_answer_gap_ratio",
        kind=Kind.HISTOGRAM,
        help="Distance from the proved bound, of market value; answers in closed form have none and are left out.",
        buckets=_GAP,
        of=("worker",),
    ),
    Metric(
        name="trimtab_stage_seconds",
        kind=Kind.HISTOGRAM,
        help="Time of a portfolio by stage; store: with the claim of the next one; publish: of all of a slice.",
        labels=(Label("stage", tuple(Stage)),),
        buckets=_PORTFOLIO_SECONDS,
        of=_CALLERS,
    ),
    Metric(
        name="trimtab_attempts_failed_total",
        kind=Kind.COUNTER,
        help="Attempts at a portfolio that failed, by cause.",
        labels=(
            Label(
                "cause", ("solver_timeout", "solver_failed", "upstream_fault", "invalid", "internal_error")
            ),
        ),
        of=("worker",),
    ),
    Metric(
        name="trimtab_portfolios_given_back_total",
        kind=Kind.COUNTER,
        help="Portfolios that were given back without losing an attempt, by the service that was out.",
        labels=(_SERVICE,),
        of=("worker",),
    ),
    Metric(
        name="trimtab_healing_total",
        kind=Kind.COUNTER,
        help="What had to be repaired: leases that ended, order sets published again, tokens sent again, late answers.",
        labels=(Label("kind", ("expired", "republished", "resent", "zombies")),),
        of=_CALLERS,
    ),
    # -- the way out
    Metric(
        name="trimtab_order_sets_published_total",
        kind=Kind.COUNTER,
        help="Order sets given to the result queue; it drops what it has.",
        of=_CALLERS,
    ),
    Metric(
        name="trimtab_publish_failures_total",
        kind=Kind.COUNTER,
        help="Times the result queue took nothing; what was meant for it stays due.",
        of=_CALLERS,
    ),
    # -- upstreams
    Metric(
        name="trimtab_upstream_call_seconds",
        kind=Kind.HISTOGRAM,
        help="Calls to upstreams, each try for itself, by how they ended: a class of status, or without one.",
        labels=(_SERVICE, Label("end", CALL_ENDS)),
        buckets=_CALL_SECONDS,
        of=_CALLERS,
    ),
    Metric(
        name="trimtab_upstream_breaker_open",
        kind=Kind.GAUGE,
        help="In how many processes the breaker keeps calls from the service; it closes when a probe succeeds.",
        labels=(_SERVICE,),
        of=_CALLERS,
    ),
    # -- the API
    Metric(
        name="trimtab_http_request_seconds",
        kind=Kind.HISTOGRAM,
        help="Until the answer began, by route and class of status; none: no such route.",
        labels=(
            Label("method", ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH")),
            Label("route", None, most=200),
            Label("status", ("1xx", "2xx", "3xx", "4xx", "5xx")),
        ),
        buckets=_REQUEST_SECONDS,
        of=("api",),
    ),
    # -- steward and scheduler
    Metric(
        name="trimtab_steward_round_seconds",
        kind=Kind.HISTOGRAM,
        help="Rounds of the steward, by how they ended.",
        labels=(Label("end", ("ok", "store_out", "failed")),),
        buckets=_ROUND_SECONDS,
        of=("steward",),
    ),
    Metric(
        name="trimtab_scheduler_round_seconds",
        kind=Kind.HISTOGRAM,
        help="Rounds of the scheduler, by how they ended.",
        labels=(Label("end", ("ok", "store_out", "failed")),),
        buckets=_ROUND_SECONDS,
        of=("beat",),
    ),
    # -- everybody
    Metric(
        name="trimtab_log_warnings_total",
        kind=Kind.COUNTER,
        help="Lines of the log at warning, by event: what heals by itself, or should be looked at by day.",
        labels=(Label("event", WARNINGS),),
        of=_ALL,
    ),
    Metric(
        name="trimtab_log_errors_total",
        kind=Kind.COUNTER,
        help="Lines of the log at error, by event: what needs somebody.",
        labels=(Label("event", ERRORS),),
        of=_ALL,
    ),
    Metric(
        name="trimtab_build_info",
        kind=Kind.GAUGE,
        help="1, with the version that runs.",
        labels=(Label("version", None, most=1),),
        of=_ALL,
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _METRICS})
