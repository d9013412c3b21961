"""``trimtab demo``: a sample book through the real pipeline, from a posted request to verified order sets."""

import json
import os
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.inbound.cli.wiring import BookOptions, DemoOptions
from config.settings import Settings
from domain.money import parse_decimal, plain, total
from domain.policy import Policy
from tasks.verify_order_set import verify_order_set
from worker.children import StackFailed
from worker.in_process import InProcessStack
from worker.loops import stop_on_signals
from worker.stack import NoBroker, Stack, broker_binary, stop_when_orphaned

MODEL_ID = "demo"
# The book's targets add up to 95 %: with this floor the cash row often binds, so the exact search has work to do.
CASH_FLOOR = "0.05"
POLL_SECONDS = 0.1
PUBLISH_SECONDS = 15.0
ROWS_SHOWN = 12
STOPPED_STATUS = 130
# The sample book is made up: whatever store and queues the environment names, nothing of it may get there.
ITS_OWN = {
    "store_url": "",
    "results_url": "",
    "requests_url": "",
    "order_sets_stream": Settings.model_fields["order_sets_stream"].default,
}
_POLICY = Policy(cash_floor=Decimal(CASH_FLOOR))
UNFINISHED = frozenset({"pending", "running", "delayed"})


class Stopped(Exception):
    """Ctrl-C, SIGTERM, or a parent that is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo ends with. Drift is money over all portfolios; ``proved`` counts gaps of exactly 0.

    ``verified`` counts the order sets on the queue that the exact verifier passed; ``faults`` says in a
    sentence each what was not as promised.
    """

    portfolios: int
    outcomes: Mapping[str, int]
    orders: int
    seconds: float
    drift_before: Decimal
    drift_after: Decimal
    proved: int
    published: int
    verified: int
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.faults

    def document(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "portfolios": self.portfolios,
            "outcomes": dict(self.outcomes),
            "orders": self.orders,
            "seconds": round(self.seconds, 3),
            "portfolios_per_second": round(self.portfolios / self.seconds, 1),
            "drift_before": plain(self.drift_before),
            "drift_after": plain(self.drift_after),
            "proved": self.proved,
            "published": self.published,
            "verified": self.verified,
            "faults": list(self.faults),
        }


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended: its own document, its seconds from post to end, and every item's result."""

    job: Mapping[str, Any]
    seconds: float
    results: Sequence[Mapping[str, Any]]


# ------------------------------------------------------------------------------------------------ the job


class DemoClient:
    """The demo as a user of the HTTP API: it knows no more than any upstream service would."""

    def __init__(self, api_url: str, sandbox_url: str) -> None:
        self._api = httpx.Client(base_url=f"{api_url}/api/v1", timeout=30)
        self._sandbox = httpx.Client(base_url=sandbox_url, timeout=30)

    def close(self) -> None:
        self._api.close()
        self._sandbox.close()

    def create_model(self) -> None:
        book = self._sandbox.get("/sandbox/model").raise_for_status().json()
        model = {
            "model_id": MODEL_ID,
            "name": "Demo model",
            "positions": book["positions"],
            "portfolios": book["portfolio_ids"],
            "policy": {"cash_floor": CASH_FLOOR},
        }
        self._api.post("/models", json=model).raise_for_status()

    def post_job(self, parallelism: int) -> str:
        request = {"model_id": MODEL_ID, "parallelism": parallelism}
        answer = self._api.post("/jobs", json=request, headers={"Idempotency-Key": f"demo-{uuid.uuid4()}"})
        return str(answer.raise_for_status().json()["job_id"])

    def job(self, job_id: str) -> Mapping[str, Any]:
        return self._api.get(f"/jobs/{job_id}").raise_for_status().json()  # type: ignore[no-any-return]

    def results(self, job_id: str) -> Iterator[Mapping[str, Any]]:
        """Every item, with its stored result."""
        cursor: str | None = "-1"
        while cursor is not None:
            page = self._api.get(f"/jobs/{job_id}/items", params={"cursor": cursor, "limit": 500}).json()
            for item in page["items"]:
                yield self._api.get(f"/jobs/{job_id}/items/{item['portfolio_id']}").raise_for_status().json()
            cursor = page["next_cursor"]


def run_job(client: DemoClient, parallelism: int, stop: threading.Event, progress: Progress) -> Finished:
    """Post the job and see it through.

    Raises:
        Stopped: ``stop`` was set meanwhile.
    """
    began = time.monotonic()
    job_id = client.post_job(parallelism)
    task = progress.add_task("rebalancing", total=None)
    while True:
        job = client.job(job_id)
        progress.update(task, completed=job["finished"], total=job["portfolios"])
        if job["finished_at"] is not None:
            break
        if stop.wait(POLL_SECONDS):
            raise Stopped
    seconds = time.monotonic() - began
    return Finished(job, seconds, tuple(client.results(job_id)))


# ------------------------------------------------------------------------------------------------ the whole of it


def run(options: DemoOptions) -> int:
    """The exit status; 130 when it was stopped. Everything that was started is stopped in every case."""
    stop = stop_on_signals()
    stop_when_orphaned(stop)
    try:
        return demo(options.book, keep=options.keep, as_json=options.as_json, stop=stop)
    except Stopped:
        return STOPPED_STATUS
    except StackFailed as failed:
        Console(stderr=True).print(f"[red]{failed}[/red]")
        return 1


def demo(book: BookOptions, *, keep: bool, as_json: bool, stop: threading.Event) -> int:
    """Status 1 when something was not as promised.

    With ``as_json`` the last line on standard output is the report; all else goes to standard error.
    """
    console = Console(stderr=as_json)
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-demo-") as folder,
        _stack(Path(folder), book, console) as stack,
    ):
        finished, outcome = _rebalance(stack, console, stop)
        show(console, finished, outcome)
        _say_what_next(console, stack, finished, keep=keep)
        if keep:
            stack.watch(stop)
    if as_json:
        print(json.dumps(outcome.document()))  # noqa: T201 - the answer a program reads
    return 0 if outcome.ok else 1


def _stack(folder: Path, book: BookOptions, console: Console) -> Stack | InProcessStack:
    try:
        broker_binary()
    except NoBroker as missing:
        console.print(
            f"[yellow]{missing}. Running as one process on memory://: no crash recovery to see.[/yellow]"
        )
        return InProcessStack(folder, book, settings=dict(ITS_OWN))
    console.print(
        f"Starting broker, sandbox, API, steward and worker; their logs are in {folder}", soft_wrap=True
    )
    return Stack(state_dir=folder, book=book, settings=dict(ITS_OWN), parts=("steward",))


def _rebalance(
    stack: Stack | InProcessStack, console: Console, stop: threading.Event
) -> tuple[Finished, DemoReport]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with closing(DemoClient(stack.api_url, stack.settings["pricing_url"])) as client:
        client.create_model()
        with Progress(*columns, console=console) as progress:
            finished = run_job(client, (os.cpu_count() or 1) * 2, stop, progress)
    expected = sum(1 for item in finished.results if item["result"] is not None)
    return finished, report(finished, read_order_sets(stack, expected))


def _say_what_next(
    console: Console, stack: Stack | InProcessStack, finished: Finished, *, keep: bool
) -> None:
    console.print(_NEXT if not keep else _look_further(stack, finished), soft_wrap=True, highlight=False)


_NEXT = """
Look further: `trimtab demo --keep` leaves the stack running and says what to type, `trimtab up` brings up one that
stays, and `trimtab solve FILE` needs no stack at all."""


def _look_further(stack: Stack | InProcessStack, finished: Finished) -> str:
    """Whole commands, never wrapped: one that is cut cannot be pasted."""
    job_id = finished.job["job_id"]
    job_url = f"{stack.api_url}/api/v1/jobs/{job_id}"
    return f"""
Look further, in another terminal (Ctrl-C here stops everything):
  {stack.api_url}/jobs/{job_id} in a browser
  curl {job_url}
  curl {job_url}/items/{_interesting(finished.results)[0]["portfolio_id"]}
  TRIMTAB_STATE_DIR={stack.state_dir} trimtab results {job_id}
  TRIMTAB_STATE_DIR={stack.state_dir} trimtab orders --json"""


# ------------------------------------------------------------------------------------------------ the queue


def read_order_sets(stack: Stack | InProcessStack, expected: int) -> Mapping[str, Mapping[str, Any]]:
    """Every order set on the result queue by id, once all are there or the time is over.

    A job is done when every portfolio has its outcome; the last order sets may follow by a moment.
    """
    give_up = time.monotonic() + PUBLISH_SECONDS
    while len(found := stack.order_sets()) < expected and time.monotonic() < give_up:
        time.sleep(POLL_SECONDS)
    return found


# ------------------------------------------------------------------------------------------------ the report


def report(finished: Finished, order_sets: Mapping[str, Mapping[str, Any]]) -> DemoReport:
    """Hold what was published against what was stored, and verify every order set exactly."""
    items = finished.results
    decided = [item for item in items if item["result"] is not None]
    results = [item["result"] for item in decided]
    faults = tuple(_faults(finished, order_sets))
    verified = [item for item in decided if item["item_id"] in order_sets and not _broken(item, order_sets)]
    return DemoReport(
        portfolios=len(items),
        outcomes=dict(sorted(Counter(item["outcome"] for item in items).items())),
        orders=sum(len(order_set["orders"]) for order_set in order_sets.values()),
        seconds=finished.seconds,
        drift_before=_sum(results, "drift_before"),
        drift_after=_sum(results, "drift_after"),
        proved=sum(1 for result in results if result["proof"] and parse_decimal(result["proof"]["gap"]) == 0),
        published=len(order_sets),
        verified=len(verified),
        faults=faults,
    )


def _sum(results: Sequence[Mapping[str, Any]], name: str) -> Decimal:
    return total(parse_decimal(result[name]) for result in results if result["drift_after"] is not None)


def _faults(finished: Finished, order_sets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    job, items = finished.job, finished.results
    if job["state"] != "done":
        yield f"the job ended {job['state']}: {job['reason'] or 'see its items'}"
    if len(items) != job["portfolios"]:
        yield f"{job['portfolios']} portfolios were asked for and {len(items)} have an item"
    for item in items:
        if item["outcome"] in UNFINISHED:
            yield f"{item['portfolio_id']} has no outcome: {item['outcome']}"
        elif item["result"] is None:
            yield f"{item['portfolio_id']} {item['outcome']}: {item['reason']}"
        elif item["item_id"] not in order_sets:
            yield f"{item['portfolio_id']} was {item['outcome']}, but its order set is not on the queue"
        else:
            yield from _broken(item, order_sets)


def _broken(item: Mapping[str, Any], order_sets: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """What the exact verifier finds wrong with a published order set."""
    return verify_order_set(order_sets[item["item_id"]], item["result"], _POLICY)


# ------------------------------------------------------------------------------------------------ for people


def show(console: Console, finished: Finished, outcome: DemoReport) -> None:
    console.print(_portfolios(finished.results))
    console.print(_summary(outcome))
    for fault in outcome.faults[:ROWS_SHOWN]:
        console.print(f"[red]fault:[/red] {fault}")


def _portfolios(items: Sequence[Mapping[str, Any]]) -> Table:
    title = f"Portfolios ({min(len(items), ROWS_SHOWN)} of {len(items)}, the rarest outcomes first)"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, no_wrap=True)
    for item in _interesting(items)[:ROWS_SHOWN]:
        table.add_row(*_row(item))
    return table


# Narrow enough for 80 characters.
_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("portfolio", "left"),
    ("outcome", "left"),
    ("drift", "right"),
    ("after", "right"),
    ("orders", "right"),
    ("cash after", "right"),
    ("proof or reason", "left"),
)


def _interesting(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rare outcomes first: one of each kind is worth more than twelve of the same."""
    kinds = Counter(item["outcome"] for item in items)
    return sorted(items, key=lambda item: (kinds[item["outcome"]], item["seq"]))


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    result = item["result"] or {}
    proof = result.get("proof")
    return (
        f"{item['portfolio_id'][:8]}…",
        item["outcome"],
        _share(result.get("drift_before"), result.get("market_value")),
        _share(result.get("drift_after"), result.get("market_value")),
        str(len(result.get("orders", ()))),
        _money(result.get("cash_after")),
        _proof(proof) if proof and result["orders"] else item["reason"],
    )


def _proof(proof: Mapping[str, str]) -> str:
    proved = parse_decimal(proof["gap"]) == 0
    return f"{proof['method']}, {'proved' if proved else 'gap ' + proof['gap']}"


def _money(amount: str | None) -> str:
    return "-" if amount is None else f"{parse_decimal(amount):,.2f}"


def _share(drift: str | None, market_value: str | None) -> str:
    """A drift as a percentage of market value."""
    if drift is None or market_value is None or not parse_decimal(market_value):
        return "-"
    return f"{parse_decimal(drift) / parse_decimal(market_value):.2%}"


def _summary(outcome: DemoReport) -> Table:
    table = Table(show_header=False, box=None)
    for name, value in (
        ("outcomes", ", ".join(f"{n} {name}" for name, n in outcome.outcomes.items())),
        ("orders", str(outcome.orders)),
        ("drift", f"{outcome.drift_before:,.2f} before, {outcome.drift_after:,.2f} after"),
        ("proved", f"{outcome.proved} answers have a gap of exactly 0 to their proven lower bound"),
        (
            "published",
            f"{outcome.published} order sets on the result queue, {outcome.verified} verified exactly",
        ),
        ("time", f"{outcome.seconds:.2f} s, {outcome.portfolios / outcome.seconds:.1f} portfolios a second"),
    ):
        table.add_row(name, value)
    return table
