"""The page over a world of fakes: a client that is a browser, and a little reading of what it got."""

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from adapters.inbound.api import ApiOptions, create_app
from adapters.inbound.api.edge import Edge
from adapters.inbound.api.errors import ErrorWriter
from adapters.inbound.page import page_router
from domain.errors import UpstreamFault
from domain.job import Job
from tasks.services import Services
from tests.support import builders
from tests.support.world import World

ORIGIN = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}


@contextmanager
def browser(services: Services, *, whole: bool = False, **options: Any) -> Iterator[TestClient]:
    """``whole``: beside the API, as it is served. Without it an application is made in a tenth of the time."""
    given = ApiOptions(version="9.9.9", **options)
    page = page_router(services, given)
    app = create_app(services, given, beside=[page]) if whole else _alone(services, given, page)
    with TestClient(app, follow_redirects=False) as client:
        yield client


def _alone(services: Services, options: ApiOptions, page: APIRouter) -> FastAPI:
    app = FastAPI(openapi_url=None)
    errors = ErrorWriter(options, services.clock)
    errors.install(app)
    app.add_middleware(Edge, new_id=options.new_id, last_resort=errors)
    app.include_router(page)
    return app


def press(client: TestClient, path: str, fields: Mapping[str, str] | None = None, **more: str) -> Any:
    """A button of the page, as a browser sends it."""
    headers = {**ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
    return client.post(path, content=urlencode({**(fields or {}), **more}), headers=headers)


def log_in(client: TestClient, key: str, back: str = "/") -> Any:
    return press(client, "/login", key=key, back=back)


def text_of(answer: Any) -> str:
    """What people read of a page, on one line."""
    bare = re.sub(r"<[^>]*>", " ", answer.text)
    return re.sub(r"\s+", " ", html.unescape(bare))


def broken_job(world: World, *, portfolios: int = 4, broken: tuple[int, ...] = (2,), key: str = "k1") -> Job:
    """A job that is over, where these portfolios failed; mended afterwards."""
    for number in broken:
        world.upstreams.broken[builders.portfolio_id(number)] = UpstreamFault(
            "accounting", "<h1>nonsense</h1>"
        )
    job = world.finish(world.submit(key))
    world.upstreams.broken.clear()
    return job
