"""Tables from CSV and JSON files, read so that every fault can be named by its file and line.

CSV: UTF-8, a header line, commas. JSON: a list of objects with the same names. Columns nobody asks for are
ignored. Spaces around a CSV field do not count.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Generic, TypeVar

from adapters.upstream.payloads import exact_decoder
from domain.errors import Invalid, UpstreamFault, UpstreamUnavailable
from domain.money import parse_decimal

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a file. A field is text in a CSV file and any JSON value in a JSON file."""

    line: int
    fields: Mapping[str, object]

    def has(self, column: str) -> bool:
        """Whether the field is there and not empty."""
        return self.fields.get(column) not in (None, "")

    def text(self, column: str) -> str:
        """The field as text, "" when it is not there.

        Raises:
            Invalid: it is something else.
        """
        value = self.fields.get(column, "")
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Invalid(f"{column} is {value!r}, not text")
        return value

    def required(self, column: str) -> str:
        """The field as text.

        Raises:
            Invalid: it is missing, empty or something else.
        """
        text = self.text(column)
        if not text:
            raise Invalid(f"{column} is missing")
        return text

    def number(self, column: str) -> Decimal:
        """The field as an exact number.

        Raises:
            Invalid: it is missing or no number.
        """
        if not self.has(column):
            raise Invalid(f"{column} is missing")
        try:
            return parse_decimal(self.fields[column])
        except Invalid as exc:
            raise Invalid(f"{column}: {exc}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file's records. ``service`` is what the file stands in for, as errors name it."""

    service: str
    path: Path
    records: Sequence[Record]

    def read(self, take: Callable[[Record], None]) -> None:
        """Hand over each record; what is Invalid about one is raised with the file and line before it.

        Raises:
            UpstreamFault: a record is invalid.
        """
        for record in self.records:
            try:
                take(record)
            except Invalid as exc:
                raise fault(self.service, self.path, record.line, str(exc)) from exc


class FileSource(Generic[T]):
    """What is parsed from one file, kept until the file changes.

    Raises:
        UpstreamUnavailable: the file cannot be read (now; it may be put there later).
        UpstreamFault: its content cannot be used; file and line are named.
    """

    def __init__(self, service: str, path: Path, parse: Callable[[Table], T]) -> None:
        self._service = service
        self._path = path
        self._parse = parse
        self._seen: tuple[tuple[int, int, int], T] | None = None

    def get(self) -> T:
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._seen is not None and self._seen[0] == stamp:
                return self._seen[1]
            content = self._path.read_bytes()
        except OSError as exc:
            raise UpstreamUnavailable(self._service, f"{self._path}: {exc.strerror}") from exc
        parsed = self._parse(_table(self._service, self._path, content))
        self._seen = (stamp, parsed)
        return parsed


def fault(service: str, path: Path, line: int, message: str) -> UpstreamFault:
    return UpstreamFault(service, f"{path}:{line}: {message}")


def _table(service: str, path: Path, content: bytes) -> Table:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UpstreamFault(service, f"{path}: a file of kind {path.suffix or 'none'!r}: give .csv or .json")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise fault(service, path, line, "not UTF-8 text") from exc
    try:
        return Table(service=service, path=path, records=list(reader(text)))
    except _Malformed as exc:
        raise fault(service, path, exc.line, str(exc)) from exc


class _Malformed(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


# ------------------------------------------------------------------------------------------------ CSV


def _csv_records(text: str) -> Iterator[Record]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_header(header)
        for row in rows:
            if len(row) not in {0, len(header)}:
                raise _Malformed(rows.line_num, f"{len(row)} fields, but the header has {len(header)}")
            if row:
                values = (value.strip() for value in row)
                yield Record(rows.line_num, dict(zip(header, values, strict=True)))
    except csv.Error as exc:
        raise _Malformed(rows.line_num, f"not CSV: {exc}") from exc


def _check_header(header: Sequence[str]) -> None:
    if not header:
        raise _Malformed(1, "the file is empty: its first line names the columns")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise _Malformed(1, f"column {twice[0]!r} comes twice")


# ------------------------------------------------------------------------------------------------ JSON


def _json_records(text: str) -> Iterator[Record]:
    """The elements of a list, one by one, so that each knows the line it begins on."""
    decoder = exact_decoder()
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise _Malformed(1, "not a JSON list of objects")
    at = _skip(text, at + 1)
    line, counted = 1, 0
    more = text[at : at + 1] != "]"
    while more:
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as exc:
            raise _Malformed(exc.lineno, f"not JSON: {exc.msg}, column {exc.colno}") from exc
        except (ValueError, RecursionError) as exc:
            raise _Malformed(line, str(exc)) from exc
        if not isinstance(value, dict):
            raise _Malformed(line, f"{value!r} is not an object")
        yield Record(line, value)
        at = _skip(text, at)
        more = text[at : at + 1] == ","
        at = _skip(text, at + 1) if more else at
    if text[at : at + 1] != "]" or text[at + 1 :].strip():
        raise _Malformed(text.count("\n", 0, at) + 1, "not JSON: the list does not end here as it should")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


_READERS: Mapping[str, Callable[[str], Iterator[Record]]] = {".csv": _csv_records, ".json": _json_records}
