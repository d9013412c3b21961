"""``trimtab demo``: a sample book through the real pipeline, from a posted request to verified order sets."""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from domain.money import percent
from worker.stack import BookOptions

MODEL_ID = "demo"
# The book's targets add up to 95 %: with this floor the cash row often binds, so CVXPY has work to do.
CASH_FLOOR = "0.05"
POLL_SECONDS = 0.1
ROWS_SHOWN = 12


class DemoFailed(RuntimeError):
    """The job did not end as it must; the message says where to look."""


class Stopped(Exception):
    """Somebody asked to stop: Ctrl-C, SIGTERM, or a parent that is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo ends with. Drift is money over all portfolios; ``proved`` counts gaps of exactly 0."""

    ok: bool
    portfolios: int
    outcomes: Mapping[str, int]
    orders: int
    seconds: float
    portfolios_per_second: float
    drift_before: Decimal
    drift_after: Decimal
    proved: int
    verified: int
    published: int
    faults: tuple[str, ...] = field(default=())

    def document(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "portfolios": self.portfolios,
            "outcomes": dict(self.outcomes),
            "orders": self.orders,
            "seconds": round(self.seconds, 3),
            "portfolios_per_second": round(self.portfolios_per_second, 1),
            "drift_before": str(self.drift_before),
            "drift_after": str(self.drift_after),
            "proved": self.proved,
            "verified": self.verified,
            "published": self.published,
            "faults": list(self.faults),
        }
