"""Which signals stop the supervisor, and how."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.equipment.support import wait_until
from watcher.config.settings import Settings
from watcher.supervisor import STOP_SIGNALS, StateFolder, Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(Settings(source=str(tmp_path / "in"), sink=str(tmp_path / "out"), model="fake"))


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes that the process would have exited with."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.fixture
def as_under_nohup() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


def test_termination_interrupt_and_hang_up_stop_it(supervisor: Supervisor) -> None:
    assert supervisor._stop_signals() == [signal.SIGTERM, signal.SIGINT, signal.SIGHUP] == list(STOP_SIGNALS)


@pytest.mark.usefixtures("as_under_nohup")
def test_a_signal_that_its_parent_ignores_does_not(supervisor: Supervisor) -> None:
    assert signal.SIGHUP not in supervisor._stop_signals()


def test_a_second_hang_up_does_not_end_the_drain_and_a_second_termination_does(
    supervisor: Supervisor, exits: list[int]
) -> None:
    for _ in range(2):
        supervisor._on_signal(signal.SIGHUP, None)
    wait_until(supervisor._stop.is_set)
    assert exits == []
    supervisor._on_signal(signal.SIGTERM, None)
    assert exits == [128 + signal.SIGTERM]


def test_workers_get_folders_by_their_real_paths(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    settings = Supervisor(Settings(source=str(tmp_path / "link"), sink="s3://box/a%20b", model="fake")).settings
    assert settings.source == str(tmp_path / "real")
    assert settings.sink == "s3://box/a%20b"
    assert settings.state == settings.state_path


def test_a_queue_that_is_deleted_or_replaced_under_the_daemon_is_noticed(tmp_path: Path) -> None:
    queue = tmp_path / "queue.sqlite"
    queue.write_bytes(b"")
    state = StateFolder(tmp_path)
    assert state.problem == ""
    queue.rename(tmp_path / "aside")
    assert "was deleted or replaced" in state.problem and "start it again" in state.problem
    queue.write_bytes(b"")
    assert "was deleted or replaced" in state.problem
    (tmp_path / "aside").replace(queue)
    assert state.problem == ""
