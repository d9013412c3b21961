"""A run of a schedule that is started by hand."""

from datetime import date

from pydantic import ConfigDict, Field

from adapters.inbound.payloads.document import Payload, validated
from adapters.inbound.payloads.fields import DateText
from adapters.inbound.strict_json import load


class ScheduleRunRequest(Payload):
    """Which run of a schedule is started now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"business_date": "2026-11-30"}]})

    business_date: DateText | None = Field(
        default=None, description="Without it: today, in the zone of the schedule."
    )


def parse_schedule_run(body: bytes, *, max_bytes: int) -> date | None:
    """The business date, where one is named. Raises Invalid: the shape is broken."""
    return validated(ScheduleRunRequest, load(body, max_bytes=max_bytes), "run").business_date
