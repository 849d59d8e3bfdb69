"""One form of log line for our own events and for the libraries' ones.

A line is JSON unless the output is a terminal: `{"event": ..., "level": ..., "timestamp": ...}`
plus the keys that the event carries. Standard-library loggers come out in the same form.
"""

import logging
import sys
from typing import Final

import structlog
from structlog.types import Processor

_QUIET: Final = (
    "uvicorn.access",
    "httpx",
    "httpcore",
    "aiohttp.access",
    "asyncio",
    "alembic.runtime.plugins",
)
"""Loggers whose routine lines say nothing that our own events do not."""


def configure_logging(*, debug: bool = False) -> None:
    """Send everything to standard error, from `info` (or `debug`) upwards; idempotent."""
    level = logging.DEBUG if debug else logging.INFO
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers = _renderers(terminal=sys.stderr.isatty())
    structlog.configure(
        processors=[*shared, *renderers],
        # Our own events do not pass the standard library's loggers, which cost twice as much as
        # all the rest of a line: each push writes one.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderers,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _renderers(*, terminal: bool) -> list[Processor]:
    if terminal:
        # The default would print the variables of every frame, and passwords among them.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
