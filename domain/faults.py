"""Collect every fault of an input before refusing it, so that a caller mends it in one go."""

from domain.errors import Invalid

_SHOWN = 3  # faults quoted in the message; all of them stand in the details


class Faults:
    """What is wrong with one input. ``field`` is a path into it: ``positions[3].target``."""

    __slots__ = ("_details",)

    def __init__(self) -> None:
        self._details: list[dict[str, str]] = []

    def add(self, field: str, message: str) -> None:
        self._details.append({"field": field, "message": message})

    def refuse_if_any(self, subject: str, *, code: str = "invalid") -> None:
        """Raise what was collected, if anything was.

        Raises:
            Invalid: ``details`` names every fault, in the order found; the message quotes the first few.
        """
        if not self._details:
            return
        quoted = "; ".join(detail["message"] for detail in self._details[:_SHOWN])
        more = len(self._details) - _SHOWN
        tail = f"; and {more} more" if more > 0 else ""
        raise Invalid(f"{subject}: {quoted}{tail}", code=code, details=tuple(self._details))
