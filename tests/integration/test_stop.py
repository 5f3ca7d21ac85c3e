"""Every way to stop: in good order, at once, from the keyboard, by accident. Nothing is half written or lost."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from tests.equipment.daemon import Daemon, Folders, colour, coloured, finish, is_running, shows
from tests.equipment.support import STUCK, wait_until

SLOW = "fake:delay=2"
WANTED = {f"{number % 3}/{number:02}.png": colour(number) for number in range(16)}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def busy_daemon(folders: Folders, *options: str, model: str = SLOW) -> Daemon:
    """A daemon with pictures in flight and many more waiting."""
    for key, rgb in WANTED.items():
        coloured(folders.source / key, rgb)
    daemon = Daemon(folders, "--settle", "0", *options, model=model)
    daemon.until(lambda: daemon.workers() and folders.in_flight(), "nothing in flight")
    return daemon


def expect_the_rest_to_be_done(folders: Folders, *options: str, model: str = SLOW) -> Daemon:
    """A following `once` does the rest, completely and without rejections."""
    again = finish(folders, *options, model=model)
    assert again.wait() == 0
    assert folders.outputs() == set(WANTED)
    assert [key for key, rgb in WANTED.items() if not shows(folders.sink / key, rgb)] == []
    assert not folders.temporary() and not folders.rejected()
    return again


def expect_nothing_half_done(folders: Folders) -> None:
    """Every output in the sink is complete, and nothing is leased."""
    assert all(shows(folders.sink / key, WANTED[key]) for key in folders.outputs())
    assert not folders.temporary()
    assert folders.in_flight() == 0


def test_sigterm_finishes_the_images_in_flight_and_no_others(folders: Folders) -> None:
    with busy_daemon(folders, "--drain", "300") as daemon:
        in_flight = folders.in_flight()

        daemon.signal(signal.SIGTERM)
        daemon.until(lambda: "stopping" in daemon.unready(), "not known to be stopping")
        assert daemon.get("/livez")[0] == 200
        assert daemon.wait() == 0

        assert daemon.events("stopped")[0]["drained"] is True
        done = set(daemon.written())
        assert in_flight <= len(done) < len(WANTED)
        assert folders.outputs() == done
    expect_nothing_half_done(folders)
    assert expect_the_rest_to_be_done(folders).written().keys() == WANTED.keys() - done


def test_a_drain_that_takes_too_long_is_ended_and_reported(folders: Folders) -> None:
    with busy_daemon(folders, "--drain", "0.1", model="fake:delay=4") as daemon:
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 4
        assert daemon.events("stopped")[0]["drained"] is False
    expect_nothing_half_done(folders)
    assert expect_the_rest_to_be_done(folders, model="fake").written().keys() == WANTED.keys()


def test_a_second_sigterm_stops_at_once(folders: Folders) -> None:
    with busy_daemon(folders, "--drain", "300", model="fake:delay=4") as daemon:
        workers = daemon.workers()
        daemon.signal(signal.SIGTERM)
        daemon.until(lambda: "stopping" in daemon.unready(), "not known to be stopping")

        daemon.signal(signal.SIGTERM)

        assert daemon.wait() == 128 + signal.SIGTERM
        assert folders.in_flight() > 0  # it has waited for nothing
        wait_until(lambda: not any(map(is_running, workers)), STUCK, "a worker is still running")
    assert expect_the_rest_to_be_done(folders, model="fake").written().keys() == WANTED.keys()


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGHUP, signal.SIGHUP]], ids=["ctrl-c", "hang-up"])
def test_a_terminals_signal_reaches_the_whole_group_and_drains_too(folders: Folders, signals: list[int]) -> None:
    with busy_daemon(folders, "--drain", "300") as daemon:
        in_flight = folders.in_flight()
        for number in signals:
            os.killpg(daemon.process.pid, number)
        assert daemon.wait() == 0
        assert daemon.events("worker_died") == []
        done = set(daemon.written())
        assert in_flight <= len(done) < len(WANTED)
    expect_nothing_half_done(folders)
    assert expect_the_rest_to_be_done(folders).written().keys() == WANTED.keys() - done


def test_workers_of_a_dead_supervisor_exit_and_lose_nothing(folders: Folders) -> None:
    with busy_daemon(folders, "--devices", "cpu:2") as daemon:
        workers = daemon.workers()
        assert len(workers) == 2
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        wait_until(lambda: not any(map(is_running, workers)), STUCK, "a worker is still running")
    again = expect_the_rest_to_be_done(folders, "--devices", "cpu:2")
    assert again.events("started")[0]["resumed"] > 0


def test_a_daemon_that_is_still_starting_stops_as_well(folders: Folders) -> None:
    for key, rgb in WANTED.items():
        coloured(folders.source / key, rgb)
    with Daemon(folders, "--settle", "0", model="fake:load_delay=300") as daemon:
        daemon.until(daemon.workers, "no worker was started")
        assert daemon.stop() == 0
        assert daemon.written() == {}
    expect_nothing_half_done(folders)


def test_a_state_folder_that_is_deleted_under_the_daemon_ends_it_with_what_to_do(folders: Folders) -> None:
    with Daemon(folders, "--drain", "0", model="fake") as daemon:
        daemon.until(lambda: daemon.events("started"), "it never started")
        shutil.rmtree(folders.state)
        assert daemon.wait() == 4
        assert "start it again" in daemon.events("state_deleted")[0]["problem"]
