"""Bytes from outside to plain Python values: every number exact, every fault an ``Invalid``.

The JSON readers of pydantic-core and orjson go through a binary float and lose digits of a JSON number
(``1234567890.123456789``); the standard library hands the text of a number over, and a Decimal keeps it.
"""

import json
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from domain.errors import Invalid

TOO_LARGE = "too_large"
MALFORMED = "malformed_json"

_MAX_NUMBER_CHARACTERS = 80  # 34 digits, a point, signs and an exponent, with room for zeros around them
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _RefusedError(ValueError):
    """JSON that the grammar allows and this reader does not. The message is for the caller."""


def load(body: bytes, *, max_bytes: int) -> object:
    """Parse one JSON document in UTF-8. Fractions and exponents become Decimal, whole numbers int.

    Raises:
        Invalid: larger than ``max_bytes`` (code ``too_large``); not UTF-8, not JSON, a name twice in one
            object, NaN or Infinity, a number or a nesting beyond any use (code ``malformed_json``).
    """
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    if body.startswith(_BYTE_ORDER_MARK):
        raise _malformed("it starts with a byte order mark: send UTF-8 without one")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8: byte {error.start} cannot be decoded") from None
    if not text.strip():
        raise _malformed("it is empty")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except _RefusedError as error:
        raise _malformed(str(error)) from None
    except RecursionError:
        raise _malformed("it is nested too deeply") from None


def too_large(max_bytes: int) -> Invalid:
    return Invalid(f"the body is larger than {max_bytes} bytes", code=TOO_LARGE)


def printable(text: str, limit: int = 100) -> str:
    """A caller's text made safe to give back: printable ASCII, bounded."""
    cut = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape", "replace").decode() for c in cut)


def _malformed(cause: str) -> Invalid:
    return Invalid(f"the body is not usable JSON: {cause}", code=MALFORMED)


def _whole(text: str) -> int:
    _bounded(text)
    return int(text)


def _fraction(text: str) -> Decimal:
    _bounded(text)
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of 20 digits
        raise _RefusedError(f"the number {printable(text)} is out of range") from None


def _bounded(text: str) -> None:
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise _RefusedError(f"a number of {len(text)} characters; no field holds that many")


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not a number; leave the field out or send a finite one")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    for name in members:
        if not name.isascii():  # none of ours has any; half a surrogate pair could not even be told back
            raise _RefusedError(f"no field is called {printable(name)!r}")
    if len(members) != len(pairs):
        doubled, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _RefusedError(f"the name {printable(doubled)!r} appears twice in one object")
    return members


_DECODER = json.JSONDecoder(
    parse_float=_fraction, parse_int=_whole, parse_constant=_no_constant, object_pairs_hook=_unique
)
