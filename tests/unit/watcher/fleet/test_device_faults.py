"""A device that works at warm-up and fails on every picture is at fault, and not the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef, Job, Outcome
from watcher.fleet.device_faults import PICTURES, DeviceFaults
from watcher.fleet.monitor import Telemetry, WorkerMonitor
from watcher.protocol import DeathReason, ImageReport, SuspectReport, WorkerStart
from watcher.queues.sqlite import SqliteQueue
from watcher.stores.local import LocalStore
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.testing import MemoryStore
from watcher.worker.crash_markers import CrashMarkers

GPU = "cuda:0"
LOST = DeathReason.DEVICE_LOST


class Fleet:
    """One device that fails on every picture that it gets, and the supervisor's view of it."""

    def __init__(self, queue: SqliteQueue, sink: Path, pictures: int) -> None:
        self.queue, self.metrics, self.health = queue, Metrics(), Health()
        telemetry = Telemetry(self.metrics, self.health, RunSummary(), lambda worker, report: "")
        self.monitor = WorkerMonitor(
            [GPU], _never, 30.0, LocalStore(sink), queue, telemetry, lambda key: None, lambda: None
        )
        queue.put([Job(f"{n:064x}", ImageRef(f"{n}.jpg", "1", 1), f"{n}.png") for n in range(pictures)])
        self.deaths = 0

    def die(self, reason: DeathReason = LOST, limit: int = 8) -> list[str]:
        """A worker leases what there is, as an idle one does, and dies of it; the keys."""
        owner, self.deaths = f"worker-{self.deaths}", self.deaths + 1
        leases = list(self.queue.lease(owner, limit, alone=True))
        for lease in leases:
            if lease.alone:
                self.monitor._handle_report(GPU, SuspectReport(key=lease.job.ref.key))
        self.monitor._handle_worker_death(GPU, owner, reason, True)
        return [lease.job.ref.key for lease in leases]

    def work(self) -> int:
        """Finish everything, as a device that works; how many images."""
        finished = 0
        while leases := list(self.queue.lease("well", 8, alone=True)):
            for lease in leases:
                lease.done(Outcome.WRITTEN)
                self.monitor._handle_report(GPU, ImageReport(key=lease.job.ref.key, job="", outcome=Outcome.WRITTEN))
                finished += 1
        return finished

    @property
    def at_fault(self) -> float | None:
        return self.metrics.registry.get_sample_value("alphadrop_device_at_fault", {"device": GPU})


def _never(owner: str, device: str) -> WorkerStart:
    raise AssertionError("no worker is started")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SqliteQueue]:
    with closing(SqliteQueue(tmp_path / "queue.sqlite")) as queue:
        yield queue


def test_jobs_of_a_dead_worker_are_requeued_once_the_queue_can_write_again(
    queue: SqliteQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(queue, tmp_path, 3)
    with monkeypatch.context() as full:
        full.setattr(queue, "abandon", _disk_is_full)
        with capture_logs() as logs:
            fleet.die(DeathReason.SIGKILL, limit=3)
            fleet.monitor.tick()
    assert [entry["event"] for entry in logs] == ["leases_not_released"]
    assert not list(queue.lease("another", 8, alone=True)), "they still belong to the dead worker"
    with capture_logs() as logs:
        fleet.monitor.tick()
        fleet.monitor.tick()
    assert [entry["event"] for entry in logs] == ["leases_released"]
    assert fleet.work() == 3


def _disk_is_full(*_: object, **__: object) -> None:
    raise Unavailable("the queue's disk is full")


def test_a_device_that_fails_on_every_picture_quarantines_none(queue: SqliteQueue, tmp_path: Path) -> None:
    # Given ten healthy pictures and a device that fails on each batch
    fleet = Fleet(queue, tmp_path / "sink", pictures=10)
    with capture_logs() as lines:
        assert len(fleet.die()) == 8
        died = [fleet.die() for _ in range(40)]
        # Then suspects run alone, none is rejected, and the log says once that it is the device
        assert all(len(keys) == 1 for keys in died[1:])
        assert queue.rejected() == []
        assert fleet.at_fault == 1
        assert fleet.health.unready()["devices"].startswith(f"{GPU}: every picture fails")
        # And when it is replaced, every picture is done
        assert fleet.work() == 10
    names = [line["event"] for line in lines]
    assert names.count("device_at_fault") == names.count("device_works_again") == 1
    assert fleet.at_fault == 0 and "devices" not in fleet.health.unready()


def test_a_picture_that_fails_alone_on_a_device_that_works_is_rejected(queue: SqliteQueue, tmp_path: Path) -> None:
    fleet = Fleet(queue, tmp_path / "sink", pictures=1)
    for _ in range(4):  # once beside others, then three times alone
        fleet.die()
    assert [job.ref.key for job, _ in queue.rejected()] == ["0.jpg"]
    assert fleet.at_fault in (0, None)


def test_without_a_device_of_its_own_a_death_blames_the_picture(queue: SqliteQueue, tmp_path: Path) -> None:
    fleet = Fleet(queue, tmp_path / "sink", pictures=4)
    for _ in range(13):
        fleet.die(DeathReason.SIGSEGV)
    assert len(queue.rejected()) == 4


@pytest.fixture
def changes() -> list[tuple[str, bool]]:
    return []


@pytest.fixture
def faults(changes: list[tuple[str, bool]]) -> DeviceFaults:
    return DeviceFaults(lambda worker, at_fault: changes.append((worker, at_fault)))


def fail(faults: DeviceFaults, *keys: str, worker: str = GPU) -> None:
    for key in keys:
        faults.suspect_started(worker, key)
        faults.died(worker, LOST)


def test_only_different_pictures_in_a_row_put_the_device_at_fault(
    faults: DeviceFaults, changes: list[tuple[str, bool]]
) -> None:
    fail(faults, "a", "b", "a", "b")
    faults.died(GPU, LOST)  # beside others
    fail(faults, "c", worker="cuda:1")
    assert not faults.at_fault(GPU) and changes == []
    faults.image_finished(GPU)
    fail(faults, *"abc"[: PICTURES - 1])
    assert not faults.at_fault(GPU)
    fail(faults, "d", "e")
    assert faults.at_fault(GPU) and faults.workers == [GPU] and changes == [(GPU, True)]
    faults.image_finished(GPU)
    assert not faults.at_fault(GPU) and changes == [(GPU, True), (GPU, False)]


def test_a_death_that_does_not_count_leaves_the_crash_marker_as_it_was() -> None:
    sink, job = MemoryStore(), Job("0" * 64, ImageRef("a.jpg", "1", 1), "a.png")
    for count, deaths in ((True, 1), (False, 1), (False, 1), (True, 2)):
        markers = CrashMarkers(sink, count_deaths=count)
        with pytest.raises(OSError, match="device"), markers.guard(markers.read(job)):
            raise OSError("device lost")
        assert markers.read(job).deaths == deaths
