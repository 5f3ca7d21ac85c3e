"""Configuration of the log: events with fields, as JSON, or as text on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

OWN_PACKAGES = ("watcher", "inference", "__main__")
"""The packages that the configured level applies to. Other packages (watchdog, uvicorn) log at WARNING and above."""


def configure(format: str, level: str, stream: TextIO | None = None) -> None:
    """Write all log lines, also those of other libraries, to `stream` (stderr). May be called again.

    `format` is `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(format == "text" or (format == "auto" and stream.isatty()), stream.isatty()))
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, _level_number(level)), force=True)
    logging.captureWarnings(True)
    for name in OWN_PACKAGES:
        logging.getLogger(name).setLevel(_level_number(level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _level_number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _shared_processors() -> list[Processor]:
    """The processors for all lines, whichever library they come from."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _without_bytes,
    ]


def _formatter(text: bool, colors: bool) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(text, colors)],
    )


def _renderers(text: bool, colors: bool) -> Sequence[Processor]:
    """Plain tracebacks in both formats: structlog's rich ones print local variables, which may contain whole images."""
    if text:
        plain = structlog.dev.plain_traceback
        return [_flatten, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain, sort_keys=False)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _without_bytes(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace bytes, such as an image, by their length."""
    return {k: f"<{len(v)} bytes>" if isinstance(v, bytes | bytearray | memoryview) else v for k, v in event.items()}


def _flatten(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Format nested fields for reading: `read:0.003,decode:0.012`."""
    return {k: ",".join(f"{n}:{x}" for n, x in v.items()) if isinstance(v, dict) else v for k, v in event.items()}
