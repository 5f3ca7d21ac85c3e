"""Several devices, and devices that fail: the work goes on, and probes and metrics show it."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable

import psutil
import pytest
from PIL import Image

from tests.equipment.daemon import Daemon, Folders, colour, coloured, finish, shows
from tests.equipment.support import error_records
from watcher.core.jobs import DEATHS_TO_QUARANTINE
from watcher.fleet.cores import available_cores, usable_cores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def drop(folders: Folders, count: int) -> dict[str, tuple[int, int, int]]:
    """Put `count` pictures into the source."""
    wanted = {f"{number:03}.png": colour(number) for number in range(count)}
    for key, rgb in wanted.items():
        coloured(folders.source / key, rgb)
    return wanted


def expect_all_done(daemon: Daemon, wanted: dict[str, tuple[int, int, int]]) -> None:
    """Every picture is done, complete and not rejected; then the daemon stops in good order."""
    folders = daemon.folders
    daemon.until(lambda: folders.all_done() and folders.outputs() == set(wanted), "not all were done")
    assert daemon.stop() == 0
    assert [key for key, rgb in wanted.items() if not shows(folders.sink / key, rgb)] == []
    assert not folders.rejected()


def test_two_devices_share_the_work_and_one_goes_on_without_the_other(
    folders: Folders, figures: Callable[[str], None]
) -> None:
    with Daemon(folders, "--devices", "cpu:2", "--settle", "0", model="fake:delay=0.2") as daemon:
        daemon.until(lambda: daemon.metric("alphadrop_workers", state="ready") == 2, "not both became ready")
        wanted = drop(folders, 40)
        daemon.until(lambda: set(wanted) == set(daemon.written()), "not all were done")

        share = Counter(event["device"] for event in daemon.events("image"))
        assert share.keys() == {"cpu:0", "cpu:1"}
        assert set(daemon.written().values()) == {1}
        for device in share:
            assert daemon.metric("alphadrop_batches_total", device=device) > 0
        figures(f"two devices: {share['cpu:0']} and {share['cpu:1']} of {len(wanted)} pictures")

        wanted = drop(folders, 60)  # the first ones anew
        daemon.until(folders.in_flight, "nothing in flight")
        os.kill(daemon.workers()[0], signal.SIGKILL)
        daemon.until(lambda: daemon.events("worker_died"), "the death was not noticed")
        assert "workers" not in daemon.unready()
        expect_all_done(daemon, wanted)


def test_each_of_as_many_workers_as_cores_keeps_to_its_own(folders: Folders) -> None:
    cores = usable_cores()
    with Daemon(folders, "--devices", f"cpu:{len(cores)}") as daemon:
        daemon.wait_until_ready()
        daemon.until(lambda: daemon.metric("alphadrop_workers", state="ready") == len(cores), "not all became ready")

        def kept() -> list[set[int]]:
            return sorted((os.sched_getaffinity(pid) for pid in daemon.workers()), key=min)

        each = [{core} for core in cores] if available_cores() == len(cores) else [set(cores)] * len(cores)
        assert kept() == each
        os.kill(daemon.workers()[0], signal.SIGKILL)
        daemon.until(lambda: daemon.events("worker_died"), "the death was not noticed")
        daemon.until(lambda: daemon.metric("alphadrop_workers", state="ready") == len(cores), "there is no new worker")
        assert kept() == each
        assert os.sched_getaffinity(daemon.process.pid) == set(cores), "only workers keep to a core"
        assert daemon.stop() == 0


def test_a_device_that_fails_is_started_again_and_the_work_is_finished(
    folders: Folders, figures: Callable[[str], None]
) -> None:
    wanted = drop(folders, 24)
    with Daemon(folders, "--settle", "0", model="fake:fail_at=5") as daemon:
        daemon.until(folders.all_done, "not all were done")
        restarts = daemon.metric("alphadrop_worker_restarts_total", device="cpu", reason="device_lost")
        assert restarts == len(daemon.events("worker_died")) >= 1
        figures(f"device failing at every fifth batch: {len(wanted)} pictures done over {restarts:.0f} restarts")
        expect_all_done(daemon, wanted)


def test_with_no_device_that_works_it_is_alive_but_not_ready_and_says_why(folders: Folders) -> None:
    drop(folders, 3)
    with Daemon(folders, "--settle", "0", model="fake:fail_at=1") as daemon:
        daemon.until(lambda: len(daemon.events("worker_died")) >= 2, "no worker died")

        died = "worker died: device_lost"  # between two attempts and during one alike, but for its last moment
        daemon.until(lambda: died in daemon.unready().get("workers", ""), "not known to have no workers")
        assert daemon.get("/livez")[0] == 200
        daemon.until(lambda: daemon.metric("alphadrop_workers", state="ready") == 0, "a worker is said to be ready")
        restarts = "alphadrop_worker_restarts_total"
        daemon.until(lambda: daemon.metric(restarts, reason="device_lost") >= 2, "not all deaths were counted")

        assert daemon.stop() == 0
    assert folders.stats().pending == 3 and not folders.rejected()


def test_a_device_that_fails_on_each_real_batch_is_found_at_fault_and_no_picture_is_blamed(folders: Folders) -> None:
    wanted = drop(folders, 1)
    with Daemon(folders, "--settle", "0", model="fake:fail_at=2") as daemon:  # after the warm-up
        daemon.until(lambda: daemon.events("device_at_fault"), "the device was never found at fault")
        assert "known to be good" in daemon.events("device_at_fault")[0]["problem"]
        assert daemon.unready()["devices"] == "cpu: every picture fails, also alone; replace the device"
        assert daemon.metric("alphadrop_device_at_fault", device="cpu") == 1
        wanted |= drop(folders, 4)
        deaths = len(daemon.events("worker_died"))
        daemon.until(lambda: len(daemon.events("worker_died")) > deaths + 1, "it is not tried again")
        assert daemon.stop() == 0
    assert len(daemon.events("device_at_fault")) == 1
    assert folders.stats().pending == 4 and not folders.rejected()
    with Daemon(folders, "--settle", "0") as replaced:
        expect_all_done(replaced, wanted)


def test_a_picture_on_which_each_device_fails_is_rejected_though_it_is_the_only_one(folders: Folders) -> None:
    Image.new("RGB", (2000, 1500)).save(folders.source / "killer.png")
    daemon = finish(folders, model="fake:fail_above=2500000")
    assert daemon.wait() == 3
    assert {key: rejection.reason for key, rejection in folders.rejected().items()} == {"killer.png": "kills_worker"}
    assert len(daemon.events("worker_died")) == 2 * DEATHS_TO_QUARANTINE, "every second death counts"
    assert not daemon.events("device_at_fault")


def test_a_device_that_fails_every_second_batch_blames_no_picture(folders: Folders) -> None:
    wanted = drop(folders, 12)
    daemon = finish(folders, "--batch", "2", model="fake:fail_at=3")
    assert daemon.wait() == 0, "nothing is rejected"
    assert folders.outputs() == set(wanted) and all(shows(folders.sink / key, wanted[key]) for key in wanted)
    assert len(daemon.events("worker_died")) >= 3 and not daemon.events("device_at_fault")


def test_a_worker_without_descriptors_keeps_sending_heartbeats(folders: Folders) -> None:
    with Daemon(folders, "--settle", "0") as daemon:
        daemon.wait_until_ready()
        worker, kind = psutil.Process(daemon.workers()[0]), resource.RLIMIT_NOFILE
        before = resource.prlimit(worker.pid, kind)
        resource.prlimit(worker.pid, kind, (worker.num_fds(), before[1]))
        for _ in range(3):  # each heartbeat says how much time the worker has used
            used = daemon.metric("alphadrop_worker_cpu_seconds_total")
            daemon.until(lambda: daemon.metric("alphadrop_worker_cpu_seconds_total") > used, "no heartbeat")  # noqa: B023
        resource.prlimit(worker.pid, kind, before)
        wanted = drop(folders, 3)
        expect_all_done(daemon, wanted)
    assert "Traceback" not in folders.log.read_text("utf-8")


def test_a_frozen_worker_is_noticed_and_replaced(folders: Folders, figures: Callable[[str], None]) -> None:
    wanted = drop(folders, 20)
    with Daemon(folders, "--settle", "0", "--device-timeout", "6", model="fake:delay=0.5") as daemon:
        daemon.until(lambda: folders.in_flight() and folders.outputs(), "nothing in flight")
        os.kill(daemon.workers()[0], signal.SIGSTOP)
        frozen = time.monotonic()

        daemon.until(lambda: daemon.events("worker_died"), "nobody noticed")

        assert daemon.events("worker_died")[0]["reason"] == "silent"
        figures(f"frozen worker: noticed after {time.monotonic() - frozen:.1f} s of 6 allowed")
        expect_all_done(daemon, wanted)


def test_a_picture_whose_decoding_never_ends_is_rejected_and_no_other(folders: Folders) -> None:
    wanted = drop(folders, 12)
    coloured(folders.source / "endless.png", colour(99))
    daemon = finish(folders, "--decode-timeout", "2", ALPHADROP_TEST_HOOK="hang:endless")
    assert daemon.wait() == 3
    assert folders.outputs() == set(wanted) and all(shows(folders.sink / key, wanted[key]) for key in wanted)
    assert {key: rejection.reason for key, rejection in folders.rejected().items()} == {"endless.png": "decode_timeout"}
    assert "--decode-timeout" in error_records(folders.sink)["endless.png"]["detail"]
    last = daemon.events("decode_stuck")[-1]
    assert (last["key"], last["alone"]) == ("endless.png", True), "it is rejected for what it did alone"
    assert {event["reason"] for event in daemon.events("worker_died")} == {"decode_stuck"}
    assert [path.name for path in folders.temporary()] == ["endless.png.json"]


def test_a_device_that_hangs_is_given_up(folders: Folders) -> None:
    drop(folders, 3)
    with Daemon(folders, "--settle", "0", "--device-timeout", "4", model="fake:delay=8") as daemon:
        daemon.until(lambda: daemon.events("worker_died"), "nobody noticed")
        assert daemon.events("worker_died")[0]["reason"] == "device_stuck"
        assert not folders.rejected()
        daemon.until(lambda: folders.stats().suspects == 3, "its pictures are not given to another one")
