"""Keeping an embedded stack whole: a part that ends is started again, unless it ends again and again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.children import Child, ChildDied, StackFailed

MOST_ENDS = 5
WITHIN_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class Keeper:
    """Called with a part that has ended by itself.

    What was in a part's hands is nobody's loss: leases, outbox and the broker's own file bring it back
    (docs/job-protocol.md). A part that cannot live, though, would be started for ever, and nobody would read why.
    """

    restart: Callable[[str], object]  # by name; see `Stack.restart`
    tell: Callable[[str], object]
    clock: Callable[[], float] = time.monotonic
    _ends: dict[str, list[float]] = field(default_factory=dict)

    def __call__(self, child: Child) -> None:
        """Start it again, and say so.

        Raises:
            ChildDied: it ended `MOST_ENDS` times within `WITHIN_SECONDS`.
            StackFailed: it could not be started: its address is taken, or the machine has no room for it.
        """
        now = self.clock()
        ends = [at for at in self._ends.get(child.name, ()) if now - at < WITHIN_SECONDS] + [now]
        self._ends[child.name] = ends
        if len(ends) >= MOST_ENDS:
            raise ChildDied(child, f"{child.name} ended {len(ends)} times within {WITHIN_SECONDS:g} s")
        self.tell(f"{child.name} {child.ending()}; it is started again. Its log is {child.log}")
        try:
            self.restart(child.name)
        except OSError as error:
            raise StackFailed(
                f"{child.name} {child.ending()} and cannot be started again: {error}; its log is {child.log}"
            ) from error
