"""Whether source, sink and state can be used, and together. Looks at the file system, changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def problems(source: Path | None, sink: Path | None, state: Path | None, *, exclude_sink: bool = False) -> list[str]:
    """One line for each thing to change, saying what; [] where all is well.

    The paths are absolute, and None where there is no such folder, but a bucket or a broker.
    """
    found = list(_source_problems(source)) if source else []
    for name, path in (("SINK", sink), ("--state", state)):
        found += _target_problems(name, path) if path else []
    if source and sink:
        found += _nesting_problems(source, sink, exclude_sink)
    if source and state and (_same(state, source) or _inside(state, source)):
        found.append(
            f"--state {state} is inside SOURCE {source}, so each write would be an arrival: choose another folder."
        )
    return found


def _source_problems(source: Path) -> Iterator[str]:
    if not os.path.lexists(source):
        yield f"SOURCE {source} does not exist: make the folder, or mount it, before starting."
    elif not source.is_dir():
        yield f"SOURCE {source} is not a folder: name the folder that images arrive in."
    elif not os.access(source, os.R_OK | os.X_OK):
        yield f"SOURCE {source} may not be read by this user: give it read and search permission."


def _target_problems(name: str, path: Path) -> Iterator[str]:
    """Of a folder to write to: it is there, or can be made."""
    nearest = next(p for p in (path, *path.parents) if os.path.lexists(p))
    if not nearest.is_dir():
        yield f"{name} {path} cannot be a folder, since {nearest} is not one: choose another."
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield f"{name} {path} may not be written by this user: give write permission on {nearest}."


def _nesting_problems(source: Path, sink: Path, exclude_sink: bool) -> Iterator[str]:
    if _same(source, sink):
        yield f"SOURCE and SINK are the same folder, {sink}: choose another sink, or outputs would mix with originals."
    elif _inside(sink, source) and not exclude_sink:
        yield (
            f"SINK {sink} is inside SOURCE {source}, so outputs would be taken for new images: "
            "choose another folder, or give --exclude-sink to leave it unwatched."
        )
    elif _inside(source, sink):
        yield f"SOURCE {source} is inside SINK {sink}, so outputs could land among the images: choose another folder."


def _inside(path: Path, folder: Path) -> bool:
    return any(_same(parent, folder) for parent in path.parents)


def _same(one: Path, other: Path) -> bool:
    """By inode where both exist: a bind mount or a case-insensitive disk has two names for one folder."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False
