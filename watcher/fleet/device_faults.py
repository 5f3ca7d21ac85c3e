"""Distinguishes a device that fails from a picture on which every device fails; see decision 0051."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from watcher.protocol import AfterDeath, DeathReason

log = structlog.get_logger(__name__)

REHEARSALS = 2
"""How often in a row a device must have failed on the picture that is known to be good, before it is at fault."""
PICTURES = 3
"""Different pictures in a row that must have failed alone on a device, before it is at fault and not they."""
_OF_DEVICE = (DeathReason.DEVICE_LOST, DeathReason.DEVICE_STUCK)


@dataclass
class _Device:
    alone: str = ""
    """The key of the picture that runs alone now."""
    failed: set[str] = field(default_factory=set)
    """Keys of the pictures that failed alone since a picture was finished."""
    deaths: int = 0
    """Deaths of its workers since then."""
    works: bool = False
    """Whether it has finished a picture, or a rehearsal, since its last failure."""
    rehearsing: bool = False
    failed_rehearsals: int = 0
    """In a row."""
    after: AfterDeath = AfterDeath.NOTHING

    @property
    def problem(self) -> str:
        """Why the device is at fault; empty if it is not."""
        if self.failed_rehearsals >= REHEARSALS:
            return f"a picture that is known to be good failed {self.failed_rehearsals} times in a row"
        if len(self.failed) >= PICTURES:
            return f"{len(self.failed)} pictures in a row failed, each alone"
        return ""


class DeviceFaults:
    """Watches each worker's deaths by its device. Logs one line when a device is at fault, and one when it works again.

    A death by the device counts against the crash suspect that ran alone only if the device had finished something
    since its last failure. Where it had not, the next worker begins with a rehearsal, and where it had, with the
    suspect. A device at fault blames no picture until it has finished one.
    """

    def __init__(self, on_change: Callable[[str, bool], None]) -> None:
        """`on_change` is called with the name of a worker whose device is at fault now, or works again."""
        self._on_change = on_change
        self._lock = threading.Lock()
        self._devices: dict[str, _Device] = {}

    @property
    def workers(self) -> list[str]:
        """The workers whose devices are at fault."""
        with self._lock:
            return sorted(worker for worker, device in self._devices.items() if device.problem)

    def after_death(self, worker: str) -> tuple[AfterDeath, bool]:
        """What the worker, which is about to be started, does first; and whether its deaths count before that."""
        with self._lock:
            device = self._device(worker)
            if device.problem and not device.failed_rehearsals:  # it passes rehearsals, and fails on other pictures
                return AfterDeath.NOTHING, False
            return device.after, device.after is AfterDeath.NOTHING

    def suspect_started(self, worker: str, key: str) -> None:
        """A crash suspect is about to run alone."""
        with self._lock:
            self._device(worker).alone = key

    def rehearsed(self, worker: str, *, passed: bool) -> None:
        """A rehearsal is about to begin, or has `passed`."""
        with self._lock:
            device = self._device(worker)
            deaths, faulty = device.deaths, bool(device.problem)
            device.rehearsing = not passed
            if passed:
                device.works, device.failed_rehearsals, device.after = True, 0, AfterDeath.NOTHING
            recovered = faulty and not device.problem
        if recovered:
            self._recover(worker, deaths)

    def image_finished(self, worker: str) -> None:
        """A cut-out of the device was written."""
        with self._lock:
            device = self._device(worker)
            self._devices[worker] = _Device(works=True)
        if device.problem:
            self._recover(worker, device.deaths)

    def died(self, worker: str, reason: DeathReason) -> bool:
        """The worker has ended unasked; whether that counts against the picture that ran alone."""
        with self._lock:
            device = self._device(worker)
            before, blame = device.problem, True
            if reason in _OF_DEVICE:
                blame = device.works
                device.deaths += 1
                device.failed |= {device.alone} if device.alone else set()
                device.failed_rehearsals += device.rehearsing
                device.after = AfterDeath.SUSPECT_FIRST if device.works else AfterDeath.REHEARSE
                device.works = False
            device.alone, device.rehearsing = "", False
            problem, deaths = device.problem, device.deaths
        if problem and not before:
            remedy = "look at nvidia-smi and dmesg; stop using the device, or replace it. No image is blamed meanwhile"
            log.error("device_at_fault", device=worker, problem=problem, deaths=deaths, remedy=remedy)
            self._on_change(worker, True)
        return blame and not problem

    def _device(self, worker: str) -> _Device:
        return self._devices.setdefault(worker, _Device())

    def _recover(self, worker: str, deaths: int) -> None:
        log.info("device_works_again", device=worker, deaths=deaths)
        self._on_change(worker, False)
