"""What the pipeline and scale suites make of what they measured."""

from collections.abc import Mapping
from types import FrameType
from typing import Any, cast

import pytest

from worker.bench import machine, pipeline, scale
from worker.bench.bare import SAMPLES, Stretch, enough
from worker.bench.failed import BenchFailed
from worker.bench.pipeline import ONE, SLICE, WIDE, Round
from worker.bench.rig import API, BROKER, CHILDREN, PARENT, SANDBOX, STEWARD, Window
from worker.bench.rows import Row
from worker.bench.sampler import NAMES, part_of, sampled, shares
from worker.bench.scale import PAIR, SINGLE, SIZES, JobCost


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pipeline, scale, machine):
        if hasattr(module, "cores"):
            monkeypatch.setattr(module, "cores", lambda: 2)
    monkeypatch.setattr("worker.bench.rig.cores", lambda: 2)


def window(*, seconds: float = 5.0, others: float = 0.0, children: float = 3.0) -> Window:
    """A thousand portfolios."""
    spent = {API: 0.0, STEWARD: 0.1, BROKER: 0.4, SANDBOX: 0.5, PARENT: 1.0, CHILDREN: children}
    return Window(portfolios=1000, seconds=seconds, cpu=spent, others=others)


def stretch() -> Stretch:
    parts = {**dict.fromkeys(NAMES, 0.0), "fetch": 0.25, "solve": 0.75}
    return Stretch(portfolios=1000, cpu=2.0, parts=parts, servers=1.0)


def one_round(**more: Any) -> Round:
    given: dict[str, Any] = {
        "windows": {ONE: window(), WIDE: window(seconds=4.0)},
        "bare": {ONE: stretch()},
        "late": window(seconds=5.0),
        "noop_ms": 0.8,
    }
    return Round(**{**given, **more})


def by_name(rows: Any) -> Mapping[str, Row]:
    found = list(rows)
    assert len({row.name for row in found}) == len(found)
    return {row.name: row for row in found}


# ------------------------------------------------------------------------------------------------ the pipeline


def test_a_window_tells_cpu_by_process_and_how_busy_the_rest_of_the_machine_was() -> None:
    seen = window(others=1.0)

    assert seen.per_second == 200.0
    assert seen.cpu_ms() == pytest.approx(5.0)
    assert seen.cpu_ms(PARENT, CHILDREN) == pytest.approx(4.0)
    assert seen.others_share == pytest.approx(10.0)  # of two cores for five seconds
    assert window(others=-0.01).others_share == 0.0


def test_the_pipeline_is_held_against_what_the_cores_allow_the_bare_loop_and_its_servers() -> None:
    rows = by_name(pipeline.rows_of([one_round()]))

    share = rows[f"throughput ÷ (cores ÷ CPU of the bare loop, its sandbox and broker), {ONE}"]
    assert share.value == pytest.approx(100 * 200 / (2 / 0.003))
    assert (share.goal, share.ok) == (45.0, False)
    alone = rows[f"throughput ÷ (cores ÷ CPU of the bare loop alone), {ONE}"]
    assert alone.value == pytest.approx(100 * 200 / (2 / 0.002))
    assert alone.goal is None
    left = rows[f"the same of what others left of the cores, {ONE}"]
    assert (left.value, left.goal) == (share.value, None)
    assert quiet_share(others=5.0) == pytest.approx(2 * share.value)


def quiet_share(others: float) -> float:
    """Where the rest of the machine took so many CPU seconds of ten."""
    busy = one_round(windows={ONE: window(others=others)}, late=None)
    return by_name(pipeline.rows_of([busy]))[f"the same of what others left of the cores, {ONE}"].value


def test_the_parts_of_the_worker_add_up_to_its_cpu_and_celery_is_what_the_loop_does_without() -> None:
    rows = by_name(pipeline.rows_of([one_round()]))
    prefix = f"worker CPU by part, {ONE}: "
    parts = {name.removeprefix(prefix): row.value for name, row in rows.items() if name.startswith(prefix)}

    assert parts["fetch"] == pytest.approx(0.5)
    assert parts["solve"] == pytest.approx(1.5)
    assert parts["Celery"] == pytest.approx(2.0)
    assert parts.pop("all") == pytest.approx(sum(parts.values()))


def test_the_worker_is_measured_in_no_op_tasks() -> None:
    row = by_name(pipeline.rows_of([one_round()]))[
        f"worker CPU of a portfolio ÷ of a no-op Celery task, {ONE}"
    ]

    assert row.value == pytest.approx(5.0)
    assert row.goal == 5.0


def test_late_upstreams_are_compared_with_the_same_stack_of_the_same_round() -> None:
    rows = by_name(
        pipeline.rows_of([one_round(), one_round(windows={ONE: window(), WIDE: window(seconds=2.0)})])
    )
    row = rows[f"throughput, {WIDE}, upstreams 20 ms late ÷ {WIDE}, 0 ms"]

    assert row.value == pytest.approx((80 + 40) / 2)
    assert row.goal == 80.0


def test_a_stack_that_was_left_out_leaves_no_row() -> None:
    rows = by_name(pipeline.rows_of([one_round(windows={ONE: window()}, late=None)]))

    assert not [name for name in rows if WIDE in name or SLICE in name]


# ------------------------------------------------------------------------------------------------ growth


def cost(size: int, *, worker: int = 100, ms: float = 3.0) -> JobCost:
    return JobCost(
        accept=0.01 * size,
        expand=0.1,
        cancel=0.2,
        store=size * 400,
        result=16 * 1024.0,
        queued=8 * 1024.0,
        api=50 * scale.MIB,
        api_peak=60 * scale.MIB,
        worker=worker * scale.MIB,
        worked=window(children=ms - 1.5),  # the other processes of ours spend 1.5
    )


def test_growth_is_the_largest_job_against_the_smallest() -> None:
    small, middle, large = SIZES
    rounds = [
        {small: cost(small), middle: cost(middle), large: cost(large, worker=109, ms=3.3)},
        {small: cost(small, worker=500), middle: cost(middle), large: cost(large, ms=3.3)},
    ]
    rows = by_name(scale.rows_of(rounds, worked=500))

    cpu = rows["CPU of a portfolio, 50,000 ÷ 1,000 (up to 500 of each worked, the rest cancelled)"]
    assert cpu.value == pytest.approx(1.1)
    assert cpu.goal == 1.1
    memory = rows["worker memory, 50,000 ÷ 1,000 (after up to 500 portfolios of it)"]
    assert memory.value == pytest.approx(1.09)
    assert memory.goal == 1.1
    assert rows["time to accept, 10,000 portfolios"].value == pytest.approx(100.0)
    assert rows["API peak memory, 50,000 portfolios"].value == 60.0
    assert rows["store growth of a worked portfolio, 1,000 portfolios"].value == 16.0


@pytest.mark.parametrize(
    ("single", "pair", "share"),
    [
        (window(seconds=10.0), window(seconds=5.0), 100.0),  # 100/s, 200/s: twice
        (window(seconds=4.0), window(seconds=2.5), 100.0),  # 250/s, 400/s: what two cores allow at 5 ms
    ],
)
def test_the_second_worker_is_held_against_twice_the_first_or_what_the_cores_allow(
    single: Window, pair: Window, share: float
) -> None:
    rows = by_name(scale.rows_of_groups([{SINGLE: single, PAIR: pair}]))

    row = rows["throughput, 2 worker processes ÷ ideal (twice one, or what the cores allow)"]
    assert row.value == pytest.approx(share)
    assert row.ok


def test_what_others_took_of_the_cores_is_no_loss_by_the_second_worker() -> None:
    """Two cores, 5 ms a portfolio: 400/s alone, 200/s where others took half. It works 200/s."""
    turn: scale.Turns = {SINGLE: window(seconds=4.0), PAIR: window(seconds=5.0, others=5.0)}
    rows = by_name(scale.rows_of_groups([turn]))

    goal = rows["throughput, 2 worker processes ÷ ideal (twice one, or what the cores allow)"]
    assert goal.value == pytest.approx(50.0)
    assert not goal.ok
    assert rows["the same of what others left of the cores"].value == pytest.approx(100.0)
    assert rows["cores busy with something else meanwhile"].value == pytest.approx(50.0)


# ------------------------------------------------------------------------------------------------ sampling


class Frame:
    """As much of a frame as is looked at."""

    def __init__(self, *modules: str) -> None:
        self.f_globals = {"__name__": modules[0]}
        self.f_back = Frame(*modules[1:]) if modules[1:] else None


@pytest.mark.parametrize(
    ("modules", "part"),
    [
        (("sqlite3", "adapters.stores.sqlite.connection", "tasks.run_token"), "store"),
        (("decimal", "domain.money", "adapters.upstream.payloads", "adapters.upstream.http"), "parse"),
        (("domain.money", "tasks.documents"), "encode"),
        (("ssl", "httpcore._sync.connection", "httpx._client", "adapters.upstream.http"), "fetch"),
        (("domain.verify", "domain.rebalance"), "verify"),
        (("domain.closed_form", "domain.rebalance"), "solve"),
        (("redis.client", "adapters.results.redis_stream"), "publish"),
        (("domain.item", "adapters.stores.codecs"), "store"),
        (("structlog.contextvars", "tasks.run_token", "worker.bench.bare"), "other"),
    ],
)
def test_a_sample_belongs_to_the_innermost_part(modules: tuple[str, ...], part: str) -> None:
    assert part_of(cast("FrameType", Frame(*modules))) == part


def test_samples_are_shares_of_the_cpu_time_and_the_clock_is_stopped_afterwards() -> None:
    with sampled() as counts:
        while counts.total() < 3:
            sum(range(1000))
    seen = counts.total()
    for _ in range(2000):
        sum(range(1000))

    assert counts.total() == seen
    assert sum(shares(counts).values()) == pytest.approx(1.0)
    assert shares(type(counts)()) == dict.fromkeys(NAMES, 0.0)


@pytest.mark.parametrize(
    ("passed", "samples", "is_enough"),
    [(1.0, SAMPLES, False), (2.0, SAMPLES - 1, False), (2.0, SAMPLES, True), (61.0, SAMPLES, True)],
)
def test_a_stretch_lasts_until_its_parts_are_known(passed: float, samples: int, is_enough: bool) -> None:
    assert enough(passed, 2.0, samples) is is_enough


def test_a_stretch_does_not_wait_for_ever_for_samples() -> None:
    with pytest.raises(BenchFailed, match="3 samples of its CPU time in 61 s, too few"):
        enough(61.0, 2.0, 3)


# ------------------------------------------------------------------------------------------------ the machine


def test_a_process_that_is_gone_has_no_cpu_time() -> None:
    with pytest.raises(BenchFailed, match="is gone"):
        machine.cpu_of(2**22 + 1)


def test_a_process_that_ended_between_two_looks_has_no_memory() -> None:
    assert machine.peak_memory_of(2**22 + 1) == 0
