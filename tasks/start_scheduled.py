"""Submit the job of a schedule for one business date."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from domain.ids import ModelId
from domain.job import Job
from tasks.services import Services
from tasks.submit_job import SubmitJob, submit_job


@dataclass(frozen=True, slots=True, kw_only=True)
class StartScheduled:
    """``business_date`` is part of the run key: any number of schedulers start one job a day between them."""

    name: str
    model_id: ModelId
    business_date: date
    parallelism: int | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)


def start_scheduled(command: StartScheduled, services: Services) -> Job:
    """Raises what submit_job raises: KeyReused tells that the schedule was changed after today's run began."""
    key = f"schedule:{command.name}:{command.business_date.isoformat()}"
    request = {
        "model_id": command.model_id,
        "parallelism": command.parallelism,
        "policy": dict(command.policy),
    }
    canonical = json.dumps(request, sort_keys=True, default=str).encode()
    submit = SubmitJob(
        key=key,
        request_sha256=hashlib.sha256(canonical).hexdigest(),
        model_id=command.model_id,
        policy=command.policy,
        parallelism=command.parallelism,
        correlation_id=key,
    )
    return submit_job(submit, services).job
