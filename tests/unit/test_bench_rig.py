"""A rig under load says what keeps it from measuring, and never waits for ever."""

from types import SimpleNamespace
from typing import Any

import pytest

from domain.job import JobState
from worker.bench import intake, rig
from worker.bench.failed import BenchFailed
from worker.bench.rig import Rig


class Queue:
    """As much of a Redis as is counted: its streams have these lengths, one after the other."""

    def __init__(self, *lengths: int) -> None:
        self._lengths = list(lengths)

    def xlen(self, _stream: str) -> int:
        return self._lengths.pop(0) if len(self._lengths) > 1 else self._lengths[0]

    def pipeline(self, *, transaction: bool) -> "Queue":
        return self

    def xadd(self, _stream: str, _fields: object) -> None: ...

    def execute(self) -> None: ...


class Api:
    """Takes every post."""

    def __init__(self) -> None:
        self.posted: list[str] = []

    def post(self, path: str, **_more: object) -> "Api":
        self.posted.append(path)
        return self

    def raise_for_status(self) -> "Api":
        return self

    def json(self) -> dict[str, str]:
        return {"job_id": "j1"}


def a_rig(queue: Queue, *, state: JobState = JobState.RUNNING) -> Rig:
    job = SimpleNamespace(state=state)
    parts: dict[str, Any] = {
        "stack": SimpleNamespace(children=[], api_url="http://127.0.0.1:1"),
        "settings": SimpleNamespace(order_sets_stream="o", requests_stream="r"),
        "services": SimpleNamespace(jobs=SimpleNamespace(get_job=lambda _job_id: job)),
        "portfolio_ids": tuple(f"p{number}" for number in range(10)),
        "api": Api(),
        "sandbox": Api(),
        "redis": queue,
    }
    return Rig(**parts)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "STILL_SECONDS", 0.05)
    monkeypatch.setattr(intake, "ACCEPTED_SECONDS", 0.05)


def test_a_book_that_is_too_small_is_told() -> None:
    with pytest.raises(BenchFailed, match="no 11 ordinary portfolios"):
        a_rig(Queue(0)).post(11, parallelism=1)


def test_a_pipeline_that_stands_still_is_told() -> None:
    with pytest.raises(BenchFailed, match=r"no order sets came within 0\.05 s"):
        a_rig(Queue(7)).settle()


def test_waiting_goes_on_as_long_as_something_moves() -> None:
    window = a_rig(Queue(*range(60))).work(50)

    assert window.portfolios >= 50


def test_a_job_that_was_worked_too_soon_measures_nothing() -> None:
    with pytest.raises(BenchFailed, match="10 portfolios were worked before"):
        a_rig(Queue(0, 0, 0, 50, 50), state=JobState.DONE).work_for(0.01, portfolios=10, parallelism=1)


def test_a_stream_that_nobody_reads_is_told() -> None:
    with pytest.raises(BenchFailed, match="was not read"):
        intake._by_stream(a_rig(Queue(3)), 3)


def test_requests_that_were_refused_are_told() -> None:
    with pytest.raises(BenchFailed, match="2 requests of the stream were refused"):
        intake._by_stream(a_rig(Queue(0, 2)), 3)
