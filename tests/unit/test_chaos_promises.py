"""The judge of a chaos run finds each kind of broken promise; a judge that passes everything proves nothing."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from domain.ids import JobId
from domain.ids import item_id as item_id_of
from domain.item import Item, ItemState, Out
from domain.job import Inputs, JobState
from tests.chaos.promises import Evidence, Whole, judge
from tests.support import builders, lives


def item(job_id: str, number: int) -> Item:
    item_id = f"{job_id}:{builders.portfolio_id(number)}"
    body = {"id": item_id, "job_id": job_id, "as_of": f"the moment of {job_id}", "orders": [number]}
    return Item(
        item_id=item_id_of(JobId(job_id), builders.portfolio_id(number)),
        job_id=JobId(job_id),
        portfolio_id=builders.portfolio_id(number),
        seq=number,
        state=ItemState.TRADED,
        fence=1,
        attempt=1,
        result=json.dumps(body, separators=(",", ":")).encode(),
        order_set=json.dumps(body, separators=(",", ":")).encode(),
        out=Out.SENT,
    )


def whole(job_id: str) -> Whole:
    items = [item(job_id, number) for number in range(3)]
    job = replace(lives.job(job_id, n=3), state=JobState.DONE, counts={"traded": 3, "failed": 0})
    snapshot = json.dumps({"as_of": job_id, "prices": {"S1": "1.00"}}).encode()
    return Whole(job, items, Inputs(job_id=job.job_id, snapshot=snapshot, sha256="s"))


def event(sequence: int, kind: str, **more: object) -> dict[str, object]:
    return {"job_id": "chaos", "sequence": sequence, "event": kind, "state": "running", **more}


END = event(3, "finished", state="done", counts={"traded": 3})


def kept() -> Evidence:
    chaos = whole("chaos")
    return Evidence(
        calm=whole("calm"),
        chaos=chaos,
        jobs=2,
        entries=[(str(each.item_id), each.order_set or b"") for each in chaos.items],
        standing=frozenset(str(each.item_id) for each in chaos.items),
        events=[event(1, "accepted"), event(2, "started"), END],
        max_in_flight=3,
        parallelism=3,
        kills={"worker": 2},
        restarts={"worker-1": 2},
        others={},
    )


def other_item(evidence: Evidence, **changes: object) -> Evidence:
    first, *rest = evidence.chaos.items
    changed = replace(first, **changes)  # type: ignore[arg-type]  # whatever the case plants
    return replace(evidence, chaos=replace(evidence.chaos, items=[changed, *rest]))


def other_job(evidence: Evidence, **changes: object) -> Evidence:
    job = replace(evidence.chaos.job, **changes)  # type: ignore[arg-type]  # whatever the case plants
    return replace(evidence, chaos=replace(evidence.chaos, job=job))


def test_a_run_that_kept_every_promise_is_ok_and_told_in_full() -> None:
    report = judge(kept(), seed=5, seconds=1.26)

    assert report.ok, report.broken
    assert report.document() == {
        "ok": True,
        "seed": 5,
        "portfolios": 3,
        "results": 3,
        "published": 3,
        "distinct_ids": 3,
        "stream_entries": 3,
        "attempts": 3,
        "max_in_flight": 3,
        "parallelism": 3,
        "kills": {"worker": 2},
        "restarts": {"worker-1": 2},
        "seconds": 1.3,
        "others": {},
        "healing": {},
        "broken": (),
    }


def test_the_same_entry_again_is_no_broken_promise() -> None:
    evidence = kept()
    report = judge(replace(evidence, entries=[*evidence.entries, evidence.entries[0]]), seed=1, seconds=1)

    assert (report.ok, report.stream_entries, report.distinct_ids) == (True, 4, 3)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lambda e: replace(e, jobs=3), "3 jobs in the store"),
        (lambda e: replace(e, max_in_flight=4), "over the parallelism"),
        (lambda e: replace(e, entries=e.entries[1:]), "never seen on the result queue"),
        (lambda e: replace(e, standing=frozenset()), "did not come back"),
        (lambda e: replace(e, entries=[*e.entries, ("chaos:nobody", b"{}")]), "not decided in the store"),
        (lambda e: replace(e, entries=[*e.entries, (e.entries[0][0], b"{}")]), "other bytes"),
        (lambda e: other_job(e, state=JobState.DONE_WITH_ERRORS), "the job ended done_with_errors"),
        (lambda e: other_job(e, counts={"traded": 2}), "its items"),
        (lambda e: other_job(e, n=4), "3 items for 4 portfolios"),
        (lambda e: other_item(e, state=ItemState.RUNNING), "is running"),
        (lambda e: other_item(e, state=ItemState.FAILED, result=None), "has no result"),
        (lambda e: other_item(e, out=Out.DUE), "not marked as sent"),
        (lambda e: other_item(e, result=b'{"orders":[7]}'), "another answer than in the calm run"),
        (lambda e: replace(e, events=[]), "the last that was told of it is {}"),
        (lambda e: replace(e, events=[event(1, "accepted"), END]), "events [2] were never told"),
        (lambda e: replace(e, events=[*e.events, END]), "stands on the stream twice"),
        (lambda e: replace(e, events=[event(1, "accepted")]), "the last that was told"),
        (lambda e: replace(e, events=[*e.events[:2], {**END, "counts": {"traded": 2}}]), "with the counts"),
        (lambda e: replace(e, calm=whole("calm2")), ""),
    ],
)
def test_each_broken_promise_is_told(plant: Callable[[Evidence], Evidence], said: str) -> None:
    report = judge(plant(kept()), seed=1, seconds=1)

    assert report.ok == (not said)
    assert any(said in line for line in report.broken) or not said


def test_a_calm_run_that_needed_healing_or_saw_another_market_is_told() -> None:
    evidence = kept()
    job = replace(evidence.calm.job, healing={"expired": 1})
    other_market = Inputs(job_id=job.job_id, snapshot=b'{"prices":{"S1":"2.00"}}', sha256="t")
    report = judge(
        replace(evidence, calm=replace(evidence.calm, job=job, inputs=other_market)), seed=1, seconds=1
    )

    assert [line.partition(":")[0] for line in report.broken] == [
        "the calm job needed healing",
        "the two jobs froze different markets",
    ]
