"""The values that labels may have. Any other value becomes `other`, so that the number of time series is bounded."""

from __future__ import annotations

from collections.abc import Mapping

from inference.compose import PRESETS
from inference.compose.values import Format
from watcher.core.jobs import PLAIN
from watcher.core.reasons import Reason
from watcher.protocol import DeathReason, WorkerState

OTHER = "other"
REJECTIONS: Mapping[str, str] = {reason.value: reason.stage for reason in Reason}
"""The reasons for which an image is rejected, and the stage that each belongs to."""
TRANSIENT_ERRORS = ("unavailable", "source_missing", "throttled", "denied", OTHER)
"""The reasons for which an image is requeued; see `watcher.core.errors.Unavailable`."""
TRIGGERS = ("full", "idle", "timeout", "closed", OTHER)
"""What started a batch."""
OUTPUTS = (PLAIN, *PRESETS, *(format.value for format in Format), OTHER)
"""The names that outputs have by default: `cutout`, a preset or a format. An output with another name is `other`."""
OPERATIONS = ("get", "head", "put", "list", "delete", "copy", "tag", "receive", "send", "extend", OTHER)
"""Operations of stores and brokers."""
WRITE_CONDITIONS = ("if_none_match", "if_match")
"""The conditions of a conditional write, by HTTP header."""
QUEUE_STATES = ("pending", "in_flight")
WORKER_STATES = (*WorkerState, OTHER)
DEATHS = tuple(DeathReason)
"""The causes of a worker's unexpected end."""
PARTS = ("queue", "source", "source_folders", "events", "reconcile", "workers", "devices", "images", "stopping", OTHER)
"""The parts of the daemon that may not be ready, as /readyz names them."""
MEMORY = ("total", "used", "process", "allocated", "reserved", "peak")
"""Kinds of device memory: see `inference.device.hardware.device_memory`."""
CASCADE_MODELS = ("fast", "fast_kept", "strong")
API_METHODS = ("GET", "POST", OTHER)
API_ROUTES = (
    "/v1/cutouts",
    "/v1/cutouts/{id}",
    "/v1/cutouts/{id}/outputs/{name}",
    "/v1/cutouts/{id}/original",
    "/v1/cutouts/{id}/thumbnail",
    "/v1/cutouts/{id}/retry",
    "/v1/cutouts/{id}/redo",
    "/v1/cutouts/{id}/accept",
    "/v1/cutouts/{id}/reject",
    "/v1/archive",
    "/v1/status",
    "/v1/events",
    "/v1.0/removebg",
    "/api/remove",
    OTHER,
)
"""The paths of the API; `other` are those with which a browser's session begins and ends, and the OpenAPI document."""
API_OUTCOMES = ("ok", "accepted", "refused", "limited", "failed")
"""What became of a request: 2xx, 202, 4xx, 429 and 5xx."""
