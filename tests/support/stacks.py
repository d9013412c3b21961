"""Real stacks for end-to-end tests: the same processes as `trimtab up`, with short leases."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from adapters.inbound.cli.wiring import BookOptions
from tests.support.waiting import eventually
from worker.stack import Stack

SHORT = {
    "solver_time_limit_seconds": "1.5",
    "task_time_limit_seconds": "2",
    "lease_seconds": "2.5",
    "due_after_seconds": "3",
    "lost_token_seconds": "3",
    "retry_delay_seconds": "0.2",
    "outage_delay_seconds": "0.3",
    "max_delay_seconds": "1",
    "upstream_retry_wait": "0.05",
    "upstream_retry_total": "1",
    "upstream_breaker_open": "0.5",
    "worker_concurrency": "2",
}


def short_stack(
    state_dir: Path,
    *,
    portfolios: int = 20,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
    **more: str,
) -> Stack:
    return Stack(
        state_dir=state_dir,
        book=BookOptions(portfolios=portfolios, securities=8, seed=3, prices=None),
        settings={**SHORT, **(settings or {}), **more},
        workers=workers,
    )


class Api:
    """The HTTP API of a stack, as a test uses it."""

    cash_floor = Decimal("0.05")

    def __init__(self, stack: Stack) -> None:
        self._client = httpx.Client(base_url=f"{stack.api_url}/api/v1", timeout=10)
        self._sandbox = httpx.Client(base_url=stack.settings["pricing_url"], timeout=10)

    def close(self) -> None:
        self._client.close()
        self._sandbox.close()

    def create_model(self, model_id: str = "m1") -> dict[str, Any]:
        book = self._sandbox.get("/sandbox/model").raise_for_status().json()
        model = {"model_id": model_id, "name": model_id, "policy": {"cash_floor": str(self.cash_floor)}}
        model |= {"positions": book["positions"], "portfolios": book["portfolio_ids"]}
        answer = self._client.post("/models", json=model)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def submit(self, key: str, **request: Any) -> dict[str, Any]:
        answer = self._client.post(
            "/jobs", json={"model_id": "m1", **request}, headers={"Idempotency-Key": key}
        )
        assert answer.status_code in {200, 202}, answer.text
        return dict(answer.json())

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self._client.get(f"/jobs/{job_id}").raise_for_status().json())

    def items(self, job_id: str) -> list[dict[str, Any]]:
        return list(self._client.get(f"/jobs/{job_id}/items", params={"limit": 1000}).json()["items"])

    def until(
        self, job_id: str, true: Callable[[dict[str, Any]], bool], *, seconds: float = 60
    ) -> dict[str, Any]:
        """The job once ``true`` holds of it."""
        return eventually(lambda: self.job(job_id), true, seconds=seconds)

    def item(self, job_id: str, portfolio_id: str) -> dict[str, Any]:
        return dict(self._client.get(f"/jobs/{job_id}/items/{portfolio_id}").raise_for_status().json())

    def result(self, job_id: str, portfolio_id: str) -> dict[str, Any]:
        return dict(self.item(job_id, portfolio_id)["result"])

    def jobs(self) -> list[dict[str, Any]]:
        return list(self._client.get("/jobs").raise_for_status().json()["jobs"])

    def calls(self) -> int:
        return int(self._sandbox.get("/sandbox/calls").json()["total"])

    def finished(self, job_id: str, *, seconds: float = 60) -> dict[str, Any]:
        return self.until(job_id, lambda job: job["finished_at"] is not None, seconds=seconds)

    def cancel_all(self) -> None:
        """Leave no job open."""
        for job in self.jobs():
            if job["finished_at"] is None:
                self._client.post(f"/jobs/{job['job_id']}/cancel").raise_for_status()
                self.finished(job["job_id"], seconds=15)

    def faults(self, **faults: Any) -> None:
        self._sandbox.put("/sandbox/faults", json=faults).raise_for_status()
