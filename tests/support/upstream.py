"""A scripted upstream behind real httpx, and options that do not make a test wait."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from adapters.upstream.breaker import Breaker
from adapters.upstream.http import Correlation, HttpService
from adapters.upstream.options import HttpOptions
from adapters.upstream.watch import NOBODY_WATCHES, CallWatch

QUICK = HttpOptions(
    connect=2.0, read=2.0, write=2.0, pool=2.0, retry_wait=0.001, retry_jitter=0.0, breaker_failures=1000
)

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def ok(body: object, status: int = 200) -> httpx.Response:
    """A JSON answer."""
    return httpx.Response(status, json=body)


def raw(body: str | bytes, status: int = 200, content_type: str = "application/json") -> httpx.Response:
    return httpx.Response(status, content=body, headers={"content-type": content_type})


class Upstream:
    """Answers by path: a sequence is used up one by one and its last entry stays. Records every request."""

    def __init__(self, answers: Mapping[str, Answer | Sequence[Answer]]) -> None:
        self._answers = {
            path: list(answer) if isinstance(answer, Sequence) else [answer]
            for path, answer in answers.items()
        }
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        # A transport sends the target instead of the URL's path; httpx's mock leaves that to us.
        request.url = request.url.copy_with(raw_path=request.extensions["target"])
        self.requests.append(request)
        script = self._answers.get(request.url.path)
        if script is None:
            return ok({"detail": "no such path in this test"}, 404)
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        # A fresh copy: an answer that was read cannot be sent a second time.
        return (
            answer(request)
            if callable(answer)
            else httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        )

    @property
    def calls(self) -> Counter[str]:
        return Counter(request.url.path for request in self.requests)

    def service(
        self,
        options: HttpOptions = QUICK,
        *,
        name: str = "accounting",
        breaker: Breaker | None = None,
        correlation: Correlation | None = None,
        watch: CallWatch = NOBODY_WATCHES,
    ) -> HttpService:
        return HttpService(
            name,
            "http://upstream.test",
            options,
            transport=httpx.MockTransport(self),
            breaker=breaker,
            correlation=correlation,
            watch=watch,
        )


def decode(body: bytes) -> Any:
    """Plain JSON, for tests that do not care what comes back."""
    return json.loads(body)
