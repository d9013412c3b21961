"""Wait for something to become true, and say what was last seen when it does not."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    look: Callable[[], T], true: Callable[[T], bool], *, seconds: float = 10, every: float = 0.05
) -> T:
    give_up = time.monotonic() + seconds
    while not true(seen := look()):
        assert time.monotonic() < give_up, f"not true after {seconds} s; last seen: {seen}"
        time.sleep(every)
    return seen
