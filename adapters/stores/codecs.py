"""Domain values to what a database keeps, and back: decimals exact, times UTC. Both stores share this.

What never changes after it was written (a job's specification, a chunk of members) is one block of bytes. What is
queried or updated is a typed field beside it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from domain.errors import Invalid
from domain.ids import JobId, PortfolioId, SecurityId
from domain.item import Attempt
from domain.job import EventKind, Job, JobEvent, JobState, Retry
from domain.model import InvestmentModel
from domain.policy import Policy
from domain.ports import Member

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHUNK_MEMBERS = 1_000
CHUNK_BYTES = 4 * 1024 * 1024  # far below the 16 MB a MongoDB document may have


# ------------------------------------------------------------------------------------------------ times


def to_millis(moment: datetime) -> int:
    """Milliseconds since 1970 UTC, rounded down: the precision both stores keep.

    Raises:
        Invalid: a time without a zone, whose moment nobody knows.
    """
    if moment.tzinfo is None:
        raise Invalid(f"{moment.isoformat()} has no time zone")
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_millis(millis: int) -> datetime:
    return EPOCH + timedelta(milliseconds=millis)


def at_millis(moment: datetime) -> datetime:
    """The moment as it will be read back: UTC, in whole milliseconds."""
    return from_millis(to_millis(moment))


# ------------------------------------------------------------------------------------------------ models


def model_document(model: InvestmentModel) -> dict[str, Any]:
    """A model as nested plain values; decimals and times stay objects.

    No decimal of a model has more than 34 digits (domain/money.py), so each fits MongoDB's Decimal128 exactly.
    """
    document: dict[str, Any] = msgspec.to_builtins(model, builtin_types=(Decimal, datetime))
    if model.last_rebalance_date is not None:
        document["last_rebalance_date"] = at_millis(model.last_rebalance_date)
    return document


def model_from(document: Mapping[str, Any]) -> InvestmentModel:
    """The model of a document, whether its decimals are objects or exact text."""
    return msgspec.convert(document, InvestmentModel)


# ------------------------------------------------------------------------------------------------ jobs


class _JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was accepted. CHANGEABLE of it may stand anew beside it."""

    key: str
    request_sha256: str
    model: InvestmentModel
    policy: Policy
    parallelism: int
    n: int
    members_sha256: str
    inline_prices: Mapping[SecurityId, Decimal] | None
    dry_run: bool
    deadline: datetime | None
    correlation_id: str
    trace_parent: str = ""


SPEC_FIELDS = frozenset(_JobSpec.__struct_fields__)
LIFE_FIELDS = frozenset(f.name for f in fields(Job)) - SPEC_FIELDS - {"job_id"}
CHANGEABLE = ("parallelism", "deadline")


def encode_spec(job: Job) -> bytes:
    """The part of a job that never changes, as JSON with decimals as text."""
    return msgspec.json.encode(_JobSpec(**{name: getattr(job, name) for name in SPEC_FIELDS}))


def job_from(job_id: str, spec: bytes, life: Mapping[str, Any]) -> Job:
    """A job of its stored halves. ``life`` has every one of LIFE_FIELDS, and what was changed since of CHANGEABLE."""
    decoded = msgspec.json.decode(spec, type=_JobSpec)
    settled = {name: getattr(decoded, name) for name in SPEC_FIELDS}
    changed = {name: life[name] for name in CHANGEABLE if life.get(name) is not None}
    lived = {name: life[name] for name in LIFE_FIELDS}
    return Job(job_id=JobId(job_id), **{**settled, **changed, **lived, "state": JobState(life["state"])})


def encode_retry(retry: Retry) -> bytes:
    return msgspec.json.encode(retry)


def retry_from(stored: bytes | None) -> Retry | None:
    return None if stored is None else msgspec.json.decode(stored, type=Retry)


def untold_from(documents: Iterable[Mapping[str, Any]], told: int) -> tuple[JobEvent, ...]:
    """The events after the first ``told``, as a store keeps them; moments are datetimes or milliseconds."""
    return tuple(
        JobEvent(
            **{
                **document,
                "kind": EventKind(document["kind"]),
                "state": JobState(document["state"]),
                "at": _moment(document["at"]),
            }
        )
        for document in documents
        if document["sequence"] > told
    )


# ------------------------------------------------------------------------------------------------ attempts


def attempts_from(documents: Iterable[Mapping[str, Any]]) -> tuple[Attempt, ...]:
    """Attempts as a store keeps them; moments are datetimes or milliseconds."""
    return tuple(
        Attempt(
            **{
                **document,
                **{name: _moment(document[name]) for name in ("started", "ended")},
            }
        )
        for document in documents
    )


def _moment(stored: datetime | int) -> datetime:
    return from_millis(stored) if isinstance(stored, int) else stored


# ------------------------------------------------------------------------------------------------ members


class _PackedMember(msgspec.Struct, array_like=True, frozen=True):
    portfolio_id: PortfolioId
    inline: bytes | None


class Chunk(NamedTuple):
    """Members ``first`` to ``last`` of a list, both included, packed."""

    first: int
    last: int
    body: bytes


def pack_members(members: Iterable[Member]) -> Iterator[Chunk]:
    """Cut a list into chunks that fit a document. The same list is always cut the same way."""
    first, size, batch = 0, 0, list[_PackedMember]()
    for member in members:
        weight = len(member.inline or b"")
        if batch and (len(batch) == CHUNK_MEMBERS or size + weight > CHUNK_BYTES):
            yield _chunk(first, batch)
            first, size, batch = first + len(batch), 0, []
        batch.append(_PackedMember(member.portfolio_id, member.inline))
        size += weight
    if batch:
        yield _chunk(first, batch)


def _chunk(first: int, batch: Sequence[_PackedMember]) -> Chunk:
    return Chunk(first, first + len(batch) - 1, msgspec.msgpack.encode(batch))


def unpack_members(chunks: Iterable[tuple[int, bytes]], offset: int, limit: int) -> list[Member]:
    """Members ``offset`` to ``offset + limit - 1`` of the chunks (position of the first, body) that hold them."""
    return [
        Member(portfolio_id=packed.portfolio_id, inline=packed.inline)
        for first, body in chunks
        for place, packed in enumerate(msgspec.msgpack.decode(body, type=list[_PackedMember]), start=first)
        if offset <= place < offset + limit
    ]
