"""Checks of the images, each run on an image that was built."""

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
from scripts.real_models import real_model

PHOTO, SIZE = "product.jpg", (960, 720)
SECONDS = 180.0
"""Time limit of each wait, far longer than usual."""
PACKAGES = """
import importlib.metadata as metadata, json
print(json.dumps({found.metadata["Name"]: found.version for found in metadata.distributions()}))
"""


@dataclass(frozen=True)
class Workspace:
    """A folder with a picture and one for cut-outs, which are mounted into containers."""

    podman: Podman
    photos: Path
    cutouts: Path

    @classmethod
    @contextmanager
    def opened(cls, podman: Podman, root: Path) -> Iterator[Workspace]:
        """Make the folders, and remove them when the block ends."""
        workspace = cls(podman, (root / "photos").absolute(), (root / "cutouts").absolute())
        try:
            workspace.clear()
            yield workspace
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def clear(self) -> None:
        """Empty both folders, and draw one product."""
        shutil.rmtree(self.photos.parent, ignore_errors=True)
        self.photos.mkdir(parents=True)
        self.cutouts.mkdir()
        self.cutouts.chmod(0o777)
        picture = render_sample(np.random.default_rng(3), SIZE[1], SIZE[0]).image
        Image.fromarray(picture).save(self.photos / PHOTO, quality=92)

    def mounts(self, state: str = "--tmpfs=/var/lib/alphadrop") -> tuple[str, ...]:
        """Options that mount the folders and temporary file systems; pictures are read-only."""
        folders = (f"--volume={self.photos}:/photos:ro", f"--volume={self.cutouts}:/cutouts")
        return ("--tmpfs=/tmp", "--tmpfs=/var/cache/alphadrop", state, *folders)

    def python(self, image: str, program: str) -> str:
        """Run a program with the image's Python and return its output."""
        return self.podman.run("--entrypoint=python3", image, "-c", program)

    def cutout(self, least: float = 0.1) -> str:
        """Check the cut-out, at least that share of it clear and solid, and describe it. Raises ImageFailed."""
        path = self.cutouts / PHOTO.replace(".jpg", ".png")
        with Image.open(path) as picture:
            picture.load()
            check((picture.mode, picture.size) == ("RGBA", SIZE), f"{path}: {picture.mode} {picture.size}")
            job = str(picture.info.get("alphadrop:job", ""))
            alpha = np.asarray(picture.getchannel("A"))
        check(len(job) == 64, f"{path} has no job: {job!r}")
        clear, solid = float((alpha == 0).mean()), float((alpha == 255).mean())
        check(
            least < clear < 1 - least and least < solid < 1 - least,
            f"{path} is not a cut-out: {clear:.0%} clear, {solid:.0%} solid",
        )
        shown = f"RGBA {SIZE[0]}x{SIZE[1]}, {solid:.0%} solid, {clear:.0%} clear, job {job[:12]}..."
        return f"{shown}, of user {path.stat().st_uid}"


def check(condition: bool, message: str) -> None:
    """Raise ImageFailed with this message unless the condition holds."""
    if not condition:
        raise ImageFailed(message)


def wait_for(predicate: Callable[[], bool], what: str) -> None:
    """Wait for a condition. Raises ImageFailed after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not predicate():
        check(time.monotonic() < deadline, f"{what}: not within {SECONDS:.0f} seconds")
        time.sleep(0.2)


def cuts_out(workspace: Workspace, image: str) -> str:
    """`once` cuts out a picture on a read-only root file system."""
    workspace.clear()
    log = workspace.podman.run(*workspace.mounts(), image, "once", "/photos", "/cutouts")
    check('"outcome": "written"' in log, log)
    return workspace.cutout()


def runs_onnx(workspace: Workspace, image: str) -> str:
    """`models pull` checks a third-party model on a volume, and `once` cuts out a picture with it."""
    workspace.clear()
    models = real_model("u2netp").parent
    mounts = (*workspace.mounts(), f"--volume={models}:/models:ro", "--env=U2NET_HOME=/models")
    pulled = workspace.podman.run(*mounts, image, "models", "pull", "u2netp", "--offline")
    check("SHA-256 309c8469" in pulled, pulled)
    options = ("--model", "u2netp", "--devices", "cpu")
    log = workspace.podman.run(*mounts, image, "once", "/photos", "/cutouts", *options)
    check('"outcome": "written"' in log, log)
    return workspace.cutout(least=0.05)  # u2netp finds 9 % of this drawing solid


def serves(workspace: Workspace, image: str) -> str:
    """`run` passes its health check, cuts out as any user, and exits with code 0 when it is stopped."""
    workspace.clear()
    podman, name = workspace.podman, f"alphadrop-{image.rpartition(':')[2]}"
    mounts = workspace.mounts("--volume=state:/var/lib/alphadrop")
    podman.start(name, *mounts, "--user=54321:54321", image, "run", "/photos", "/cutouts")
    try:
        wait_for(lambda: any(workspace.cutouts.glob("*.png")) or not _running(podman, name), "a cut-out")
        check(_running(podman, name), podman("logs", name))
        podman("healthcheck", "run", name)
        first = podman("exec", name, "cat", "/proc/1/comm").strip()
        check(first == "tini", f"the first process is {first}")
        podman("stop", "--time=60", name)
        code = podman.inspect("container", name)["State"]["ExitCode"]
        log = podman("logs", name)
        check(code == 0 and '"drained": true' in log, f"exit code {code}\n{log}")
    finally:
        podman("rm", "--force", name)
        podman("volume", "rm", "--force", "state")
    return workspace.cutout()


def is_lean(workspace: Workspace, image: str) -> str:
    """torch is not installed, and a command that needs it says so."""
    found = _packages(workspace, image)
    check("torch" not in found, f"torch {found.get('torch')} is installed")
    refused = workspace.podman.run(*workspace.mounts(), image, "run", "/photos", "/cutouts", accept=(2,))
    check("alphadrop[engine]" in refused, refused)
    return f"{len(found)} packages"


def compares(workspace: Workspace, image: str) -> str:
    """`reconcile` finds the picture without a cut-out."""
    workspace.clear()
    said = workspace.podman.run(*workspace.mounts(), image, "reconcile", "/photos", "/cutouts", "--dry-run")
    check(PHOTO in said, said)
    return next(line for line in said.splitlines() if PHOTO in line).replace("\t", " ")


def is_pinned(workspace: Workspace, image: str) -> str:
    """Every package has the version that the constraints pin."""
    found, pins = _packages(workspace, image), constraints("constraints.txt", "constraints-image.txt")
    if image.endswith(":cpu"):
        pins["torch"] += "+cpu"
    wrong = {name: version for name, version in found.items() if pins.get(name) != version and name != "alphadrop"}
    check(not wrong, f"not pinned: {wrong}")
    return f"{len(found)} packages"


def writes_no_code(workspace: Workspace, image: str) -> str:
    """All code belongs to root, is compiled, and is not writable by others."""
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
    user, files = workspace.python(image, program).split()
    check(int(user) > 10_000, f"runs as {user}")
    return f"{files} files, run by user {user}"


def constraints(*names: str) -> dict[str, str]:
    """Pinned versions in these files, by normalised package name."""
    lines = [line for name in names for line in Path(name).read_text("utf-8").splitlines() if "==" in line]
    return {_normalised(name): version for name, _, version in (line.partition("==") for line in lines)}


def _packages(workspace: Workspace, image: str) -> dict[str, str]:
    found: Mapping[str, str] = json.loads(workspace.python(image, PACKAGES))
    return {_normalised(name): version for name, version in found.items()}


def _normalised(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _running(podman: Podman, name: str) -> bool:
    return bool(podman.inspect("container", name)["State"]["Running"])


Check = Callable[[Workspace, str], str]
ENGINE: Sequence[Check] = (cuts_out, runs_onnx, serves, is_pinned, writes_no_code)
CHECKS: Mapping[str, Sequence[Check]] = {
    "watch": (compares, is_lean, is_pinned, writes_no_code),
    "cpu": ENGINE,
    "cuda": ENGINE,
}
