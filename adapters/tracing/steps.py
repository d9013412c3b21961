"""Ports whose calls are steps of a trace, whatever stands behind them: SQLite has no instrumentation of its own."""

from typing import Any, cast

from domain.ports import JobStore, OrderSetPublisher, Publication, Tracing

# What a request or a portfolio waits for.
STORE_STEPS = frozenset(
    {
        "put_members",
        "insert_job",
        "freeze_inputs",
        "insert_items",
        "start_job",
        "claim",
        "finish",
        "finish_and_claim",
        "fail_attempt",
        "give_back",
        "close_job",
    }
)


class TracedPublisher:
    """`OrderSetPublisher` in front of another one."""

    def __init__(self, publisher: OrderSetPublisher, tracing: Tracing) -> None:
        self._publisher = publisher
        self._tracing = tracing

    def publish(self, *publications: Publication) -> None:
        with self._tracing.span("publish", order_sets=str(len(publications))):
            self._publisher.publish(*publications)

    def identity(self) -> str | None:
        return self._publisher.identity()

    def ping(self) -> None:
        self._publisher.ping()


def traced_store(jobs: JobStore, tracing: Tracing) -> JobStore:
    """The store, with STORE_STEPS as steps named ``store.<method>``."""
    return cast(JobStore, _Traced(jobs, tracing))


class _Traced:
    def __init__(self, jobs: JobStore, tracing: Tracing) -> None:
        self._jobs = jobs
        self._tracing = tracing

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has under that name
        method = getattr(self._jobs, name)
        if name not in STORE_STEPS:
            return method

        def step(*args: object, **named: object) -> object:
            with self._tracing.span(f"store.{name}"):
                return method(*args, **named)

        return step
