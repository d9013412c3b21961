"""One no-op Celery task, on the same broker with the same settings: the yardstick of the worker's own cost."""

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from config.settings import environment, load_settings
from worker.bench.failed import BenchFailed
from worker.bench.machine import cpu_of
from worker.bench.noop import NOOP, TOUCH
from worker.bench.rig import Rig
from worker.celery_app import create_sending_app
from worker.children import Child, start_child, wait_until

QUEUE = "trimtab.bench"
DONE_SECONDS = 60.0


class PlainCelery:
    """A worker process with as many children as the rig's, and what it spends on a task that does nothing."""

    def __init__(self, rig: Rig, child: Child, app: Celery) -> None:
        self._rig = rig
        self._child = child
        self._app = app

    def cpu_ms(self, tasks: int) -> float:
        """CPU ms a task, of the parent and its children.

        Raises:
            BenchFailed: the tasks were not done in time.
        """
        before = self._spent()
        with self._app.producer_or_acquire() as producer:
            for seat in range(tasks):
                self._app.send_task(NOOP, kwargs={"job_id": "0" * 24, "seat": seat}, producer=producer)
        self.wait()
        return 1000 * (self._spent() - before) / tasks

    def wait(self) -> None:
        """Until everything sent so far is done, but for what the other children may have in hand for a moment yet."""
        done = self._rig.stack.state_dir / f"done-{uuid.uuid4().hex}"
        self._app.send_task(TOUCH, kwargs={"path": str(done)})
        try:
            wait_until(done.exists, seconds=DONE_SECONDS, watched=[self._child])
        except TimeoutError as error:
            raise BenchFailed(f"no-op tasks: {error}") from error

    def _spent(self) -> float:
        cpu = cpu_of(self._child.process.pid)
        return cpu.own + cpu.children


@contextmanager
def open_plain_celery(rig: Rig) -> Iterator[PlainCelery]:
    """Beside a rig that is idle while the tasks run."""
    given = {**rig.stack.settings, "task_queue": QUEUE}
    child = start_child(
        "noop",
        [sys.executable, "-m", "worker.bench.noop"],
        log=rig.stack.state_dir / "noop.log",
        environment=environment(given),
    )
    try:
        celery = PlainCelery(rig, child, create_sending_app(load_settings(**given)))
        celery.wait()
        yield celery
    finally:
        child.stop(10.0)
