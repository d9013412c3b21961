"""Templates to answers: everything escaped, no script or style that is not a file of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from fastapi import HTTPException
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

HERE: Final = Path(__file__).parent

# Over the API's own headers. The referrer policy is not "no-referrer": that makes a browser hide a form's origin.
HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
)
_MEDIA: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_A_YEAR: Final = "public, max-age=31536000, immutable"

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a page that is sent anew when it changed."""

    version: str
    html: str


class Static:
    """The files beside the templates, read once. Their version is in their address, so browsers keep them."""

    def __init__(self) -> None:
        self._files = {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir())}
        self._versions = {name: _hash(body) for name, body in self._files.items()}

    def path(self, name: str) -> str:
        return f"/static/{name}?v={self._versions[name]}"

    def answer(self, name: str) -> Response:
        if name not in self._files:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such file")
        media = _MEDIA[Path(name).suffix]
        return Response(self._files[name], media_type=media, headers={**HEADERS, "Cache-Control": _A_YEAR})


class Pages:
    """The templates, and how times and numbers are written in them."""

    def __init__(self, version: str) -> None:
        self.static = Static()
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            moment=moment, took=took, grouped=grouped, money=money, percent=percent, words=words
        )
        self._templates.globals.update(static=self.static.path, link=link, version=version)

    def answer(
        self,
        template: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] = HEADERS,
        **shown: object,
    ) -> Response:
        """A whole page."""
        text = self._templates.get_template(template).render(shown)
        return HTMLResponse(text, status, {**HEADERS, **headers})

    def region(self, template: str, **shown: object) -> Region:
        """A part of one."""
        html = self._templates.get_template(template).render(shown).strip()
        return Region(_hash(html.encode()), html)


def _hash(body: bytes) -> str:
    return sha256(body).hexdigest()[:16]


# ------------------------------------------------------------------------------------------------ filters


def link(path: str, **query: object) -> str:
    """A path with its query; what is None or empty is left out."""
    given = {name: str(value) for name, value in query.items() if value not in {None, ""}}
    return f"{path}?{urlencode(given)}" if given else path


def moment(at: datetime | None) -> str:
    """``2026-11-30 21:00:04``, UTC."""
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%S")


def took(length: timedelta | float | None) -> str:
    """A length of time in its two largest units: ``3 min 20 s``, ``4.1 s``, ``12 ms``."""
    if length is None:
        return ""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if 0 < seconds < 1:
        return f"{max(round(seconds * 1000), 1)} ms"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    left, parts = int(seconds), list[str]()
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def grouped(number: float) -> str:
    """``1 234 567``, with spaces that do not break."""
    return f"{number:,.0f}".replace(",", "\u00a0")


def money(text: str | None) -> str:
    """An exact amount as it was stored, its thousands set apart and at least two decimals shown."""
    if text is None:
        return "\u2013"
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    places = max(2, -int(value.as_tuple().exponent)) if value.is_finite() else 2
    return f"{value:,.{places}f}".replace(",", "\u00a0")


def percent(text: str | Decimal | float) -> str:
    """A weight as a percentage with two decimals."""
    return f"{Decimal(str(text)) * 100:.2f}\u00a0%"


def words(code: str) -> str:
    """A stable word for machines as one for people: ``no_trade`` is "no trade"."""
    return code.replace("_", " ")
