"""Builds the images of the Dockerfile and checks them in containers: `make image`.

It needs neither Docker nor a registry: debootstrap makes a Debian base once, podman builds the images on it and runs
them. All files are in build/image/, where only the base is kept.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scripts.image_checks import CHECKS, Workspace
from scripts.pip_settings import has_cpu_torch, write_pip_settings
from scripts.podman import ImageFailed, Podman

ROOT = Path("build/image")
BASE = "localhost/debian-python:3.11"
TARGETS = ("watch", "cpu", "cuda")
PACKAGES = "python3-venv,ca-certificates"
"""Packages of the Dockerfile's base that Debian's minimal system lacks."""


def main() -> int:
    """Build and check the images, and print their sizes; return the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    args = parser().parse_args()
    podman = Podman((ROOT / "podman").absolute())
    try:
        build(podman, args.targets, console)
        check(podman, args.targets, console)
        console.print(sizes(podman, args.targets))
    except ImageFailed as failure:
        console.print(f"{failure}", style="bold red", markup=False)
        return 1
    finally:
        shutil.rmtree(ROOT / "pip", ignore_errors=True)
        if not args.keep:
            shutil.rmtree(podman.root, ignore_errors=True)
    return 0


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m scripts.image", description=__doc__)
    made.add_argument("targets", nargs="+", choices=TARGETS, help="images to build")
    made.add_argument("--keep", action="store_true", help=f"leave the images in {ROOT}/podman/store")
    return made


def build(podman: Podman, targets: list[str], console: Console) -> None:
    """Build all targets on our own base."""
    podman("import", base(console), BASE)
    settings = (ROOT / "pip").absolute()
    write_pip_settings(settings)
    options = [f"--build-arg=BASE={BASE}", f"--build-arg=VERSION={version()}", f"--build-context=pip={settings}"]
    if has_cpu_torch(settings):
        options.append("--build-arg=TORCH_INDEX=")
    for target in targets:
        console.print(f"Building {target} ...")
        podman.build(target, tag(target), *options)


def base(console: Console) -> Path:
    """Make an archive of a Debian with Python, unless it exists; return its path."""
    archive, folder = ROOT / "base.tar", ROOT / "base"
    if not archive.exists():
        console.print("Making a Debian for the base ...")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(folder)]
        done = subprocess.run(made, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise ImageFailed(f"{' '.join(made)}\nexited with code {done.returncode}.\n{done.stdout[-4000:]}")
        left_over = ["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*_*"]
        unfinished = archive.with_suffix(".part")
        subprocess.run(["tar", "-C", folder, *left_over, "-cf", unfinished, "."], check=True)
        unfinished.rename(archive)
        shutil.rmtree(folder)
    return archive


def check(podman: Podman, targets: list[str], console: Console) -> None:
    """Run all checks of the targets, and print their results."""
    with Workspace.opened(podman, ROOT / "workspace") as workspace:
        for target in targets:
            for run_check in CHECKS[target]:
                result = run_check(workspace, tag(target))
                console.print(
                    f"  {target}: {(run_check.__doc__ or '').splitlines()[0].rstrip('.')}: {result}", markup=False
                )


def sizes(podman: Podman, targets: list[str]) -> Table:
    """A table of the sizes of all images."""
    table = Table("image", "MB on disk", "MB without its base", "MB to pull", title="sizes", title_justify="left")
    for name in (BASE, *map(tag, targets)):
        whole = podman.megabytes(name)
        table.add_row(name, f"{whole:.0f}", f"{whole - podman.megabytes(BASE):.0f}", f"{podman.compressed(name):.0f}")
    return table


def tag(target: str) -> str:
    """The tag of the image of a target."""
    return f"localhost/alphadrop:{target}"


def version() -> str:
    """The project's version."""
    return str(tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["version"])


if __name__ == "__main__":
    sys.exit(main())
