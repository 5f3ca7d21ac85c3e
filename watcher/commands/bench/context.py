"""The values that every section measures with: workload, devices, model and temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from watcher.commands.bench.device_groups import DeviceGroup
from watcher.commands.bench.photos import draw_photos
from watcher.commands.bench.workload import Size, Workload, size_label


@dataclass(frozen=True)
class BenchContext:
    """What a run of the bench measures on and with."""

    workload: Workload
    groups: tuple[DeviceGroup, ...]
    """One device first, then several."""
    model: str
    canvas: int | None
    cores: float
    """Cores that this process may use; a cgroup's quota may make it a fraction."""
    folder: Path
    """A temporary folder, removed at the end."""
    strong: str = "u2net"
    """The strong model of the section about cascades."""
    strong_share: float = 0.15
    """The share of the pictures that it gets."""
    show: Callable[[str], None] = field(default=lambda text: None)
    """Shows a text beside the progress bar."""

    def photos(self, size: Size, count: int = 0, format: str = "JPEG") -> list[str]:
        """Paths of `count` photos of this size, `workload.distinct` of them by default."""
        self.show(f"drawing {size_label(size)} photos")
        return [
            str(path) for path in draw_photos(self.folder / "photos", size, count or self.workload.distinct, format)
        ]

    @property
    def on_cpu(self) -> bool:
        """Whether all devices are CPUs, which share their cores with the codecs."""
        return all(device == "cpu" for group in self.groups for device in group.devices)

    @property
    def whole_cores(self) -> int:
        """The number of cores rounded down, at least 1."""
        return max(1, int(self.cores))

    @property
    def first_group(self) -> DeviceGroup:
        """The group of one device."""
        return self.groups[0]
