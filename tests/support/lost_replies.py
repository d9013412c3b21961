"""A store whose connection breaks at its writes: before the write reaches it, or after it was applied."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from adapters.stores.open import Store
from domain.errors import StoreUnavailable

Moment = Literal["before", "after"]

# Every write of the protocol. `test_every_method_of_the_port_is_a_read_or_a_write_of_this_table` keeps it whole.
WRITES = frozenset(
    {
        "put_members",
        "insert_job",
        "freeze_inputs",
        "insert_items",
        "start_job",
        "wait_job",
        "probed_job",
        "resume_job",
        "stop_job",
        "close_job",
        "retry_job",
        "reopen_items",
        "reopened_job",
        "reaccept_job",
        "delete_job",
        "delete_items",
        "set_parallelism",
        "note_healing",
        "claim",
        "finish",
        "finish_and_claim",
        "fail_attempt",
        "give_back",
        "mark_sent",
        "expire_items",
        "wake_items",
        "due_again",
        "sweep_items",
        "swap_note",
        "mark_told",
        "tell_again",
    }
)
READS = frozenset(
    {
        "ping",
        "now",
        "members",
        "get_job",
        "list_jobs",
        "get_inputs",
        "due_items",
        "busy_seats",
        "next_pending",
        "has_items",
        "has_due",
        "get_item",
        "list_items",
        "count_items",
        "count_causes",
        "survey",
        "get_note",
        "open_work",
        "untold",
    }
)


class BreakingStore:
    """Answers as the store behind it, but loses connections: once at a named write, or now and then by a seed."""

    def __init__(self, store: Store, *, seed: int | None = None, share: float = 0.0) -> None:
        self._store = store
        self._random = None if seed is None else random.Random(seed)
        self._share = share
        self._armed: dict[str, Moment] = {}
        self.broken: Counter[tuple[str, Moment]] = Counter()

    def break_once(self, write: str, moment: Moment) -> None:
        self._armed[write] = moment

    def calm(self) -> None:
        """No more breaks."""
        self._random = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._breaking(name, method) if name in WRITES else method

    def _breaking(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            moment = self._armed.pop(name, None) or self._rolled()
            if moment == "before":
                self._break(name, moment)
            answer = method(*args, **kwargs)
            if moment == "after":
                self._break(name, moment)
            return answer

        return call

    def _rolled(self) -> Moment | None:
        if self._random is None or self._random.random() >= self._share:
            return None
        return self._random.choice(("before", "after"))

    def _break(self, name: str, moment: Moment) -> None:
        self.broken[name, moment] += 1
        raise StoreUnavailable("store", f"connection lost {moment} {name}")
