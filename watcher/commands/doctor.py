"""`alphadrop doctor`: is everything there that is needed, and if not, what is to be done."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inference.codec import decode, encode
from inference.errors import InferenceError, ModelError
from inference.models.entry import ModelEntry
from inference.models.registry import resolve
from inference.picture import Cutout
from watcher.commands.doctor_remote import Check, remote_checks
from watcher.config.load import MissingPlaces, load_settings
from watcher.config.preflight import check_places
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError
from watcher.fleet.cores import available_cores
from watcher.fleet.devices import plan_workers
from watcher.fleet.model_check import problem_with

_ASK_TORCH = """
import json, torch
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"torch": torch.__version__, "gpus": [[g.name, g.total_memory] for g in gpus]}))
"""
INOTIFY = Path("/proc/sys/fs/inotify/max_user_watches")
FREE = 1 << 30


def diagnose(args: argparse.Namespace) -> list[Check]:
    """Every check that the settings allow; source, sink and queue only where they are named."""
    try:
        settings, places = load_settings(args), True
    except MissingPlaces:
        settings, places = load_settings(args, need_places=False), False
    except ConfigurationError as error:
        return [Check("settings", False, str(error))]
    checks = [*_machine(), *_devices(settings), _codecs(), _weights(settings), _files()]
    return checks + (list(_places(settings)) if places else [])


def _machine() -> Iterator[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", sys.version_info >= (3, 11), f"{python}, {available_cores():g} cores allowed")


def _devices(settings: Settings) -> Iterator[Check]:
    answer = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False)
    if answer.returncode:
        why = answer.stderr.strip().splitlines()[-1]
        yield Check("torch", False, f"{why}; `watch` does without, all else needs: pip install 'alphadrop[engine]'")
        return
    found = json.loads(answer.stdout)
    gpus = found["gpus"]
    names = ", ".join(f"{name} ({memory / 2**30:.0f} GiB)" for name, memory in gpus) or "no GPU"
    yield Check("torch", True, f"{found['torch']}, {names}")
    workers = plan_workers(settings.devices, settings.threads, foreign=_is_foreign(settings), count=lambda: len(gpus))
    known = {"cpu", "cuda", *(f"cuda:{index}" for index in range(len(gpus)))}
    missing = sorted(set(workers.devices) - known)
    yield Check(
        "devices",
        not missing,
        str(workers)
        if not missing
        else f"{', '.join(missing)}: not visible here; use --devices auto, or check the driver with nvidia-smi",
    )


def _is_foreign(settings: Settings) -> bool:
    """Whether the model is one of others; what is wrong with it is said elsewhere."""
    try:
        return bool(_entry(settings).contract)
    except ModelError:
        return False


def _entry(settings: Settings) -> ModelEntry:
    return resolve(settings.model, settings.canvas, settings.model_contract, settings.rembg_path)


def _codecs() -> Check:
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[16:48, 16:48] = (200, 30, 10, 255)
    try:
        back = decode(encode(Cutout(pixels), text={}))
    except (InferenceError, OSError) as error:
        return Check("codecs", False, f"a cut-out did not come back: {error}")
    exact = bool((back.pixels[16:48, 16:48] == (200, 30, 10)).all())
    return Check("codecs", exact, "JPEG, PNG, WEBP, TIFF, BMP, GIF, AVIF" if exact else "a cut-out came back changed")


def _weights(settings: Settings) -> Check:
    try:
        entry = _entry(settings)
    except ModelError as error:
        return Check("weights", False, str(error))
    problem = problem_with(entry, run=True) if entry.contract else ""
    if problem:
        return Check("weights", False, problem)
    facts = [f"canvas {entry.canvas or 'as the picture'}", f"sha256 {entry.digest[:12]}"]
    facts += [f"contract {entry.contract}, tried on the CPU"] if entry.contract else []
    return Check("weights", True, f"{entry.name}: " + ", ".join(facts) + (f"; {entry.limits}" if entry.limits else ""))


def _files() -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Check("open files", soft >= 1024, f"{soft} allowed" + ("" if soft >= 1024 else "; raise it: ulimit -n 4096"))


def _places(settings: Settings) -> Iterator[Check]:
    try:
        check_places(settings)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield Check("places", False, line)
        return
    queue = "" if settings.queue else f", queue in {settings.state_path}"
    yield Check("places", True, f"{settings.source_uri} to {settings.sink_uri}{queue}")
    if settings.source_path:
        yield _watches(settings.source_path)
    if settings.sink_path:
        yield _space(settings.sink_path)
    yield from remote_checks(settings)


def _watches(source: Path) -> Check:
    if not INOTIFY.exists():
        return Check("events", True, "this system has no limit on watched folders")
    allowed = int(INOTIFY.read_text())
    folders = sum(1 for _ in os.walk(source))
    enough = folders < allowed
    return Check(
        "events",
        enough,
        f"{folders} folders to watch, {allowed} allowed"
        + ("" if enough else f"; raise it: sysctl fs.inotify.max_user_watches={folders * 2}, or use --watch polling"),
    )


def _space(sink: Path) -> Check:
    there = next(path for path in (sink, *sink.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return Check(
        "space",
        free >= FREE,
        f"{free / 2**30:.1f} GiB free below {there}"
        + ("" if free >= FREE else "; make room, outputs are about as large as the pictures"),
    )
