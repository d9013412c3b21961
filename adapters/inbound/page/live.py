"""What a page shows, sent again whenever it changes, for as long as somebody looks."""

import time
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import HTTPException
from fastapi.sse import ServerSentEvent
from starlette.concurrency import run_in_threadpool

from adapters.inbound.page.render import Region
from domain.errors import TrimtabError, Unavailable

PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 15.0
_NAP_SECONDS: Final = 0.25  # how soon the end of the process is noticed
# A look takes at most this share of the time: a store that is slow is not asked more for it.
_SHARE: Final = 0.1
STREAMS: Final = 50

_log = structlog.get_logger(__name__)


def pause_after(took: float) -> float:
    """Seconds until the next look: the longer, the slower the store answered the last one."""
    return min(max(took / _SHARE, PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)


class Live:
    """The streams of this process, a bounded number of them. Who gets none reloads now and then."""

    def __init__(
        self,
        leaving: Callable[[], bool],
        *,
        streams: int = STREAMS,
        pause: Callable[[float], float] = pause_after,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``pause``: after a look that took so long. ``clock``: seconds that never go back."""
        self._leaving = leaving
        self._pause_after = pause
        self._clock = clock
        self._free = streams

    def has_room(self) -> None:
        """For a route's ``dependencies``: once a stream has begun it is too late to refuse."""
        if self._free <= 0:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "too many people look at once")

    async def changes(
        self, look: Callable[[], Mapping[str, Region]], *, allowed: Callable[[], bool]
    ) -> AsyncIterator[ServerSentEvent]:
        """The regions that changed since the last event, the first time all of them.

        Ends with ``bye`` when the viewer may not look any more, what is looked at is gone, or the process ends; the
        browser then asks for the whole page.
        """
        told: dict[str, str] = {}
        with self._one():
            while not self._leaving() and allowed():
                began = self._clock()
                try:
                    regions = await run_in_threadpool(look)
                except Unavailable as error:
                    yield ServerSentEvent(event="trouble", data=str(error))
                    told.clear()
                except TrimtabError:
                    break
                else:
                    changed = {
                        name: region for name, region in regions.items() if told.get(name) != region.version
                    }
                    if changed:
                        told.update({name: region.version for name, region in changed.items()})
                        yield ServerSentEvent(
                            event="regions",
                            data={name: [region.version, region.html] for name, region in changed.items()},
                        )
                await self._pause(self._pause_after(self._clock() - began))
            yield ServerSentEvent(event="bye", data="")

    async def _pause(self, seconds: float) -> None:
        until = self._clock() + seconds
        while self._clock() < until and not self._leaving():  # noqa: ASYNC110 - a signal handler says so
            await sleep(_NAP_SECONDS)

    @contextmanager
    def _one(self) -> Iterator[None]:
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
