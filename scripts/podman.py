"""Runs podman with its own storage, separate from the machine's other images.

It uses neither overlay file systems nor systemd, which many virtual machines and containers lack.
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
LIMIT = 4096
"""Largest number of open files, and of processes."""
RESTRICTED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--network=none",
)
"""Options that correspond to Kubernetes' restricted profile, and no network."""


class ImageFailed(Exception):
    """An image could not be built, or has failed a check."""


@dataclass(frozen=True)
class Podman:
    """Runs `podman` with its storage below `root`."""

    root: Path

    def __call__(self, *words: object, accept: tuple[int, ...] = (0,)) -> str:
        """Run a command and return its output. Raises ImageFailed for an exit code that is not in `accept`."""
        where = ("--root", self.root / "store", "--runroot", self.root / "run", "--storage-driver", "vfs")
        control = ("--cgroup-manager", "cgroupfs", "--runtime", _runtime(), "--log-level", "fatal")
        command = [str(word) for word in ("podman", *where, *control, *words)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode not in accept:
            shown = " ".join(map(str, words))
            raise ImageFailed(f"podman {shown}\nexited with code {done.returncode}.\n{done.stdout[-4000:]}")
        return done.stdout

    def build(self, target: str, tag: str, *options: object) -> None:
        """Build a target of ./Dockerfile in a chroot. Raises ImageFailed with its output."""
        how = ("--isolation=chroot", "--network=host", "--layers=false")
        self("build", *how, "--format=docker", f"--target={target}", f"--tag={tag}", *options, ".")

    def run(self, *words: object, accept: tuple[int, ...] = (0,)) -> str:
        """Run a container to its end and return its output; it can only write to mounted volumes."""
        return self("run", "--rm", "--no-healthcheck", *_limits(), *RESTRICTED, *words, accept=accept)

    def start(self, name: str, *words: object) -> None:
        """Start a container in the background; it can only write to mounted volumes."""
        self("run", "--detach", "--name", name, *_limits(), *RESTRICTED, *words)

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """The output of `inspect` for an `image` or a `container`."""
        found: list[dict[str, Any]] = json.loads(self(kind, "inspect", name))
        return found[0]

    def megabytes(self, image: str) -> float:
        """Unpacked size in megabytes, as in `podman images`."""
        return float(self.inspect("image", image)["Size"]) / MEGABYTE

    def compressed(self, image: str) -> float:
        """Compressed size in megabytes, as in a registry."""
        packed = self.root / "packed"
        self("push", "--compress", image, f"dir:{packed}")
        size = sum(path.stat().st_size for path in packed.iterdir())
        shutil.rmtree(packed)
        return size / MEGABYTE


def _runtime() -> str:
    """Path of a container runtime, because podman may not be configured for one."""
    found = shutil.which("runc") or shutil.which("crun")
    if not found:
        raise ImageFailed("Neither runc nor crun is installed.")
    return found


def _limits() -> list[str]:
    """Options for limits that root may always set; podman's defaults are higher and may be refused."""
    kinds = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    most = {name: _at_most(resource.getrlimit(kind)[1]) for name, kind in kinds.items()}
    return [f"--ulimit={name}={limit}:{limit}" for name, limit in most.items()]


def _at_most(hard: int) -> int:
    return LIMIT if hard == resource.RLIM_INFINITY else min(hard, LIMIT)
