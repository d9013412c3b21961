"""The machine's clock. Nothing is decided by it but default deadlines and the ``as_of`` of a market."""

from datetime import UTC, datetime


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)
