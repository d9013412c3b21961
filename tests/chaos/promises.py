"""What must hold at the end of a chaos run, whatever was killed."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from domain.item import DECIDED_STATES, FINAL_STATES, Item, Out
from domain.job import EVENTS_KEPT, Inputs, Job, JobState

# What two jobs on the same market may differ in. `snapshot_sha256` is over the moment too; prices are compared apart.
OF_THE_RUN = ("id", "job_id", "correlation_id", "as_of", "trade_date", "snapshot_sha256")


@dataclass(frozen=True, slots=True)
class Whole:
    """A job, all of its items with their bodies, and its frozen market."""

    job: Job
    items: Sequence[Item]
    inputs: Inputs | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """``entries``: every (id, body) that ever stood on the result queue, of all jobs. ``standing``: the ids that
    stand there at the end, after whatever it lost. ``events``: the job events that stand on their stream then.
    """

    calm: Whole
    chaos: Whole
    jobs: int
    entries: Sequence[tuple[str, bytes]]
    standing: frozenset[str]
    events: Sequence[Mapping[str, Any]]
    max_in_flight: int
    parallelism: int
    kills: Mapping[str, int]
    restarts: Mapping[str, int]
    others: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``broken``: each promise that did not hold, in words."""

    seed: int
    portfolios: int
    results: int
    published: int
    distinct_ids: int
    stream_entries: int
    attempts: int
    max_in_flight: int
    parallelism: int
    kills: Mapping[str, int]
    restarts: Mapping[str, int]
    seconds: float
    others: Mapping[str, int]
    healing: Mapping[str, int]
    broken: Sequence[str]

    @property
    def ok(self) -> bool:
        return not self.broken

    def document(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def judge(evidence: Evidence, *, seed: int, seconds: float) -> Report:
    chaos = evidence.chaos
    mine = [entry for entry in evidence.entries if entry[0].startswith(f"{chaos.job.job_id}:")]
    return Report(
        seed=seed,
        portfolios=chaos.job.n,
        results=sum(1 for item in chaos.items if item.state in DECIDED_STATES and item.result),
        published=sum(1 for item in chaos.items if item.out is Out.SENT),
        distinct_ids=len(dict(mine)),
        stream_entries=len(mine),
        attempts=sum(item.attempt for item in chaos.items),
        max_in_flight=evidence.max_in_flight,
        parallelism=evidence.parallelism,
        kills=evidence.kills,
        restarts=evidence.restarts,
        seconds=round(seconds, 1),
        others=evidence.others,
        healing=chaos.job.healing,
        broken=tuple(_broken(evidence, mine)),
    )


def _broken(evidence: Evidence, mine: Sequence[tuple[str, bytes]]) -> Iterator[str]:
    yield from _calm(evidence.calm.job)
    if evidence.jobs != 2:
        yield f"{evidence.jobs} jobs in the store where two were asked for"
    yield from _complete(evidence.chaos)
    yield from _published(evidence.chaos, mine, evidence.standing)
    yield from _told(evidence.chaos.job, evidence.events)
    if evidence.max_in_flight > evidence.parallelism:
        yield f"{evidence.max_in_flight} in work at once, over the parallelism of {evidence.parallelism}"
    yield from _same(evidence.calm, evidence.chaos)


def _calm(job: Job) -> Iterator[str]:
    if job.state is not JobState.DONE:
        yield f"the calm job ended {job.state}: {job.reason}"
    if job.healing:
        yield f"the calm job needed healing: {dict(job.healing)}"


def _complete(chaos: Whole) -> Iterator[str]:
    job = chaos.job
    states = Counter(item.state for item in chaos.items)
    if job.state is not JobState.DONE:
        yield f"the job ended {job.state}: {job.reason}"
    if len(chaos.items) != job.n:
        yield f"{len(chaos.items)} items for {job.n} portfolios"
    if {state: n for state, n in job.counts.items() if n} != states:
        yield f"the job counts {dict(job.counts)}, its items {dict(states)}"
    for item in chaos.items:
        if item.state not in FINAL_STATES:
            yield f"{item.portfolio_id} is {item.state}"
        elif item.state not in DECIDED_STATES or not item.result or not item.order_set:
            yield f"{item.portfolio_id} has no result: {item.state}, {item.reason}"


def _published(chaos: Whole, mine: Sequence[tuple[str, bytes]], standing: frozenset[str]) -> Iterator[str]:
    stored = {str(item.item_id): item.order_set for item in chaos.items if item.state in DECIDED_STATES}
    seen = dict(mine)
    for item_id in sorted(stored.keys() - seen.keys()):
        yield f"{item_id} was never seen on the result queue"
    for item_id in sorted((stored.keys() & seen.keys()) - standing):
        yield f"{item_id} was lost with the broker's data and did not come back"
    for item_id in sorted(seen.keys() - stored.keys()):
        yield f"{item_id} is on the result queue and not decided in the store"
    for item_id, body in mine:
        if item_id in stored and body != stored[item_id]:
            yield f"{item_id} was published with other bytes than are stored"
    for item in chaos.items:
        if item.out is not Out.SENT:
            yield f"{item.portfolio_id} is not marked as sent: {item.out}"


def _told(job: Job, events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Every event that the job still keeps stands there once, the last one with its end."""
    mine = {event["sequence"]: event for event in events if event["job_id"] == job.job_id}
    if len(mine) < sum(event["job_id"] == job.job_id for event in events):
        yield "an event of the job stands on the stream twice"
    last = max(mine, default=0)
    missing = set(range(max(1, last - EVENTS_KEPT + 1), last + 1)) - mine.keys()
    if missing:
        yield f"the job's events {sorted(missing)} were never told, or did not come back"
    end = mine.get(last, {})
    if (end.get("event"), end.get("state")) != ("finished", job.state):
        yield f"the job is {job.state}, and the last that was told of it is {end}"
    elif end["counts"] != {state: n for state, n in job.counts.items() if n}:
        yield f"the end was told with the counts {end['counts']}"


def _same(calm: Whole, chaos: Whole) -> Iterator[str]:
    if _market(calm) != _market(chaos):
        yield "the two jobs froze different markets"
    one, other = ({item.portfolio_id: _answer(item) for item in whole.items} for whole in (calm, chaos))
    for portfolio_id in sorted(one.keys() | other.keys()):
        if one.get(portfolio_id) != other.get(portfolio_id):
            yield f"{portfolio_id} has another answer than in the calm run"


def _market(whole: Whole) -> object:
    snapshot = json.loads(whole.inputs.snapshot) if whole.inputs else {}
    return {name: value for name, value in snapshot.items() if name != "as_of"}


def _answer(item: Item) -> tuple[bytes, bytes]:
    return _apart_from_the_run(item.result), _apart_from_the_run(item.order_set)


def _apart_from_the_run(body: bytes | None) -> bytes:
    """The very bytes, but for the members that name the run."""
    document = json.loads(body or b"{}")
    for name in OF_THE_RUN:
        value = json.dumps(document.get(name)).encode()
        body = (body or b"").replace(b'"%s":%s' % (name.encode(), value), b'"%s":null' % name.encode(), 1)
    return body or b""
