"""Tells a device that fails on every picture from a picture on which every device fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from watcher.protocol import DeathReason

log = structlog.get_logger(__name__)

PICTURES = 3
"""Different pictures in a row that must have failed alone on a device, before it is at fault and not they."""
_OF_DEVICE = (DeathReason.DEVICE_LOST, DeathReason.DEVICE_STUCK)


@dataclass
class _Device:
    alone: str = ""
    """The key of the picture that runs alone now."""
    failed: set[str] = field(default_factory=set)
    """Keys of the pictures that failed alone since one succeeded."""
    deaths: int = 0
    """Deaths of its workers since then."""

    @property
    def at_fault(self) -> bool:
        return len(self.failed) >= PICTURES


class DeviceFaults:
    """Watches each worker's deaths by its device. Logs one line when a device is at fault, and one when it works again.

    A worker that dies by its device makes its pictures crash suspects, which run alone. Where PICTURES different ones
    fail alone and none succeeds between, the pictures are not to blame: from then on, deaths are not counted against
    them, until the device finishes a picture.
    """

    def __init__(self, on_change: Callable[[str, bool], None]) -> None:
        """`on_change` is called with the name of a worker whose device is at fault now, or works again."""
        self._on_change = on_change
        self._lock = threading.Lock()
        self._devices: dict[str, _Device] = {}

    def at_fault(self, worker: str) -> bool:
        """Whether this worker's device fails on every picture."""
        with self._lock:
            return worker in self._devices and self._devices[worker].at_fault

    @property
    def workers(self) -> list[str]:
        """The workers whose devices are at fault."""
        with self._lock:
            return sorted(worker for worker, device in self._devices.items() if device.at_fault)

    def suspect_started(self, worker: str, key: str) -> None:
        """A crash suspect is about to run alone."""
        with self._lock:
            self._devices.setdefault(worker, _Device()).alone = key

    def image_finished(self, worker: str) -> None:
        """A cut-out of the device was written."""
        with self._lock:
            device = self._devices.pop(worker, None)
        if device and device.at_fault:
            log.info("device_works_again", device=worker, deaths=device.deaths)
            self._on_change(worker, False)

    def died(self, worker: str, reason: DeathReason) -> None:
        """The worker has ended unasked."""
        with self._lock:
            device = self._devices.setdefault(worker, _Device())
            before = device.at_fault
            if reason in _OF_DEVICE:
                device.deaths += 1
                device.failed |= {device.alone} if device.alone else set()
            device.alone = ""
            begins = device.at_fault and not before
        if begins:
            remedy = "look at nvidia-smi and dmesg; stop using the device, or replace it. No image is blamed meanwhile"
            log.error("device_at_fault", device=worker, pictures=PICTURES, deaths=device.deaths, remedy=remedy)
            self._on_change(worker, True)
