"""What a daemon does about a folder that is missing, or cannot be written to, when it starts."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.equipment.daemon import Daemon, Folders, UsersDaemon, colour, coloured
from tests.equipment.support import STUCK, clean_environment
from watcher.core.python import python

pytestmark = pytest.mark.timeout(1200)


def take_away_source(folders: Folders) -> Callable[[], object]:
    away = folders.source.rename(folders.top / "away")
    return lambda: away.rename(folders.source)


def protect(folder: Path) -> Callable[[], object]:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    return lambda: folder.chmod(0o755)


@pytest.mark.parametrize(
    ("take_away", "reason", "problem"),
    [
        (take_away_source, "source_missing", "SOURCE {top}/source does not exist"),
        (lambda folders: protect(folders.sink), "unavailable", "SINK {top}/sink is not writable by this user"),
    ],
    ids=["source", "sink"],
)
def test_a_service_waits_for_its_folders_and_says_so(
    folders: Folders, take_away: Callable[[Folders], Callable[[], object]], reason: str, problem: str
) -> None:
    coloured(folders.source / "a.png", colour(1))
    give_back = take_away(folders)
    with UsersDaemon(folders, "--settle", "0") as daemon:
        daemon.until(lambda: daemon.events("start_failed"), "the daemon said nothing")
        (failed,) = daemon.events("start_failed")
        assert failed["reason"] == reason
        assert failed["problem"].startswith(problem.format(top=folders.top))
        assert str(folders.top) not in str(daemon.unready()) and daemon.unready()
        give_back()
        daemon.until(lambda: folders.outputs() == {"a.png"}, "the image was never done")
        assert len(daemon.events("start_failed")) == len(daemon.events("start_recovered")) == 1
        daemon.wait_until_ready()
        assert daemon.stop() == 0


def test_a_service_waits_for_its_state_folder(folders: Folders) -> None:
    coloured(folders.source / "a.png", colour(1))
    give_back = protect(folders.state)
    with UsersDaemon(folders, "--settle", "0") as daemon:
        daemon.until(lambda: daemon.events("start_failed"), "the daemon said nothing")
        assert f"--state {folders.state} cannot be written to" in daemon.events("start_failed")[0]["problem"]
        give_back()
        daemon.until(lambda: folders.outputs() == {"a.png"}, "the image was never done")
        assert daemon.stop() == 0


def test_a_person_at_a_terminal_is_told_at_once(folders: Folders) -> None:
    folders.source.rmdir()
    ours, its = pty.openpty()
    command = python("-m", "watcher", "run", *folders.places, "--state", str(folders.state))
    refused = subprocess.run(command, env=clean_environment(), stdin=its, stdout=its, stderr=its, timeout=STUCK)
    os.close(its)
    assert refused.returncode == 2
    assert b"does not exist" in os.read(ours, 4096)
    os.close(ours)
    assert not folders.state.exists()


def test_a_wrong_setting_ends_a_service(folders: Folders) -> None:
    folders.source.rmdir()
    folders.source.touch()
    with Daemon(folders) as daemon:
        assert daemon.wait() == 2
    assert "is not a folder" in folders.log.read_text("utf-8")
