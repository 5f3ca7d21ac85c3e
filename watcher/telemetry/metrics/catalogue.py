"""Every series and every bucket, in the order of the page. `docs/metrics.md` is made from it: `make reference`.

Names and units follow https://prometheus.io/docs/practices/naming/. No series has a key in a label. The label `device`
is the worker's name, which is its device's, numbered where several workers share one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Info

from watcher.core.jobs import Outcome
from watcher.core.protocol import EMPTY, STAGES
from watcher.sources.base import Hint
from watcher.telemetry.metrics import words
from watcher.telemetry.metrics.series import DEVICE, Series
from watcher.telemetry.metrics.words import OTHER, REJECTIONS, TROUBLES

STAGE_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
IMAGE_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400)
LISTING_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 7200)
BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
COVERAGE = (EMPTY, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1)
"""Fine at both ends: an empty and a full matte are what goes wrong."""

_DEVICE: dict[str, Sequence[str]] = {DEVICE: ()}
_STAGES = (*STAGES, OTHER)
_FAILURES = dict.fromkeys(
    [
        *((stage, reason) for reason, stage in REJECTIONS.items()),
        *((stage, reason) for stage in _STAGES for reason in TROUBLES),
    ]
)

# Whether it works.

READY = Series(
    Gauge,
    "ready",
    "1 while the daemon does its work, as /readyz says.",
    "The first look: 0 for minutes is what to be woken for.",
)
UNREADY = Series(
    Gauge,
    "unready",
    "1 for what keeps the daemon from being ready.",
    "Says why `alphadrop_ready` is 0; `stopping` is a drain, and no trouble. /readyz has the reason in words.",
    {"part": words.PARTS},
)
WORKERS = Series(
    Gauge,
    "workers",
    "Worker processes by state.",
    "`ready` below the number of devices is capacity that is missing.",
    {"state": words.WORKER_STATES},
    unit="processes",
)
RESTARTS = Series(
    Counter,
    "worker_restarts",
    "Workers that ended unasked.",
    "One now and then is mended by itself; a steady rate is a device, a driver or an image that kills.",
    _DEVICE | {"reason": words.DEATHS},
    unit="processes",
)
LAST_WRITTEN = Series(
    Gauge,
    "last_written_timestamp_seconds",
    "When an output was last written; 0 is never.",
    "Together with a backlog, its age tells that nothing comes through.",
)
BUILD = Series(
    Info,
    "build",
    "What runs here.",
    "Join it to see on a graph when a version or a model was rolled out.",
    facts=("version", "model", "digest"),
)

# What became of images.

DISCOVERED = Series(
    Counter,
    "images_discovered",
    "New images by how they were noticed.",
    "This is the load that comes in. `scan` and `reconcile` are what no event told.",
    {"hint": tuple(Hint)},
    unit="images",
)
PROCESSED = Series(
    Counter,
    "images_processed",
    "Images that have ended, by outcome.",
    "The rate of `written` is the throughput. An image that was given back has not ended.",
    {"outcome": tuple(Outcome)},
    unit="images",
)
FAILURES = Series(
    Counter,
    "failures",
    "Rejected images and troubles.",
    "A rejected image is its sender's problem; every other reason is the world's, and the image waits.",
    {"stage": _STAGES, "reason": tuple(dict.fromkeys((*REJECTIONS, *TROUBLES)))},
    only=tuple(_FAILURES),
    unit="events",
)
RETRIES = Series(
    Counter,
    "retries",
    "Images given back, to be tried again.",
    "It tells how much work trouble costs. The stage is the one that it came in.",
    {"stage": _STAGES},
    unit="images",
)
READ = Series(Counter, "read_bytes", "Bytes of images read.", "Its rate is the bandwidth from the source.")
WRITTEN = Series(Counter, "written_bytes", "Bytes of outputs written.", "Its rate is the bandwidth to the sink.")
DECODED = Series(
    Counter,
    "decoded_pixels",
    "Pixels of decoded images that have ended, in whatever way.",
    "It is the load on the processors, which the number of images does not tell where their sizes differ.",
)
PIXELS = Series(
    Counter,
    "pixels",
    "Pixels of outputs written.",
    "Its rate is a throughput that does not depend on the images' sizes.",
    unit="pixels",
)
COVERAGE_RATIO = Series(
    Histogram,
    "matte_coverage_ratio",
    "Mean alpha of an output, its `matte_coverage`.",
    "A share at either end that grows is a model that finds nothing, or takes all for the object. Those in the first "
    "bucket are the ones that the log calls `empty`.",
    buckets=COVERAGE,
)

# How long it takes.

STAGE = Series(
    Histogram,
    "stage_duration_seconds",
    "Time in each stage.",
    "It shows what is slow. `queue_wait` is from arrival until a worker takes the image, `batch_wait` until its batch "
    "begins.",
    {"stage": STAGES},
    buckets=STAGE_SECONDS,
)
WHOLE = Series(
    Histogram,
    "image_duration_seconds",
    "From arrival to durable output.",
    "It is what a user waits for. Only images that were written are in it.",
    buckets=IMAGE_SECONDS,
)
IN_FLIGHT = Series(
    Gauge,
    "images_in_flight",
    "Images that are in each stage now, over all workers.",
    "Where images pile up is the bottleneck. `queue_wait` are those in hand whose reading has not begun, "
    "`decode` also those that wait for room in memory, `put` also those being acknowledged. Seen once a second.",
    {"stage": _STAGES},
    unit="images",
)

# What waits.

QUEUE = Series(
    Gauge,
    "queue_images",
    "Images that have not ended.",
    "`pending` is the backlog. A broker's numbers are its own, and not always exact.",
    {"state": ("pending", "in_flight")},
    unit="images",
)
SUSPECTS = Series(
    Gauge,
    "queue_suspect_images",
    "Pending images that a dying worker had in hand.",
    "They are done one at a time: while there are any, less is done than could be.",
)
QUEUE_BYTES = Series(
    Gauge, "queue_pending_bytes", "Bytes of the pending images.", "The embedded queue's alone: a broker does not know."
)
OLDEST = Series(
    Gauge,
    "queue_oldest_pending_timestamp_seconds",
    "When the oldest came; 0 if none waits.",
    "Its age is how far behind it is. The embedded queue's alone.",
)
ENDED = Series(
    Gauge,
    "queue_ended_images",
    "Ended images that the queue remembers.",
    "The embedded queue's alone.",
    {"outcome": (*Outcome, OTHER)},
)
QUARANTINED = Series(
    Gauge,
    "quarantined_images",
    "Rejected images that wait for a retry.",
    "Somebody has to look at these. The embedded queue's alone.",
    {"reason": tuple(REJECTIONS)},
)

# Batches.

BATCH_SIZE = Series(
    Histogram,
    "batch_size",
    "Images in a batch.",
    "Small ones under load mean that images come too slowly for the device: more cores, or faster storage.",
    _DEVICE,
    buckets=BATCH_IMAGES,
    unit="images",
)
BATCHES = Series(
    Counter,
    "batches",
    "Batches by why they were closed.",
    "`full` is a device that is busy, `idle` one that had nothing to wait for, `timeout` one that waited in vain.",
    _DEVICE | {"trigger": words.TRIGGERS},
    unit="batches",
)
SLOTS = Series(
    Counter,
    "batch_slots",
    "Places in batches, padding among them.",
    "What `alphadrop_batch_size_sum` lacks of it is padding.",
    _DEVICE,
    unit="places",
)
LIMIT = Series(
    Gauge,
    "batch_limit",
    "Most images that a batch may have now.",
    "It halves when memory runs out, and recovers.",
    _DEVICE,
    late=True,
    unit="images",
)

# Devices and workers.

DEVICE_INFO = Series(
    Info,
    "device",
    "What a device is.",
    "The UUID is the one that other exporters of the card's figures know it by; empty for a CPU.",
    _DEVICE,
    facts=("name", "model", "uuid"),
    late=True,
)
BUSY = Series(
    Counter,
    "device_busy_seconds",
    "Time that the device spent on batches.",
    "Its rate is the share of time that the device has work from us: near 1 it is the bottleneck.",
    _DEVICE,
)
UTILIZATION = Series(
    Gauge,
    "device_utilization_ratio",
    "Share of the last moments in which the card ran anything, as NVML tells.",
    "The whole card, others' work too. High with little throughput is somebody else's load.",
    _DEVICE,
    late=True,
)
POWER = Series(
    Gauge,
    "device_power_watts",
    "What the card draws, as NVML tells.",
    "It tells how hard the card really works.",
    _DEVICE,
    late=True,
)
TEMPERATURE = Series(
    Gauge,
    "device_temperature_celsius",
    "The card's temperature, as NVML tells.",
    "Most cards slow down from about 85 on.",
    _DEVICE,
    late=True,
)
MEMORY = Series(
    Gauge,
    "device_memory_bytes",
    "Device memory; kinds do not add up.",
    "`total` and `used` are the whole card's, others' work too; `process` is what the driver counts as this worker's, "
    "where it tells; `reserved` is what torch keeps of that, `allocated` what is in use of it, `peak` the most that "
    "was. `reserved` that stays is no leak.",
    _DEVICE | {"kind": words.MEMORY},
    late=True,
)
OUT_OF_MEMORY = Series(
    Counter,
    "out_of_memory",
    "Batches that the device's memory was too small for.",
    "They are done again in halves. A steady rate asks for a smaller `--batch`.",
    _DEVICE,
    unit="batches",
)
WORKER_IN_FLIGHT = Series(
    Gauge,
    "worker_images_in_flight",
    "Images that a worker has in hand.",
    "0 beside a backlog is a worker that stands still.",
    _DEVICE,
    unit="images",
)
WARMUP = Series(
    Gauge,
    "worker_warmup_seconds",
    "Time to load and warm up the model.",
    "It is what a restart costs.",
    _DEVICE,
    late=True,
)
CPU = Series(
    Counter,
    "worker_cpu_seconds",
    "Processor time of worker processes, all threads.",
    "Its rate is the cores in use: where these are all it may use, more would make it faster. The supervisor's own is "
    "`process_cpu_seconds_total`.",
    _DEVICE,
)
RESIDENT = Series(
    Gauge,
    "worker_resident_memory_bytes",
    "Main memory that a worker process holds.",
    "It depends on `--megapixels-in-flight`, and stays level; the supervisor's own is `process_resident_memory_bytes`.",
    _DEVICE,
    late=True,
)

# How arrivals are noticed.

HEALTHY = Series(
    Gauge, "source_healthy", "1 while arrivals can be noticed.", "0 is a folder that is gone or a bucket that refuses."
)
OVERFLOWS = Series(
    Counter,
    "watch_overflows",
    "Times that events of the source were lost.",
    "A listing follows at once; a steady rate asks for fewer files at a time or for polling.",
    unit="times",
)
FOUND = Series(
    Counter,
    "reconcile_found",
    "Images that a listing found and nothing had announced.",
    "It is what events miss: near 0 where they work, whatever arrives where there are none.",
    unit="images",
)
RUNS = Series(
    Counter,
    "reconcile_runs",
    "Full listings of the source, by how they ended.",
    labels={"result": ("ok", "failed")},
    unit="listings",
)
LISTING = Series(
    Histogram,
    "reconcile_duration_seconds",
    "Full listings of the source.",
    "Where it takes as long as `--rescan`, a larger interval is due.",
    buckets=LISTING_SECONDS,
)
LAST_LISTING = Series(
    Gauge, "reconcile_last_timestamp_seconds", "When a full listing last ended, well or not; 0 is never."
)
LAST_GOOD_LISTING = Series(
    Gauge,
    "reconcile_last_success_timestamp_seconds",
    "When a full listing last ended well; 0 is never.",
    "Listings are the guarantee that nothing is missed: its age should stay below a few intervals.",
)
INTERVAL = Series(
    Gauge,
    "reconcile_interval_seconds",
    "Time between two full listings, as set; 0 where none are made.",
    "Compare the age of the last good listing with it.",
)
MESSAGES = Series(
    Counter,
    "messages",
    "Events that came as messages.",
    "`invalid` ones were set aside: somebody sends what is no event.",
    {"result": ("accepted", "ignored", "invalid", OTHER)},
    unit="events",
)

# Stores and brokers.

THROTTLED = Series(
    Counter,
    "store_throttled",
    "Requests that a store or broker asked to send more slowly.",
    "They are repeated; a steady rate asks for fewer images in flight, or for more of the store.",
    {"op": words.OPERATIONS},
    unit="requests",
)
EXTENSIONS = Series(
    Counter,
    "lease_extensions",
    "Leases that were to be kept from running out.",
    "`lost` is an image that somebody else does now, too: a worker that froze, or a `--visibility` that is too short.",
    {"result": ("ok", "failed", "lost", OTHER)},
    unit="leases",
)
CAPABILITY = Series(
    Gauge,
    "store_capability",
    "1 for what the sink's store enforces.",
    "Without these a worker that is late may replace a newer output; a folder has none and needs none.",
    {"feature": words.CAPABILITIES},
)

COUNTS: Mapping[str, Series[Counter]] = {series.name: series for series in (THROTTLED, EXTENSIONS, MESSAGES)}
"""What `counts.Counts` counts."""
GROUPS: Mapping[str, tuple[Series[Any], ...]] = {
    "Whether it works": (READY, UNREADY, WORKERS, RESTARTS, LAST_WRITTEN, BUILD),
    "What became of images": (
        DISCOVERED,
        PROCESSED,
        FAILURES,
        RETRIES,
        READ,
        WRITTEN,
        DECODED,
        PIXELS,
        COVERAGE_RATIO,
    ),
    "How long it takes": (STAGE, WHOLE, IN_FLIGHT),
    "What waits": (QUEUE, SUSPECTS, QUEUE_BYTES, OLDEST, ENDED, QUARANTINED),
    "Batches": (BATCH_SIZE, BATCHES, SLOTS, LIMIT),
    "Devices and workers": (
        DEVICE_INFO,
        BUSY,
        UTILIZATION,
        POWER,
        TEMPERATURE,
        MEMORY,
        OUT_OF_MEMORY,
        WORKER_IN_FLIGHT,
        WARMUP,
        CPU,
        RESIDENT,
    ),
    "How arrivals are noticed": (
        HEALTHY,
        OVERFLOWS,
        FOUND,
        RUNS,
        LISTING,
        LAST_LISTING,
        LAST_GOOD_LISTING,
        INTERVAL,
        MESSAGES,
    ),
    "Stores and brokers": (THROTTLED, EXTENSIONS, CAPABILITY),
}
"""All of them, in chapters."""
ALL: tuple[Series[Any], ...] = tuple(series for group in GROUPS.values() for series in group)
