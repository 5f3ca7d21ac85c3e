"""Groups of devices that are measured together, from the value of `--devices`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from watcher.fleet.cores import threads_per_worker
from watcher.fleet.devices import expand_devices


@dataclass(frozen=True)
class DeviceGroup:
    """Devices that are measured together, one process on each; `threads` is the number of threads of each process."""

    name: str
    devices: tuple[str, ...]
    threads: int

    def __len__(self) -> int:
        return len(self.devices)


def device_groups(text: str, cores: float) -> tuple[DeviceGroup, ...]:
    """Groups to compare: on CPUs each item of the list, on GPUs the first one alone and then all of them.

    >>> [group.name for group in device_groups("cuda:0,cuda:1", 8)]
    ['cuda:0', 'cuda:0,cuda:1']
    """
    devices = expand_devices(text)
    if devices == ["cpu"] and text == "auto":
        text = "cpu,cpu:2"
    if all(device == "cpu" for device in devices):
        return tuple(_group(item, expand_devices(item), cores) for item in re.split(r"\s*,\s*", text.strip()))
    lists = [devices[:1], devices] if len(devices) > 1 else [devices]
    return tuple(_group(",".join(some), some, cores) for some in lists)


def _group(name: str, devices: Sequence[str], cores: float) -> DeviceGroup:
    return DeviceGroup(name, tuple(devices), threads_per_worker(len(devices), cores))
