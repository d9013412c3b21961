"""One schedule as it stands in the settings: its shape. Line, zone and calendar are read where it is built."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ScheduleSettings(BaseModel):
    """A cron line that starts one run a business date: docs/how-to-run-nightly.md has every field in words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    cron: Annotated[str, Field(description="five fields: minute hour day-of-month month day-of-week")]
    time_zone: str = "UTC"
    model_id: str | None = None
    needing_rebalance: Annotated[int, Field(ge=1, le=3660)] | Literal["last_business_date"] | None = None
    calendar: str | None = None
    extra_closed: tuple[date, ...] = ()
    extra_open: tuple[date, ...] = ()
    on_closed_day: Literal["skip", "previous", "next"] = "skip"
    catch_up_seconds: Annotated[float, Field(ge=60, le=31 * 24 * 3600)] = 12 * 3600.0
    enabled: bool = True
    parallelism: Annotated[int, Field(ge=1)] | None = None
    policy: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_model_or_all(self) -> "ScheduleSettings":
        if (self.model_id is None) == (self.needing_rebalance is None):
            raise ValueError("give either model_id, or needing_rebalance for all models that need one")
        return self
