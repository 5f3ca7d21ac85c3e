"""Podman with a storage of its own, apart from the machine's other images.

It is told to do without overlays and systemd, which are not there in many virtual machines and containers.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEGABYTE = 1_000_000
ENOUGH = 4096
"""Open files and processes."""
CLOSED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--network=none",
)
"""What Kubernetes' restricted profile and a careful administrator ask for, and no network besides."""


class ImageFailed(Exception):
    """An image could not be built, or does not do what it promises."""


@dataclass(frozen=True)
class Podman:
    """Runs `podman` over the images below `root`."""

    root: Path

    def __call__(self, *words: object, accept: tuple[int, ...] = (0,)) -> str:
        """One command; returns what it prints. Raises ImageFailed at exit codes that are not to be accepted."""
        where = ("--root", self.root / "store", "--runroot", self.root / "run", "--storage-driver", "vfs")
        control = ("--cgroup-manager", "cgroupfs", "--runtime", _runtime(), "--log-level", "fatal")
        command = [str(word) for word in ("podman", *where, *control, *words)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode not in accept:
            shown = " ".join(map(str, words))
            raise ImageFailed(f"podman {shown}\nended with {done.returncode}.\n{done.stdout[-4000:]}")
        return done.stdout

    def build(self, target: str, tag: str, *options: object) -> None:
        """One target of ./Dockerfile, in a chroot; what it prints is shown when it fails."""
        how = ("--isolation=chroot", "--network=host", "--layers=false")
        self("build", *how, "--format=docker", f"--target={target}", f"--tag={tag}", *options, ".")

    def run(self, *words: object, accept: tuple[int, ...] = (0,)) -> str:
        """A container that can write nowhere but in what is mounted, to its end."""
        return self("run", "--rm", "--no-healthcheck", *_limits(), *CLOSED, *words, accept=accept)

    def start(self, name: str, *words: object) -> None:
        """The same in the background."""
        self("run", "--detach", "--name", name, *_limits(), *CLOSED, *words)

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """All that is known of an `image` or a `container`."""
        found: list[dict[str, Any]] = json.loads(self(kind, "inspect", name))
        return found[0]

    def megabytes(self, image: str) -> float:
        """Unpacked, as `podman images` says."""
        return float(self.inspect("image", image)["Size"]) / MEGABYTE

    def compressed(self, image: str) -> float:
        """Megabytes as a registry holds and sends it."""
        packed = self.root / "packed"
        self("push", "--compress", image, f"dir:{packed}")
        size = sum(path.stat().st_size for path in packed.iterdir())
        shutil.rmtree(packed)
        return size / MEGABYTE


def _runtime() -> str:
    """By its path: one that podman is not set up for."""
    found = shutil.which("runc") or shutil.which("crun")
    if not found:
        raise ImageFailed("There is neither runc nor crun.")
    return found


def _limits() -> list[str]:
    """Podman's own are higher, which not every root may ask for."""
    kinds = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    most = {name: _at_most(resource.getrlimit(kind)[1]) for name, kind in kinds.items()}
    return [f"--ulimit={name}={limit}:{limit}" for name, limit in most.items()]


def _at_most(hard: int) -> int:
    return ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
