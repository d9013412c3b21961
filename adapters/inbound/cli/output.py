"""What goes to standard output and what to standard error, and how it looks with and without a terminal."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from domain.errors import (
    BrokerUnavailable,
    Busy,
    Invalid,
    KeyReused,
    NotFound,
    TrimtabError,
    UpstreamUnavailable,
)

MAX_INPUT_BYTES = 64 * 1024 * 1024
_DETAILS_SHOWN = 10
_PIPED_WIDTH = 1000  # a table in a pipe is never folded

_P = ParamSpec("_P")
_R = TypeVar("_R")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]


class Exit(IntEnum):
    """What a script can rely on."""

    OK = 0
    FAILED = 1  # the job ended with errors or was cancelled; a line could not be solved; a check is red
    USAGE = 2  # wrong input, or a part that is out: nothing was done


_REMEDIES: Mapping[type[TrimtabError], str] = {
    Invalid: "",  # these three say in their message what must be otherwise
    NotFound: "",
    Busy: "",
    KeyReused: "take another --key, or send the very same request again",
    UpstreamUnavailable: "'trimtab doctor' shows what is out",
    BrokerUnavailable: "start one ('trimtab up'), or set TRIMTAB_BROKER_URL; 'trimtab doctor' checks every part",
    TrimtabError: "'trimtab doctor' checks every part",
}
_REMEDIES_BY_CODE: Mapping[str, str] = {
    "model_not_found": "'trimtab models list' shows what there is",
    "job_not_found": "'trimtab jobs' shows what there is",
    "schedule_not_found": "'trimtab schedule list' shows what there is",
}


def guarded(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """What a command raises in our own words becomes one line on standard error, and status 2."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except TrimtabError as error:
            complain(error)
        raise typer.Exit(Exit.USAGE)

    return run


def complain(error: TrimtabError) -> None:
    """The error and what to do about it; each fault of an input where there are several."""
    say(f"error: {error}{_remedy(error)}")
    details = error.details if isinstance(error, Invalid) else ()
    if len(details) > 1:
        for detail in details[:_DETAILS_SHOWN]:
            say(f"  {detail['field'] or '(document)'}: {detail['message']}")
        if len(details) > _DETAILS_SHOWN:
            say(f"  and {len(details) - _DETAILS_SHOWN} more")


def _remedy(error: TrimtabError) -> str:
    by_kind = next(_REMEDIES[kind] for kind in type(error).__mro__ if kind in _REMEDIES)
    remedy = _REMEDIES_BY_CODE.get(error.code, by_kind)
    return f"; {remedy}" if remedy else ""


# ------------------------------------------------------------------------------------------------ writing


def clean(value: object) -> str:
    """Text from outside as one harmless line: no control sequences reach a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def say(line: str) -> None:
    """A line for people on standard error: standard output carries results only."""
    typer.echo(clean(line), err=True)


def print_line(line: str | bytes) -> None:
    """One line of output, out at once so that a reader behind a pipe sees it."""
    text = line.decode() if isinstance(line, bytes) else line
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def console(*, error: bool = False) -> Console:
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()
) -> None:
    """The first column is an id and stays whole; those named in ``right`` hold numbers.

    Without a terminal: plain aligned text, one row a line.
    """
    screen = console()
    table = Table(box=SIMPLE_HEAD if screen.is_terminal else None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column == columns[0],
        )
    for row in rows:
        table.add_row(*("" if cell is None else clean(cell) for cell in row))
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as captured:
        screen.print(table)
    for line in captured.get().splitlines():
        print_line(line.rstrip())


# ------------------------------------------------------------------------------------------------ reading


def read_input(source: str) -> bytes:
    """A whole file, or standard input for ``-``.

    Raises:
        Invalid: it cannot be read.
    """
    try:
        if source == "-":
            return sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        with Path(source).open("rb") as file:
            return file.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise unreadable(source, error) from None


def unreadable(source: str, error: OSError) -> Invalid:
    return Invalid(f"cannot read {source}: {error.strerror or error}", code="unreadable")
