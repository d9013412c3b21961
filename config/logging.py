"""Logs as events with fields: JSON for machines, or a console form for people. Always on standard error."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, TypeAlias

import structlog

# Is told level and event of each line at warning or above.
Listener: TypeAlias = Callable[[str, str], None]

_HEARD = frozenset({"warning", "error", "critical"})


def configure_logging(
    level: str = "info", form: Literal["json", "console"] = "json", *, listener: Listener | None = None
) -> None:
    """Bind structlog; the standard library's loggers (celery, uvicorn, httpx) stay at warning and above."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    # Plain tracebacks: structlog's own show local variables, and those hold holdings and secrets.
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    renderer = structlog.processors.JSONRenderer() if form == "json" else console
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *([] if listener is None else [_telling(listener)]),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


def _telling(listener: Listener) -> structlog.typing.Processor:
    def tell(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ANN401 - structlog's
        if line["level"] in _HEARD:
            listener(line["level"], str(line.get("event", "")))
        return line

    return tell
