"""Log lines: events with fields, JSON in a container, readable on a terminal. Configured once, at the start."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

OURS = ("watcher", "inference", "__main__")
"""The packages that the level is for; everything else (watchdog, uvicorn) is heard from WARNING on."""


def configure(format: str, level: str, stream: TextIO | None = None) -> None:
    """Send all lines, those of the standard library too, to `stream` (stderr); may be called again.

    `format` is `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(format == "text" or (format == "auto" and stream.isatty()), stream.isatty()))
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, _number(level)), force=True)
    logging.captureWarnings(True)
    for name in OURS:
        logging.getLogger(name).setLevel(_number(level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _shared() -> list[Processor]:
    """What a line gets, whichever library it comes from."""
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
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(text, colors)],
    )


def _renderers(text: bool, colors: bool) -> Sequence[Processor]:
    """Plain tracebacks in both: prettier ones print local variables, and those hold images."""
    if text:
        plain = structlog.dev.plain_traceback
        return [_flat, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _without_bytes(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """An image that slipped into a line is told by its length."""
    return {k: f"<{len(v)} bytes>" if isinstance(v, bytes | bytearray | memoryview) else v for k, v in event.items()}


def _flat(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A field with fields in it, as a person reads it: `read:0.003,decode:0.012`."""
    return {k: ",".join(f"{n}:{x}" for n, x in v.items()) if isinstance(v, dict) else v for k, v in event.items()}
