"""Whether a third-party model can be used here; tried in a process of its own, so that this one never imports torch."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec

from pydantic import TypeAdapter

from inference.models.entry import ModelEntry
from watcher.core.errors import ConfigurationError
from watcher.core.python import python

_SMOKE_TEST = python("-m", "inference.models.smoke_test")


def require_usable(entry: ModelEntry, flag: str = "--model") -> None:
    """Raise ConfigurationError for a third-party model that cannot be loaded."""
    problem = problem_with(entry) if entry.contract else ""
    if problem:
        raise ConfigurationError(f"{flag}: {problem}")


def problem_with(entry: ModelEntry, *, run: bool = False) -> str:
    """Why a model cannot be loaded on the CPU or, with `run`, make a matte; empty if it can."""
    if entry.kind == "onnx" and find_spec("onnxruntime") is None:
        return "an .onnx file needs onnxruntime, which is not installed here: pip install 'alphadrop[onnx]'."
    command = [*_SMOKE_TEST, "--run"] if run else _SMOKE_TEST
    # Not dump_json, which refuses the path of a file whose name is not valid UTF-8.
    text = json.dumps(TypeAdapter(ModelEntry).dump_python(entry, mode="json"))
    tried = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if tried.returncode < 0:
        return f"{entry.path} ended the process that tried it (signal {-tried.returncode}): is there enough memory?"
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else ""
