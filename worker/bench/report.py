"""Rows as people and programs read them: a table, a list of JSON objects, a table for a page."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from domain.errors import Invalid
from worker.bench.rows import Better, Row

_COLUMNS = ("name", "value", "spread", "unit", "goal", "")
_SIGNS = {Better.LOWER: "≤", Better.HIGHER: "≥"}


class _RowDocument(msgspec.Struct, forbid_unknown_fields=True):
    """One row as it stands in a file. ``ok`` follows from the others and is there for readers without our code."""

    suite: str
    name: str
    value: float
    unit: str
    spread: float
    goal: float | None
    better: Better
    ok: bool


def document(row: Row) -> dict[str, Any]:
    """``{suite, name, value, unit, spread, goal, better: lower|higher, ok}``."""
    return {
        "suite": row.suite,
        "name": row.name,
        "value": row.value,
        "unit": row.unit,
        "spread": row.spread,
        "goal": row.goal,
        "better": row.better.value,
        "ok": row.ok,
    }


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A JSON list of `document`, one a line, in a folder that is made where it is missing.

    Raises:
        Invalid: the file cannot be written.
    """
    lines = ",\n".join(msgspec.json.encode(document(row)).decode() for row in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[\n{lines}\n]\n")
    except OSError as error:
        raise Invalid(f"cannot write {path}: {error.strerror or error}", code="unwritable") from None


def read_rows(path: Path) -> list[Row]:
    """What `write_rows` wrote.

    Raises:
        Invalid: it is no such file.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[_RowDocument])
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror or error}", code="unreadable") from None
    except ValueError as error:
        raise Invalid(f"{path} is no list of benchmark rows: {error}", code="no_rows") from None
    return [
        Row(
            suite=row.suite,
            name=row.name,
            value=row.value,
            unit=row.unit,
            better=row.better,
            spread=row.spread,
            goal=row.goal,
        )
        for row in found
    ]


# ------------------------------------------------------------------------------------------------ for people


def table(title: str, rows: Iterable[Row]) -> Table:
    """A pass or fail stands beside each goal; a row without one is a report."""
    shown = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in _COLUMNS:
        shown.add_column(
            column,
            justify="right" if column in {"value", "spread", "goal"} else "left",
            overflow="fold",
            no_wrap=column != "name",
        )
    for row in rows:
        shown.add_row(*_cells(row)[:-1], _verdict(row))
    return shown


def _verdict(row: Row) -> Text:
    word = _word(row)
    return Text(word, style={"pass": "green", "fail": "bold red"}.get(word, ""))


def markdown(rows: Sequence[Row]) -> str:
    """A table a suite, for a page."""
    lines: list[str] = []
    for suite in dict.fromkeys(row.suite for row in rows):
        lines += [f"### {suite}", "", f"| {' | '.join(_COLUMNS)} |", "|---|---:|---:|---|---:|---|"]
        lines += [f"| {' | '.join(_cells(row))} |" for row in rows if row.suite == suite]
        lines.append("")
    return "\n".join(lines).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    goal = "" if row.goal is None else f"{_SIGNS[row.better]} {figure(row.goal)}"
    return row.name, figure(row.value), f"± {figure(row.spread)}", row.unit, goal, _word(row)


def _word(row: Row) -> str:
    if row.goal is None:
        return ""
    return "pass" if row.ok else "fail"


def figure(value: float) -> str:
    """Three significant digits, or whole from 100 on: no benchmark knows more."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
