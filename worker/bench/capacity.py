"""What a book of a given size needs in a given time: a model fitted to the rows that were measured.

Every part that a portfolio passes has a cost per portfolio; a rate times that cost is how busy the part is. Workers
are added until they suffice (the second one's measured share of the ideal is taken for each). A Redis broker works in
one thread, so it is full at one core. Everything is linear, and what is measured at two cores is taken further: it
says where to look first, not what a cluster will do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.errors import Invalid
from worker.bench.pipeline import ONE, SLICE
from worker.bench.report import figure
from worker.bench.rig import BROKER, STEWARD
from worker.bench.rows import Row

GIB_IN_KIB = 1024 * 1024
FULL = 0.7  # of one core: above it a queue in front of a single thread grows long
LARGEST = "50,000 portfolios"
TOKENS: Mapping[str, float] = {ONE: 1.0, SLICE: 1 / 8}
# The protocol suite's names for the same variants, and the unit it counts writes in.
_WRITES_OF: Mapping[str, str] = {ONE: "one portfolio a token", SLICE: "slice of 8"}
_WRITES = "store round trips/portfolio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """So many portfolios in so many minutes."""

    portfolios: int
    minutes: float

    @property
    def per_second(self) -> float:
        return self.portfolios / (60 * self.minutes)


NIGHTS = (
    Night(portfolios=1_000_000, minutes=480),
    Night(portfolios=1_000_000, minutes=45),
    Night(portfolios=10_000_000, minutes=480),
    Night(portfolios=10_000_000, minutes=120),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Of one portfolio. CPU in ms; ``stored_kib`` with the item's own row; ``writes`` None: not measured.

    ``scaling``: what a further worker process adds, of 1.
    """

    worker_ms: float
    broker_ms: float
    steward_ms: float
    stored_kib: float
    queued_kib: float
    scaling: float
    tokens: float
    writes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a night takes. ``brokers``: Redis servers, by their one thread."""

    worker_cores: float
    steward_cores: float
    broker_cores: float
    brokers: int
    writes_per_second: float | None
    tokens_per_second: float
    store_gib: float
    queue_gib: float


def costs_of(rows: Sequence[Row], variant: str) -> Costs:
    """Read the costs of a variant out of measured rows.

    Raises:
        Invalid: a figure is missing; it is named.
    """
    values = {row.name: row.value for row in rows}
    writes = [row.value for row in rows if row.unit == _WRITES and row.name.startswith(_WRITES_OF[variant])]

    def value(start: str) -> float:
        found = [value for name, value in values.items() if name.startswith(start)]
        if not found:
            raise Invalid(
                f"no row begins with {start!r}: measure the suites pipeline and scale", code="no_rows"
            )
        return found[0]

    members = 1024 * value(f"store, before any result, {LARGEST}") / 50_000
    return Costs(
        worker_ms=value(f"worker CPU by part, {variant}: all"),
        broker_ms=value(f"CPU by process, {variant}: {BROKER}"),
        steward_ms=value(f"CPU by process, {variant}: {STEWARD}"),
        stored_kib=members + value(f"store growth of a worked portfolio, {LARGEST}"),
        queued_kib=value(f"broker memory of a published portfolio, {LARGEST}"),
        scaling=min(value("throughput, 2 worker processes ÷ ideal") / 100, 1.0),
        tokens=TOKENS[variant],
        writes=writes[0] if writes else None,
    )


def need_of(costs: Costs, night: Night) -> Need:
    """Rate times cost, part by part."""
    rate = night.per_second
    broker = rate * costs.broker_ms / 1000
    return Need(
        worker_cores=rate * costs.worker_ms / 1000 / costs.scaling,
        steward_cores=rate * costs.steward_ms / 1000,
        broker_cores=broker,
        brokers=max(1, -int(-broker // FULL)),
        writes_per_second=None if costs.writes is None else rate * costs.writes,
        tokens_per_second=rate * costs.tokens,
        store_gib=night.portfolios * costs.stored_kib / GIB_IN_KIB,
        queue_gib=night.portfolios * costs.queued_kib / GIB_IN_KIB,
    )


def capacity(rows: Sequence[Row]) -> str:
    """The model's tables for a page: costs, where each part is full, and what the nights need."""
    variants = [variant for variant in TOKENS if any(row.name.startswith(_worker(variant)) for row in rows)]
    costs = {variant: costs_of(rows, variant) for variant in variants or [ONE]}
    return "\n".join([*_cost_lines(costs), "", *_need_lines(costs)])


def _worker(variant: str) -> str:
    return f"worker CPU by part, {variant}: "


_COSTS: Sequence[tuple[str, Callable[[Costs], float | None]]] = (
    ("worker CPU, ms", lambda costs: costs.worker_ms),
    ("broker CPU, ms", lambda costs: costs.broker_ms),
    ("steward CPU, ms", lambda costs: costs.steward_ms),
    ("store writes", lambda costs: costs.writes),
    ("tokens through the broker", lambda costs: costs.tokens),
    ("store, KiB", lambda costs: costs.stored_kib),
    ("result queue, KiB", lambda costs: costs.queued_kib),
    ("a worker core carries, portfolios/s", lambda costs: 1000 * costs.scaling / costs.worker_ms),
    (
        "a Redis broker is full at, portfolios/s",
        lambda costs: 1000 * FULL / costs.broker_ms if costs.broker_ms else None,
    ),
)


def _cost_lines(costs: Mapping[str, Costs]) -> Iterator[str]:
    yield f"| of one portfolio | {' | '.join(costs)} |"
    yield f"|---|{'---:|' * len(costs)}"
    for name, of in _COSTS:
        yield f"| {name} | {' | '.join(_cell(of(each)) for each in costs.values())} |"


def _need_lines(costs: Mapping[str, Costs]) -> Iterator[str]:
    yield (
        "| book | in | portfolios/s | token carries | worker cores | broker cores (Redis servers) "
        "| steward cores | store writes/s | tokens/s | store, GiB | result queue, GiB |"
    )
    yield "|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|"
    for night in NIGHTS:
        for variant, each in costs.items():
            need = need_of(each, night)
            cells = (
                f"{night.portfolios:,}",
                f"{night.minutes / 60:g} h",
                _cell(night.per_second),
                variant,
                _cell(need.worker_cores),
                f"{_cell(need.broker_cores)} ({need.brokers})",
                _cell(need.steward_cores),
                _cell(need.writes_per_second),
                _cell(need.tokens_per_second),
                _cell(need.store_gib),
                _cell(need.queue_gib),
            )
            yield f"| {' | '.join(cells)} |"


def _cell(value: float | None) -> str:
    return "not measured" if value is None else figure(value)
