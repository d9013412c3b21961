"""``trimtab bench``: run suites, show their rows, keep them in a file, and say whether every goal was reached."""

import importlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console

from adapters.inbound.cli.wiring import BenchOptions
from domain.errors import Invalid
from worker.bench.capacity import capacity
from worker.bench.failed import BenchFailed
from worker.bench.report import markdown, read_rows, table, write_rows
from worker.bench.rows import Row
from worker.children import StackFailed

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A module with ``rows(rounds: int = ...) -> Iterator[Row]``, and what else it is told.

    ``quick`` and ``full``: with these options. ``mongodb``: it takes the URL of a server, as ``mongodb_url``.
    """

    module: str
    quick: Mapping[str, object] = field(default_factory=lambda: {"rounds": 1})
    full: Mapping[str, object] = field(default_factory=dict)
    mongodb: bool = False

    def rows(self, options: BenchOptions) -> Iterator[Row]:
        """Imported only now: the commands need not pay for what a benchmark uses."""
        run: Callable[..., Iterator[Row]] = importlib.import_module(self.module).rows
        told = {**(self.quick if options.quick else {}), **(self.full if options.full else {})}
        if self.mongodb and options.mongodb_url is not None:
            told["mongodb_url"] = options.mongodb_url
        return run(**told)


# In the order in which ``all`` runs them.
SUITES: Mapping[str, Suite] = {
    "solve": Suite(module="worker.bench.solve", quick={"rounds": 1}),
    "protocol": Suite(module="worker.bench.protocol", quick={"rounds": 1, "scale": 0.2}, mongodb=True),
    "pipeline": Suite(module="worker.bench.pipeline", quick={"rounds": 1, "seconds": 1.0, "counted": 50}),
    "scale": Suite(module="worker.bench.scale", quick={"rounds": 1, "worked": 100}, full={"full": True}),
    "intake": Suite(module="worker.bench.intake", quick={"rounds": 1, "requests": 40}),
    "extended": Suite(module="worker.bench.extended", quick={"rounds": 1}),
}


def bench(options: BenchOptions, suites: Mapping[str, Suite] = SUITES) -> int:
    """The exit status: 1 when a goal was missed, or a suite could not be measured.

    Raises:
        Invalid: no such suite, or a file that cannot be read or written.
    """
    if options.what in _OF_FILES:
        return _OF_FILES[options.what](options)
    if options.files:
        raise Invalid(f"files are for {', '.join(_OF_FILES)}; rows are written with --json FILE")
    with _sigterm_as_ctrl_c():
        return _measure(options, _chosen(options.what, suites))


def _chosen(what: str, suites: Mapping[str, Suite]) -> Mapping[str, Suite]:
    if what == ALL:
        return suites
    if what not in suites:
        names = ", ".join([*suites, ALL, *_OF_FILES])
        raise Invalid(f"nothing to measure is named {what!r}: there are {names}", code="unknown_suite")
    return {what: suites[what]}


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """So that whatever ends us, every stack is taken down and leaves no folder behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------------------------------------ measuring


def _measure(options: BenchOptions, suites: Mapping[str, Suite]) -> int:
    """What was measured is shown, and stands in the file, even when a later suite fails."""
    people, failed, rows = Console(stderr=True), False, []
    for name, suite in suites.items():
        began = time.monotonic()
        people.print(f"{name} ...", style="dim")
        try:
            measured = list(suite.rows(options))
        except (BenchFailed, StackFailed, TimeoutError) as error:
            people.print(f"{name}: {error}", style="red", markup=False, soft_wrap=True)
            failed = True
            continue
        rows += measured
        _console().print(table(f"{name} ({time.monotonic() - began:.0f} s)", measured))
        if options.json_file is not None:
            write_rows(options.json_file, rows)
    return _end(rows, people) or int(failed)


def _end(rows: list[Row], people: Console) -> int:
    goals = [row for row in rows if row.goal is not None]
    missed = [row for row in goals if not row.ok]
    people.print(f"{len(goals) - len(missed)} of {len(goals)} goals reached")
    for row in missed:
        people.print(f"  missed: {row.suite}: {row.name}", style="red", markup=False, soft_wrap=True)
    return 1 if missed else 0


# ------------------------------------------------------------------------------------------------ of files


def _plot(options: BenchOptions) -> int:
    from worker.bench.plot import plot  # noqa: PLC0415 - an optional library

    for path in plot(_rows_of(options), options.images or options.files[0].parent):
        _console().print(str(path), soft_wrap=True)
    return 0


def _table(options: BenchOptions) -> int:
    """As text that a page can hold, never folded."""
    sys.stdout.write(f"{markdown(_rows_of(options))}\n")
    return 0


def _capacity(options: BenchOptions) -> int:
    sys.stdout.write(f"{capacity(_rows_of(options))}\n")
    return 0


_OF_FILES: Mapping[str, Callable[[BenchOptions], int]] = {
    "plot": _plot,
    "table": _table,
    "capacity": _capacity,
}


def _rows_of(options: BenchOptions) -> list[Row]:
    if not options.files:
        raise Invalid(f"{options.what} needs a file that 'trimtab bench --json FILE' wrote")
    return [row for path in options.files for row in read_rows(path)]


def _console() -> Console:
    """Not folded where nobody looks."""
    console = partial(Console, highlight=False, markup=False)
    return console() if sys.stdout.isatty() else console(width=160)
