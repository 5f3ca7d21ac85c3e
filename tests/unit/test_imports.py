"""The supervisor's process never imports torch: neither when its modules are loaded nor while it works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.equipment.pictures import photo, place
from tests.equipment.support import ROOT, STUCK, clean_environment, files_below

pytestmark = pytest.mark.timeout(1200)

LOADED = "print(json.dumps(sorted(name for name in sys.modules if '.' not in name)))"

IMPORT = f"""
import json, sys
import watcher.cli, watcher.supervisor, watcher.commands.terminal, watcher.commands.doctor, watcher.telemetry.logs
{LOADED}
"""

WORK = f"""
import json, sys
from watcher.config.settings import Settings
from watcher.supervisor import Supervisor
from watcher.core.jobs import Mode
settings = Settings(source="photos", sink="cutouts", state="state", model="fake", settle=0)
supervisor = Supervisor(settings, mode=Mode.ONCE)
assert supervisor.run(), supervisor.why
assert supervisor.run_summary.outcomes == {{"written": 1, "rejected": 1}}, supervisor.run_summary
{LOADED}
"""


def modules_after(code: str, cwd: Path) -> set[str]:
    """The top-level modules of a fresh process that has run `code`; its last line of output names them."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=STUCK,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return set(names)


def test_the_supervisor_and_the_command_are_loaded_without_torch() -> None:
    loaded = modules_after(IMPORT, ROOT)
    assert "watcher" in loaded
    assert "torch" not in loaded


@pytest.mark.slow
def test_a_supervisor_that_has_worked_has_not_imported_torch(tmp_path: Path) -> None:
    place(tmp_path / "photos", "a.jpg", photo("a.jpg"))
    place(tmp_path / "photos", "bad.jpg", b"Dear all")
    loaded = modules_after(WORK, tmp_path)
    assert files_below(tmp_path / "cutouts") == {"a.png", "_failed/bad.jpg.json"}
    assert "watcher" in loaded
    assert "torch" not in loaded
