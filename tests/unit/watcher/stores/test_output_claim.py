"""Two daemons of one machine do not make the same outputs of the same images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.equipment.support import ROOT
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import DEFAULT_PATTERN
from watcher.stores.local import LocalStore
from watcher.stores.output_claim import claimed_outputs
from watcher.testing import MemoryStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract names of sockets are Linux's")
PLAIN = [DEFAULT_PATTERN]
HOLD = """
import sys
from pathlib import Path
from watcher.stores.local import LocalStore
from watcher.stores.output_claim import claimed_outputs
with claimed_outputs(LocalStore(Path(sys.argv[1])), LocalStore(Path(sys.argv[2])), sys.argv[3:]):
    print("claimed", flush=True)
    sys.stdin.read()
"""


def folder(top: Path, name: str) -> LocalStore:
    (top / name).mkdir(exist_ok=True)
    return LocalStore(top / name)


def test_the_same_outputs_of_the_same_pair_are_refused_by_whatever_path(tmp_path: Path) -> None:
    source, sink = folder(tmp_path, "in"), folder(tmp_path, "out")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    refused = rf"process {os.getpid()}\).*stop it, or give this one other outputs"
    with (
        claimed_outputs(source, sink, ["web/{stem}.webp", *PLAIN]),
        pytest.raises(ConfigurationError, match=refused),
        claimed_outputs(source, LocalStore(tmp_path / "link"), PLAIN),
    ):
        pass
    with claimed_outputs(source, sink, PLAIN):
        pass  # a claim ends with its block


def test_other_outputs_sources_and_sinks_are_nobodys_business(tmp_path: Path) -> None:
    source, sink = folder(tmp_path, "in"), folder(tmp_path, "out")
    with (
        claimed_outputs(source, sink, PLAIN),
        claimed_outputs(source, sink, ["web/{stem}.webp"]),
        claimed_outputs(folder(tmp_path, "other"), sink, PLAIN),
        claimed_outputs(source, folder(tmp_path, "other"), PLAIN),
        claimed_outputs(source, MemoryStore(), PLAIN),
        claimed_outputs(source, MemoryStore(), PLAIN),
        claimed_outputs(LocalStore(tmp_path / "not mounted"), sink, PLAIN),
        claimed_outputs(LocalStore(tmp_path / "not mounted"), sink, PLAIN),
    ):
        pass


def test_a_killed_daemon_leaves_no_claim(tmp_path: Path) -> None:
    source, sink = folder(tmp_path, "in"), folder(tmp_path, "out")
    command = [sys.executable, "-c", HOLD, source.root, sink.root, *PLAIN]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(ConfigurationError, match=f"process {other.pid}"), claimed_outputs(source, sink, PLAIN):
            pass
        other.kill()
        other.wait()
        with claimed_outputs(source, sink, PLAIN):
            pass
