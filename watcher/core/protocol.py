"""What a worker process tells the supervisor, one JSON line each; the supervisor makes all metrics from these."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import ClassVar

from watcher.core.jobs import Outcome

EMPTY = 0.001
"""Mean alpha up to which a cut-out shows hardly anything: of a megapixel, less than 32 pixels square."""
STAGES = ("queue_wait", "read", "decode", "batch_wait", "infer", "encode", "put")


@dataclass(frozen=True)
class Ready:
    """The model is loaded and every shape is warm."""

    kind: ClassVar[str] = "ready"
    device: str
    device_name: str
    model: str
    warmup_seconds: float
    uuid: str = ""
    """The device's, where it has one."""


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
    starts: dict[str, float] = field(default_factory=dict)
    """When each of them began, as Unix times."""
    ended: float = 0.0
    """When it was told, as a Unix time; 0 if its worker could not tell any more."""
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    coverage: float = 0.0
    """Mean alpha of the cut-out, 0..1."""
    stage: str = ""
    """The last stage it reached: where it failed, if it was rejected."""

    @property
    def empty(self) -> bool:
        """Whether an output was written that shows hardly anything: there is no object, or the model found none."""
        return self.outcome == Outcome.WRITTEN and self.coverage <= EMPTY


@dataclass(frozen=True)
class TroubleReport:
    """The world was in trouble at this stage; the image was given back."""

    kind: ClassVar[str] = "trouble"
    key: str
    stage: str
    reason: str
    """The exception's class name."""
    detail: str
    job: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    ended: float = 0.0
    public: str = ""
    """What may be told outside of the log: nothing about which image it was."""


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
    """Bytes by kind: total, used, process, allocated, reserved, peak; those that the device knows."""
    batch_limit: int
    out_of_memory: int
    """How often, since the worker started."""
    busy_seconds: float
    """Since the worker started."""
    in_flight: int
    stages: dict[str, int] = field(default_factory=dict)
    """Where those are: images by stage."""
    card: dict[str, float] = field(default_factory=dict)
    """Utilization (0..1), power (watts) and temperature (degrees Celsius); those that the device knows."""
    cpu_seconds: float = 0.0
    """Of this process, since it started."""
    resident_bytes: int = 0


@dataclass(frozen=True)
class CountsReport:
    """With each heartbeat: what was counted since the process started, by name and label (see `counts`)."""

    kind: ClassVar[str] = "counts"
    counts: dict[str, dict[str, int]]


Report = Ready | ImageReport | TroubleReport | BatchReport | DeviceReport | CountsReport
_KINDS: dict[str, type[Report]] = {
    k.kind: k for k in (Ready, ImageReport, TroubleReport, BatchReport, DeviceReport, CountsReport)
}


def encode_report(report: Report) -> str:
    """One line, without the line break."""
    return json.dumps({"kind": report.kind, **vars(report)}, separators=(",", ":"))


def decode_report(line: str) -> Report:
    """The report of a line. Raises ValueError for anything else."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("kind") not in _KINDS:
        raise ValueError(f"not a report: {line[:200]!r}")
    try:
        return _KINDS[fields.pop("kind")](**fields)
    except TypeError as error:
        raise ValueError(f"not a report: {error}") from error
