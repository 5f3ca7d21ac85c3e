"""Metrics, log lines and traces of a daemon that works while its workers are killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.equipment.collector import Collector, running_collector, values
from tests.equipment.daemon import Daemon, Folders, colour, coloured
from watcher.protocol import STAGES
from watcher.telemetry.metrics.definitions import ALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Sample = tuple[str, frozenset[tuple[str, str]]]


def drop(folders: Folders, numbers: range) -> None:
    for number in numbers:
        coloured(folders.source / f"{number:03}.png", colour(number))


# Metrics.


def scrape(daemon: Daemon) -> dict[Sample, float]:
    """The samples of all counters and histograms."""
    families = [f for f in parse(daemon.get("/metrics")[1]) if f.name.startswith("alphadrop_")]
    samples = [s for f in families if f.type in ("counter", "histogram") for s in f.samples]
    return {(s.name, frozenset(s.labels.items())): s.value for s in samples}


def test_no_counter_decreases_or_counts_twice_when_a_worker_is_killed(
    folders: Folders, figures: Callable[[str], None]
) -> None:
    with Daemon(folders, "--settle", "0", model="fake:delay=0.3") as daemon:
        daemon.wait_until_ready()
        assert daemon.metric("alphadrop_ready") == 1
        first = scrape(daemon)
        # Given images in flight, and a worker that has reported them
        drop(folders, range(60))
        daemon.until(lambda: daemon.metric("alphadrop_images_in_flight") > 0, "no heartbeat reported any work")
        daemon.until(lambda: daemon.metric("alphadrop_worker_cpu_seconds_total") > 0, "no heartbeat reported CPU time")
        assert daemon.metric("alphadrop_worker_resident_memory_bytes") > 1 << 20
        scrapes = [first, scrape(daemon)]
        # When it is killed
        os.kill(daemon.workers()[0], signal.SIGKILL)
        daemon.until(lambda: daemon.events("worker_died"), "the crash was not noticed")
        scrapes.append(scrape(daemon))
        daemon.until(lambda: daemon.metric("alphadrop_worker_images_in_flight") > 0, "no new worker started")
        scrapes.append(scrape(daemon))
        daemon.until(folders.all_done, "not all were done")
        daemon.until(lambda: not daemon.metric("alphadrop_images_in_flight"), "images are still in flight")
        scrapes.append(scrape(daemon))
        lines = daemon.events("image")
        assert daemon.stop() == 0

    # Then no counter has decreased or disappeared
    for before, after in pairwise(scrapes):
        assert {sample: value for sample, value in before.items() if after.get(sample, -1) < value} == {}
    # and each image was counted once
    outcomes = Counter(line["outcome"] for line in lines)
    last = scrapes[-1]
    counted = {dict(labels)["outcome"]: n for (name, labels), n in last.items() if name == _name("images_processed")}
    assert {outcome: n for outcome, n in counted.items() if n} == outcomes
    assert outcomes["written"] + outcomes["already_done"] == 60
    assert sum(n for (name, _), n in last.items() if name == _name("worker_restarts")) == 1
    figures(f"metrics over a killed worker: {len(last)} samples of counters in {len(scrapes)} scrapes, none decreased")


def _name(name: str) -> str:
    return next(series.full_name for series in ALL if series.name == name)


# Log lines and traces.


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


def test_each_image_has_one_log_line_and_one_trace_with_its_stages(folders: Folders, collector: Collector) -> None:
    # Given a collector that the standard variables name
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20very-secret",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }
    drop(folders, range(3))
    (folders.source / "bad.jpg").write_bytes(b"neither picture nor secret")
    # When a daemon processes pictures
    before = time.time()
    with Daemon(folders, "--settle", "0", command="once", model="fake:delay=0.05", **variables) as daemon:
        assert daemon.wait() == 3
        lines = {line["key"]: line for line in daemon.events("image")}
    # Then each image has one line
    for key in ("000.png", "001.png", "002.png"):
        assert list(lines[key]["stages"]) == list(STAGES)
        assert lines[key]["bytes_in"] == (folders.source / key).stat().st_size
        assert lines[key]["bytes_out"] == (folders.sink / key).stat().st_size
    assert lines["bad.jpg"]["stages"].keys() == {"queue_wait", "read"}
    assert "neither picture" not in folders.log.read_text("utf-8")
    # and one trace, whose id is in the line
    roots = {values(span.attributes)["alphadrop.key"]: span for span in collector.spans if not span.parent_span_id}
    assert roots.keys() == lines.keys() == {"000.png", "001.png", "002.png", "bad.jpg"}
    assert len(collector.traces()) == 4
    assert {key: span.trace_id.hex() for key, span in roots.items()} == {
        key: line["trace_id"] for key, line in lines.items()
    }
    for key in ("000.png", "001.png", "002.png"):
        expect_stages(collector, roots[key], lines[key]["stages"])
        assert before - 1 < roots[key].end_time_unix_nano / 1e9 < time.time() + 1
    # and the broken image is an error
    assert roots["bad.jpg"].status.code == roots["bad.jpg"].status.STATUS_CODE_ERROR
    assert values(roots["bad.jpg"].attributes)["error.type"] == "not_a_picture"
    # and the resource and headers are those of the variables
    assert collector.paths == {"/v1/traces"}
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer very-secret"}
    sender = collector.resource()
    assert (sender["service.name"], sender["deployment.environment"]) == ("alphadrop", "test")
    assert "very-secret" not in folders.log.read_text("utf-8")


def expect_stages(collector: Collector, root: object, durations: dict[str, float]) -> None:
    """There is a span for each stage, within the image's span, in order and as long as in the log line."""
    [spans] = [spans for spans in collector.traces() if root in spans]
    stages = [span for span in spans if span is not root and span.parent_span_id]
    [whole] = [span for span in spans if not span.parent_span_id]
    assert {span.parent_span_id for span in stages} == {whole.span_id}
    assert {s.name: (s.end_time_unix_nano - s.start_time_unix_nano) / 1e9 for s in stages} == pytest.approx(
        durations, abs=1e-3
    )
    stages.sort(key=lambda span: STAGES.index(span.name))
    assert [span.name for span in stages] == list(STAGES)
    starts = [span.start_time_unix_nano for span in stages]
    assert starts == sorted(starts)
    assert whole.start_time_unix_nano == starts[0]
    assert stages[-1].end_time_unix_nano <= whole.end_time_unix_nano


def test_unsupported_trace_settings_are_refused_before_anything_is_processed(folders: Folders) -> None:
    drop(folders, range(1))
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with Daemon(folders, command="once", **variables) as daemon:
        assert daemon.wait() == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported" in folders.log.read_text("utf-8")
    assert folders.outputs() == set()
    assert not folders.state.exists()
