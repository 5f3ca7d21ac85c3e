"""Spans for OpenTelemetry: a trace for each image, with a span for each of its stages.

They are made here, in the supervisor, when a worker has reported: an image costs no time for it. The SDK comes with the
extra `otel`, is loaded only where traces are asked for, and reads its own variables (`OTEL_*`) itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from watcher.core.attempt import Attempt
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Outcome
from watcher.core.protocol import STAGES, ImageReport, TroubleReport

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

log = structlog.get_logger(__name__)

Of = ImageReport | TroubleReport
Trace = Callable[[str, Of], str]
"""Takes what a worker (its device's name) has reported of an image; returns the trace's id, or nothing."""

GIVEN_BACK = "given_back"
"""The outcome where the world was in trouble: the image is tried again, and that is another trace."""
FLUSH_SECONDS = 3.0
"""So long a collector that does not take the last spans may hold up the end."""


@contextmanager
def tracing(wanted: bool) -> Iterator[Trace]:
    """Take spans while inside, and send off the last ones at the end. Raises ConfigurationError without the extra."""
    if not wanted:
        yield lambda device, report: ""
        return
    provider = _open()
    tracer = provider.get_tracer("alphadrop", version("alphadrop"))
    try:
        yield lambda device, report: _safely(tracer, device, report)
    finally:
        if not Attempt(provider.shutdown).ended(FLUSH_SECONDS):
            log.warning("spans_lost", problem=f"the collector has not taken the last ones within {FLUSH_SECONDS:g} s")


def _safely(tracer: Tracer, device: str, report: Of) -> str:
    """No span is worth the worker, whose reports would not be heard any more."""
    try:
        return trace(tracer, device, report)
    except Exception as error:
        log.warning("span_not_made", problem=f"{type(error).__name__}: {error}", exc_info=True)
        return ""


def trace(tracer: Tracer, device: str, report: Of) -> str:
    """One image's spans. Returns the trace's id, or nothing where it is not sampled."""
    from opentelemetry.trace import SpanKind, set_span_in_context

    ended = report.ended or time.time()
    began = min(report.starts.values(), default=ended)
    root = tracer.start_span("image", kind=SpanKind.CONSUMER, start_time=_ns(began), attributes=_facts(device, report))
    if not root.is_recording():
        return ""
    _judge(root, report)
    for stage in STAGES:
        if stage in report.starts:
            start = report.starts[stage]
            span = tracer.start_span(stage, set_span_in_context(root), start_time=_ns(start))
            span.end(_ns(start + report.stages[stage]))
    root.end(_ns(ended))
    return f"{root.get_span_context().trace_id:032x}"


def _open() -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, which need OpenTelemetry: pip install 'alphadrop[otel]', or "
            "set OTEL_TRACES_EXPORTER=none."
        ) from error
    # What the variables say of this service goes before what we do.
    ours = Resource.create({"service.name": "alphadrop", "service.version": version("alphadrop")})
    # Not at exit, where a collector that does not answer would hold it up.
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _facts(device: str, report: Of) -> dict[str, str | int | float]:
    facts: dict[str, str | int | float] = {"key": _text(report.key), "job": report.job, "device": device}
    if isinstance(report, TroubleReport):
        facts |= {"outcome": GIVEN_BACK, "reason": report.reason, "stage": report.stage}
    else:
        facts |= {"outcome": report.outcome, "output": _text(report.output), "bytes_in": report.bytes_in}
        facts |= {"bytes_out": report.bytes_out, "pixels": report.pixels, "coverage": report.coverage}
    if isinstance(report, ImageReport) and report.reason:
        facts |= {"reason": report.reason, "stage": report.stage}
    if isinstance(report, ImageReport) and report.empty:
        facts["empty"] = True
    return {f"alphadrop.{name}": value for name, value in facts.items()}


def _judge(root: Span, report: Of) -> None:
    from opentelemetry.trace import Status, StatusCode

    if isinstance(report, TroubleReport) or report.outcome == Outcome.REJECTED:
        root.set_attribute("error.type", report.reason)
        root.set_status(Status(StatusCode.ERROR, _text(report.detail)))


def _text(text: str) -> str:
    """A file's name may be no valid text, and one such name would cost all the spans that are sent with it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
