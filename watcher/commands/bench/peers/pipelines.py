"""The pipelines that `alphadrop bench peers` compares, and the installation of rembg."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from watcher.commands.bench.process_monitor import CommandFailed
from watcher.core.python import python

REMBG = "rembg[cpu]==2.0.86"
"""What is installed where rembg is missing; it brings onnxruntime."""
OURS = "alphadrop once"


@dataclass(frozen=True)
class Pipeline:
    """A pipeline: the command that processes a source folder into a sink folder, and its environment variables."""

    name: str
    command: Callable[[Path, Path], list[str]]
    variables: Mapping[str, str] = field(default_factory=dict)


def alphadrop(model: str, canvas: int | None) -> Pipeline:
    """The daemon on the CPU with default settings, so that it chooses the number of workers itself."""

    def command(source: Path, sink: Path) -> list[str]:
        options = ["--state", str(sink.parent / "state"), "--model", model, "--log-format", "json"]
        options += ["--canvas", str(canvas)] if canvas else []
        return python("-m", "watcher", "once", str(source), str(sink), *options)

    return Pipeline(OURS if canvas else f"{OURS}, own canvas", command, {"CUDA_VISIBLE_DEVICES": ""})


def sequential_script(model: str) -> Pipeline:
    """The plain script of `sequential.py`."""
    module = python("-m", "watcher.commands.bench.peers.sequential")
    return Pipeline("sequential script", lambda source, sink: [*module, str(source), str(sink), model])


def rembg(python: Path, model: Path) -> Pipeline:
    """rembg, which only takes models from its own folder."""
    script = Path(__file__).with_name("rembg_script.py")
    return Pipeline(
        "rembg",
        lambda source, sink: [str(python), str(script), str(source), str(sink), str(model)],
        {"REMBG_HOME": str(model.parent), "U2NET_HOME": str(model.parent), "PYTHONPATH": ""},
    )


def rembg_python(venv: Path) -> Path:
    """An interpreter that has rembg: this one, or that of the virtual environment, which is made if necessary.

    Raises CommandFailed where it cannot be installed.
    """
    if find_spec("rembg"):
        return Path(sys.executable)
    python = venv.absolute() / "bin" / "python"
    installed = venv / ".rembg"
    if not (installed.exists() and installed.read_text("utf-8") == REMBG):
        for command in (
            [sys.executable, "-m", "venv", str(venv)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REMBG],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CommandFailed(f"rembg could not be installed: {done.stderr.strip().splitlines()[-1]}")
        installed.write_text(REMBG, "utf-8")
    return python
