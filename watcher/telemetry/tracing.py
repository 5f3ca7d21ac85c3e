"""OpenTelemetry traces: a trace for each image, with a span for each of its stages.

The supervisor creates the spans from its workers' reports, so tracing does not slow the workers down. The SDK is in the
extra `otel`, is imported only when traces are enabled, and reads its environment variables (`OTEL_*`) itself.
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
from watcher.protocol import STAGES, ImageReport, UnavailableReport

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

log = structlog.get_logger(__name__)

TracedReport = ImageReport | UnavailableReport
Trace = Callable[[str, TracedReport], str]
"""Records the trace of a report from a device's worker. Returns the trace id; empty if the image is not traced."""

REQUEUED = "requeued"
"""The outcome in the trace of an image that was requeued after a transient error. The next attempt is another trace."""
FLUSH_SECONDS = 3.0
"""How long the process waits at its end for the collector to accept the last spans."""


@contextmanager
def tracing(enabled: bool) -> Iterator[Trace]:
    """Send traces to the collector while inside the context. Raises ConfigurationError without the extra."""
    if not enabled:
        yield lambda device, report: ""
        return
    provider = _create_provider()
    tracer = provider.get_tracer("alphadrop", version("alphadrop"))
    try:
        yield lambda device, report: _safely(tracer, device, report)
    finally:
        if not Attempt(provider.shutdown).finished(FLUSH_SECONDS):
            log.warning("spans_lost", problem=f"the collector did not accept the last spans within {FLUSH_SECONDS:g} s")


def _safely(tracer: Tracer, device: str, report: TracedReport) -> str:
    """Never raise: an exception would end the thread that receives the worker's reports."""
    try:
        return trace(tracer, device, report)
    except Exception as error:
        log.warning("span_not_recorded", problem=f"{type(error).__name__}: {error}", exc_info=True)
        return ""


def trace(tracer: Tracer, device: str, report: TracedReport) -> str:
    """Create the spans of one image. Returns the trace id; empty if the image is not sampled."""
    from opentelemetry.trace import SpanKind, set_span_in_context

    ended = report.ended or time.time()
    began = min(report.starts.values(), default=ended)
    root = tracer.start_span(
        "image", kind=SpanKind.CONSUMER, start_time=_ns(began), attributes=_attributes(device, report)
    )
    if not root.is_recording():
        return ""
    _set_status(root, report)
    for stage in STAGES:
        if stage in report.starts:
            start = report.starts[stage]
            span = tracer.start_span(stage, set_span_in_context(root), start_time=_ns(start))
            span.end(_ns(start + report.stages[stage]))
    root.end(_ns(ended))
    return f"{root.get_span_context().trace_id:032x}"


def _create_provider() -> TracerProvider:
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
    # The environment variables override these attributes.
    defaults = Resource.create({"service.name": "alphadrop", "service.version": version("alphadrop")})
    # At exit, a collector that does not respond would delay the end of the process without limit.
    provider = TracerProvider(resource=defaults.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _attributes(device: str, report: TracedReport) -> dict[str, str | int | float | list[str]]:
    attributes: dict[str, str | int | float | list[str]] = {
        "key": _valid_text(report.key),
        "job": report.job,
        "device": device,
    }
    if isinstance(report, UnavailableReport):
        attributes |= {"outcome": REQUEUED, "reason": report.reason, "stage": report.stage}
    else:
        attributes |= {"outcome": report.outcome, "output": _valid_text(report.output), "bytes_in": report.bytes_in}
        attributes |= {"bytes_out": report.bytes_out, "pixels": report.pixels, "coverage": report.coverage}
        if report.confidence is not None:
            attributes |= {"confidence": report.confidence, "model": report.model}
    if isinstance(report, ImageReport) and report.reason:
        attributes |= {"reason": report.reason, "stage": report.stage}
    if isinstance(report, ImageReport) and len(report.outputs) > 1:
        attributes["outputs"] = [_valid_text(output.key) for output in report.outputs]
    if isinstance(report, ImageReport) and report.empty:
        attributes["empty"] = True
    return {f"alphadrop.{name}": value for name, value in attributes.items()}


def _set_status(root: Span, report: TracedReport) -> None:
    from opentelemetry.trace import Status, StatusCode

    if isinstance(report, UnavailableReport) or report.outcome == Outcome.REJECTED:
        root.set_attribute("error.type", report.reason)
        root.set_status(Status(StatusCode.ERROR, _valid_text(report.detail)))


def _valid_text(text: str) -> str:
    """Replace what is not valid Unicode: one such file name would make the exporter drop the whole batch of spans."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
