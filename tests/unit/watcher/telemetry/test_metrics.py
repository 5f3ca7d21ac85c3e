"""The metrics: what each event changes on the page, and what holds for every page."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import Histogram
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from watcher.core.jobs import Outcome
from watcher.notify.progress import Progress, SendResult
from watcher.protocol import (
    STAGES,
    BatchReport,
    CountsReport,
    HeartbeatReport,
    ImageReport,
    NotificationsReport,
    ReadyReport,
    Report,
    UnavailableReport,
)
from watcher.queues.base import QueueStats
from watcher.sources.base import DiscoveredVia
from watcher.telemetry.metrics import Metrics, definitions
from watcher.telemetry.metrics import labels as label_values
from watcher.telemetry.metrics.definitions import ALL
from watcher.telemetry.metrics.registry import Metric

parse_openmetrics: Callable[[str], Iterable[Family]] = openmetrics.text_string_to_metric_families

NOW = 1_700_000_000.0
WRITTEN = ImageReport(
    key="a/secret-name.jpg",
    job="f" * 64,
    outcome=Outcome.WRITTEN,
    stages={"queue_wait": 0.5, "read": 0.25, "put": 0.25},
    bytes_in=100,
    bytes_out=300,
    pixels=2000,
    coverage=0.4,
)
UUID = "5c1d9b9e-0000-4000-8000-000000000001"
READY = ReadyReport(device="cuda:0", device_name="NVIDIA H200", model="nano", warmup_seconds=3.5, uuid=UUID)
CARD = {"utilization": 0.75, "power": 310.5, "temperature": 61.0}

PUBLISHED: dict[str, set[str]] = {
    "alphadrop_batch_size_limit": {"device"},
    "alphadrop_batch_size": {"device"},
    "alphadrop_batch_slots_total": {"device"},
    "alphadrop_batches_total": {"device", "trigger"},
    "alphadrop_build_info": set(),
    "alphadrop_decoded_pixels_total": set(),
    "alphadrop_device_busy_seconds_total": {"device"},
    "alphadrop_device_info": {"device"},
    "alphadrop_device_memory_bytes": {"device", "kind"},
    "alphadrop_device_power_watts": {"device"},
    "alphadrop_device_temperature_celsius": {"device"},
    "alphadrop_device_utilization_ratio": {"device"},
    "alphadrop_failures_total": {"stage", "reason"},
    "alphadrop_image_duration_seconds": set(),
    "alphadrop_images_discovered_total": {"via"},
    "alphadrop_images_in_flight": {"stage"},
    "alphadrop_images_processed_total": {"outcome"},
    "alphadrop_last_output_timestamp_seconds": set(),
    "alphadrop_lease_extensions_total": {"result"},
    "alphadrop_matte_coverage_ratio": set(),
    "alphadrop_event_messages_total": {"result"},
    "alphadrop_events_expected": set(),
    "alphadrop_device_out_of_memory_total": {"device"},
    "alphadrop_written_pixels_total": set(),
    "alphadrop_quarantined_images": {"reason"},
    "alphadrop_queue_finished_images": {"outcome"},
    "alphadrop_queue_images": {"state"},
    "alphadrop_queue_oldest_pending_timestamp_seconds": set(),
    "alphadrop_queue_pending_bytes": set(),
    "alphadrop_queue_crash_suspect_images": set(),
    "alphadrop_read_bytes_total": set(),
    "alphadrop_ready": set(),
    "alphadrop_reconcile_duration_seconds": set(),
    "alphadrop_reconcile_found_images_total": set(),
    "alphadrop_reconcile_interval_seconds": set(),
    "alphadrop_reconcile_last_success_timestamp_seconds": set(),
    "alphadrop_reconcile_last_run_timestamp_seconds": set(),
    "alphadrop_reconcile_runs_total": {"result"},
    "alphadrop_retries_total": {"stage"},
    "alphadrop_source_healthy": set(),
    "alphadrop_stage_duration_seconds": {"stage"},
    "alphadrop_sink_conditional_writes": {"condition"},
    "alphadrop_throttled_requests_total": {"operation"},
    "alphadrop_unready": {"part"},
    "alphadrop_watch_overflows_total": set(),
    "alphadrop_worker_cpu_seconds_total": {"device"},
    "alphadrop_worker_images_in_flight": {"device"},
    "alphadrop_worker_resident_memory_bytes": {"device"},
    "alphadrop_worker_restarts_total": {"device", "reason"},
    "alphadrop_worker_warmup_seconds": {"device"},
    "alphadrop_workers": {"state"},
    "alphadrop_written_bytes_total": set(),
}
"""Dashboards and alerts use these. A metric may be added; one that is here keeps its name and its labels."""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(clock=lambda: NOW)


def families(metrics: Metrics) -> list[Family]:
    return list(parse(metrics.render()[0].decode()))


def value(metrics: Metrics, series: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"alphadrop_{series}", labels)


def labels_of(metrics: Metrics, name: str, *names: str) -> set[tuple[str, ...]]:
    samples = [s for f in families(metrics) for s in f.samples if s.name == f"alphadrop_{name}"]
    return {tuple(s.labels[n] for n in names) for s in samples}


def beat(busy: float, out_of_memory: int = 0, in_flight: int = 0) -> HeartbeatReport:
    return HeartbeatReport(
        device="cuda:0",
        memory={"total": 1000, "used": 10},
        batch_limit=8,
        out_of_memory=out_of_memory,
        busy_seconds=busy,
        in_flight=in_flight,
    )


def whereabouts(**stages: int) -> HeartbeatReport:
    return HeartbeatReport(
        device="cuda:0",
        memory={},
        batch_limit=8,
        out_of_memory=0,
        busy_seconds=0,
        in_flight=sum(stages.values()),
        stages=stages,
    )


def card(**figures: float) -> HeartbeatReport:
    return HeartbeatReport(
        device="cuda:0",
        memory=dict.fromkeys(label_values.MEMORY, 7),
        batch_limit=8,
        out_of_memory=0,
        busy_seconds=0,
        in_flight=0,
        stages={},
        gpu=figures,
        cpu_seconds=2.5,
        resident_bytes=4096,
    )


def one_of_each() -> Iterable[Report]:
    yield READY
    yield WRITTEN
    yield from (ImageReport(key="secret-name", job="j", outcome=o, reason="truncated", stage="decode") for o in Outcome)
    yield UnavailableReport(key="secret-name", stage="put", reason="unavailable", detail="disk full")
    yield CountsReport(counts={"throttled_requests": {"put": 2, "secret-op": 1}, "lease_extensions": {"lost": 1}})
    yield BatchReport(device="cuda:0", size=3, slots=4, trigger="full", seconds=0.1)
    yield beat(1.5, 1, 5)
    yield card(**CARD)


def test_every_combination_of_labels_is_0_from_the_start(metrics: Metrics) -> None:
    assert labels_of(metrics, "images_discovered_total", "via") == {(h,) for h in DiscoveredVia}
    assert labels_of(metrics, "images_processed_total", "outcome") == {(o,) for o in Outcome}
    assert labels_of(metrics, "stage_duration_seconds_count", "stage") == {(s,) for s in STAGES}
    assert labels_of(metrics, "retries_total", "stage") == {(s,) for s in (*STAGES, "other")}
    assert labels_of(metrics, "workers", "state") == {(s,) for s in label_values.WORKER_STATES}
    assert labels_of(metrics, "images_in_flight", "stage") == {(s,) for s in (*STAGES, "other")}
    assert labels_of(metrics, "unready", "part") == {(p,) for p in label_values.PARTS}
    assert {("decode", "truncated"), ("put", "unavailable")} <= labels_of(metrics, "failures_total", "stage", "reason")
    ours = [
        s
        for f in families(metrics)
        for s in f.samples
        if f.name.startswith("alphadrop_") and not f.name.endswith("_info")
    ]
    assert len(ours) > 150
    assert all(s.value == 0 for s in ours)


def test_a_gauge_of_which_0_would_be_wrong_has_no_sample_before_its_value_is_known(metrics: Metrics) -> None:
    absent = [metric for metric in ALL if metric.only_when_known]
    names = {sample.name for family in families(metrics) for sample in family.samples}
    assert {metric.full_name for metric in absent} & names == set()
    assert {metric.name for metric in absent} >= {"queue_images", "quarantined_images", "source_healthy"}


def test_unknown_label_values_are_counted_as_other_and_create_no_time_series(metrics: Metrics) -> None:
    metrics.report("cuda:0", READY)
    metrics.report("cuda:0", WRITTEN)
    metrics.queue(QueueStats(1, 1, 1, 1, 1.0))
    metrics.report("cuda:0", card(**CARD))
    before = {(s.name, *s.labels.items()) for f in families(metrics) for s in f.samples}
    for report in one_of_each():
        metrics.report("cuda:0", report)
    for reason in ("sigkill", "boredom"):
        metrics.worker_died("cuda:0", reason)
    metrics.report("cuda:0", UnavailableReport(key="k", stage="lunch", reason="SoupTooHot", detail=""))
    metrics.report("cuda:0", ImageReport(key="k", job="j", outcome=Outcome.REJECTED, reason="ugly", stage="encode"))
    metrics.report("cuda:0", BatchReport(device="cuda:0", size=1, slots=1, trigger="whim", seconds=0.1))
    metrics.workers({"sleeping": 2})
    metrics.report("cuda:0", whereabouts(lunch=1))
    metrics.report("cuda:0", CountsReport(counts={"event_messages": {"sung": 1}}))
    metrics.queue(QueueStats(oldest_pending=2.0, ended={"lost": 1}, reasons={"ugly": 2}))
    metrics.readiness(["weather"])
    metrics.report("cuda:0", card(**CARD, mood=1.0))
    assert {(s.name, *s.labels.items()) for f in families(metrics) for s in f.samples} == before


def test_a_written_image_counts_in_bytes_pixels_seconds_and_coverage(metrics: Metrics) -> None:
    metrics.report("cuda:0", WRITTEN)
    assert value(metrics, "images_processed_total", outcome="written") == 1
    assert value(metrics, "read_bytes_total") == 100
    assert value(metrics, "written_bytes_total") == 300
    assert value(metrics, "written_pixels_total") == 2000
    assert value(metrics, "stage_duration_seconds_sum", stage="queue_wait") == 0.5
    assert value(metrics, "stage_duration_seconds_count", stage="infer") == 0
    assert value(metrics, "image_duration_seconds_sum") == 1.0
    assert value(metrics, "matte_coverage_ratio_bucket", le="0.4") == 1
    assert value(metrics, "matte_coverage_ratio_bucket", le="0.3") == 0
    assert value(metrics, "last_output_timestamp_seconds") == NOW


def test_an_image_that_was_not_written_has_no_output_and_no_duration(metrics: Metrics) -> None:
    for outcome in (Outcome.ALREADY_DONE, Outcome.STALE, Outcome.GONE, Outcome.REJECTED):
        metrics.report(
            "cuda:0", ImageReport(key="k", job="j", outcome=outcome, stages={"queue_wait": 1}, reason="truncated")
        )
    assert value(metrics, "image_duration_seconds_count") == 0
    assert value(metrics, "matte_coverage_ratio_count") == 0
    assert value(metrics, "last_output_timestamp_seconds") is None


@pytest.mark.parametrize(
    ("reason", "reached", "stage", "label"),
    [
        ("truncated", "decode", "decode", "truncated"),
        ("device_memory", "infer", "infer", "device_memory"),
        ("output_taken", "queue_wait", "put", "output_taken"),
        ("never heard of", "encode", "encode", "other"),
        ("never heard of", "", "other", "other"),
    ],
)
def test_a_rejected_image_is_a_failure_in_one_stage(
    metrics: Metrics, reason: str, reached: str, stage: str, label: str
) -> None:
    metrics.report("cpu", ImageReport(key="k", job="j", outcome=Outcome.REJECTED, reason=reason, stage=reached))
    assert value(metrics, "failures_total", stage=stage, reason=label) == 1
    assert value(metrics, "images_processed_total", outcome="rejected") == 1


def test_a_requeued_image_is_a_failure_and_a_retry_and_is_not_finished(metrics: Metrics) -> None:
    metrics.report("cpu", UnavailableReport(key="k", stage="read", reason="source_missing", detail="unmounted"))
    metrics.report("cpu", UnavailableReport(key="", stage="queue_wait", reason="unavailable", detail="no image leased"))
    assert value(metrics, "failures_total", stage="read", reason="source_missing") == 1
    assert value(metrics, "failures_total", stage="queue_wait", reason="unavailable") == 1
    assert value(metrics, "retries_total", stage="read") == 1
    assert value(metrics, "retries_total", stage="queue_wait") == 0
    assert all(value(metrics, "images_processed_total", outcome=o) == 0 for o in Outcome)


def test_batches_report_their_size_their_padding_and_what_started_them(metrics: Metrics) -> None:
    metrics.report("cuda:0", BatchReport(device="cuda:0", size=3, slots=4, trigger="timeout", seconds=0.1))
    assert value(metrics, "batch_size_sum", device="cuda:0") == 3
    assert value(metrics, "batch_slots_total", device="cuda:0") == 4
    assert value(metrics, "batches_total", device="cuda:0", trigger="timeout") == 1
    assert value(metrics, "batches_total", device="cuda:0", trigger="full") == 0


def test_counters_of_a_device_never_decrease_when_its_worker_restarts(metrics: Metrics) -> None:
    seen = []
    for report in (READY, beat(5, 2), beat(8, 2), READY, beat(1, 0), beat(2, 1), READY, beat(3, 3)):
        metrics.report("cuda:0", report)
        busy = value(metrics, "device_busy_seconds_total", device="cuda:0")
        seen.append((busy, value(metrics, "device_out_of_memory_total", device="cuda:0")))
    assert [s[0] for s in seen] == [0, 5, 8, 8, 9, 10, 10, 13]
    assert [s[1] for s in seen] == [0, 2, 2, 2, 2, 3, 3, 6]


def test_a_smaller_total_is_a_late_report_and_counts_nothing_twice(metrics: Metrics) -> None:
    seen = []
    for busy in (5, 8, 7.5, 8, 9):
        metrics.report("cuda:0", beat(busy))
        seen.append(value(metrics, "device_busy_seconds_total", device="cuda:0"))
    for throttled in (4, 3, 4):
        metrics.report("cuda:0", CountsReport(counts={"throttled_requests": {"put": throttled}}))
    assert seen == [5, 8, 8, 8, 9]
    assert value(metrics, "throttled_requests_total", operation="put") == 4


def test_the_total_of_a_new_worker_counts_in_full_even_if_it_exceeds_the_old_ones(metrics: Metrics) -> None:
    metrics.report("cuda:0", beat(1))
    metrics.worker_died("cuda:0", "sigkill")
    metrics.report("cuda:0", beat(4))
    assert value(metrics, "device_busy_seconds_total", device="cuda:0") == 5


def test_two_workers_on_one_device_have_metrics_of_their_own(metrics: Metrics) -> None:
    for worker, busy in (("cpu:0", 1.0), ("cpu:1", 2.0)):
        metrics.report(
            worker,
            HeartbeatReport(device="cpu", memory={}, batch_limit=1, out_of_memory=0, busy_seconds=busy, in_flight=1),
        )
    assert value(metrics, "device_busy_seconds_total", device="cpu:0") == 1
    assert value(metrics, "device_busy_seconds_total", device="cpu:1") == 2


def test_what_a_card_says_counts_once_and_what_its_workers_do_counts_for_each(metrics: Metrics) -> None:
    for number in range(3):
        metrics.report(f"cuda:0:{number}", card(**CARD))
    assert labels_of(metrics, "device_power_watts", "device") == {("cuda:0",)}
    assert labels_of(metrics, "device_memory_bytes", "device", "kind") == {
        *(("cuda:0", kind) for kind in ("total", "used")),
        *((f"cuda:0:{n}", kind) for n in range(3) for kind in label_values.MEMORY if kind not in ("total", "used")),
    }
    assert {device for (device,) in labels_of(metrics, "worker_cpu_seconds_total", "device")} == {
        f"cuda:0:{number}" for number in range(3)
    }
    metrics.worker_died("cuda:0:1", "device_lost")
    metrics.report("cuda:0:2", card(**CARD))
    assert value(metrics, "device_memory_bytes", device="cuda:0", kind="used") == 7


def test_a_device_has_an_info_and_its_gauges(metrics: Metrics) -> None:
    metrics.report("cuda:0", READY)
    metrics.report("cuda:0", beat(1, in_flight=6))
    assert value(metrics, "device_info", device="cuda:0", name="NVIDIA H200", model="nano", uuid=UUID) == 1
    assert value(metrics, "worker_warmup_seconds", device="cuda:0") == 3.5
    assert value(metrics, "batch_size_limit", device="cuda:0") == 8
    assert value(metrics, "device_memory_bytes", device="cuda:0", kind="used") == 10
    assert value(metrics, "worker_images_in_flight", device="cuda:0") == 6


def test_a_gpu_has_its_drivers_readings_and_each_kind_of_memory(metrics: Metrics) -> None:
    report = HeartbeatReport(
        device="cuda:0",
        memory={kind: n for n, kind in enumerate(label_values.MEMORY)},
        batch_limit=8,
        out_of_memory=0,
        busy_seconds=0,
        in_flight=0,
        stages={},
        gpu=CARD,
        cpu_seconds=2.5,
        resident_bytes=4096,
    )
    metrics.report("cuda:0", report)
    assert value(metrics, "device_utilization_ratio", device="cuda:0") == 0.75
    assert value(metrics, "device_power_watts", device="cuda:0") == 310.5
    assert value(metrics, "device_temperature_celsius", device="cuda:0") == 61
    assert value(metrics, "worker_cpu_seconds_total", device="cuda:0") == 2.5
    assert value(metrics, "worker_resident_memory_bytes", device="cuda:0") == 4096
    for number, kind in enumerate(("total", "used", "process", "allocated", "reserved", "peak")):
        assert value(metrics, "device_memory_bytes", device="cuda:0", kind=kind) == number


def test_readings_that_a_device_does_not_have_are_absent(metrics: Metrics) -> None:
    metrics.report(
        "cpu", HeartbeatReport(device="cpu", memory={}, batch_limit=4, out_of_memory=0, busy_seconds=0, in_flight=0)
    )
    for name in ("utilization_ratio", "power_watts", "temperature_celsius", "memory_bytes"):
        assert labels_of(metrics, f"device_{name}", "device") == set()


def test_a_reading_that_stops_is_removed(metrics: Metrics) -> None:
    metrics.report("cuda:0", card(**CARD))
    metrics.report("cuda:0", card(power=300))
    assert value(metrics, "device_power_watts", device="cuda:0") == 300
    assert value(metrics, "device_utilization_ratio", device="cuda:0") is None


def test_images_in_flight_are_summed_over_all_workers_by_stage(metrics: Metrics) -> None:
    metrics.report("cuda:0", whereabouts(read=2, infer=4))
    metrics.report("cuda:1", whereabouts(infer=3, put=1))
    assert value(metrics, "images_in_flight", stage="read") == 2
    assert value(metrics, "images_in_flight", stage="infer") == 7
    metrics.worker_died("cuda:0", "sigkill")
    assert value(metrics, "images_in_flight", stage="read") == 0
    assert value(metrics, "images_in_flight", stage="infer") == 3
    assert value(metrics, "images_in_flight", stage="put") == 1


def test_gauges_of_a_dead_workers_device_are_absent_until_the_next_worker_reports(metrics: Metrics) -> None:
    metrics.report("cuda:0", card(**CARD))
    metrics.worker_died("cuda:0", "sigkill")
    assert value(metrics, "device_utilization_ratio", device="cuda:0") is None
    assert value(metrics, "device_memory_bytes", device="cuda:0", kind="used") is None
    assert value(metrics, "worker_cpu_seconds_total", device="cuda:0") == 2.5
    metrics.report("cuda:0", card(**CARD))
    assert value(metrics, "device_utilization_ratio", device="cuda:0") == 0.75
    assert value(metrics, "worker_cpu_seconds_total", device="cuda:0") == 5


def test_a_worker_that_was_asked_to_end_does_not_count_as_a_restart(metrics: Metrics) -> None:
    metrics.report("cuda:0", beat(1, in_flight=6))
    metrics.worker_died("cuda:0")
    assert value(metrics, "worker_images_in_flight", device="cuda:0") == 0
    assert all(value(metrics, "worker_restarts_total", device="cuda:0", reason=r) == 0 for r in label_values.DEATHS)


def test_the_daemon_is_ready_when_no_part_is_unready(metrics: Metrics) -> None:
    metrics.readiness(["workers", "weather", "moon"])
    assert value(metrics, "ready") == 0
    assert value(metrics, "unready", part="workers") == 1
    assert value(metrics, "unready", part="other") == 1
    assert value(metrics, "unready", part="queue") == 0
    metrics.readiness([])
    assert value(metrics, "ready") == 1
    assert value(metrics, "unready", part="workers") == 0


def test_a_dead_worker_has_no_images_in_flight(metrics: Metrics) -> None:
    metrics.report("cuda:0", beat(1, in_flight=6))
    metrics.worker_died("cuda:0", "sigkill")
    assert value(metrics, "worker_images_in_flight", device="cuda:0") == 0
    assert value(metrics, "worker_restarts_total", device="cuda:0", reason="sigkill") == 1
    assert value(metrics, "worker_restarts_total", device="cuda:0", reason="silent") == 0


def test_the_embedded_queue_reports_everything(metrics: Metrics) -> None:
    metrics.queue(QueueStats(5, 2, 1, 700, NOW, {"written": 9}, {"truncated": 3, "brand_new": 1, "other": 1}))
    assert value(metrics, "queue_images", state="pending") == 5
    assert value(metrics, "queue_images", state="in_flight") == 2
    assert value(metrics, "queue_crash_suspect_images") == 1
    assert value(metrics, "queue_pending_bytes") == 700
    assert value(metrics, "queue_oldest_pending_timestamp_seconds") == NOW
    assert value(metrics, "queue_finished_images", outcome="written") == 9
    assert value(metrics, "quarantined_images", reason="truncated") == 3
    assert value(metrics, "quarantined_images", reason="other") == 2
    assert labels_of(metrics, "quarantined_images", "reason") == {(r,) for r in label_values.REJECTIONS}
    metrics.queue(QueueStats())
    assert labels_of(metrics, "queue_images", "state") == {("pending",), ("in_flight",)}
    assert value(metrics, "queue_pending_bytes") == 0
    assert value(metrics, "queue_oldest_pending_timestamp_seconds") is None
    assert value(metrics, "quarantined_images", reason="truncated") == 0


def test_what_a_broker_cannot_know_is_absent_and_not_0(metrics: Metrics) -> None:
    unknown = frozenset({"in_flight", "suspects", "pending_bytes", "oldest_pending", "ended", "reasons"})
    metrics.queue(QueueStats(27, unknown=unknown))
    assert value(metrics, "queue_images", state="pending") == 27
    assert value(metrics, "queue_images", state="in_flight") is None
    for name in ("queue_crash_suspect_images", "queue_pending_bytes", "queue_oldest_pending_timestamp_seconds"):
        assert value(metrics, name) is None
    assert labels_of(metrics, "queue_finished_images", "outcome") == set()
    assert labels_of(metrics, "quarantined_images", "reason") == set()


def test_counts_of_all_processes_are_added_up_and_never_decrease(metrics: Metrics) -> None:
    metrics.report("cuda:0", CountsReport(counts={"throttled_requests": {"put": 2}}))
    metrics.report("cuda:1", CountsReport(counts={"throttled_requests": {"put": 5}}))
    metrics.counts("supervisor", {"throttled_requests": {"list": 1}})
    metrics.report("cuda:0", CountsReport(counts={"throttled_requests": {"put": 3}}))
    metrics.worker_died("cuda:0", "sigkill")
    metrics.report("cuda:0", CountsReport(counts={"throttled_requests": {"put": 4}}))
    assert value(metrics, "throttled_requests_total", operation="put") == 12
    assert value(metrics, "throttled_requests_total", operation="list") == 1


def test_the_conditions_that_the_sink_honours_are_known_for_a_bucket_and_absent_for_a_folder(metrics: Metrics) -> None:
    metrics.conditional_writes({})
    assert labels_of(metrics, "sink_conditional_writes", "condition") == set()
    metrics.conditional_writes({"if_none_match": True, "if_match": False})
    assert value(metrics, "sink_conditional_writes", condition="if_none_match") == 1
    assert value(metrics, "sink_conditional_writes", condition="if_match") == 0
    assert labels_of(metrics, "sink_conditional_writes", "condition") == {("if_none_match",), ("if_match",)}


def test_workers_are_counted_by_state(metrics: Metrics) -> None:
    metrics.workers({"ready": 2, "starting": 1, "dreaming": 1})
    metrics.workers({"ready": 3})
    assert value(metrics, "workers", state="ready") == 3
    assert value(metrics, "workers", state="starting") == 0
    assert value(metrics, "workers", state="other") == 0


def test_arrivals_listings_and_lost_events_are_counted(metrics: Metrics) -> None:
    metrics.discovered(DiscoveredVia.EVENT, 3)
    metrics.discovered(DiscoveredVia.SCAN)
    metrics.overflowed()
    metrics.listing_succeeded(4, 0.02)
    metrics.source_health(True)
    assert value(metrics, "images_discovered_total", via="event") == 3
    assert value(metrics, "images_discovered_total", via="scan") == 1
    assert value(metrics, "watch_overflows_total") == 1
    assert value(metrics, "reconcile_found_images_total") == 4
    assert value(metrics, "reconcile_duration_seconds_count") == 1
    assert value(metrics, "reconcile_last_run_timestamp_seconds") == NOW
    assert value(metrics, "reconcile_last_success_timestamp_seconds") == NOW
    assert value(metrics, "source_healthy") == 1


def test_a_failed_listing_is_not_a_success(metrics: Metrics) -> None:
    metrics.listing_interval(900)
    metrics.listing_failed()
    assert value(metrics, "reconcile_interval_seconds") == 900
    assert value(metrics, "reconcile_runs_total", result="failed") == 1
    assert value(metrics, "reconcile_last_run_timestamp_seconds") == NOW
    assert value(metrics, "reconcile_last_success_timestamp_seconds") is None


def test_whether_events_are_expected_is_absent_where_nobody_said_so(metrics: Metrics) -> None:
    assert value(metrics, "events_expected") is None
    metrics.events_expected(False)
    assert value(metrics, "events_expected") == 0


def test_the_page_has_the_version_and_the_model(metrics: Metrics) -> None:
    metrics.build_info("1.2.3", "nano", "abc")
    assert value(metrics, "build_info", version="1.2.3", model="nano", digest="abc") == 1


def test_the_page_contains_no_key_and_no_job_id(metrics: Metrics) -> None:
    for report in one_of_each():
        metrics.report("cuda:0", report)
    page = metrics.render()[0].decode()
    assert "secret-name" not in page
    assert "ffffffff" not in page


def test_names_follow_the_conventions(metrics: Metrics) -> None:
    for report in one_of_each():
        metrics.report("cuda:0", report)
    metrics.api_request("GET", "/v1/status", 200, 0.1)
    page = metrics.render()[0].decode()
    ours = [f for f in families(metrics) if f.name.startswith("alphadrop_")]
    for family in ours:
        assert re.fullmatch(r"[a-z_]+", family.name)
        assert family.documentation
        assert (family.type == "counter") == (f"# TYPE {family.name}_total counter\n" in page)
        assert not re.search(r"_(ms|mb|percent|count|created)$", family.name)
        assert (family.type == "histogram") <= any(s.labels.get("le") == "+Inf" for s in family.samples)
    assert "_created" not in page
    names = [(s.name, *sorted(s.labels.items())) for f in families(metrics) for s in f.samples]
    assert len(names) == len(set(names))


def test_no_metric_that_dashboards_use_is_missing_or_renamed(metrics: Metrics) -> None:
    now = {metric.full_name: set(metric.labels) for metric in ALL}
    assert {name: labels for name, labels in PUBLISHED.items() if now.get(name) != labels} == {}
    shown = {f"alphadrop_{metric.name}" for metric in ALL}
    assert {f.name for f in metrics.registry.collect() if f.name.startswith("alphadrop_")} == shown
    assert len(shown) == len(ALL)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_every_metric_is_explained(metric: Metric[Any]) -> None:
    assert metric.help.endswith(".") and (metric.notes or metric.name.startswith("reconcile_"))
    assert metric.unit == "" or not metric.name.endswith(("_seconds", "_bytes"))
    assert (metric.kind is Histogram) == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_definition_is_in_a_section() -> None:
    assert {metric for metric in vars(definitions).values() if isinstance(metric, Metric)} == set(ALL)


def test_a_scraper_that_asks_for_openmetrics_gets_it(metrics: Metrics) -> None:
    content, kind = metrics.render("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert kind.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")
    assert any(f.name == "alphadrop_images_processed" for f in parse_openmetrics(content.decode()))
    assert metrics.render()[1].startswith("text/plain")


def test_two_instances_share_no_values(metrics: Metrics) -> None:
    metrics.report("cpu", WRITTEN)
    assert value(Metrics(), "written_pixels_total") == 0


def test_the_process_itself_is_on_the_page(metrics: Metrics) -> None:
    assert any(f.name == "python_info" for f in families(metrics))


# Notifications.


def test_what_waits_is_the_sum_over_all_processes_and_unknown_where_one_does_not_know() -> None:
    metrics = Metrics()

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"alphadrop_notifications_{name}")

    assert value("pending") is None
    metrics.report("one", notifications(pending=2, oldest=50.0, results={SendResult.FAILED: 3}))
    metrics.report("two", notifications(pending=1, oldest=40.0, results={SendResult.DELIVERED: 2}, delays=(1.5, 2.0)))
    assert (value("pending"), value("oldest_pending_timestamp_seconds")) == (3, 40.0)
    metrics.worker_died("two", "sigkill")
    assert (value("pending"), value("oldest_pending_timestamp_seconds")) == (2, 50.0)
    metrics.report("one", notifications(pending=None))
    assert value("pending") is value("oldest_pending_timestamp_seconds") is None
    sent = {
        result: metrics.registry.get_sample_value("alphadrop_notifications_sent_total", {"result": result})
        for result in SendResult
    }
    assert sent == {SendResult.DELIVERED: 2, SendResult.FAILED: 3, SendResult.SET_ASIDE: 0}
    assert metrics.registry.get_sample_value("alphadrop_notification_delay_seconds_sum") == 3.5


def notifications(**progress: Any) -> NotificationsReport:
    return NotificationsReport(progress=Progress(**progress))


def test_requests_to_the_api_count_by_route_and_outcome(metrics: Metrics) -> None:
    for status in (200, 304, 202, 404, 429, 503):
        metrics.api_request("POST", "/v1/cutouts", status, 0.25)
    metrics.api_request("DELETE", "/v1/session", 200, 0.1)
    where = {"method": "POST", "route": "/v1/cutouts"}
    found = [value(metrics, "api_requests_total", **where, outcome=outcome) for outcome in label_values.API_OUTCOMES]
    assert found == [2, 1, 1, 1, 1]
    assert value(metrics, "api_request_duration_seconds_sum", **where) == 1.5
    assert value(metrics, "api_requests_total", method="other", route="other", outcome="ok") == 1
