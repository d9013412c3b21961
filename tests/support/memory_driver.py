"""Run a job of many portfolios through everything but the work itself, and tell what memory each step took.

``python -m tests.support.memory_driver PORTFOLIOS`` prints a JSON object: the most that the resident memory rose during
each step, in KiB, above where it stood when the step began. Linux only: the kernel keeps the peak, and forgets it when
asked to.
"""

import ctypes
import gc
import io
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from adapters.inbound.answers import item_detail
from adapters.inbound.payloads import parse_request
from adapters.stores.open import open_store
from adapters.system_clock import SystemClock
from domain.ids import ModelId, PortfolioId
from domain.item import ItemState
from domain.job import Job
from domain.ports import Token
from tasks.cancel_job import cancel_job
from tasks.close_job import close_job_if_finished
from tasks.job_items import job_items
from tasks.open_job import open_job
from tasks.retry_job import RetryJob, retry_job
from tasks.services import Rules, Services
from tasks.submit_job import SubmitJob, submit_job
from tasks.unwatched import NO_METER, NO_TRACING
from tests.support.builders import model, security_id

_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")
_PRICES = {security_id(1): Decimal(10)}


class _NoTokens:
    def send(self, tokens: list[Token]) -> None:
        pass


def main(portfolios: int) -> dict[str, int]:
    ids = [f"{place:024x}" for place in range(portfolios)]
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/store.db", synchronous="off")
        store.prepare()
        services = cast(
            Services,
            SimpleNamespace(
                jobs=store,
                models=store,
                tokens=_NoTokens(),
                clock=SystemClock(),
                rules=Rules(),
                meter=NO_METER,
                tracing=NO_TRACING,
            ),
        )
        followed = replace(
            model({1: "0.5"}), model_id=ModelId("all"), name="all", portfolios=tuple(map(PortfolioId, ids))
        )
        store.create_model(followed)
        store.create_model(replace(model({1: "0.5"}), model_id=ModelId("none"), name="none"))
        body = json.dumps(
            {"model_id": "none", "portfolio_ids": ids, "prices": {security_id(1): "10"}}
        ).encode()
        del followed, ids
        peaks = _measured(services, body)
        store.close()
    return peaks


def _measured(services: Services, body: bytes) -> dict[str, int]:
    peaks: dict[str, int] = {}

    def step(name: str, run: Callable[[], Any]) -> Any:
        _trim()
        _FORGET.write_text("5")
        before = _kib("VmRSS")
        answer = run()
        peaks[name] = _kib("VmHWM") - before
        return answer

    step("accept by request", lambda: submit_job(_parsed(body), services))
    by_model = SubmitJob(key="by-model", request_sha256="0", model_id=ModelId("all"), prices=_PRICES)
    job: Job = step("accept by model", lambda: submit_job(by_model, services)).job
    step("expand", lambda: open_job(job, services))
    step("fail", lambda: _stopped(job, services))
    step("reopen", lambda: _reopened(job, services))
    step("cancel", lambda: _cancelled(job, services))
    step("results as JSON lines", lambda: _lines(job, services))
    return peaks


def _parsed(body: bytes) -> SubmitJob:
    return parse_request(body, header_key="by-request", max_bytes=len(body), new_key=str)


def _stopped(job: Job, services: Services) -> None:
    services.jobs.stop_job(job.job_id, ItemState.FAILED, "over")
    _swept(job, services)


def _reopened(job: Job, services: Services) -> None:
    retry_job(RetryJob(job_id=job.job_id), services)
    again = services.jobs.get_job(job.job_id)
    assert services.jobs.reopen_items(job.job_id, again.gen) == job.n
    assert services.jobs.reopened_job(job.job_id, again.gen)


def _cancelled(job: Job, services: Services) -> None:
    cancel_job(job.job_id, services)
    _swept(job, services)


def _swept(job: Job, services: Services) -> None:
    assert services.jobs.sweep_items(services.jobs.get_job(job.job_id)) == job.n
    assert close_job_if_finished(job.job_id, services) is not None


def _lines(job: Job, services: Services) -> None:
    with redirect_stdout(io.StringIO()):
        for item in job_items(job.job_id, services):
            item_detail(item)


def _trim() -> None:
    """Give back to the system what the steps before have freed, so that each is measured by itself."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _kib(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))  # noqa: T201 - its answer
