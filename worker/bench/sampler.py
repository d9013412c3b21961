"""Where a program's CPU time goes, by sampling: at every tick of its CPU clock, which part of the code is it in?

Nothing in the code that is measured is wrapped, replaced or slowed down, so the parts add up to the whole.
"""

import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

INTERVAL_SECONDS = 0.001  # a kernel may tick less often; then there are fewer samples, and no others
# By module, or by a package above it. The innermost frame that belongs to a part decides; what serves several parts
# (numbers, ids, values that are made by whoever reads them) counts for its caller.
PARTS: Mapping[str, str | None] = {
    "httpx": "fetch",
    "httpcore": "fetch",
    "h11": "fetch",
    "stamina": "fetch",
    "tenacity": "fetch",
    "interlock": "fetch",
    "adapters.upstream.http": "fetch",
    "adapters.upstream.wire": "fetch",
    "adapters.upstream.breaker": "fetch",
    "adapters.upstream": "parse",
    "domain.errors": None,
    "domain.faults": None,
    "domain.ids": None,
    "domain.item": None,
    "domain.money": None,
    "domain.portfolio": None,
    "domain.ports": None,
    "domain.verify": "verify",
    "domain": "solve",
    "adapters.solver": "solve",
    "tasks.order_set": "encode",
    "tasks.documents": "encode",
    "adapters.stores": "store",
    "adapters.results": "publish",
    "redis": "publish",
}
OTHER = "other"
NAMES = ("fetch", "parse", "solve", "verify", "encode", "store", "publish", OTHER)


def part_of(frame: FrameType | None) -> str:
    """The part of the innermost frame that belongs to one."""
    while frame is not None:
        part = _part_of_module(str(frame.f_globals.get("__name__", "")))
        if part is not None:
            return part
        frame = frame.f_back
    return OTHER


def _part_of_module(module: str) -> str | None:
    while module:
        if module in PARTS:
            return PARTS[module]
        module = module.rpartition(".")[0]
    return None


@contextmanager
def sampled() -> Iterator[Counter[str]]:
    """Count samples by part while the body runs. In the main thread only; the counts are whole at the end."""
    counts: Counter[str] = Counter()

    def count(_signal: int, frame: FrameType | None) -> None:
        counts[part_of(frame)] += 1

    before = signal.signal(signal.SIGPROF, count)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
    try:
        yield counts
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def shares(counts: Counter[str]) -> dict[str, float]:
    """Of 1, by part; all 0 without a sample."""
    total = max(counts.total(), 1)
    return {name: counts[name] / total for name in NAMES}
