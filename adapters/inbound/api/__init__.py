"""The HTTP door: jobs, their items, models and health, as JSON and nothing else."""

from adapters.inbound.api.app import create_app
from adapters.inbound.api.options import ApiOptions, HealthPart

__all__ = ["ApiOptions", "HealthPart", "create_app"]
