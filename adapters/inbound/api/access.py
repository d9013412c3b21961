"""Who may call what. Every route names the role it needs; a route that names none keeps the application from starting."""

from collections.abc import Collection, Iterable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Protocol

import structlog
from fastapi import Depends, HTTPException, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute

from adapters.inbound.api.rate import Limiter
from adapters.inbound.keys import ApiKey, Role
from adapters.inbound.strict_json import printable
from domain.errors import Busy, Invalid

# What keeps us running asks without a key, and learns nothing from the answers.
OPEN_TO_ALL = frozenset({"/health/live", "/health/ready"})

RATE_LIMITED = "rate_limited"
ANYBODY = "anybody (no keys)"  # who calls where nobody has to say who they are

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="trimtab"'}
_bearer = HTTPBearer(
    scheme_name="api_key",
    bearerFormat="trimtab_<id>_<secret>",
    description="A key made with `trimtab keys add`. The scope of a call is the role its key needs.",
    auto_error=False,
)
_log = structlog.get_logger(__name__)


class Keys(Protocol):
    def find(self, text: str) -> ApiKey | None:
        """The key that this text is; None: nobody's."""

    def standing(self, key_id: str) -> ApiKey | None:
        """The key of this public id, of whoever showed it before; None: unknown, revoked or expired by now."""


class Access:
    """The guard before every route. Without keys everybody may do everything: whoever wires it has to mean it."""

    def __init__(self, keys: Keys | None, limiter: Limiter | None) -> None:
        self._keys = keys
        self._limiter = limiter

    def needs(self, role: Role) -> Sequence[Any]:
        """The ``dependencies`` of a route. They stand before its own: a stranger's body is not even read."""
        return [Security(self._check, scopes=[role]), Depends(_only_known_parameters)]

    async def _check(
        self,
        request: Request,
        needed: SecurityScopes,
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> None:
        request.state.who = ANYBODY
        roles = [Role(scope) for scope in needed.scopes]
        if self._keys is not None:
            key = self._known(self._keys, given)
            structlog.contextvars.bind_contextvars(api_key=key.key_id)
            request.state.who = key.label
            await self.within_rate(key)
            for role in roles:
                if not key.may(role):
                    raise HTTPException(
                        HTTPStatus.FORBIDDEN, f"needs the role {role}, and this key has {_words(key)}"
                    )
        if Role.READ not in roles:
            _log.info("api.action", method=request.method, path=printable(request.url.path, 300))

    @staticmethod
    def _known(keys: Keys, given: HTTPAuthorizationCredentials | None) -> ApiKey:
        if given is None:
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED, "send an API key: Authorization: Bearer trimtab_...", _CHALLENGE
            )
        key = keys.find(given.credentials)
        if key is None:  # not which: wrong, revoked and expired look alike from outside
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "this API key is not valid", _CHALLENGE)
        return key

    async def within_rate(self, key: ApiKey) -> None:
        """Count one call of this key. Raises Busy: it calls too often."""
        if self._limiter is None:
            return
        wait = await run_in_threadpool(self._limiter.wait, key.key_id)
        if wait > 0:
            raise Busy("this key calls too often", code=RATE_LIMITED, retry_after_seconds=round(wait, 3))


def _words(key: ApiKey) -> str:
    return ", ".join(sorted(key.roles))


async def _only_known_parameters(request: Request) -> None:
    """A misspelt filter would be ignored, and everything answered: worse than a refusal."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        name = printable(unknown[0])
        raise Invalid(
            f"no parameter is called {name!r} here",
            details=({"field": name, "message": f"known are {', '.join(sorted(known)) or 'none'}"},),
        )


def role_of(route: APIRoute) -> Role | None:
    """The role a route needs; None: it names none."""
    scopes = [scope for each in route.dependencies for scope in getattr(each, "scopes", None) or ()]
    return Role(scopes[0]) if scopes else None


def require_roles(routes: Iterable[BaseRoute], open_to_all: Collection[str] = OPEN_TO_ALL) -> None:
    """Raises RuntimeError: a route says neither which role it needs nor that it is open to all."""
    naked = [
        route.path
        for route in routes
        if isinstance(route, APIRoute) and role_of(route) is None and route.path not in open_to_all
    ]
    if naked:
        raise RuntimeError(f"who may call these? {', '.join(naked)}")
