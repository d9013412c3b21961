"""What goes wrong in a chaos run, drawn by a seeded generator; and the supervisor that starts what died."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Final, TypeVar

import httpx
from redis.exceptions import RedisError

from domain.errors import StoreUnavailable
from tests.chaos.desk import Desk, flush
from tests.chaos.listeners import ORDER_SETS, Reader, impatient_client
from tests.chaos.stores import StoreServer
from tests.support.processes import alive, children_of
from worker.children import Child
from worker.stack import Stack

T = TypeVar("T")

WORKERS: Final = ("worker-1", "worker-2")
FAULTS: Final = (
    {"status": 500},
    {"status": 503, "html": True},
    {"html": True},
    {"other_shape": True},
    {"truncate": True},
    {"cut_body": True},
    {"hang": True},
    {"latency_ms": 700},
    {"down": True},
    {"status": 500, "every": 2},
)
SERVICES: Final = ("accounting", "accounting", "portfolio", "pricing", "security")
FAULT_SECONDS: Final = (0.3, 2.0)
DOWN_SECONDS: Final = (0.0, 0.5)
PATIENCE_SECONDS: Final = 60.0
# One in so many strikes comes with something that is no kill.
OTHERS_SHARE: Final = 0.4


class Fire:
    """``strike`` kills one thing; ``tend`` starts again what died and ends what was to last a while."""

    def __init__(
        self,
        stack: Stack,
        server: StoreServer,
        desk: Desk,
        reader: Reader,
        chance: random.Random,
        *,
        lease_seconds: float,
        latency_seconds: float,
    ) -> None:
        self._stack = stack
        self._server = server
        self._desk = desk
        self._reader = reader
        self._chance = chance
        self._lease_seconds = lease_seconds
        self._slow = {"latency_ms": latency_seconds * 1000}
        self._kinds = dict(KILLS) if server.can_restart else {k: w for k, w in KILLS.items() if k != "store"}
        self._again_at: dict[str, float] = {}
        self._frozen: dict[int, float] = {}
        self._faults_until: float | None = None
        self.kills: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.last = ""
        self.struck_at = 0.0

    @property
    def killed(self) -> int:
        return self.kills.total()

    def begin(self) -> None:
        self._desk.faults(accounting=self._slow)

    def end(self) -> None:
        """What was to last a while ends now; `tend` goes on starting what died."""
        self._desk.faults()
        self._faults_until = None
        for pid in self._frozen:
            _signal(pid, signal.SIGCONT)
        self._frozen.clear()

    # -------------------------------------------------------------------------------------------- kills

    def strike(self) -> None:
        """Kill one thing, and perhaps disturb another. A kind that finds nothing alive is drawn anew."""
        if self._chance.random() < OTHERS_SHARE:
            self._disturb()
        for _ in range(100):
            kind = self._draw(self._kinds)
            if KILLERS[kind](self):
                self.kills[kind] += 1
                self.last = kind
                self.struck_at = time.monotonic()
                return
            self.tend()
            time.sleep(0.05)

    def _draw(self, weights: Mapping[str, int]) -> str:
        return self._chance.choices(list(weights), weights=list(weights.values()))[0]

    def _kill_part(self, name: str) -> bool:
        child = self._stack.child(name)
        if child.ended:
            return False
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait(10)
        return True

    def _kill_worker(self) -> bool:
        return self._kill_part(self._chance.choice(WORKERS))

    def _kill_worker_parent(self) -> bool:
        """Its children end with it, in whatever they are doing."""
        child = self._stack.child(self._chance.choice(WORKERS))
        return not child.ended and _signal(child.process.pid, signal.SIGKILL)

    def _kill_worker_child(self) -> bool:
        pool = self._pool()
        return bool(pool) and _signal(self._chance.choice(pool), signal.SIGKILL)

    def _pool(self) -> list[int]:
        parents: list[Child] = [self._stack.child(name) for name in WORKERS]
        return sorted(pid for child in parents if not child.ended for pid in children_of(child.process.pid))

    def _lose_broker(self) -> bool:
        """Killed, and its file with it. What stood on the result queue until then counts as seen by a consumer."""
        if self._stack.child("broker").ended:
            return False
        try:
            with closing(impatient_client(self._broker_url)) as client:
                client.client_pause(5000, all=False)  # those who write
                self._reader.remember(client.xrange(ORDER_SETS))
        except RedisError:
            return False
        self._kill_part("broker")
        shutil.rmtree(self._stack.state_dir / "appendonlydir", ignore_errors=True)
        return True

    def _kill_store(self) -> bool:
        self._server.kill()
        time.sleep(self._chance.uniform(*DOWN_SECONDS))
        self._server.start()
        self.restarts["store"] += 1
        return True

    @property
    def _broker_url(self) -> str:
        return self._stack.settings["broker_url"]

    # -------------------------------------------------------------------------------------------- other things

    def _disturb(self) -> None:
        kind = self._draw(DISTURBANCES)
        with suppress(RedisError, httpx.HTTPError):
            if DISTURBERS[kind](self):
                self.others[kind] += 1

    def _flush(self) -> bool:
        with closing(impatient_client(self._broker_url)) as client:
            self._reader.remember(flush(client, ORDER_SETS))
        return True

    def _garbage(self) -> bool:
        self._desk.throw_garbage(self._chance)
        return True

    def _freeze(self) -> bool:
        """A worker child stops for longer than its lease, and wakes as a zombie."""
        pool = [pid for pid in self._pool() if pid not in self._frozen]
        if not pool:
            return False
        pid = self._chance.choice(pool)
        self._frozen[pid] = time.monotonic() + self._lease_seconds + self._chance.uniform(0.2, 1.5)
        return _signal(pid, signal.SIGSTOP)

    def _fault(self) -> bool:
        service = self._chance.choice(SERVICES)
        faults = {"accounting": self._slow, service: self._chance.choice(FAULTS)}
        self._desk.faults(**faults)
        self._faults_until = time.monotonic() + self._chance.uniform(*FAULT_SECONDS)
        return True

    # -------------------------------------------------------------------------------------------- tending

    def tend(self) -> None:
        """Start again what died a moment ago; wake what slept long enough; mend upstreams."""
        now = time.monotonic()
        for child in list(self._stack.children):
            if child.ended and now >= self._again_at.setdefault(
                child.name, now + self._chance.uniform(*DOWN_SECONDS)
            ):
                del self._again_at[child.name]
                self._stack.restart(child.name)
                self.restarts[child.name] += 1
        for pid in [pid for pid, until in self._frozen.items() if now >= until]:
            del self._frozen[pid]
            _signal(pid, signal.SIGCONT)
        if self._faults_until is not None and now >= self._faults_until:
            self._faults_until = None
            self._desk.faults(accounting=self._slow)

    def patiently(self, ask: Callable[[], T]) -> T:
        """The answer of a store that may be out for a moment."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return ask()
            except StoreUnavailable:
                if time.monotonic() > give_up:
                    raise
                self.tend()
                time.sleep(0.05)


def _signal(pid: int, number: int) -> bool:
    if not alive(pid):
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


KILLS: Final[Mapping[str, int]] = {
    "worker_child": 10,
    "worker": 3,
    "worker_parent": 1,
    "steward": 3,
    "api": 2,
    "requests": 2,
    "broker": 2,
    "broker_with_its_data": 1,
    "store": 2,
}
KILLERS: Final[Mapping[str, Callable[[Fire], bool]]] = {
    "worker_child": Fire._kill_worker_child,
    "worker": Fire._kill_worker,
    "worker_parent": Fire._kill_worker_parent,
    "steward": lambda fire: fire._kill_part("steward"),
    "api": lambda fire: fire._kill_part("api"),
    "requests": lambda fire: fire._kill_part("requests"),
    "broker": lambda fire: fire._kill_part("broker"),
    "broker_with_its_data": Fire._lose_broker,
    "store": Fire._kill_store,
}
DISTURBANCES: Final[Mapping[str, int]] = {"flushall": 2, "garbage": 3, "frozen_child": 2, "upstream_fault": 4}
DISTURBERS: Final[Mapping[str, Callable[[Fire], bool]]] = {
    "flushall": Fire._flush,
    "garbage": Fire._garbage,
    "frozen_child": Fire._freeze,
    "upstream_fault": Fire._fault,
}
