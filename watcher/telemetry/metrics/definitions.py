"""Every metric: add one here, and to its section in SECTIONS. `make reference` then writes it into docs/metrics.md.

Names and units follow https://prometheus.io/docs/practices/naming/. No label ever contains a key. The label `device` is
the worker's name: the name of its device, with a number where several workers share one. What a GPU's driver says of
the whole GPU has the name of the GPU, so that it counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Info

from watcher.core.jobs import Outcome
from watcher.notify.progress import SendResult
from watcher.protocol import EMPTY, STAGES
from watcher.sources.base import DiscoveredVia
from watcher.telemetry.metrics import labels
from watcher.telemetry.metrics.labels import OTHER, REJECTIONS, TRANSIENT_ERRORS
from watcher.telemetry.metrics.registry import DEVICE, Metric

STAGE_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
IMAGE_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400)
DELAY_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
LISTING_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 7200)
BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
COVERAGE = (EMPTY, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1)
"""Narrow at both ends, since mattes that are empty or full are the ones that are wrong."""

CONFIDENCES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)

_DEVICE: dict[str, Sequence[str]] = {DEVICE: ()}
_STAGES = (*STAGES, OTHER)
_FAILURES = dict.fromkeys(
    [
        *((stage, reason) for reason, stage in REJECTIONS.items()),
        *((stage, reason) for stage in _STAGES for reason in TRANSIENT_ERRORS),
    ]
)

# Readiness and liveness.

READY = Metric(
    Gauge,
    "ready",
    "1 while every part of the daemon can work, as /readyz reports.",
    "Look at this first. Page the person on call when it stays 0 for minutes.",
)
UNREADY = Metric(
    Gauge,
    "unready",
    "1 for each part that keeps the daemon from being ready.",
    "Explains why `alphadrop_ready` is 0; /readyz adds the reason. `stopping` is an orderly shutdown, not a fault.",
    {"part": labels.PARTS},
)
WORKERS = Metric(
    Gauge,
    "workers",
    "Worker processes by state.",
    "Fewer `ready` workers than devices means that capacity is missing.",
    {"state": labels.WORKER_STATES},
    unit="processes",
)
WORKER_RESTARTS = Metric(
    Counter,
    "worker_restarts",
    "Worker processes that ended unexpectedly and were replaced, by cause.",
    "A single restart needs no action. A steady rate points to a faulty device or driver, or to an image that "
    "crashes its worker.",
    _DEVICE | {"reason": labels.DEATHS},
    unit="processes",
)
DEVICE_AT_FAULT = Metric(
    Gauge,
    "device_at_fault",
    "Whether a device fails on every picture, one that is known to be good included.",
    "With 1, an operator must act: the device passes its warm-up and then fails. Its images are not blamed, and are "
    "tried again.",
    _DEVICE,
)
LAST_OUTPUT = Metric(
    Gauge,
    "last_output_timestamp_seconds",
    "When the last output was written.",
    "If this is long ago while images are pending, nothing gets through.",
    only_when_known=True,
)
BUILD = Metric(
    Info,
    "build",
    "The version of alphadrop, and the name and digest of the model in use.",
    "Join it with other metrics to see when a version or a model was rolled out.",
    info_labels=("version", "model", "digest"),
)

# Images.

IMAGES_DISCOVERED = Metric(
    Counter,
    "images_discovered",
    "New images, and new versions of images, by how they were discovered.",
    "The incoming load. `scan` and `reconcile` are images that a listing found and no event announced.",
    {"via": tuple(DiscoveredVia)},
    unit="images",
)
IMAGES_PROCESSED = Metric(
    Counter,
    "images_processed",
    "Finished images by outcome.",
    "The rate of `written` is the throughput. An image that was requeued is not finished.",
    {"outcome": tuple(Outcome)},
    unit="images",
)
FAILURES = Metric(
    Counter,
    "failures",
    "Rejected images and transient errors, by stage and reason.",
    "`unavailable`, `source_missing`, `throttled` and `denied` are transient errors of storage, queue or network: "
    "the image is retried. With every other reason the image itself was rejected.",
    {"stage": _STAGES, "reason": tuple(dict.fromkeys((*REJECTIONS, *TRANSIENT_ERRORS)))},
    combinations=tuple(_FAILURES),
    unit="events",
)
RETRIES = Metric(
    Counter,
    "retries",
    "Images that were requeued after a transient error, by the stage in which it occurred.",
    "How much work is repeated because of transient errors.",
    {"stage": _STAGES},
    unit="images",
)
READ_BYTES = Metric(
    Counter, "read_bytes", "Bytes of images read from the source.", "Its rate is the bandwidth from the source."
)
OUTPUTS_WRITTEN = Metric(
    Counter,
    "outputs_written",
    "Outputs written to the sink, by output.",
    "An image has one output of each preset and `[[output]]` table; of those, only what is missing or outdated is "
    "written. An output with a name of its own counts as `other`.",
    labels={"output": labels.OUTPUTS},
)
WRITTEN_BYTES = Metric(
    Counter, "written_bytes", "Bytes of outputs written to the sink.", "Its rate is the bandwidth to the sink."
)
DECODED_PIXELS = Metric(
    Counter,
    "decoded_pixels",
    "Pixels of finished images that were decoded, whatever their outcome.",
    "A measure of the CPU load that, unlike the number of images, accounts for their sizes.",
)
WRITTEN_PIXELS = Metric(
    Counter,
    "written_pixels",
    "Pixels of outputs written to the sink.",
    "Its rate is a throughput that accounts for the sizes of the images.",
)
MATTE_COVERAGE = Metric(
    Histogram,
    "matte_coverage_ratio",
    "Mean alpha of the outputs, their `matte_coverage`.",
    "If more and more outputs are at either end, the model finds no object or takes everything for the object. "
    "Outputs in the first bucket are logged with `empty`.",
    buckets=COVERAGE,
)
CONFIDENCE = Metric(
    Histogram,
    "confidence_ratio",
    "Confidence of the mattes of the outputs.",
    "The share below a bound is the work for `alphadrop review`. If it grows, the pictures have changed, or the model "
    "does not suit them.",
    buckets=CONFIDENCES,
)
IMAGES_BY_MODEL = Metric(
    Counter,
    "images_by_model",
    "Images whose outputs were written, by the model of a cascade that cut them out.",
    "`fast`: only the fast model ran. `fast_kept`: both ran, and the fast one's matte had the higher "
    "confidence. `fast_kept` and `strong` together are the images that `--strong-share` or `--strong-below` selected. "
    "Without `--strong`, all are `fast`.",
    {"model": labels.CASCADE_MODELS},
    unit="images",
)

# Latency.

STAGE_DURATION = Metric(
    Histogram,
    "stage_duration_seconds",
    "Time that an image spent in each stage.",
    "Shows what is slow. `queue_wait` lasts from discovery until a worker leases the image, `batch_wait` until its "
    "batch starts.",
    {"stage": STAGES},
    buckets=STAGE_SECONDS,
)
IMAGE_DURATION = Metric(
    Histogram,
    "image_duration_seconds",
    "Time from discovery to the durable output, of the images that were written.",
    "The latency that a user sees.",
    buckets=IMAGE_SECONDS,
)
IMAGES_IN_FLIGHT = Metric(
    Gauge,
    "images_in_flight",
    "Images in each stage now, over all workers of this process.",
    "The stage in which images pile up is the bottleneck. `queue_wait` counts leased images that are not being read "
    "yet, `decode` includes those that wait for memory, `put` includes those that are being acknowledged. Updated "
    "once a second.",
    {"stage": _STAGES},
    unit="images",
)

# Queue.

QUEUE_IMAGES = Metric(
    Gauge,
    "queue_images",
    "Unfinished images in the queue, by state.",
    "`pending` is the backlog. A broker's own figures, which may be approximate; RabbitMQ does not report `in_flight`.",
    {"state": labels.QUEUE_STATES},
    only_when_known=True,
    unit="images",
)
QUEUE_CRASH_SUSPECTS = Metric(
    Gauge,
    "queue_crash_suspect_images",
    "Pending images that were in flight in a worker when it crashed.",
    "They run one at a time, which lowers the throughput. Embedded queue only.",
    only_when_known=True,
)
QUEUE_PENDING_BYTES = Metric(
    Gauge,
    "queue_pending_bytes",
    "Total size of the pending images.",
    "Embedded queue only: a broker does not know it.",
    only_when_known=True,
)
QUEUE_OLDEST_PENDING = Metric(
    Gauge,
    "queue_oldest_pending_timestamp_seconds",
    "When the oldest pending image was discovered.",
    "Its age is how far the daemon is behind. No sample while nothing is pending. Embedded queue only.",
    only_when_known=True,
)
QUEUE_FINISHED = Metric(
    Gauge,
    "queue_finished_images",
    "Finished images that the queue still remembers, by outcome.",
    "Embedded queue only.",
    {"outcome": (*Outcome, OTHER)},
    only_when_known=True,
)
QUARANTINED = Metric(
    Gauge,
    "quarantined_images",
    "Rejected images that have not been retried, by reason.",
    "An operator has to look at these. Embedded queue only.",
    {"reason": tuple(REJECTIONS)},
    only_when_known=True,
)

# Batches.

BATCH_SIZE = Metric(
    Histogram,
    "batch_size",
    "Images in each batch.",
    "Small batches under load mean that images reach the device too slowly: add CPU cores or use faster storage.",
    _DEVICE,
    buckets=BATCH_IMAGES,
    unit="images",
)
BATCHES = Metric(
    Counter,
    "batches",
    "Batches by what started them.",
    "`full`: the batch had reached its limit. `idle`: no other image was on its way. `timeout`: others were, but did "
    "not arrive in time.",
    _DEVICE | {"trigger": labels.TRIGGERS},
    unit="batches",
)
BATCH_SLOTS = Metric(
    Counter,
    "batch_slots",
    "Slots in the batches that ran, padding included.",
    "The difference to `alphadrop_batch_size_sum` is padding.",
    _DEVICE,
    unit="slots",
)
BATCH_SIZE_LIMIT = Metric(
    Gauge,
    "batch_size_limit",
    "Largest batch that the device currently allows.",
    "Halved when memory runs out, then raised again step by step.",
    _DEVICE,
    only_when_known=True,
    unit="images",
)

# Devices and workers.

DEVICE_INFO = Metric(
    Info,
    "device",
    "The name and UUID of a worker's device, and its model.",
    "Other exporters identify a GPU by the same UUID; it is empty for a CPU.",
    _DEVICE,
    info_labels=("name", "model", "uuid"),
    only_when_known=True,
)
DEVICE_BUSY = Metric(
    Counter,
    "device_busy_seconds",
    "Time that the device spent on batches.",
    "Its rate is the share of time in which the device works for alphadrop. Near 1, the device is the bottleneck.",
    _DEVICE,
)
DEVICE_UTILIZATION = Metric(
    Gauge,
    "device_utilization_ratio",
    "Share of the last sampling period in which the GPU ran any kernel, as NVML reports it.",
    "Includes other programs on the same GPU. High utilization with little throughput is another program's load.",
    _DEVICE,
    only_when_known=True,
)
DEVICE_POWER = Metric(
    Gauge,
    "device_power_watts",
    "Power draw of the GPU, as NVML reports it.",
    "A better measure than utilization of how hard the GPU works.",
    _DEVICE,
    only_when_known=True,
)
DEVICE_TEMPERATURE = Metric(
    Gauge,
    "device_temperature_celsius",
    "Temperature of the GPU, as NVML reports it.",
    "Most GPUs throttle at about 85 degrees.",
    _DEVICE,
    only_when_known=True,
)
DEVICE_MEMORY = Metric(
    Gauge,
    "device_memory_bytes",
    "Device memory by kind; the kinds overlap.",
    "`total` and `used` describe the whole GPU, other programs included. `process` is what the driver attributes to "
    "this worker, where it does. Of that, torch keeps `reserved`, its tensors occupy `allocated`, and `peak` is the "
    "largest `allocated` so far. `reserved` memory that is not returned is not a leak.",
    _DEVICE | {"kind": labels.MEMORY},
    only_when_known=True,
)
DEVICE_OUT_OF_MEMORY = Metric(
    Counter,
    "device_out_of_memory",
    "Batches that did not fit into the device's memory.",
    "Each was split and run again. If the rate is steady, set a smaller `--batch`.",
    _DEVICE,
    unit="batches",
)
WORKER_IN_FLIGHT = Metric(
    Gauge,
    "worker_images_in_flight",
    "Images that a worker is processing.",
    "0 while images are pending means that the worker is stuck.",
    _DEVICE,
    unit="images",
)
WORKER_WARMUP = Metric(
    Gauge,
    "worker_warmup_seconds",
    "Time that the worker took to load the model and warm up.",
    "What a restart costs.",
    _DEVICE,
    only_when_known=True,
)
WORKER_CPU = Metric(
    Counter,
    "worker_cpu_seconds",
    "CPU time of the worker processes, over all threads.",
    "Its rate is the number of cores in use. If these are all that the process may use, more cores would make it "
    "faster. The supervisor's own CPU time is `process_cpu_seconds_total`.",
    _DEVICE,
)
WORKER_MEMORY = Metric(
    Gauge,
    "worker_resident_memory_bytes",
    "Resident main memory of a worker process.",
    "Depends on `--megapixels-in-flight` and does not grow over time. The supervisor's own is "
    "`process_resident_memory_bytes`.",
    _DEVICE,
    only_when_known=True,
)

# Discovery.

SOURCE_HEALTHY = Metric(
    Gauge,
    "source_healthy",
    "1 while the source can be watched and listed.",
    "0 means that the folder is missing or that the bucket denies access. Absent in `work`, which has no source.",
    only_when_known=True,
)
WATCH_OVERFLOWS = Metric(
    Counter,
    "watch_overflows",
    "Times that the kernel dropped file events because its queue was full.",
    "A listing follows at once. If the rate is steady, write fewer files at a time, or use polling.",
    unit="times",
)
RECONCILE_FOUND = Metric(
    Counter,
    "reconcile_found_images",
    "Images that a listing found and no event had announced.",
    "What the events miss: close to 0 where events work, every image where there are none.",
)
RECONCILE_RUNS = Metric(
    Counter,
    "reconcile_runs",
    "Full listings of the source, by result.",
    labels={"result": ("ok", "failed")},
    unit="listings",
)
RECONCILE_DURATION = Metric(
    Histogram,
    "reconcile_duration_seconds",
    "Duration of the full listings of the source.",
    "If it comes near `--rescan`, set a longer interval.",
    buckets=LISTING_SECONDS,
)
RECONCILE_LAST_RUN = Metric(
    Gauge,
    "reconcile_last_run_timestamp_seconds",
    "When the last full listing ended, successful or not.",
    only_when_known=True,
)
RECONCILE_LAST_SUCCESS = Metric(
    Gauge,
    "reconcile_last_success_timestamp_seconds",
    "When the last successful full listing ended.",
    "Listings guarantee that no image is missed, so this should never be older than a few intervals.",
    only_when_known=True,
)
RECONCILE_INTERVAL = Metric(
    Gauge,
    "reconcile_interval_seconds",
    "Configured time between two full listings.",
    "Compare the age of the last successful listing with it.",
    only_when_known=True,
)
EVENT_MESSAGES = Metric(
    Counter,
    "event_messages",
    "Messages received with events of the bucket, by result.",
    "`ignored` messages concern other objects. `own` ones are from `watch`, about images that a listing found. "
    "`invalid` ones contain no known event and were moved to the dead letters.",
    {"result": ("accepted", "ignored", "own", "invalid", OTHER)},
    unit="messages",
)
EVENTS_EXPECTED = Metric(
    Gauge,
    "events_expected",
    "Whether the settings say that the store announces new images.",
    "With 1, an alert fires if listings find images and no event ever came. Only in processes that list a bucket.",
    only_when_known=True,
)

# Stores and brokers.

THROTTLED_REQUESTS = Metric(
    Counter,
    "throttled_requests",
    "Requests that a store or broker answered with a demand to slow down.",
    "They are retried. If the rate is steady, lower `--images-in-flight` or raise the store's limits.",
    {"operation": labels.OPERATIONS},
    unit="requests",
)
LEASE_EXTENSIONS = Metric(
    Counter,
    "lease_extensions",
    "Attempts to extend the lease of a message, by result.",
    "`lost` is a message that another worker now has as well: the worker was frozen, or `--visibility` is too short.",
    {"result": ("ok", "failed", "lost", OTHER)},
    unit="leases",
)
SINK_CONDITIONAL_WRITES = Metric(
    Gauge,
    "sink_conditional_writes",
    "1 if the sink's store honours this condition of a write.",
    "With 0, a slow worker may replace a newer output by an older one. Absent for a folder, which needs no conditions.",
    {"condition": labels.WRITE_CONDITIONS},
    only_when_known=True,
)

# Notifications.

NOTIFICATIONS_SENT = Metric(
    Counter,
    "notifications_sent",
    "Attempts to deliver a notification, by result.",
    "`failed` ones are sent again. `set_aside` means that the receiver refused a notification too often: it is sent "
    "again only after `alphadrop retry --notifications`.",
    {"result": tuple(SendResult)},
    unit="attempts",
)
NOTIFICATIONS_PENDING = Metric(
    Gauge,
    "notifications_pending",
    "Notifications that are still to be delivered.",
    "Grows while the receiver is away. Absent without `--notify`, and in `watch`.",
    only_when_known=True,
    unit="notifications",
)
NOTIFICATIONS_OLDEST = Metric(
    Gauge,
    "notifications_oldest_pending_timestamp_seconds",
    "When the image of the oldest pending notification was finished.",
    "Its age is how long the receiver has been behind. No sample while nothing is pending.",
    only_when_known=True,
)
NOTIFICATION_DELAY = Metric(
    Histogram,
    "notification_delay_seconds",
    "Time from the end of an image until its notification was delivered.",
    "How late another system is notified of an image.",
    buckets=DELAY_SECONDS,
)

# Page and API.

API_REQUESTS = Metric(
    Counter,
    "api_requests",
    "Requests to the API, by route and outcome.",
    "`accepted` is an upload whose client does not wait for the cut-out, or did not get it in time. `limited` clients "
    "got 429: there are too many of them, or the backlog is too long. `failed` is an error of alphadrop, storage or "
    "queue.",
    {"method": labels.API_METHODS, "route": labels.API_ROUTES, "outcome": labels.API_OUTCOMES},
    only_when_known=True,
    unit="requests",
)
API_DURATION = Metric(
    Histogram,
    "api_request_duration_seconds",
    "Time from the head of a request until its answer begins, by route of the API.",
    "Of `POST /v1.0/removebg`, of `/api/remove` and of `POST /v1/cutouts` with `wait`, this covers all processing of "
    "an image. The upload is included.",
    {"method": labels.API_METHODS, "route": labels.API_ROUTES},
    buckets=STAGE_SECONDS,
    only_when_known=True,
)

COUNTS: Mapping[str, Metric[Counter]] = {
    metric.name: metric for metric in (THROTTLED_REQUESTS, LEASE_EXTENSIONS, EVENT_MESSAGES)
}
"""The metrics that come from a process's `Counts`, by the name used there."""
SECTIONS: Mapping[str, tuple[Metric[Any], ...]] = {
    "Readiness": (READY, UNREADY, WORKERS, WORKER_RESTARTS, DEVICE_AT_FAULT, LAST_OUTPUT, BUILD),
    "Images": (
        IMAGES_DISCOVERED,
        IMAGES_PROCESSED,
        FAILURES,
        RETRIES,
        READ_BYTES,
        OUTPUTS_WRITTEN,
        WRITTEN_BYTES,
        DECODED_PIXELS,
        WRITTEN_PIXELS,
        MATTE_COVERAGE,
        CONFIDENCE,
        IMAGES_BY_MODEL,
    ),
    "Latency": (STAGE_DURATION, IMAGE_DURATION, IMAGES_IN_FLIGHT),
    "Queue": (
        QUEUE_IMAGES,
        QUEUE_CRASH_SUSPECTS,
        QUEUE_PENDING_BYTES,
        QUEUE_OLDEST_PENDING,
        QUEUE_FINISHED,
        QUARANTINED,
    ),
    "Batches": (BATCH_SIZE, BATCHES, BATCH_SLOTS, BATCH_SIZE_LIMIT),
    "Devices and workers": (
        DEVICE_INFO,
        DEVICE_BUSY,
        DEVICE_UTILIZATION,
        DEVICE_POWER,
        DEVICE_TEMPERATURE,
        DEVICE_MEMORY,
        DEVICE_OUT_OF_MEMORY,
        WORKER_IN_FLIGHT,
        WORKER_WARMUP,
        WORKER_CPU,
        WORKER_MEMORY,
    ),
    "Discovery of new images": (
        SOURCE_HEALTHY,
        WATCH_OVERFLOWS,
        RECONCILE_FOUND,
        RECONCILE_RUNS,
        RECONCILE_DURATION,
        RECONCILE_LAST_RUN,
        RECONCILE_LAST_SUCCESS,
        RECONCILE_INTERVAL,
        EVENT_MESSAGES,
        EVENTS_EXPECTED,
    ),
    "Stores and brokers": (THROTTLED_REQUESTS, LEASE_EXTENSIONS, SINK_CONDITIONAL_WRITES),
    "Notifications": (NOTIFICATIONS_SENT, NOTIFICATIONS_PENDING, NOTIFICATIONS_OLDEST, NOTIFICATION_DELAY),
    "Page and API": (API_REQUESTS, API_DURATION),
}
"""The sections of docs/metrics.md."""
ALL: tuple[Metric[Any], ...] = tuple(metric for section in SECTIONS.values() for metric in section)
