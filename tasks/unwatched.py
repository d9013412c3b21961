"""Nobody counts and nobody traces: what use cases get unless the wiring says otherwise. It costs next to nothing."""

from contextlib import AbstractContextManager, nullcontext

from domain.item import ItemState
from domain.job import Job
from domain.ports import Stage, Stopwatch
from domain.rebalance import Rebalance

_NO_SPAN = nullcontext()


class NoMeter:
    """`Meter` that forgets everything. It is its own stopwatch."""

    def watch(self) -> Stopwatch:
        return self

    def lap(self, stage: Stage) -> None: ...

    def job_accepted(self) -> None: ...

    def job_refused(self, code: str) -> None: ...

    def job_closed(self, job: Job) -> None: ...

    def decided(self, rebalance: Rebalance) -> None: ...

    def ended(self, state: ItemState, count: int = 1) -> None: ...

    def attempt_failed(self, cause: str) -> None: ...

    def given_back(self, service: str) -> None: ...

    def healed(self, kind: str, count: int = 1) -> None: ...


class NoTracing:
    """`Tracing` of a process that nobody follows."""

    def parent(self) -> str:
        return ""

    def span(self, name: str, *, parent: str = "", **attributes: str) -> AbstractContextManager[object]:  # noqa: ARG002 - the port's
        return _NO_SPAN

    def entry(self, name: str, **attributes: str) -> AbstractContextManager[object]:  # noqa: ARG002 - the port's
        return _NO_SPAN


NO_METER = NoMeter()
NO_TRACING = NoTracing()
