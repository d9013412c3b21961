"""``trimtab compare``: policies side by side, as a table, as JSON, and a frontier as a picture."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from adapters.inbound.answers import ComparedAnswer, FrontierAnswer, WhatIfAnswer, what_if_answer
from adapters.inbound.cli.frontier_picture import draw_frontier
from adapters.inbound.cli.output import (
    MAX_INPUT_BYTES,
    AsJson,
    Exit,
    guarded,
    print_line,
    print_table,
    read_input,
    say,
)
from adapters.inbound.cli.wiring import Wiring
from adapters.inbound.payloads import parse_what_if
from domain.errors import Invalid
from domain.money import percent, plain
from tasks.compare import DO_NOTHING, FAILED
from tasks.what_if import WhatIf, what_if, what_if_whole

_PATIENCE_SECONDS = 3600.0  # whoever sits before it can interrupt it


def add_compare_command(app: typer.Typer, wiring: Wiring) -> None:
    """``compare``."""

    @app.command()
    @guarded
    def compare(
        file: Annotated[str, typer.Argument(metavar="FILE", help="A what-if as JSON; - for standard input.")],
        *,
        png: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Draw the frontier that the file asks for.")
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Compare policies on portfolios: drift, turnover, cost, orders, cash. Nothing is stored or published.

        With its model, portfolios and prices in the file no service is needed; what is left out is fetched. Status 1
        when a portfolio could not be solved.
        """
        question = parse_what_if(read_input(file), max_bytes=MAX_INPUT_BYTES)
        if png is not None and question.frontier is None:
            raise Invalid("--png draws a frontier, and the file asks for none", code="usage")
        answer = _answer(question, wiring)
        if png is not None and answer.frontier is not None:
            draw_frontier(answer.frontier, png)
            say(f"wrote {png}")
        if as_json:
            print_line(answer.json_text())
        else:
            _print(answer)
        failed = [row for row in answer.rows if row.outcome == FAILED and row.scenario != DO_NOTHING]
        if failed:
            say(f"{len(failed)} answers could not be found: {failed[0].reason}")
            raise typer.Exit(Exit.FAILED)


def _answer(question: WhatIf, wiring: Wiring) -> WhatIfAnswer:
    if question.is_whole:
        return what_if_answer(what_if_whole(question, wiring.solver()))
    with wiring.services() as services:
        return what_if_answer(what_if(question, services, seconds=_PATIENCE_SECONDS))


def _print(answer: WhatIfAnswer) -> None:
    numbers = ("drift", "of value", "turnover", "cost", "orders", "cash", "gap")
    print_table(("portfolio", "scenario", "outcome", *numbers), map(_row, answer.rows), right=numbers)
    if answer.frontier is not None:
        print_line("")
        _print_frontier(answer.frontier)


def _row(row: ComparedAnswer) -> Sequence[object]:
    ended = row.outcome if row.reason in {None, "rebalanced"} else f"{row.outcome} ({row.reason})"
    sums = (row.turnover, row.cost, row.orders, row.cash_after)
    return (
        row.portfolio_id,
        row.scenario,
        ended,
        _text(row.drift_after),
        _share(row.drift_after, row.market_value),
        *(each if isinstance(each, int) else _text(each) for each in sums),
        None if row.proof is None else plain(row.proof.gap),
    )


def _print_frontier(frontier: FrontierAnswer) -> None:
    numbers = (frontier.spent, "drift", "of value", "orders", "cash", "gap")
    print_table(
        ("max turnover", *numbers),
        (
            (
                "no limit" if point.max_turnover is None else percent(point.max_turnover),
                plain(point.spent),
                plain(point.drift),
                _share(point.drift, frontier.market_value),
                point.orders,
                plain(point.cash_after),
                plain(point.gap),
            )
            for point in frontier.points
        ),
        right=numbers,
    )
    left_out = (
        ("dominated", frontier.dominated),
        ("infeasible", frontier.infeasible),
        ("unfinished", frontier.unfinished),
    )
    say(", ".join(f"{count} {what}" for what, count in left_out))


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _share(part: Decimal | None, whole: Decimal | None) -> str | None:
    return None if part is None or not whole else percent(part, whole)
