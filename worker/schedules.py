"""Schedules from settings: lines, zones and calendars are read here, and what is wrong with any of them is told."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.timetables.cron import CronsimLine
from adapters.timetables.trading_days import ExchangeDays
from config.schedules import ScheduleSettings
from config.settings import Settings
from domain.errors import Invalid
from domain.ids import ModelId
from domain.policy import Policy
from domain.schedule import OnClosedDay, Schedule

_KEY_OF = re.compile(r"[.\[]")  # groups[0].min: groups


def build_schedules(settings: Settings) -> Sequence[Schedule]:
    """In the order of their names.

    Raises:
        Invalid: a schedule cannot be used; the message names each that cannot, and why.
    """
    built: list[Schedule] = []
    faults: list[str] = []
    for each in sorted(settings.schedules, key=lambda each: each.name):
        try:
            built.append(_build(each, settings.max_parallelism))
        except Invalid as error:
            faults.append(f"{each.name}: {error}")
    if faults:
        raise Invalid(f"wrong settings: schedules: {'; '.join(faults)}")
    return tuple(built)


def _build(given: ScheduleSettings, max_parallelism: int) -> Schedule:
    _require_policy(given.policy)
    if given.parallelism is not None and given.parallelism > max_parallelism:
        raise Invalid(f"parallelism {given.parallelism} is above TRIMTAB_MAX_PARALLELISM, {max_parallelism}")
    needing = given.needing_rebalance
    return Schedule(
        name=given.name,
        line=CronsimLine(given.cron),
        zone=_zone(given.time_zone),
        days=ExchangeDays(given.calendar, extra_closed=given.extra_closed, extra_open=given.extra_open),
        on_closed=OnClosedDay(given.on_closed_day),
        catch_up=timedelta(seconds=given.catch_up_seconds),
        enabled=given.enabled,
        model_id=None if given.model_id is None else ModelId(given.model_id),
        needing_days=needing if isinstance(needing, int) else None,
        parallelism=given.parallelism,
        policy=given.policy,
    )


def _require_policy(changes: Mapping[str, Any]) -> None:
    """What no model's policy could mend: a fault of one of these keys.

    One key may need another, which is the model's then. Whether the two can be used together is looked into when a
    scheduler starts, and at each run (`tasks.start_run`).

    Raises:
        Invalid: there is such a fault.
    """
    try:
        Policy().with_changes(changes)
    except Invalid as fault:
        if any(_KEY_OF.split(each["field"])[0] in changes for each in fault.details):
            raise


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # unknown; no name at all; a folder of names
        raise Invalid(f"no time zone {name!r}: take a name such as America/New_York, or UTC") from None
