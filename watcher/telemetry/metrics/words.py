"""The values of labels. What is not among them is `other`, so that nothing ever makes a series that was not there."""

from __future__ import annotations

from collections.abc import Mapping

OTHER = "other"
REJECTIONS: Mapping[str, str] = {
    "not_a_picture": "decode",
    "truncated": "decode",
    "unsupported": "decode",
    "too_large": "decode",
    "picture": "decode",
    "device_memory": "infer",
    "output_exists": "put",
    "output_taken": "put",
    "kills_worker": "infer",
    OTHER: OTHER,
}
"""The reasons why an image is rejected, and the stage they belong to."""
TROUBLES = ("unavailable", "source_missing", "throttled", "denied", OTHER)
"""Why an image was given back, as the names of exceptions in snake case."""
TRIGGERS = ("full", "idle", "timeout", "closed", OTHER)
"""Why a batch is not larger."""
OPERATIONS = ("get", "head", "put", "list", "delete", "copy", "tag", "receive", "send", "extend", OTHER)
"""What is asked of a store or a broker."""
CAPABILITIES = ("if_none_match", "if_match")
"""What a sink's store may enforce, so that no worker replaces a newer output by an older one."""
WORKER_STATES = ("starting", "ready", "draining", "failed", "stopped", OTHER)
SIGNALS = ("sigkill", "sigsegv", "sigabrt", "sigbus", "sigterm")
DEATHS = ("exit", "error", "silent", "device_lost", "device_stuck", "configuration", *SIGNALS, OTHER)
"""Why a worker ended unasked."""
PARTS = ("queue", "source", "events", "reconcile", "workers", "images", "stopping", OTHER)
"""What may keep the daemon from being ready, as /readyz names it."""
MEMORY = ("total", "used", "process", "allocated", "reserved", "peak")
"""Kinds of device memory; see `inference.device.hardware.device_memory`."""
