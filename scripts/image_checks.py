"""What is promised of the images, each tried on one that was built."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inference.synthetic import render_sample
from scripts.podman import ImageFailed, Podman

PHOTO, SIZE = "product.jpg", (960, 720)
SECONDS = 180.0
"""For what takes a few; only a machine that is stuck needs more."""
PACKAGES = """
import importlib.metadata as metadata, json
print(json.dumps({found.metadata["Name"]: found.version for found in metadata.distributions()}))
"""


@dataclass(frozen=True)
class Bench:
    """A folder with a picture and one for cut-outs, which containers get to see."""

    podman: Podman
    photos: Path
    cutouts: Path

    @classmethod
    @contextmanager
    def opened(cls, podman: Podman, root: Path) -> Iterator[Bench]:
        """For the time of the block."""
        bench = cls(podman, (root / "photos").absolute(), (root / "cutouts").absolute())
        try:
            bench.clear()
            yield bench
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def clear(self) -> None:
        """One drawn product, no cut-out."""
        shutil.rmtree(self.photos.parent, ignore_errors=True)
        self.photos.mkdir(parents=True)
        self.cutouts.mkdir()
        self.cutouts.chmod(0o777)
        picture = render_sample(np.random.default_rng(3), SIZE[1], SIZE[0]).image
        Image.fromarray(picture).save(self.photos / PHOTO, quality=92)

    def mounts(self, state: str = "--tmpfs=/var/lib/alphadrop") -> tuple[str, ...]:
        """What a container may write to, as options; the pictures only to be read."""
        folders = (f"--volume={self.photos}:/photos:ro", f"--volume={self.cutouts}:/cutouts")
        return ("--tmpfs=/tmp", "--tmpfs=/var/cache/alphadrop", state, *folders)

    def python(self, image: str, program: str) -> str:
        """What a program prints that the image's Python runs."""
        return self.podman.run("--entrypoint=python3", image, "-c", program)

    def cutout(self) -> str:
        """Looks at the one that must have come, and says what it saw."""
        path = self.cutouts / PHOTO.replace(".jpg", ".png")
        with Image.open(path) as picture:
            picture.load()
            claim((picture.mode, picture.size) == ("RGBA", SIZE), f"{path}: {picture.mode} {picture.size}")
            job = str(picture.info.get("alphadrop:job", ""))
            alpha = np.asarray(picture.getchannel("A"))
        claim(len(job) == 64, f"{path} has no job: {job!r}")
        clear, solid = float((alpha == 0).mean()), float((alpha == 255).mean())
        claim(0.1 < clear < 0.9 and 0.1 < solid < 0.9, f"{path} is no cut-out: {clear:.0%} clear, {solid:.0%} solid")
        shown = f"RGBA {SIZE[0]}x{SIZE[1]}, {solid:.0%} solid, {clear:.0%} clear, job {job[:12]}..."
        return f"{shown}, of user {path.stat().st_uid}"


def claim(true: bool, otherwise: str) -> None:
    """Raises ImageFailed."""
    if not true:
        raise ImageFailed(otherwise)


def wait_for(predicate: Callable[[], bool], what: str) -> None:
    """Raises ImageFailed when it takes too long."""
    deadline = time.monotonic() + SECONDS
    while not predicate():
        claim(time.monotonic() < deadline, f"{what}: not within {SECONDS:.0f} seconds")
        time.sleep(0.2)


def cuts_out(bench: Bench, image: str) -> str:
    """`once` cuts a picture out where nothing can be written but in what is mounted."""
    bench.clear()
    log = bench.podman.run(*bench.mounts(), image, "once", "/photos", "/cutouts")
    claim('"outcome": "written"' in log, log)
    return bench.cutout()


def serves(bench: Bench, image: str) -> str:
    """`run` is found healthy, cuts out as any user, and ends well when it is stopped."""
    bench.clear()
    podman, name = bench.podman, f"alphadrop-{image.rpartition(':')[2]}"
    mounts = bench.mounts("--volume=state:/var/lib/alphadrop")
    podman.start(name, *mounts, "--user=54321:54321", image, "run", "/photos", "/cutouts")
    try:
        wait_for(lambda: any(bench.cutouts.glob("*.png")) or not _running(podman, name), "a cut-out")
        claim(_running(podman, name), podman("logs", name))
        podman("healthcheck", "run", name)
        first = podman("exec", name, "cat", "/proc/1/comm").strip()
        claim(first == "tini", f"the first process is {first}")
        podman("stop", "--time=60", name)
        code = podman.inspect("container", name)["State"]["ExitCode"]
        log = podman("logs", name)
        claim(code == 0 and '"drained": true' in log, f"exit code {code}\n{log}")
    finally:
        podman("rm", "--force", name)
        podman("volume", "rm", "--force", "state")
    return bench.cutout()


def is_lean(bench: Bench, image: str) -> str:
    """There is no torch, and what needs it says so."""
    found = _packages(bench, image)
    claim("torch" not in found, f"torch {found.get('torch')} is there")
    refused = bench.podman.run(*bench.mounts(), image, "run", "/photos", "/cutouts", accept=(2,))
    claim("alphadrop[engine]" in refused, refused)
    return f"{len(found)} packages"


def compares(bench: Bench, image: str) -> str:
    """`reconcile` sees what has no cut-out yet."""
    bench.clear()
    said = bench.podman.run(*bench.mounts(), image, "reconcile", "/photos", "/cutouts", "--dry-run")
    claim(PHOTO in said, said)
    return next(line for line in said.splitlines() if PHOTO in line).replace("\t", " ")


def is_pinned(bench: Bench, image: str) -> str:
    """Every package is the one that the constraints name."""
    found, pins = _packages(bench, image), constraints("constraints.txt", "constraints-image.txt")
    if image.endswith(":cpu"):
        pins["torch"] += "+cpu"
    wrong = {name: version for name, version in found.items() if pins.get(name) != version and name != "alphadrop"}
    claim(not wrong, f"not pinned: {wrong}")
    return f"{len(found)} packages"


def writes_no_code(bench: Bench, image: str) -> str:
    """All code is root's, compiled, and nobody else may write any of it."""
    program = """
import os, pathlib
top = pathlib.Path("/opt/alphadrop")
files = [path for path in top.rglob("*") if not path.is_symlink()]
writable = [str(path) for path in files if path.stat().st_uid != 0 or path.stat().st_mode & 0o022]
source = {path for path in top.glob("lib/python3*/site-packages/watcher/**/*.py")}
compiled = [path for path in source if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))]
assert source and not writable and not compiled, (len(source), writable[:5], compiled[:5])
print(os.getuid(), len(files))
"""
    user, files = bench.python(image, program).split()
    claim(int(user) > 10_000, f"runs as {user}")
    return f"{files} files, run by user {user}"


def constraints(*names: str) -> dict[str, str]:
    """The pins of such files by the packages' names as they are compared."""
    lines = [line for name in names for line in Path(name).read_text("utf-8").splitlines() if "==" in line]
    return {_compared(name): version for name, _, version in (line.partition("==") for line in lines)}


def _packages(bench: Bench, image: str) -> dict[str, str]:
    found: Mapping[str, str] = json.loads(bench.python(image, PACKAGES))
    return {_compared(name): version for name, version in found.items()}


def _compared(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _running(podman: Podman, name: str) -> bool:
    return bool(podman.inspect("container", name)["State"]["Running"])


Check = Callable[[Bench, str], str]
ENGINE: Sequence[Check] = (cuts_out, serves, is_pinned, writes_no_code)
CHECKS: Mapping[str, Sequence[Check]] = {
    "watch": (compares, is_lean, is_pinned, writes_no_code),
    "cpu": ENGINE,
    "cuda": ENGINE,
}
