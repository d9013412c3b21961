"""What is counted, under which labels, and that no label can grow."""

import ast
import os
import re
import subprocess
import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from adapters.inbound.api import ApiOptions, create_app
from adapters.metrics.catalogue import CALL_ENDS, ERRORS, METRICS, NO_PROOF, OTHER, SERVICES, WARNINGS, Kind
from adapters.metrics.families import Spread, Sum
from adapters.metrics.files import fold_dead
from adapters.metrics.later import Later
from adapters.metrics.meter import PrometheusMeter
from adapters.metrics.program import ProgramMetrics
from adapters.metrics.publisher import MeteredPublisher
from adapters.metrics.state import KEPT_SECONDS, StateCollector
from adapters.upstream.watch import ENDS
from domain import ladder, rebalance
from domain.errors import BrokerUnavailable, Busy, SolverFailed, StoreUnavailable
from domain.ids import JobId, item_id
from domain.item import ItemState
from domain.job import JobState
from domain.ports import Publication, Stage, Survey, Token
from tests.support import builders
from tests.support.front_desk import FrontDesk
from tests.support.lives import job
from tests.support.metrics import catalogue_name, read_page, strays, value
from tests.support.waiting import eventually
from tests.support.world import SHORT_RULES, FakePublisher, FakeTokens, World
from worker.loops import run_steward

ROOT = Path(__file__).parents[2]
PROCESSES = ("api", "beat", "requests", "steward", "worker")
SURVEY = Survey(
    jobs={JobState.RUNNING: 2, JobState.WAITING: 1},
    oldest_jobs={JobState.RUNNING: 12.5},
    portfolios={ItemState.PENDING: 7},
    due=3,
    oldest_due=4.5,
)
HOSTILE = ("5d41402abc4b2a76b9719d91", "P-000001", "corr:8f14e45f", "", "GET\n", "x" * 10_000)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def meter(registry: CollectorRegistry) -> PrometheusMeter:
    return PrometheusMeter("worker", registry)


class Surveyed:
    """A store, as far as it is surveyed."""

    def __init__(self) -> None:
        self.asked = 0
        self.out = False

    def survey(self, limit: int) -> Survey:
        self.asked += 1
        if self.out:
            raise StoreUnavailable("store", "connection refused")
        return SURVEY


def told_everything(meter: PrometheusMeter, text: str) -> None:
    """Everything anybody can tell a meter, with this text wherever a text goes."""
    meter.job_accepted()
    meter.job_refused(text)
    meter.job_closed(replace(job(), state=text))  # type: ignore[arg-type]  # the point
    proof = rebalance.Proof(
        method=text, objective=Decimal(2), lower_bound=Decimal(1), gap=Decimal(1), solver=text, bound_by=text
    )
    answer = rebalance.Rebalance(
        portfolio_id=builders.portfolio_id(1), outcome=rebalance.Outcome.TRADED, reason=text, proof=proof
    )
    meter.decided(replace(answer, market_value=Decimal(100)))
    meter.ended(text)  # type: ignore[arg-type]  # the point
    meter.attempt_failed(text)
    meter.given_back(text)
    meter.healed(text)
    meter.published(1, 0.1)
    meter.not_published()
    meter.called(text, text, 0.1)
    meter.breaker(text, is_open=True)
    meter.served(text, text, 799, 0.1)
    meter.round_over(text, 0.1)
    meter.line(text, text)
    watch = meter.watch()
    for stage in Stage:
        watch.lap(stage)


# ------------------------------------------------------------------------------------------------ labels


@pytest.mark.parametrize("process", PROCESSES)
def test_whatever_is_told_no_label_has_a_value_that_is_not_on_its_list(process: str) -> None:
    metrics = ProgramMetrics(process, "1.2.3")
    for text in HOSTILE:
        told_everything(metrics.meter, text)
    families = read_page(metrics.page().decode())

    assert list(strays(families, open_labels={"route": HOSTILE, "version": ["1.2.3"]})) == []


def test_a_label_without_a_list_stops_growing_at_its_bound(registry: CollectorRegistry) -> None:
    meter = PrometheusMeter("api", registry)
    (route,) = (label for label in METRICS["trimtab_http_request_seconds"].labels if label.values is None)
    for number in range(route.most + 50):
        meter.served("GET", f"/route/{number}", 200, 0.1)

    (requests,) = (each for each in registry.collect() if each.name == "trimtab_http_request_seconds")
    seen = {sample.labels["route"] for sample in requests.samples}
    assert len(seen) == route.most + 1
    assert OTHER in seen


def test_the_api_has_no_more_routes_than_their_label_takes(tmp_path: Path) -> None:
    desk = FrontDesk.open(tmp_path)
    app = create_app(desk.services, ApiOptions(version="0"))
    desk.close()
    bounds = {label.name: label.most for label in METRICS["trimtab_http_request_seconds"].labels}

    assert len(app.openapi()["paths"]) < bounds["route"] / 2


def test_a_metric_whose_lists_are_all_full_has_1024_series_at_most() -> None:
    for metric in METRICS.values():
        series = len(metric.buckets) + 3 if metric.kind is Kind.HISTOGRAM else 1
        for label in metric.labels:
            series *= 1 + (label.most if label.values is None else len(label.values))
        # A route has a method or two and few classes of status: of its product little is ever seen.
        assert series <= 1_024 or "route" in {label.name for label in metric.labels}, metric.name


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_exposes_what_the_catalogue_says_and_nothing_else(process: str) -> None:
    metrics = ProgramMetrics(process, "1.2.3")
    world_of_metrics = {name for name, metric in METRICS.items() if process in metric.of}
    told_everything(metrics.meter, "traded")
    if process == "steward":
        metrics.show_state(Surveyed(), FakeTokens())  # type: ignore[arg-type]  # all of a store that is asked
    families = read_page(metrics.page().decode())

    ours = {catalogue_name(family) for family in families if family.name.startswith("trimtab_")}
    assert ours == world_of_metrics
    assert "process_cpu_seconds" in {family.name for family in families}


# ------------------------------------------------------------------------------------------------ many at once


def test_a_histogram_takes_many_as_it_takes_them_one_by_one(registry: CollectorRegistry) -> None:
    bounds = (0.0, 0.5, 1.0, 2.5)
    one_by_one = Histogram("one_by_one", "help", registry=registry, buckets=bounds)
    at_once = Histogram("at_once", "help", registry=registry, buckets=bounds)
    values = [-1.0, 0.0, 0.1, 0.5, 0.50001, 1.0, 2.5, 2.6, 1e9]
    for value_ in values:
        one_by_one.observe(value_)
    Spread(at_once).take(values)

    first, second = (
        [sample.value for family in each.collect() for sample in family.samples]
        for each in (one_by_one, at_once)
    )
    assert first == second


def test_what_is_told_later_is_told_within_its_time_though_nothing_follows(
    registry: CollectorRegistry,
) -> None:
    counter = Counter("told", "help", registry=registry)
    later = Later(wait_seconds=0.02)
    later.add(Sum(counter), 2)

    eventually(lambda: registry.get_sample_value("told_total"), lambda told: told == 2)
    later.add(Sum(counter), 1)
    eventually(lambda: registry.get_sample_value("told_total"), lambda told: told == 3)


def test_what_is_told_later_never_grows_beyond_its_bound(registry: CollectorRegistry) -> None:
    counter = Counter("told", "help", registry=registry)
    later, target = Later(wait_seconds=60, at_most=10), Sum(counter)
    for _ in range(25):
        later.add(target, 1)
    assert registry.get_sample_value("told_total") == 20
    later.flush()
    assert registry.get_sample_value("told_total") == 25


def test_threads_that_tell_at_once_lose_nothing(registry: CollectorRegistry) -> None:
    counter = Counter("told", "help", registry=registry)
    later, target = Later(wait_seconds=0.001, at_most=7), Sum(counter)

    def tell() -> None:
        for _ in range(2000):
            later.add(target, 1)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    later.flush()
    assert registry.get_sample_value("told_total") == 8000


# ------------------------------------------------------------------------------------------------ the lists


def test_the_lists_of_the_catalogue_are_those_of_the_code() -> None:
    assert set(CALL_ENDS) == set(ENDS)
    build = (ROOT / "adapters/upstream/build.py").read_text()
    assert set(SERVICES) == set(re.findall(r'origin\("(\w+)"', build))


def test_every_method_that_an_answer_can_name_is_on_its_list() -> None:
    """A new rung is a new word at the top of the module of its ladder, above what proves a bound."""
    (label,) = METRICS["trimtab_answers_total"].labels
    words = set()
    for module in (rebalance, ladder):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        named = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        }
        words |= {word for name, word in named.items() if name not in {"EXACT", "FLOATING_POINT", "OWN"}}
    assert words | {NO_PROOF} == set(label.values or ())


def test_every_line_of_the_log_at_warning_or_above_is_on_its_list() -> None:
    """A line with an event that is not on the list counts as another one, and no alert sees it."""
    call = re.compile(r'\b_?log\.(warning|error|exception)\(\s*(?:#[^\n]*\n\s*)?"([\w.]+)"')
    names = re.compile(r'_Names\(store_out="([\w.]+)", failed="([\w.]+)"\)')
    told = re.compile(r'_tell_of_outage\(\s*"([\w.]+)"')
    warnings, errors = set[str](), set[str]()
    for layer in ("adapters", "tasks", "worker"):
        for path in (ROOT / layer).rglob("*.py"):
            if "bench" in path.parts:
                continue
            source = path.read_text()
            warnings |= set(told.findall(source))
            for store_out, failed in names.findall(source):
                warnings.add(store_out)
                errors.add(failed)
            for level, event in call.findall(source):
                (warnings if level == "warning" else errors).add(event)

    assert warnings == set(WARNINGS)
    assert errors == set(ERRORS)


def test_every_line_of_the_log_that_needs_somebody_says_what_to_do() -> None:
    silent = set[str]()
    for layer in ("adapters", "tasks", "worker"):
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                if node.func.attr not in {"error", "exception"} or "advice" in {
                    keyword.arg for keyword in node.keywords
                }:
                    continue
                silent |= {
                    event
                    for event in ERRORS
                    if [ast.dump(part) for part in node.args] == [f"Constant(value={event!r})"]
                }

    assert silent == {
        "item.attempt_failed"
    }  # its `reason` says it: each has a row of its own in troubleshooting


# ------------------------------------------------------------------------------------------------ a job's life


def test_a_job_of_all_sorts_is_counted_as_the_store_has_it(tmp_path: Path) -> None:
    metrics = ProgramMetrics("worker", "1")
    world = World.create(tmp_path, meter=metrics.meter)
    world.book(6)
    broken = builders.portfolio_id(2)
    world.upstreams.broken[broken] = SolverFailed("no")
    world.upstreams.book[builders.portfolio_id(3)] = builders.portfolio(0, {}, number=3)
    del world.upstreams.book[builders.portfolio_id(4)]
    world.upstreams.known.discard(builders.portfolio_id(4))
    accepted = world.submit()
    world.finish(accepted)
    families = read_page(metrics.page().decode())

    counts = world.counts(accepted)
    assert set(counts) == {"traded", "no_trade", "rejected", "failed"}
    for outcome in ItemState:
        counted = value(families, "trimtab_portfolios_ended_total", outcome=outcome)
        assert counted == counts.get(outcome, 0), outcome
    assert value(families, "trimtab_jobs_closed_total", state="done_with_errors") == 1
    assert value(families, "trimtab_job_seconds_count") == 1
    assert value(families, "trimtab_attempts_failed_total", cause="solver_failed") == 3
    assert value(families, "trimtab_answers_total", method="closed_form") == counts["traded"]
    assert value(families, "trimtab_stage_seconds_count", stage="store") == 5  # all but the one that failed
    assert value(families, "trimtab_stage_seconds_count", stage="verify") == counts["traded"]


def test_what_is_swept_and_what_expires_is_counted_by_its_end(tmp_path: Path) -> None:
    metrics = ProgramMetrics("steward", "1")
    world = World.create(
        tmp_path, replace(SHORT_RULES, max_attempts=1, lease_seconds=0.001), meter=metrics.meter
    )
    world.book(4)
    accepted = world.submit()
    world.tick()
    world.store.claim(accepted.job_id, 0, "who dies")
    for _ in range(200):
        world.tick()
        if "failed" in world.counts(accepted):
            break
    world.store.stop_job(accepted.job_id, ItemState.CANCELLED, "enough")
    world.tokens.queue.clear()
    world.tick(2)
    families = read_page(metrics.page().decode())

    assert world.job(accepted).state is JobState.CANCELLED
    assert value(families, "trimtab_healing_total", kind="expired") == 1
    assert value(families, "trimtab_portfolios_ended_total", outcome="failed") == 1
    assert value(families, "trimtab_portfolios_ended_total", outcome="cancelled") == 3


def test_an_outage_counts_what_it_gave_back_by_service(tmp_path: Path) -> None:
    metrics = ProgramMetrics("worker", "1")
    world = World.create(tmp_path, meter=metrics.meter)
    world.book(1)
    world.submit()
    world.tick()
    world.upstreams.out = True
    world.work()

    families = read_page(metrics.page().decode())
    assert value(families, "trimtab_portfolios_given_back_total", service="accounting") == 1
    assert value(families, "trimtab_attempts_failed_total") == 0


def test_a_request_that_finds_no_room_counts_with_its_limit(tmp_path: Path) -> None:
    metrics = ProgramMetrics("api", "1")
    world = World.create(tmp_path, replace(SHORT_RULES, max_open_jobs=1), meter=metrics.meter)
    world.book(1)
    world.submit("first")
    with pytest.raises(Busy):
        world.submit("second")

    families = read_page(metrics.page().decode())
    assert value(families, "trimtab_jobs_refused_total", code="too_many_jobs") == 1
    assert value(families, "trimtab_jobs_accepted_total") == 1


def test_a_retried_job_tells_no_duration() -> None:
    metrics = ProgramMetrics("worker", "1")
    at = builders.MORNING
    ended = replace(job(), state=JobState.DONE, gen=1, created_at=at, finished_at=at + timedelta(seconds=3))
    metrics.meter.job_closed(ended)
    metrics.meter.job_closed(replace(ended, gen=0))

    families = read_page(metrics.page().decode())
    assert value(families, "trimtab_jobs_closed_total", state="done") == 2
    assert value(families, "trimtab_job_seconds_sum") == 3


def test_publications_are_counted_by_the_order_set_and_failures_by_the_try() -> None:
    metrics = ProgramMetrics("worker", "1")
    queue = FakePublisher()
    publisher = MeteredPublisher(queue, metrics.meter)
    job_id = job().job_id
    entries = [
        Publication(item_id(job_id, builders.portfolio_id(number)), job_id, b"{}") for number in (1, 2)
    ]
    publisher.publish(*entries)
    queue.out = True
    with pytest.raises(BrokerUnavailable):
        publisher.publish(*entries)
    with pytest.raises(BrokerUnavailable):
        publisher.identity()
    publisher.ping()

    families = read_page(metrics.page().decode())
    assert value(families, "trimtab_order_sets_published_total") == 2
    assert value(families, "trimtab_publish_failures_total") == 1
    assert value(families, "trimtab_stage_seconds_count", stage="publish") == 1


# ------------------------------------------------------------------------------------------------ the state


def test_what_is_open_is_asked_once_for_several_who_scrape(registry: CollectorRegistry) -> None:
    store, tokens, now = Surveyed(), FakeTokens(), [0.0]
    tokens.queue.extend([Token(job().job_id, 0)] * 4)
    registry.register(StateCollector(store, tokens, clock=lambda: now[0]))  # type: ignore[arg-type]  # as above
    first, second = list(registry.collect()), list(registry.collect())

    assert store.asked == 1
    assert [family.samples for family in first] == [family.samples for family in second]
    assert value(first, "trimtab_jobs", state="running") == 2
    assert value(first, "trimtab_jobs", state="accepted") == 0
    assert value(first, "trimtab_oldest_job_seconds", state="running") == 12.5
    assert value(first, "trimtab_portfolios", state="pending") == 7
    assert (value(first, "trimtab_order_sets_due"), value(first, "trimtab_oldest_due_seconds")) == (3, 4.5)
    assert value(first, "trimtab_tokens_queued") == 4
    assert value(first, "trimtab_up") == 2
    now[0] = KEPT_SECONDS
    list(registry.collect())
    assert store.asked == 2


def test_a_store_that_is_out_leaves_its_gauges_out_instead_of_telling_old_ones(
    registry: CollectorRegistry,
) -> None:
    store, tokens, now = Surveyed(), FakeTokens(), [0.0]
    registry.register(StateCollector(store, tokens, clock=lambda: now[0]))  # type: ignore[arg-type]  # as above
    list(registry.collect())
    store.out = tokens.out = True
    now[0] = KEPT_SECONDS
    families = list(registry.collect())

    assert [family.name for family in families] == ["trimtab_up"]
    assert value(families, "trimtab_up") == 0


def test_each_round_of_a_steward_is_told_with_its_end(tmp_path: Path) -> None:
    world = World.create(tmp_path)
    stop, told = threading.Event(), list[str]()
    ends: list[Exception | None] = [None, StoreUnavailable("store", "refused"), RuntimeError("a bug"), None]

    def next_end() -> dict[JobId, int]:
        if (error := ends.pop(0)) is not None:
            raise error
        return {}

    def hear(end: str, seconds: float) -> None:
        assert seconds >= 0
        told.append(end)
        if not ends:
            stop.set()

    class Rounds:
        """A store whose rounds end as they are told to."""

        def __getattr__(self, name: str) -> object:
            return getattr(world.store, name)

        def wake_items(self, limit: int = 1000) -> dict[JobId, int]:
            return next_end()

    services = replace(world.services, jobs=Rounds())  # type: ignore[arg-type]  # it has what the store has
    run_steward(services, 0.001, stop, told=hear)

    assert told == ["ok", "store_out", "failed", "ok"]


# ------------------------------------------------------------------------------------------------ files


def written(folder: Path, pid: int | str, count: float, buckets: dict[str, float], is_open: float) -> None:
    """What a process of a worker leaves, in prometheus_client's own format."""

    def write(kind: str, values: dict[str, float]) -> None:
        file = MmapedDict(str(folder / f"{kind}_{pid}.db"))  # type: ignore[no-untyped-call]  # as all of it
        for key, number in values.items():
            file.write_value(key, number, 0.0)  # type: ignore[no-untyped-call]
        file.close()  # type: ignore[no-untyped-call]

    write("counter", {mmap_key("c", "c_total", [], [], "help"): count})
    bounds = {mmap_key("h", "h_bucket", ["le"], [bound], "help"): n for bound, n in buckets.items()}
    write("histogram", {**bounds, mmap_key("h", "h_sum", [], [], "help"): 1.5})
    write("gauge_livesum", {mmap_key("g", "g", [], [], "help"): is_open})


def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def told(folder: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # as it comes
    return {
        f"{sample.name}{sample.labels.get('le', '')}": sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_what_dead_children_counted_stays_in_the_sum_and_their_files_go(tmp_path: Path) -> None:
    written(tmp_path, os.getpid(), 1, {"1.0": 1, "+Inf": 0}, 1)
    for count in (10, 100):
        written(tmp_path, dead_pid(), count, {"1.0": 2, "+Inf": 1}, 1)
        before = told(tmp_path)
        fold_dead(tmp_path)
        after = told(tmp_path)
        assert after == {**before, "g": 1}  # the dead have no breaker

    assert told(tmp_path) == {
        "c_total": 111,
        "h_bucket1.0": 5,
        "h_bucket+Inf": 7,
        "h_count": 7,
        "h_sum": 4.5,
        "g": 1,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"{kind}_{os.getpid()}.db" for kind in ("counter", "histogram", "gauge_livesum")]
        + ["counter_dead.db", "histogram_dead.db"]
    )


def test_a_folder_without_its_files_yet_is_no_error(tmp_path: Path) -> None:
    fold_dead(tmp_path)
    assert told(tmp_path) == {}


def test_a_worker_whose_library_was_imported_too_early_does_not_start(tmp_path: Path) -> None:
    """It would count in memory, each child for itself, and tell nothing."""
    with pytest.raises(RuntimeError, match="before its folder"):
        ProgramMetrics("worker", "1", folder=tmp_path)
