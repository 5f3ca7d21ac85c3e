"""kill -9 at any moment, of a worker and of everything: no picture is lost, none is half done, none is blamed."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from random import Random

import pytest

from tests.equipment.daemon import Daemon, Folders, colour, coloured, finish, shows
from tests.equipment.receiver import SECRET, Receiver, receiving
from tests.equipment.support import STUCK, error_records

SEED = 20240
LARGEST_PAUSE = 0.15
"""Seconds between progress and a kill, at random: long enough to hit every step of a picture's way."""

pytestmark = [pytest.mark.torture, pytest.mark.slow, pytest.mark.timeout(3600)]


class Campaign:
    """Kills a daemon again and again, always while it has pictures in flight."""

    def __init__(self, folders: Folders, receiver: Receiver, kills: int, pictures: int, devices: str) -> None:
        self.folders, self.receiver = folders, receiver
        self.kills = kills
        self.wanted = {f"{number % 7}/{number:04}.png": colour(number) for number in range(pictures)}
        self.hit = self.deaths = self.restarts = 0
        self._random = Random(SEED)
        self._most_steps = pictures // kills // 2
        self._options = ("--devices", devices, "--settle", "0", "--rescan", "3600")
        self._started = time.monotonic()

    def run(self) -> None:
        """All kills, then peace until everything is done."""
        for key, rgb in self.wanted.items():
            coloured(self.folders.source / key, rgb)
        kills_left = self.kills
        while kills_left:
            with self._daemon() as daemon:
                kills_left -= 1
                if kills_left:
                    self._kill_worker(daemon)
                    kills_left -= 1
                self._wait_for_progress(daemon)
                daemon.kill_group()
                self.restarts += 1
        with self._daemon() as daemon:
            daemon.until(self.folders.all_done, "the daemon never came to an end")
            late = "not every picture has its notification"
            daemon.until(lambda: self.notified >= set(self.wanted), late)
            assert daemon.stop() == 0

    @property
    def notified(self) -> set[str]:
        """The pictures of which the receiver knows that they are done."""
        return {message["key"] for message in self.receiver.accepted if message["type"] == "image.done"}

    def report(self) -> str:
        """One line of figures."""
        return (
            f"kill campaign: {self.kills} kills ({self.deaths} of a worker, {self.restarts} of all processes) hit "
            f"{self.hit} pictures in flight; {replays(self.folders)} replays; {len(self.wanted)} of "
            f"{len(self.wanted)} pictures whole, {len(self.receiver.accepted)} notifications, after "
            f"{time.monotonic() - self._started:.0f} s"
        )

    def _daemon(self) -> Daemon:
        return Daemon(
            self.folders,
            *self._options,
            model="fake:delay=0.2",
            ALPHADROP_NOTIFY=self.receiver.url,
            ALPHADROP_NOTIFY_SECRET=SECRET,
        )

    def _kill_worker(self, daemon: Daemon) -> None:
        self._wait_for_progress(daemon)
        os.kill(self._random.choice(daemon.workers()), signal.SIGKILL)
        self.deaths += 1
        daemon.until(lambda: daemon.events("worker_died"), "the worker's death was not noticed")

    def _wait_for_progress(self, daemon: Daemon) -> None:
        """Some outputs more than there were, pictures in flight, and then any moment."""
        target = len(self.folders.outputs()) + self._random.randint(1, self._most_steps)
        daemon.until(lambda: len(self.folders.outputs()) >= target and self.folders.in_flight(), "no progress")
        time.sleep(self._random.uniform(0, LARGEST_PAUSE))
        self.hit += self.folders.in_flight()


def replays(folders: Folders) -> int:
    """How often a picture was leased again."""
    with closing(sqlite3.connect(folders.state / "queue.sqlite")) as queue:
        return int(queue.execute("SELECT sum(claims - 1) FROM jobs").fetchone()[0])


def test_kills_at_random_moments_lose_nothing(
    folders: Folders, full_campaign: bool, figures: Callable[[str], None]
) -> None:
    with receiving() as receiver:
        effort = (20, 400, "cpu:2") if full_campaign else (5, 80, "cpu")
        campaign = Campaign(folders, receiver, *effort)
        campaign.run()
    again = finish(folders, model="fake:delay=0.2")

    assert (again.wait(), again.written()) == (0, {})
    assert folders.outputs() == set(campaign.wanted)
    assert [key for key, rgb in campaign.wanted.items() if not shows(folders.sink / key, rgb)] == []
    assert folders.temporary() == []
    assert folders.rejected() == {}
    assert campaign.notified == set(campaign.wanted) and receiver.unsigned == 0
    figures(campaign.report())


def test_the_picture_that_kills_its_worker_is_quarantined_and_no_other(
    folders: Folders, figures: Callable[[str], None]
) -> None:
    wanted = {f"{number:02}.png": colour(number) for number in range(12)}
    for key, rgb in {**wanted, "poison.png": colour(99)}.items():
        coloured(folders.source / key, rgb)
    started = time.monotonic()

    daemon = finish(folders, ALPHADROP_TEST_HOOK="kill:poison")

    assert daemon.wait() == 3
    assert folders.outputs() == set(wanted)
    assert all(shows(folders.sink / key, rgb) for key, rgb in wanted.items())
    assert {key: rejection.reason for key, rejection in folders.rejected().items()} == {"poison.png": "kills_worker"}
    record = error_records(folders.sink)["poison.png"]
    assert record["reason"] == "kills_worker" and "alphadrop retry" in record["retry"]
    assert [path.name for path in folders.temporary()] == ["poison.png.json"]
    deaths = len(daemon.events("worker_died"))
    assert 3 <= deaths <= 4  # once in company, three times alone
    figures(f"poisoned picture: quarantined after {deaths} deaths, {time.monotonic() - started:.0f} s")


def test_a_suspect_is_not_put_off_for_ever_by_new_pictures(
    folders: Folders, full_campaign: bool, figures: Callable[[str], None]
) -> None:
    if not full_campaign:
        pytest.skip("takes minutes: --campaign=full")
    with Daemon(folders, "--settle", "0", model="fake:delay=0.2") as daemon:
        count = feed(folders, 0)
        daemon.until(folders.in_flight, "nothing in flight")
        os.kill(daemon.workers()[0], signal.SIGKILL)
        daemon.until(lambda: folders.stats().suspects, "nobody is suspected")
        killed = time.monotonic()

        while folders.stats().suspects:
            count = feed(folders, count)
            assert time.monotonic() - killed < STUCK, "the suspects still wait"
            daemon.until(lambda: folders.stats().pending < 100 or not folders.stats().suspects, "no progress")

        assert folders.stats().pending > 20
    figures(f"suspects beside endless work: replayed after {time.monotonic() - killed:.0f} s")


def feed(folders: Folders, count: int) -> int:
    """A hundred pictures more; how many there are then."""
    for number in range(count, count + 100):
        coloured(folders.source / f"{number:05}.png", colour(number))
    return count + 100
