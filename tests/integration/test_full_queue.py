"""The disk with the embedded queue is full: an outage like any other, in which no worker ends and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.equipment.daemon import Daemon, Folders, colour, coloured, shows
from tests.torture.system import Disk, can_mount

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_mount(), reason="needs root, to mount a small disk"),
]


@pytest.fixture
def disk(folders: Folders) -> Iterator[Disk]:
    folders.state.mkdir()
    disk = Disk(folders.state)
    disk.mount()
    yield disk
    disk.unmount()


def test_no_worker_ends_while_the_queues_disk_is_full(folders: Folders, disk: Disk) -> None:
    wanted = {f"{number:02}.png": colour(number) for number in range(12)}
    for key, rgb in wanted.items():
        coloured(folders.source / key, rgb)
    with Daemon(folders, "--settle", "0", "--batch", "1", model="fake:delay=1") as daemon:
        daemon.until(lambda: folders.in_flight() and folders.outputs(), "nothing is in flight")
        begun = len(folders.outputs())
        daemon.until(disk.fill, "the disk could not be filled")

        daemon.until(lambda: outages(daemon, "outage_began"), "the outage was not noticed")
        assert "full" in outages(daemon, "outage_began")[0]["problem"]
        daemon.until(lambda: "images" in daemon.unready(), "it is said to be ready")
        daemon.until(lambda: len(folders.outputs()) > begun, "what was in flight is not finished")
        daemon.until(disk.recover, "the disk could not be emptied")

        daemon.until(folders.all_done, "not all were done")
        daemon.until(lambda: outages(daemon, "outage_ended"), "the outage never ended")
        daemon.wait_until_ready()
        assert daemon.stop() == 0
    assert [len(outages(daemon, name)) for name in ("outage_began", "outage_ended")] == [1, 1]
    assert not daemon.events("worker_failed") and not daemon.events("worker_died")
    assert folders.outputs() == set(wanted) and all(shows(folders.sink / key, wanted[key]) for key in wanted)
    assert not folders.rejected() and set(daemon.written().values()) == {1}


def test_a_worker_that_starts_while_the_queues_disk_is_full_waits(folders: Folders, disk: Disk) -> None:
    wanted = {f"{number:02}.png": colour(number) for number in range(6)}
    for key, rgb in wanted.items():
        coloured(folders.source / key, rgb)
    with Daemon(folders, "--settle", "0", "--batch", "1", model="fake:delay=1") as daemon:
        daemon.until(folders.in_flight, "nothing is in flight")
        daemon.until(disk.fill, "the disk could not be filled")
        os.kill(daemon.workers()[0], signal.SIGKILL)
        daemon.until(lambda: daemon.events("leases_not_released"), "its leases were released on a full disk")
        daemon.until(lambda: outages(daemon, "outage_began"), "the next worker has not asked the queue")
        daemon.until(disk.recover, "the disk could not be emptied")
        daemon.until(folders.all_done, "not all were done")
        daemon.wait_until_ready()
        assert daemon.stop() == 0
    assert [event["reason"] for event in daemon.events("worker_died")] == ["sigkill"]
    assert not daemon.events("worker_failed") and not folders.rejected()
    assert folders.outputs() == set(wanted)


def outages(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """The log lines about the workers' queue."""
    return [event for event in daemon.events(name) if event["stage"] == "queue_wait"]
