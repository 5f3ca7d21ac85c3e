"""Traces that the real SDK creates from workers' reports, and the variables that enable them."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator, Mapping

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from structlog.testing import capture_logs

from tests.equipment.support import wait_until
from watcher.config.load import wants_traces
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Outcome
from watcher.protocol import ImageReport, UnavailableReport
from watcher.telemetry.tracing import trace, tracing

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
COLLECTOR = "http://collector:4318"
STARTS = {"queue_wait": 1000.0, "read": 1002.5, "decode": 1003.0}
STAGES = {"queue_wait": 2.25, "read": 0.25, "decode": 1.5}
WRITTEN = ImageReport(
    key="a.jpg",
    job="f" * 64,
    outcome=Outcome.WRITTEN,
    output="a.png",
    reason="",
    detail="",
    stages=STAGES,
    starts=STARTS,
    ended=1005.0,
    bytes_in=10,
    bytes_out=20,
    pixels=30,
    coverage=0.5,
    stage="put",
)
REJECTED = WRITTEN.model_copy(
    update={"outcome": Outcome.REJECTED, "reason": "truncated", "detail": "it ends early", "stage": "decode"}
)
UNAVAILABLE = UnavailableReport(
    key="a.jpg",
    stage="read",
    reason="throttled",
    detail="slow down",
    job="f" * 64,
    stages=STAGES,
    starts=STARTS,
    ended=1005.0,
)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()


def image(exporter: InMemorySpanExporter) -> ReadableSpan:
    """The only span without a parent."""
    (root,) = [span for span in exporter.get_finished_spans() if span.parent is None]
    return root


def times(span: ReadableSpan) -> tuple[float, float]:
    assert span.start_time and span.end_time
    return span.start_time / 1e9, span.end_time / 1e9


def test_an_image_is_a_trace_with_a_span_for_each_stage(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    trace_id = trace(tracer, "cuda:0", WRITTEN)
    root = image(exporter)
    assert (root.name, root.kind, times(root)) == ("image", SpanKind.CONSUMER, (1000, 1005))
    stages = {span.name: span for span in exporter.get_finished_spans() if span is not root}
    assert {name: times(span) for name, span in stages.items()} == {
        "queue_wait": (1000, 1002.25),
        "read": (1002.5, 1002.75),
        "decode": (1003, 1004.5),
    }
    assert all(span.parent == root.context for span in stages.values())
    assert {f"{span.context.trace_id:032x}" for span in exporter.get_finished_spans()} == {trace_id}


def test_a_trace_has_the_outcome_of_the_image(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    trace(tracer, "cuda:0", WRITTEN)
    assert dict(image(exporter).attributes or {}) == {
        "alphadrop.key": "a.jpg",
        "alphadrop.job": "f" * 64,
        "alphadrop.device": "cuda:0",
        "alphadrop.outcome": "written",
        "alphadrop.output": "a.png",
        "alphadrop.bytes_in": 10,
        "alphadrop.bytes_out": 20,
        "alphadrop.pixels": 30,
        "alphadrop.coverage": 0.5,
    }
    assert image(exporter).status.status_code is StatusCode.UNSET


def test_a_trace_has_an_attribute_for_an_empty_cut_out(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    trace(tracer, "cuda:0", WRITTEN.model_copy(update={"coverage": 0.0}))
    assert (image(exporter).attributes or {})["alphadrop.empty"] is True


@pytest.mark.parametrize(
    ("report", "outcome", "reason"), [(REJECTED, "rejected", "truncated"), (UNAVAILABLE, "requeued", "throttled")]
)
def test_rejected_and_requeued_images_are_errors_with_a_reason(
    tracer: Tracer, exporter: InMemorySpanExporter, report: ImageReport, outcome: str, reason: str
) -> None:
    trace(tracer, "cuda:0", report)
    root = image(exporter)
    assert root.status.status_code is StatusCode.ERROR
    assert root.status.description == report.detail
    found = root.attributes or {}
    assert (found["alphadrop.outcome"], found["alphadrop.reason"], found["error.type"]) == (outcome, reason, reason)
    assert found["alphadrop.stage"] == report.stage


def test_an_image_whose_worker_died_is_a_trace_too(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    trace(
        tracer,
        "cuda:0",
        ImageReport(key="a.jpg", job="f" * 64, outcome=Outcome.REJECTED, reason="kills_worker", stage="infer"),
    )
    (root,) = exporter.get_finished_spans()
    began, ended = times(root)
    assert began == ended > 1_700_000_000


def test_every_image_has_its_own_trace(tracer: Tracer) -> None:
    assert trace(tracer, "cuda:0", WRITTEN) != trace(tracer, "cuda:0", WRITTEN)


def test_a_name_that_is_not_valid_unicode_can_be_exported(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    trace(tracer, "cuda:0", REJECTED.model_copy(update={"key": odd, "output": odd, "detail": odd}))
    assert rb"caf\udce9" in encode_spans(exporter.get_finished_spans()).SerializeToString()


def test_an_image_that_is_not_sampled_has_no_trace_id() -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    assert trace(provider.get_tracer("test"), "cuda:0", WRITTEN) == ""


def test_an_error_while_creating_spans_is_only_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    broken = WRITTEN.model_copy(update={"stages": {}})
    with tracing(True) as record:
        assert record("cuda:0", broken) == ""


def test_a_collector_that_does_not_respond_delays_the_end_only_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcher.telemetry.tracing.FLUSH_SECONDS", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent, capture_logs() as lines:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with tracing(True) as record:
            assert record("cuda:0", WRITTEN)
        wait_until(lambda: not any(thread.name.startswith("Otel") for thread in threading.enumerate()))
    assert [line["event"] for line in lines] == ["spans_lost"]


def test_nothing_is_traced_by_default() -> None:
    with tracing(False) as record:
        assert record("cuda:0", WRITTEN) == ""


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'alphadrop\[otel\]'"), tracing(True):
        pass


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: COLLECTOR}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{COLLECTOR}/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, False),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": ""}, True),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        (
            {
                ENDPOINT: COLLECTOR,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            True,
        ),
    ],
)
def test_the_standard_variables_enable_traces(environ: Mapping[str, str], wanted: bool) -> None:
    assert wants_traces(environ) is wanted


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({ENDPOINT: "collector:4318"}, f"{ENDPOINT} must be the http:// or https:// address"),
        ({ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "PROTOCOL=grpc is not supported"),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin is not supported"),
    ],
)
def test_unsupported_settings_are_refused_at_the_start(environ: Mapping[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        wants_traces(environ)
