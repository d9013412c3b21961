"""Requests as plain JSON on a Redis stream: whoever can XADD can ask for a rebalance.

An entry is acknowledged only when its job is stored, or when it stands on the dead-letter stream with the
reason. Between the two nothing is lost: what dies with an entry in hand leaves it pending, under its own name
(read again at the next start) or for another consumer to claim. A repeat is harmless, since the idempotency
key of a request without one is the id of its entry.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
import structlog
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from adapters.inbound.payloads import parse_request
from adapters.inbound.strict_json import printable
from domain.errors import BrokerUnavailable, Busy, Invalid, TrimtabError, Unavailable
from tasks.submit_job import SubmitJob, Submitted

_log = structlog.get_logger(__name__)

DATA = b"data"

_HELD_AT_MOST = 1000

_AnswerT = TypeVar("_AnswerT")


class DeadLetter(msgspec.Struct, kw_only=True):
    """The fields of an entry of the dead-letter stream, but for ``data``: the bytes as they came.

    Each other field of the entry it tells of stands there as ``original.<name>``.
    """

    entry_id: Annotated[str, msgspec.Meta(description="Of the entry on the request stream.")]
    code: Annotated[str, msgspec.Meta(description="A stable word, as in errors over HTTP.")]
    reason: Annotated[str, msgspec.Meta(description="For people.", max_length=1000)]
    details: Annotated[str, msgspec.Meta(description="A JSON list of {field, message}, as text.")]


# An entry that was trimmed away while it was pending has no fields any more.
_Entry: TypeAlias = tuple[bytes, Mapping[bytes, bytes] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStreamOptions:
    """``consumer`` is this process's name in the group: two live processes must not share one.

    ``block_seconds`` must stay below the client's socket time-out. ``claim_idle_seconds`` is how long an entry
    may lie with another consumer before that one is taken for dead; it must exceed the longest submit.
    """

    consumer: str
    stream: str = "trimtab.requests"
    dead: str = "trimtab.requests.dead"
    group: str = "trimtab"
    max_bytes: int = 64 * 1024 * 1024
    batch: int = 16
    block_seconds: float = 1.0
    claim_idle_seconds: float = 60.0
    claim_every_seconds: float = 15.0
    first_delay_seconds: float = 0.5
    max_delay_seconds: float = 30.0


class RequestStream:
    """The consumer. ``submit`` is the use case over its services; ``client`` must answer in bytes."""

    def __init__(
        self,
        client: Redis,
        submit: Callable[[SubmitJob], Submitted],
        options: RequestStreamOptions,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if client.get_encoder().decode_responses:
            raise ValueError("the client decodes what it reads; a body that is not UTF-8 would break it")
        self._client = client
        self._submit = submit
        self._options = options
        self._monotonic = monotonic
        self._owes = True  # entries of an earlier life, or that the store could not take
        self._claim_at = monotonic()

    def run(self, stop: threading.Event) -> None:
        """Consume until ``stop`` is set. An outage, or too much work, is waited for, with growing pauses."""
        delay = self._options.first_delay_seconds
        while not stop.is_set():
            try:
                self.consume_once(stop)
            except (Unavailable, Busy) as cause:
                _log.warning("requests_waiting", code=cause.code, cause=str(cause), seconds=delay)
                stop.wait(delay)
                delay = min(2 * delay, self._options.max_delay_seconds)
            else:
                delay = self._options.first_delay_seconds
        self._leave()

    def consume_once(self, stop: threading.Event) -> int:
        """One round: what is owed, what dead consumers left, what is new. How many entries were dealt with.

        Raises:
            BrokerUnavailable: Redis is out; nothing was lost.
            Unavailable: the store is out; the entries in hand stay pending.
            Busy: over a limit; likewise, and no more are read: the stream itself is the queue.
        """
        owed, self._owes = self._owes, True  # until the round has ended well
        handled = 0
        for entries in self._rounds(owed=owed):
            for entry in entries:
                if stop.is_set():
                    return handled
                self._deal_with(entry)
                handled += 1
        self._owes = False
        return handled

    def _leave(self) -> None:
        """Take our name out of the group, so that restarts leave no list of the dead behind.

        Only with nothing in hand: deleting a consumer forgets what it holds, and then nobody would claim it. What
        is in hand is made as old as a dead consumer's, so that the next look of any other takes it over.
        """
        stream, group, consumer = self._options.stream, self._options.group, self._options.consumer
        try:
            held = self._client.xpending_range(stream, group, "-", "+", _HELD_AT_MOST, consumername=consumer)
            if not held:
                self._client.xgroup_delconsumer(stream, group, consumer)
                return
            self._client.xclaim(
                stream,
                group,
                consumer,
                min_idle_time=0,
                message_ids=[entry["message_id"] for entry in held],
                idle=int(self._options.claim_idle_seconds * 1000),
                justid=True,
            )
        except RedisError as error:
            _log.warning("requests_left_name", consumer=consumer, cause=str(error))

    # -------------------------------------------------------------------------------------------- reading

    def _rounds(self, *, owed: bool) -> Iterator[Iterable[_Entry]]:
        if owed:
            yield from self._own_pending()
        if self._monotonic() >= self._claim_at:
            yield from self._abandoned()
            self._claim_at = self._monotonic() + self._options.claim_every_seconds
        yield self._read(b">", block=True)

    def _own_pending(self) -> Iterator[Iterable[_Entry]]:
        last = b"0"
        while entries := self._read(last, block=False):
            yield entries
            last = entries[-1][0]

    def _abandoned(self) -> Iterator[Iterable[_Entry]]:
        """Take over what other consumers hold too long, to the end of the group's pending list."""
        start: Any = b"0-0"
        while True:
            start, entries, deleted = self._ask(
                partial(
                    self._client.xautoclaim,
                    self._options.stream,
                    self._options.group,
                    self._options.consumer,
                    min_idle_time=int(self._options.claim_idle_seconds * 1000),
                    start_id=start,
                    count=self._options.batch,
                )
            )
            yield [*entries, *((entry_id, None) for entry_id in deleted)]
            if start == b"0-0":
                return

    def _read(self, after: bytes, *, block: bool) -> list[_Entry]:
        answer: Any = self._ask(
            partial(
                self._client.xreadgroup,
                self._options.group,
                self._options.consumer,
                {self._options.stream: after},
                count=self._options.batch,
                block=int(self._options.block_seconds * 1000) if block else None,
            )
        )
        return _entries(answer)

    def _ask(self, command: Callable[[], _AnswerT]) -> _AnswerT:
        """The one place where redis-py's errors end.

        A group that is not there (the first start, FLUSHALL, a server that lost its data) is made, from the
        first entry on: those that came before their group did are requests like any other.
        """
        try:
            try:
                return command()
            except ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
            self._make_group()
            return command()
        except RedisError as error:
            raise BrokerUnavailable("request stream", str(error)) from error

    def _make_group(self) -> None:
        try:
            self._client.xgroup_create(self._options.stream, self._options.group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another consumer was first
                raise

    # -------------------------------------------------------------------------------------------- one entry

    def _deal_with(self, entry: _Entry) -> None:
        entry_id, fields = entry
        try:
            job = self._submit(self._command(entry_id, fields)).job
        except (Unavailable, Busy):
            raise
        except Invalid as error:
            self._bury(entry, error.code, str(error), error.details)
        except TrimtabError as error:
            self._bury(entry, error.code, str(error))
        except Exception as error:  # noqa: BLE001 - a bug must not stop the requests behind this one
            _log.exception(
                "request_broke_us",
                entry_id=entry_id.decode(),
                advice="a bug: report it; the entry stands among the dead letters and may be added again",
            )
            self._bury(entry, "internal_error", f"{type(error).__name__}: {error}")
        else:
            _log.info("request_accepted", entry_id=entry_id.decode(), job_id=job.job_id)
            self._settle(entry_id)

    def _command(self, entry_id: bytes, fields: Mapping[bytes, bytes] | None) -> SubmitJob:
        if not fields:
            raise Invalid("the entry was deleted from the stream before it was read", code="entry_deleted")
        body = fields.get(DATA)
        if body is None:
            raise Invalid("the entry has no field 'data'", code="no_data")
        return parse_request(
            body,
            header_key=None,
            max_bytes=self._options.max_bytes,
            new_key=entry_id.decode,
            correlation_id=entry_id.decode(),
        )

    def _bury(self, entry: _Entry, code: str, reason: str, details: Iterable[Mapping[str, Any]] = ()) -> None:
        entry_id, fields = entry
        _log.warning("request_refused", entry_id=entry_id.decode(), code=code, reason=reason)
        letter = DeadLetter(
            entry_id=entry_id.decode(),
            code=code,
            reason=printable(reason, 1000),
            details=json.dumps(list(details)),
        )
        self._settle(
            entry_id,
            {
                **{b"original." + name: value for name, value in (fields or {}).items() if name != DATA},
                **msgspec.structs.asdict(letter),
                DATA: (fields or {}).get(DATA, b""),
            },
        )

    def _settle(self, entry_id: bytes, letter: dict[Any, Any] | None = None) -> None:
        """Acknowledge and delete, after the letter where there is one: one transaction, so never half of it.

        A handled entry is of no more use (its job, or its letter, tells all), and a stream that only grows
        would fill the broker's memory.
        """
        pipeline = self._client.pipeline(transaction=True)
        if letter is not None:
            pipeline.xadd(self._options.dead, letter)
        pipeline.xack(self._options.stream, self._options.group, entry_id)
        pipeline.xdel(self._options.stream, entry_id)
        self._ask(pipeline.execute)


def _entries(answer: Any) -> list[_Entry]:  # noqa: ANN401 - what redis-py makes of it depends on the protocol
    if isinstance(answer, dict):  # RESP3: pages of entries by stream
        return [entry for pages in answer.values() for page in pages for entry in page]
    return [entry for _, entries in answer or () for entry in entries]
