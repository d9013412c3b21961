"""What happens, counted for Prometheus: one object behind every port that is told something."""

from collections.abc import Mapping
from time import perf_counter

from prometheus_client import CollectorRegistry

from adapters.metrics.catalogue import NO_PROOF
from adapters.metrics.families import Families, Spread
from adapters.metrics.later import Later
from domain.item import ItemState
from domain.job import Job
from domain.ports import Stage
from domain.rebalance import CLOSED_FORM, Rebalance


class PrometheusMeter:
    """`domain.ports.Meter`, and what upstreams, publishers, the API, the steward's loop and the log tell besides.

    Open one per program, before any fork: each process then counts for itself.

    Args:
        process: whose metrics; see the catalogue.
        registry: where they stand.
    """

    def __init__(self, process: str, registry: CollectorRegistry) -> None:
        make = Families(process, registry)
        self._later = Later()
        self._accepted = make.counter("trimtab_jobs_accepted_total").of()
        self._refused = make.counter("trimtab_jobs_refused_total")
        self._closed = make.counter("trimtab_jobs_closed_total")
        self._job_seconds = make.histogram("trimtab_job_seconds").of()
        self._ended = make.sums("trimtab_portfolios_ended_total")
        self._answers = make.sums("trimtab_answers_total")
        self._gap = make.spreads("trimtab_answer_gap_ratio").of()
        stages = make.spreads("trimtab_stage_seconds")
        self._stages: Mapping[str, Spread] = {stage: stages.of(stage) for stage in Stage}
        self._failed = make.counter("trimtab_attempts_failed_total")
        self._given_back = make.counter("trimtab_portfolios_given_back_total")
        self._healed = make.counter("trimtab_healing_total")
        self._published = make.sums("trimtab_order_sets_published_total").of()
        self._not_published = make.counter("trimtab_publish_failures_total").of()
        self._calls = make.spreads("trimtab_upstream_call_seconds")
        self._breakers = make.gauge("trimtab_upstream_breaker_open")
        self._requests = make.histogram("trimtab_http_request_seconds")
        loop = "scheduler" if process == "beat" else "steward"
        self._rounds = make.histogram(f"trimtab_{loop}_round_seconds")
        self._warnings = make.counter("trimtab_log_warnings_total")
        self._errors = make.counter("trimtab_log_errors_total")

    # -------------------------------------------------------------------------------------------- use cases

    def flush(self) -> None:
        """Count what was told and still waits."""
        self._later.flush()

    def watch(self) -> "_Watch":
        return _Watch(self._later, self._stages)

    def job_accepted(self) -> None:
        self._accepted.inc()

    def job_refused(self, code: str) -> None:
        self._refused.of(code).inc()

    def job_closed(self, job: Job) -> None:
        self._closed.of(job.state).inc()
        if job.gen == 0 and job.created_at is not None and job.finished_at is not None:
            self._job_seconds.observe((job.finished_at - job.created_at).total_seconds())

    def decided(self, rebalance: Rebalance) -> None:
        proof = rebalance.proof
        self._later.add(self._answers.of(NO_PROOF if proof is None else proof.method), 1)
        if proof is not None and proof.method != CLOSED_FORM and rebalance.market_value:
            self._later.add(self._gap, float(proof.gap / rebalance.market_value))

    def ended(self, state: ItemState, count: int = 1) -> None:
        self._later.add(self._ended.of(state), count)

    def attempt_failed(self, cause: str) -> None:
        self._failed.of(cause).inc()

    def given_back(self, service: str) -> None:
        self._given_back.of(service).inc()

    def healed(self, kind: str, count: int = 1) -> None:
        self._healed.of(kind).inc(count)

    # -------------------------------------------------------------------------------------------- adapters and loops

    def published(self, count: int, seconds: float) -> None:
        """Order sets given to the result queue in one go."""
        self._later.add(self._published, count)
        self._later.add(self._stages[Stage.PUBLISH], seconds)

    def not_published(self) -> None:
        self._not_published.inc()

    def called(self, service: str, end: str, seconds: float) -> None:
        """`adapters.upstream.watch.CallWatch`."""
        self._later.add(self._calls.of(service, end), seconds)

    def breaker(self, service: str, *, is_open: bool) -> None:
        """`adapters.upstream.watch.CallWatch`."""
        self._breakers.of(service).set(1 if is_open else 0)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """`adapters.inbound.api.watched.RequestWatch`."""
        self._requests.of(method, route, f"{status // 100}xx").observe(seconds)

    def round_over(self, end: str, seconds: float) -> None:
        """Of a steward or a scheduler: ``ok``, ``store_out`` or ``failed``."""
        self._rounds.of(end).observe(seconds)

    def line(self, level: str, event: str) -> None:
        """Of the log, at warning or above."""
        (self._warnings if level == "warning" else self._errors).of(event).inc()


class _Watch:
    __slots__ = ("_at", "_later", "_stages")

    def __init__(self, later: Later, stages: Mapping[str, Spread]) -> None:
        self._later = later
        self._stages = stages
        self._at = perf_counter()

    def lap(self, stage: Stage) -> None:
        now = perf_counter()
        self._later.add(self._stages[stage], now - self._at)
        self._at = now
