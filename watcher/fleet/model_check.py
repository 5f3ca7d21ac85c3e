"""Whether somebody else's model can be used here, found out in a process of its own: this one never imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

from inference.models.entry import ModelEntry
from watcher.core.errors import ConfigurationError

_TRIAL = [sys.executable, "-m", "inference.models.smoke_test"]


def require_usable(entry: ModelEntry) -> None:
    """Before anything is touched. Raises ConfigurationError for a model that cannot even be loaded."""
    problem = problem_with(entry) if entry.contract else ""
    if problem:
        raise ConfigurationError(f"--model: {problem}")


def problem_with(entry: ModelEntry, *, run: bool = False) -> str:
    """What keeps a model from being loaded on the CPU and, with `run`, from making a matte; empty if nothing."""
    if entry.kind == "onnx" and find_spec("onnxruntime") is None:
        return "an .onnx file needs onnxruntime, which is not installed here: pip install 'alphadrop[onnx]'."
    words = [*_TRIAL, "--run"] if run else _TRIAL
    tried = subprocess.run(words, input=json.dumps(entry.to_dict()), capture_output=True, text=True, check=False)
    if tried.returncode < 0:
        return f"{entry.path} ended the process that tried it (signal {-tried.returncode}): is there enough memory?"
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else ""
