"""``trimtab solve``: a document in, the answer out. No service, no store, no network."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import structlog
import typer

from adapters.inbound.cli.output import (
    MAX_INPUT_BYTES,
    Exit,
    guarded,
    print_line,
    read_input,
    say,
    unreadable,
)
from adapters.inbound.cli.wiring import Wiring
from adapters.inbound.payloads import parse_solve
from adapters.inbound.strict_json import too_large
from domain.checks import StatedValueRange
from domain.errors import Invalid, TrimtabError
from domain.ports import Solver
from domain.rebalance import rebalance
from tasks.documents import encode, rebalance_document

log = structlog.get_logger(__name__)


def add_solve_command(app: typer.Typer, wiring: Wiring) -> None:
    """``solve``."""

    @app.command()
    @guarded
    def solve(
        file: Annotated[str, typer.Argument(metavar="FILE", help="The document; - for standard input.")],
        *,
        jsonl: Annotated[
            bool, typer.Option("--jsonl", help="One document a line, one answer a line.")
        ] = False,
    ) -> None:
        """Rebalance what a document holds: portfolio, model, prices, policy.

        With --jsonl a line that cannot be solved is answered by an error on its own line, the others go on,
        and the status is 1 at the end.
        """
        solver = wiring.solver()
        if not jsonl:
            print_line(solve_document(read_input(file), solver))
            return
        failed = 0
        for number, line in _lines(file):
            answer, good = _answer(number, line, solver)
            print_line(answer)
            failed += not good
        if failed:
            say(f"{failed} lines could not be solved; their answers say why")
            raise typer.Exit(Exit.FAILED)


def solve_document(body: bytes, solver: Solver) -> bytes:
    """The answer to one solve document, as JSON bytes.

    Raises:
        Invalid: the document cannot be read or breaks a rule.
        SolverFailed: no answer was found that can be used.
    """
    document = parse_solve(body, max_bytes=MAX_INPUT_BYTES)
    answer = rebalance(
        document.portfolio.portfolio_id,
        document.portfolio,
        document.model,
        document.prices,
        document.policy,
        solver,
        StatedValueRange(),
    )
    return encode(rebalance_document(answer))


def _answer(number: int, line: bytes | None, solver: Solver) -> tuple[bytes | str, bool]:
    """The answer to a line, and whether it is one; never an exception, for the others are to be solved all the same."""
    try:
        return solve_document(_whole(line), solver), True
    except TrimtabError as error:
        details = error.details if isinstance(error, Invalid) else ()
        return _fault(number, error.code, str(error), details), False
    except Exception as error:  # the boundary: whatever one line meets, it is told in its place
        log.exception("solve.line_failed", line=number, advice="a bug: report it, with the document")
        return _fault(number, "internal_error", f"{type(error).__name__}: {error}"), False


def _whole(line: bytes | None) -> bytes:
    if line is None:
        raise too_large(MAX_INPUT_BYTES)
    return line


def _fault(number: int, code: str, message: str, details: Iterable[object] = ()) -> str:
    fault = {"code": code, "message": message, "details": list(details)}
    return json.dumps({"line": number, "error": fault}, default=str)


def _lines(source: str) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines that are not blank; None for one beyond the limit, whose rest is skipped."""
    try:
        if source == "-":
            yield from _split(sys.stdin.buffer)
        else:
            with Path(source).open("rb") as file:
                yield from _split(file)
    except OSError as error:
        raise unreadable(source, error) from None


def _split(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    number = 0
    while line := stream.readline(MAX_INPUT_BYTES + 1):
        number += 1
        if len(line) > MAX_INPUT_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_INPUT_BYTES)
            yield number, None
        elif line.strip():
            yield number, line
