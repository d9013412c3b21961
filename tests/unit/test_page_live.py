"""Streams of a page: what changed, and nothing else, until somebody may not look any more or the process ends."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.sse import ServerSentEvent
from starlette.testclient import TestClient

from adapters.inbound.page.live import Live, pause_after
from adapters.inbound.page.render import Region
from domain.errors import NotFound, StoreUnavailable
from tests.support.api_keys import StaticKeys
from tests.support.job_page import broken_job, browser, log_in
from tests.support.world import World

pytestmark = pytest.mark.usefixtures("quiet")


def region(text: str) -> Region:
    return Region(version=f"v-{text}", html=text)


class Script:
    """What is looked at, look by look; afterwards the process is about to end."""

    def __init__(self, *looks: Mapping[str, Region] | Exception) -> None:
        self.looks = list(looks)

    def __call__(self) -> Mapping[str, Region]:
        found = self.looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def over(self) -> bool:
        return not self.looks


def stream(script: Script, *, allowed: Callable[[], bool] = lambda: True) -> list[tuple[str | None, Any]]:
    return asyncio.run(_collected(Live(script.over, pause=lambda _: 0.0), script, allowed))


async def _collected(
    streams: Live, script: Script, allowed: Callable[[], bool]
) -> list[tuple[str | None, Any]]:
    return [(event.event, event.data) async for event in streams.changes(script, allowed=allowed)]


def test_first_everything_is_sent_then_only_what_changed() -> None:
    script = Script(
        {"a": region("one"), "b": region("two")},
        {"a": region("one"), "b": region("two")},
        {"a": region("one"), "b": region("three")},
    )
    assert stream(script) == [
        ("regions", {"a": ["v-one", "one"], "b": ["v-two", "two"]}),
        ("regions", {"b": ["v-three", "three"]}),
        ("bye", ""),
    ]


def test_a_store_that_is_out_is_told_and_afterwards_everything_sent_again() -> None:
    script = Script({"a": region("one")}, StoreUnavailable("store", "refused"), {"a": region("one")})
    events = stream(script)
    assert [name for name, _ in events] == ["regions", "trouble", "regions", "bye"]
    assert events[1][1] == "store is unavailable: refused"


def test_what_is_gone_ends_the_stream() -> None:
    script = Script({"a": region("one")}, NotFound("job", "j1"), {"a": region("never")})
    assert [name for name, _ in stream(script)] == ["regions", "bye"]


def test_who_may_not_look_any_more_is_told_nothing_more() -> None:
    answers = iter([True, False])
    script = Script({"a": region("one")}, {"a": region("secret")})
    assert stream(script, allowed=lambda: next(answers)) == [
        ("regions", {"a": ["v-one", "one"]}),
        ("bye", ""),
    ]


def test_there_are_no_more_streams_than_allowed() -> None:
    async def look_twice() -> None:
        streams = Live(lambda: False, streams=1)
        streams.has_room()
        first = streams.changes(lambda: {"a": region("one")}, allowed=lambda: True)
        assert isinstance(await anext(first), ServerSentEvent)
        with pytest.raises(HTTPException, match="too many"):
            streams.has_room()
        await first.aclose()  # type: ignore[attr-defined]  # an async generator
        streams.has_room()

    asyncio.run(look_twice())


@pytest.mark.parametrize(("took", "pause"), [(0.0, 1.0), (0.01, 1.0), (0.5, 5.0), (60.0, 15.0)])
def test_a_slow_look_is_taken_less_often(took: float, pause: float) -> None:
    assert pause_after(took) == pause


def test_between_two_looks_the_end_of_the_process_is_noticed() -> None:
    moments = iter([0.0, 0.0, 0.0, 0.1, 9.0])
    script = Script({"a": region("one")}, {"a": region("never")})
    over = iter([False, False, True, True, True])

    async def collected() -> list[ServerSentEvent]:
        streams = Live(lambda: next(over), pause=lambda _: 5.0, clock=lambda: next(moments))
        return [event async for event in streams.changes(script, allowed=lambda: True)]

    assert [event.event for event in asyncio.run(collected())] == ["regions", "bye"]


# ------------------------------------------------------------------------------------------------ over HTTP


def events_of(client: TestClient, path: str) -> list[tuple[str, Any]]:
    answer = client.get(path, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    assert answer.headers["Cache-Control"] == "no-cache"
    return [(name, json.loads(data)) for name, data in re.findall(r"event: (\w+)\ndata: (.+)\n", answer.text)]


@pytest.mark.parametrize("path", ["/", "/?state=done_with_errors", "/jobs/{}", "/jobs/{}?outcome=failed"])
def test_a_stream_sends_the_very_parts_of_its_page(world: World, path: str) -> None:
    world.book(3)
    path = path.format(broken_job(world).job_id)
    looks = iter([False, True, True, True])
    with browser(world.services, leaving=lambda: next(looks, True)) as client:
        page = client.get(path).text
        (address,) = re.findall(r'data-stream="([^"]+)"', page)
        events = events_of(client, address.replace("&amp;", "&"))
    (name, parts), (last, _) = events
    assert (name, last) == ("regions", "bye")
    shown = dict(re.findall(r'id="(\w+)" class="region[^"]*" data-version="(\w+)"', page))
    assert {part: version for part, (version, _) in parts.items()} == shown
    assert all(html in page for _, html in parts.values())


def test_a_session_that_ends_ends_its_stream(world: World) -> None:
    keys = StaticKeys.one_a_role()

    def revoked() -> bool:
        keys.by_text.clear()
        return False

    with browser(world.services, keys=keys, leaving=revoked) as client:
        log_in(client, "read")
        assert events_of(client, "/events") == [("bye", "")]
