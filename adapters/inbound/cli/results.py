"""What came out: the portfolios of a job with their results, and the order sets on the result queue."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any

import typer

from adapters.inbound.answers import item_detail
from adapters.inbound.cli.output import AsJson, clean, guarded, print_line, print_table, say
from adapters.inbound.cli.wiring import Wiring
from domain.ids import JobId
from domain.item import Attempt, Item, ItemState
from tasks.job_items import job_items

_ROWS_IN_A_TABLE = 200

_JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]


def add_result_commands(app: typer.Typer, wiring: Wiring) -> None:
    """``results`` and ``orders``."""
    _add_results(app, wiring)
    _add_orders(app, wiring)


def _add_results(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def results(
        job: _JobArgument,
        *,
        outcome: Annotated[
            list[ItemState] | None, typer.Option(help="Only portfolios with this outcome; repeat for more.")
        ] = None,
        limit: Annotated[
            int | None,
            typer.Option(
                min=1, help=f"At most this many (a table ends after {_ROWS_IN_A_TABLE}, --json has all)."
            ),
        ] = None,
        attempts: Annotated[
            bool, typer.Option("--attempts", help="Who worked on each, when, and how it ended.")
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """The portfolios of a job with their results."""
        with wiring.services() as services:
            items = job_items(JobId(job), services, states=tuple(outcome or ()))
            if as_json:
                for item in islice(items, limit):
                    print_line(item_detail(item))
            elif attempts:
                _print_attempts(items, limit or _ROWS_IN_A_TABLE)
            else:
                _print_results(items, limit or _ROWS_IN_A_TABLE)


def _add_orders(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def orders(
        *,
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until Ctrl-C.")] = False,
        job: Annotated[str | None, typer.Option(help="Only order sets of this job.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Order sets as they stand on the result queue."""
        bodies = _of_job(wiring.order_sets(follow=follow), job)
        with suppress(KeyboardInterrupt):  # the way to end --follow
            _print_orders(bodies, follow=follow, as_json=as_json)


# ------------------------------------------------------------------------------------------------ results


def _print_attempts(items: Iterator[Item], limit: int) -> None:
    print_table(
        ("portfolio", "retry", "attempt", "started", "seconds", "ended by", "owner"),
        (_attempt_row(item, attempt) for item in islice(items, limit) for attempt in item.attempts),
        right=("retry", "attempt", "seconds"),
    )
    _tell_of_more(items, limit)


def _attempt_row(item: Item, attempt: Attempt) -> tuple[object, ...]:
    timed = attempt.started is not None and attempt.ended is not None
    return (
        item.portfolio_id,
        attempt.gen,
        attempt.number,
        attempt.started and f"{attempt.started:%Y-%m-%d %H:%M:%S}",
        f"{(attempt.ended - attempt.started).total_seconds():.3f}" if timed else None,  # type: ignore[operator]  # timed
        attempt.cause or "in work",
        attempt.owner,
    )


def _tell_of_more(items: Iterator[Item], limit: int) -> None:
    if next(items, None) is not None:
        say(f"the first {limit} are shown: --limit for more, --json for all")


def _print_results(items: Iterator[Item], limit: int) -> None:
    print_table(
        ("portfolio", "outcome", "reason", "orders", "drift before", "drift after", "cash after", "gap"),
        (_result_row(item) for item in islice(items, limit)),
        right=("orders", "drift before", "drift after", "cash after", "gap"),
    )
    _tell_of_more(items, limit)


def _result_row(item: Item) -> tuple[object, ...]:
    result = json.loads(item.result) if item.result else {}
    return (
        item.portfolio_id,
        item.state,
        item.reason,
        len(result["orders"]) if "orders" in result else None,
        result.get("drift_before"),
        result.get("drift_after"),
        result.get("cash_after"),
        (result.get("proof") or {}).get("gap"),
    )


# ------------------------------------------------------------------------------------------------ orders

_ORDER_COLUMNS = ("portfolio", "outcome", "side", "security", "ticker", "quantity", "price", "notional")


def _of_job(bodies: Iterator[bytes], job: str | None) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for body in bodies:
        document = json.loads(body)
        if job is None or document.get("job_id") == job:
            yield body, document


def _print_orders(bodies: Iterator[tuple[bytes, dict[str, Any]]], *, follow: bool, as_json: bool) -> None:
    """A table has to know all its rows first; what is followed is told line by line."""
    if as_json:
        for body, _ in bodies:
            print_line(body)
        return
    rows = (row for _, document in bodies for row in _order_rows(document))
    if not follow:
        print_table(_ORDER_COLUMNS, rows, right=("quantity", "price", "notional"))
        return
    for row in rows:
        print_line("  ".join(clean(cell) for cell in row if cell is not None))


def _order_rows(document: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    head = (document["portfolio_id"], document["outcome"])
    for order in document["orders"]:
        yield (
            *head,
            *(order.get(name) for name in ("side", "security_id", "ticker", "quantity", "price", "notional")),
        )
    if not document["orders"]:
        yield (*head, document["reason"], None, None, None, None, None)
