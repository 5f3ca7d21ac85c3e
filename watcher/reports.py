"""What a worker process tells the supervisor, one JSON line each; the supervisor makes all metrics from these."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import ClassVar

STAGES = ("queue_wait", "read", "decode", "batch_wait", "infer", "encode", "put")


@dataclass(frozen=True)
class Ready:
    """The model is loaded and every shape is warm."""

    kind: ClassVar[str] = "ready"
    device: str
    device_name: str
    model: str
    warmup_seconds: float


@dataclass(frozen=True)
class ImageReport:
    """One image has ended in this worker."""

    kind: ClassVar[str] = "image"
    key: str
    job: str
    outcome: str
    """A `work.Outcome`."""
    output: str = ""
    reason: str = ""
    """Why it was rejected, else empty."""
    detail: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage, those that were reached."""
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    coverage: float = 0.0
    """Mean alpha of the cut-out, 0..1."""
    stage: str = ""
    """The last stage it reached: where it failed, if it was rejected."""


@dataclass(frozen=True)
class TroubleReport:
    """The world was in trouble at this stage; the image was given back."""

    kind: ClassVar[str] = "trouble"
    key: str
    stage: str
    reason: str
    """The exception's class name."""
    detail: str


@dataclass(frozen=True)
class BatchReport:
    """One batch went through the device."""

    kind: ClassVar[str] = "batch"
    device: str
    size: int
    slots: int
    trigger: str
    seconds: float


@dataclass(frozen=True)
class DeviceReport:
    """The heartbeat, every second or so: alive, and how the device is."""

    kind: ClassVar[str] = "device"
    device: str
    memory: dict[str, int]
    """Bytes by kind: total, used, allocated, reserved, peak; those that the device knows."""
    batch_limit: int
    out_of_memory: int
    """How often, since the worker started."""
    busy_seconds: float
    """Since the worker started."""
    in_flight: int


Report = Ready | ImageReport | TroubleReport | BatchReport | DeviceReport
_KINDS: dict[str, type[Report]] = {k.kind: k for k in (Ready, ImageReport, TroubleReport, BatchReport, DeviceReport)}


def encode_report(report: Report) -> str:
    """One line, without the line break."""
    return json.dumps({"kind": report.kind, **asdict(report)}, separators=(",", ":"))


def decode_report(line: str) -> Report:
    """The report of a line. Raises ValueError for anything else."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("kind") not in _KINDS:
        raise ValueError(f"not a report: {line[:200]!r}")
    try:
        return _KINDS[fields.pop("kind")](**fields)
    except TypeError as error:
        raise ValueError(f"not a report: {error}") from error
