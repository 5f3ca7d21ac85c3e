"""Whether buckets can be source and sink together, by their addresses alone."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote


def problems(source: str, sink: str, after: str, exclude_sink: bool) -> Iterator[str]:
    """One line for each thing to change, saying what. The addresses are those of `syntax.place_uri`."""
    if not source.startswith("s3://"):
        if after != "keep":
            yield "--after is for a bucket as the source: images in a folder are never touched."
        return
    moved = moved_to(source, after)
    if moved and source.startswith(moved):
        yield f"--after {after} would move images to where they are watched for: choose another prefix."
    if moved and (sink.startswith(moved) or moved.startswith(sink)):
        yield f"--after {after} would move images to where outputs are, and over them: choose another prefix."
    if sink == source:
        yield f"SOURCE and SINK are the same, {sink}: choose another prefix, or outputs would mix with originals."
    elif sink.startswith(source) and not exclude_sink:
        yield (
            f"SINK {sink} is inside SOURCE {source}, so outputs would be taken for new images: "
            "choose another prefix, or give --exclude-sink to leave it unwatched."
        )
    elif source.startswith(sink):
        yield f"SOURCE {source} is inside SINK {sink}, so outputs could land among the images: choose another prefix."


def moved_to(source: str, after: str) -> str:
    """The address below which images are moved by `move:PREFIX`; "" where they are not."""
    if not after.startswith("move:"):
        return ""
    bucket = source.removeprefix("s3://").partition("/")[0]
    return f"s3://{bucket}/{after.removeprefix('move:')}"


def excluded(source: str, other: str) -> str | None:
    """The key, below the source, of a place inside of it; "" for the source itself, None for a place elsewhere."""
    source, other = unquote(source), unquote(other)
    return other[len(source) :] if other.startswith(source) else None
