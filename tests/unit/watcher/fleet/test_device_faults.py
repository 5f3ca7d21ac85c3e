"""A device that works at warm-up and fails on every picture is at fault, and not the pictures."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from watcher.core.errors import Unavailable
from watcher.core.jobs import DEATHS_TO_QUARANTINE, ImageRef, Job, Outcome
from watcher.fleet.device_faults import PICTURES, REHEARSALS, DeviceFaults
from watcher.fleet.monitor import Telemetry, WorkerMonitor
from watcher.protocol import AfterDeath, DeathReason, ImageReport, RehearsalReport, SuspectReport, WorkerStart
from watcher.queues.sqlite import SqliteQueue
from watcher.stores.local import LocalStore
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.testing import MemoryStore
from watcher.worker.crash_markers import CrashMarkers

GPU = "cuda:0"
LOST = DeathReason.DEVICE_LOST
KNOWN_GOOD = ("rehearsal",)
"""The keys of a rehearsal's batch."""
MOST_LIVES = 2 * DEATHS_TO_QUARANTINE
"""Lives of a worker after which a picture on which every device fails is rejected: every second death counts."""


class Fleet:
    """One device, and the supervisor's view of it. Its worker is played: `life` does what a process does."""

    def __init__(self, queue: SqliteQueue, sink: Path, pictures: int) -> None:
        self.queue, self.metrics, self.health = queue, Metrics(), Health()
        telemetry = Telemetry(self.metrics, self.health, RunSummary(), lambda worker, report: "")
        self.monitor = WorkerMonitor(
            [GPU], _never, 30.0, LocalStore(sink), queue, telemetry, lambda key: None, lambda: None
        )
        self.put(range(pictures))
        self.deaths = 0

    def put(self, numbers: Iterable[int]) -> None:
        """Put healthy pictures."""
        self.queue.put([Job(f"{n:064x}", ImageRef(f"{n}.jpg", "1", 1), f"{n}.png") for n in numbers])

    def die(self, reason: DeathReason = LOST, limit: int = 8) -> list[str]:
        """A worker leases what there is, as an idle one does, and crashes; returns the keys."""
        owner, self.deaths = f"worker-{self.deaths}", self.deaths + 1
        leases = list(self.queue.lease(owner, limit, alone=True))
        for lease in leases:
            if lease.alone:
                self.monitor._handle_report(GPU, SuspectReport(key=lease.job.ref.key))
        self.monitor._handle_worker_death(GPU, owner, reason, True)
        return [lease.job.ref.key for lease in leases]

    def life(self, fails: Callable[[Sequence[str], int], bool], limit: int = 8) -> str:
        """A worker starts and works until its device fails or nothing is left; what it did last.

        `fails` gets the keys of a batch, or KNOWN_GOOD, and how many batches this process has finished before.
        """
        owner, self.deaths, batches = f"worker-{self.deaths}", self.deaths + 1, 0
        report = self.monitor._handle_report
        after, _ = self.monitor._faults.after_death(GPU)
        if after is AfterDeath.REHEARSE:
            report(GPU, RehearsalReport(passed=False))
            if fails(KNOWN_GOOD, batches):
                self.monitor._handle_worker_death(GPU, owner, LOST, True)
                return "rehearsal"
            report(GPU, RehearsalReport(passed=True))
            batches += 1
        first = self.queue.lease_last_suspect(owner) if after is AfterDeath.SUSPECT_FIRST else []
        while leases := first or self.queue.lease(owner, limit, alone=True):
            first, keys = [], [lease.job.ref.key for lease in leases]
            if leases[0].alone:
                report(GPU, SuspectReport(key=keys[0]))
            if fails(keys, batches):
                self.monitor._handle_worker_death(GPU, owner, LOST, True)
                return ",".join(keys)
            for lease in leases:
                lease.done(Outcome.WRITTEN)
                report(GPU, ImageReport(key=lease.job.ref.key, job="", outcome=Outcome.WRITTEN))
            batches += 1
        return ""

    def work(self) -> int:
        """Finish everything, as a device that works; how many images."""
        before = self.finished
        assert self.life(lambda keys, batches: False) == ""
        return self.finished - before

    @property
    def finished(self) -> int:
        return self.queue.stats().ended.get("written", 0)

    @property
    def at_fault(self) -> float | None:
        return self.metrics.registry.get_sample_value("alphadrop_device_at_fault", {"device": GPU})


def _never(owner: str, place: int) -> WorkerStart:
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


def test_a_device_that_fails_on_every_picture_blames_none_and_is_found_at_fault(
    queue: SqliteQueue, tmp_path: Path
) -> None:
    # Given one healthy picture after the other, and a device that works at warm-up and fails on each batch
    fleet = Fleet(queue, tmp_path / "sink", pictures=1)
    with capture_logs() as lines:
        assert fleet.life(lambda keys, batches: True) == "0.jpg"
        for number in range(1, 10):
            fleet.put([number])
            assert fleet.life(lambda keys, batches: True) == "rehearsal", "no picture is tried"
        # Then none is rejected or lost, and the log says once that it is the device
        assert queue.rejected() == [] and queue.stats().pending == 10
        assert fleet.at_fault == 1
        assert fleet.health.unready()["devices"].startswith(f"{GPU}: every picture fails")
        # And when it is replaced, every picture is done
        assert fleet.work() == 10
    names = [line["event"] for line in lines]
    assert names.count("device_at_fault") == names.count("device_works_again") == 1
    assert fleet.at_fault == 0 and "devices" not in fleet.health.unready()


def test_a_device_that_passes_rehearsals_and_fails_on_every_picture_is_at_fault(
    queue: SqliteQueue, tmp_path: Path
) -> None:
    fleet = Fleet(queue, tmp_path / "sink", pictures=10)
    for _ in range(40):
        assert fleet.life(lambda keys, batches: keys is not KNOWN_GOOD) != ""
    assert queue.rejected() == [] and fleet.at_fault == 1
    assert fleet.work() == 10 and fleet.at_fault == 0


def test_a_picture_that_fails_alone_is_rejected_though_it_is_the_only_one(queue: SqliteQueue, tmp_path: Path) -> None:
    fleet = Fleet(queue, tmp_path / "sink", pictures=1)
    lives = [fleet.life(lambda keys, batches: "0.jpg" in keys) for _ in range(MOST_LIVES)]
    assert lives == ["0.jpg"] * MOST_LIVES and fleet.life(lambda keys, batches: False) == ""
    assert [job.ref.key for job, _ in queue.rejected()] == ["0.jpg"]
    assert fleet.at_fault in (0, None)


def test_a_picture_that_fails_is_rejected_in_a_stream_of_others(queue: SqliteQueue, tmp_path: Path) -> None:
    fleet = Fleet(queue, tmp_path / "sink", pictures=20)
    for number in range(MOST_LIVES):
        fleet.life(lambda keys, batches: "7.jpg" in keys)
        fleet.put([100 + number])
    assert fleet.work() > 0
    assert [job.ref.key for job, _ in queue.rejected()] == ["7.jpg"]
    assert fleet.finished == 20 - 1 + MOST_LIVES


@pytest.mark.parametrize("good", range(1, 6))
@pytest.mark.parametrize("limit", [1, 8, 66])
def test_a_device_that_fails_every_so_many_batches_finishes_all_and_blames_none(
    queue: SqliteQueue, tmp_path: Path, good: int, limit: int
) -> None:
    fleet = Fleet(queue, tmp_path / "sink", pictures=350)
    failed = []
    while last := fleet.life(lambda keys, batches: batches >= good, limit):
        failed.append(last)
    assert fleet.finished == 350 and queue.rejected() == []
    assert failed and max(Counter(failed).values()) < DEATHS_TO_QUARANTINE, "nor was any close to it"


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_a_device_that_fails_at_random_finishes_all_and_blames_none(
    queue: SqliteQueue, tmp_path: Path, share: float
) -> None:
    draw, fleet = random.Random(3), Fleet(queue, tmp_path / "sink", pictures=150)
    while fleet.life(lambda keys, batches: draw.random() < share):
        pass
    assert fleet.finished == 150 and queue.rejected() == []


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


def fail(faults: DeviceFaults, *keys: str, worker: str = GPU) -> list[bool]:
    """Let workers die of these pictures, each alone; which deaths count."""
    blames = []
    for key in keys:
        faults.suspect_started(worker, key)
        blames.append(faults.died(worker, LOST))
    return blames


def test_only_different_pictures_in_a_row_put_the_device_at_fault(
    faults: DeviceFaults, changes: list[tuple[str, bool]]
) -> None:
    fail(faults, "a", "b", "a", "b")
    faults.died(GPU, LOST)  # beside others
    fail(faults, "c", worker="cuda:1")
    assert not faults.workers and not changes
    faults.image_finished(GPU)
    fail(faults, *"abc"[: PICTURES - 1])
    assert faults.workers == []
    fail(faults, "d", "e")
    assert faults.workers == [GPU] and changes == [(GPU, True)]
    assert faults.after_death(GPU) == (AfterDeath.NOTHING, False)
    faults.image_finished(GPU)
    assert faults.workers == [] and changes == [(GPU, True), (GPU, False)]


def test_a_device_that_fails_rehearsals_is_at_fault_until_it_passes_one(
    faults: DeviceFaults, changes: list[tuple[str, bool]]
) -> None:
    faults.died(GPU, LOST)
    for number in range(REHEARSALS):
        assert faults.workers == [] and faults.after_death(GPU) == (AfterDeath.REHEARSE, False), number
        faults.rehearsed(GPU, passed=False)
        assert not faults.died(GPU, LOST)
    assert faults.workers == [GPU] and faults.after_death(GPU) == (AfterDeath.REHEARSE, False)
    faults.rehearsed(GPU, passed=False)
    faults.rehearsed(GPU, passed=True)
    assert faults.workers == [] and changes == [(GPU, True), (GPU, False)]
    assert faults.after_death(GPU) == (AfterDeath.NOTHING, True)


def test_a_kill_during_a_rehearsal_says_nothing_about_the_device(faults: DeviceFaults) -> None:
    faults.died(GPU, LOST)
    for _ in range(2 * REHEARSALS):
        faults.rehearsed(GPU, passed=False)
        faults.died(GPU, DeathReason.SIGKILL)
    assert faults.workers == [] and faults.after_death(GPU) == (AfterDeath.REHEARSE, False)


def test_a_death_counts_only_after_the_device_has_finished_something(faults: DeviceFaults) -> None:
    assert fail(faults, "a") == [False], "nothing shows that the device works"
    faults.rehearsed(GPU, passed=True)
    assert fail(faults, "a", "a") == [True, False]
    faults.image_finished(GPU)
    assert fail(faults, "a") == [True]
    assert faults.after_death(GPU) == (AfterDeath.SUSPECT_FIRST, False)
    assert faults.died(GPU, DeathReason.SIGSEGV), "which no device causes"


def test_a_death_before_the_device_has_shown_that_it_works_leaves_the_crash_marker_as_it_was() -> None:
    sink, job = MemoryStore(), Job("0" * 64, ImageRef("a.jpg", "1", 1), "a.png")
    for count, works, deaths in ((True, False, 1), (False, False, 1), (False, True, 2)):
        markers = CrashMarkers(sink, count_deaths=count)
        if works:
            markers.device_works()
        with pytest.raises(OSError, match="device"), markers.guard(markers.read(job)):
            raise OSError("device lost")
        assert markers.read(job).deaths == deaths
