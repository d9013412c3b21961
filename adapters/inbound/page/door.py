"""Who looks at the page, and what they may do. An API key shown once becomes a session in the browser.

A session is a signed cookie: the key's public id and the moment it ends. Every request asks whether the key still
stands, so a revoked key ends its sessions, and a role that was taken away is gone. Nothing is stored on either side.
Without API keys everybody is let in, as the API does.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import SecurityScopes
from starlette.responses import Response

from adapters.inbound.api.access import ANYBODY, Access, Keys
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import ApiKey, Role
from adapters.inbound.strict_json import printable
from domain.ports import Clock

COOKIE: Final = "trimtab_session"
# Reached without a session: they show nothing of what is inside.
DOORSTEP: Final = frozenset({"/login", "/logout", "/static/{name}"})
LOGIN: Final = "/login"

_SESSION = re.compile(r"([0-9a-f]{12})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)
_FORM = "application/x-www-form-urlencoded"
_MAX_FORM_BYTES = 16 * 1024
_MAX_FIELDS = 32
_REFUSED = "a change must come from this page itself"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks. Without a key: anybody, who may do everything."""

    key: ApiKey | None

    def may(self, role: Role) -> bool:
        return self.key is None or self.key.may(role)

    @property
    def who(self) -> str:
        return ANYBODY if self.key is None else self.key.label


class Sessions:
    """Makes and reads the cookie's value. What is signed names the key's hash, too: an id is nothing without it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def made(self, key: ApiKey, ends: datetime) -> str:
        head = f"{key.key_id}.{int(ends.timestamp())}"
        return f"{head}.{self._signed(head, key)}"

    def key_of(self, cookie: str, keys: Keys, now: datetime) -> ApiKey | None:
        """Whose session it is. None: we did not make it, it has ended, or its key stands no more."""
        match = _SESSION.fullmatch(cookie)
        key = keys.standing(match[1]) if match else None
        if match is None or key is None:
            return None
        key_id, ends, signature = match.groups()
        signed = hmac.compare_digest(signature, self._signed(f"{key_id}.{ends}", key))
        return key if signed and now < datetime.fromtimestamp(int(ends), UTC) else None

    def _signed(self, head: str, key: ApiKey) -> str:
        digest = hmac.digest(self._secret, f"trimtab.session.v1|{head}|{key.sha256}".encode(), sha256)
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


class Door:
    """The guard before every route of the page."""

    def __init__(self, options: ApiOptions, clock: Clock) -> None:
        self._keys = options.keys
        self._clock = clock
        self._lasts = options.page_session
        self._sessions = Sessions(options.page_secret)
        self._access = Access(options.keys, options.limiter)

    @property
    def has_keys(self) -> bool:
        return self._keys is not None

    # -- before a route

    def needs(self, role: Role) -> Sequence[Any]:
        """The ``dependencies`` of a route that shows something."""
        return [Security(self._check, scopes=[role])]

    def changes(self, role: Role) -> Sequence[Any]:
        """The ``dependencies`` of a route that changes something: it must have been asked for by this very page."""
        return [Depends(from_this_page), Security(self._check, scopes=[role])]

    async def _check(self, request: Request, needed: SecurityScopes) -> None:
        viewer = self.viewer(request)
        if viewer is None:
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "log in with an API key")
        request.state.viewer = viewer
        if viewer.key is not None:
            structlog.contextvars.bind_contextvars(api_key=viewer.key.key_id)
            await self._access.within_rate(viewer.key)
        for role in needed.scopes:
            if not viewer.may(Role(role)):
                raise HTTPException(HTTPStatus.FORBIDDEN, f"this needs the role {role}")
        if Role.READ not in needed.scopes:
            _log.info(
                "page.action",
                method=request.method,
                path=printable(request.url.path, 300),
                who=viewer.who,
            )

    def viewer(self, request: Request) -> Viewer | None:
        """Who sent this request; None: a stranger. Cheap: it is asked again all through a stream of events."""
        if self._keys is None:
            return Viewer(None)
        key = self._sessions.key_of(request.cookies.get(COOKIE, ""), self._keys, self._clock.now())
        return None if key is None else Viewer(key)

    # -- in and out

    def let_in(self, text: str, request: Request, answer: Response) -> bool:
        """Give the browser a session if this is a key that may look. What was sent is never told or logged."""
        key = None if self._keys is None else self._keys.find(text.strip())
        if key is None or not key.may(Role.READ):
            _log.warning("page.login_refused", api_key=None if key is None else key.key_id)
            return False
        now = self._clock.now()
        ends = now + self._lasts
        if key.expires_at is not None:
            ends = min(ends, key.expires_at)
        answer.set_cookie(
            COOKIE,
            self._sessions.made(key, ends),
            max_age=max(int((ends - now).total_seconds()), 0),
            path="/",
            secure=_by_tls(request),
            httponly=True,
            samesite="strict",
        )
        _log.info("page.login", api_key=key.key_id, until=ends.isoformat())
        return True

    def let_out(self, request: Request, answer: Response) -> None:
        viewer = self.viewer(request)
        if viewer is not None and viewer.key is not None:
            _log.info("page.logout", api_key=viewer.key.key_id)
        answer.delete_cookie(COOKIE, path="/", secure=_by_tls(request), httponly=True, samesite="strict")


def from_this_page(request: Request) -> None:
    """Beside the cookie's SameSite: an origin that may call the API, or a sibling's host, may not press our buttons."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    same = origin is not None and urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    if site not in {None, "same-origin"} or not same:
        raise HTTPException(HTTPStatus.FORBIDDEN, _REFUSED)


def _by_tls(request: Request) -> bool:
    """Whether the browser came by TLS, which ends before us. A lie about it touches the liar's own cookie only."""
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "").lower()}


def login_path(request: Request) -> str:
    """Where to log in, and to come back from. Only what was looked at is come back to, never what was done."""
    if request.method != "GET":
        return LOGIN
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return LOGIN if asked == "/" else f"{LOGIN}?back={quote(asked, safe='')}"


def way_back(asked: str) -> str:
    """A path of this page to go to after login: nothing that a browser could take for another place."""
    ours = asked.startswith("/") and not asked.startswith(("//", "/\\"))
    return asked if ours and asked.isascii() and asked.isprintable() and "\\" not in asked else "/"


async def form(request: Request) -> dict[str, str]:
    """The fields of a form, each once. Small ones only: a page of ours sends nothing large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the form of this page")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no form of this page is so large")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:  # not UTF-8, or too many
        raise HTTPException(HTTPStatus.BAD_REQUEST, "this is no form of this page") from None
    return dict(fields)
