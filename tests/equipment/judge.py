"""Judges the outputs in a bucket, by the producer's list and the bucket's contents alone."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.equipment.daemon import BACKGROUND, photo

MARKERS = "_alphadrop/"
"""Where a daemon may leave something small of its own."""
SMALL = 4096
"""Bytes of the largest marker."""
_THREADS = 8

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Verdict:
    """Keys below the sink's prefix: missing, wrong and unexpected outputs."""

    good: int
    missing: list[str]
    wrong: list[str]
    surplus: list[str]

    @property
    def clean(self) -> bool:
        """Whether every output is right, and there are no others."""
        return not (self.missing or self.wrong or self.surplus)

    def __str__(self) -> str:
        found = {"missing": self.missing, "wrong": self.wrong, "surplus": self.surplus}
        return "\n".join([f"{self.good} good", *(_line(what, keys) for what, keys in found.items() if keys)])


def judge(
    listing: Path, client: Any, bucket: str, prefix: str = "out/", patterns: Sequence[str] = ("{stem}.png",)
) -> Verdict:
    """Check each pixel of each output below the prefix. `listing` is a producer's list, or several in one file.

    `patterns` are those of the outputs that each picture must have, in formats without loss; `{stem}` is the picture's
    key without its extension.
    """
    wanted = _wanted(listing, patterns)
    found = _objects(client, bucket, prefix)
    there = sorted(wanted.keys() & found.keys())
    with ThreadPoolExecutor(_THREADS) as pool:
        read = partial(_read, client, bucket, prefix)
        good = {key for key, data in zip(there, pool.map(read, there), strict=True) if shows(data, wanted[key])}
    return Verdict(
        len(good),
        missing=sorted(wanted.keys() - found.keys()),
        wrong=sorted(set(there) - good),
        surplus=sorted(key for key in found.keys() - wanted.keys() if not _is_marker(key, found[key])),
    )


def shows(data: bytes, colour: Colour) -> bool:
    """Whether these bytes are a complete cut-out of the photo with that colour, by every pixel."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError):
        return False
    return np.array_equal(pixels, _cutout(colour))


def _cutout(colour: Colour) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(photo(colour))) as image:
        source = np.asarray(image)
    inside = (source != BACKGROUND).any(axis=2, keepdims=True)
    cutout: np.ndarray[Any, np.dtype[np.uint8]] = np.insert(source, 3, 255, axis=2) * inside
    return cutout


def _wanted(listing: Path, patterns: Sequence[str]) -> dict[str, Colour]:
    """The colour of each output that must exist, by its key."""
    wanted: dict[str, Colour] = {}
    for line in listing.read_text("utf-8").splitlines():
        noted = json.loads(line)
        colour = tuple(noted["colour"])
        assert hashlib.sha256(photo(colour)).hexdigest() == noted["sha256"], f"{noted['key']} was another picture"
        stem = noted["key"].rpartition(".")[0]
        wanted |= {pattern.replace("{stem}", stem): colour for pattern in patterns}
    return wanted


def _objects(client: Any, bucket: str, prefix: str) -> dict[str, int]:
    """The size of each object, by its key below the prefix."""
    pages: Iterable[Any] = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    objects = (found for page in pages for found in page.get("Contents", []))
    return {found["Key"].removeprefix(prefix): found["Size"] for found in objects}


def _read(client: Any, bucket: str, prefix: str, key: str) -> bytes:
    data: bytes = client.get_object(Bucket=bucket, Key=prefix + key)["Body"].read()
    return data


def _is_marker(key: str, size: int) -> bool:
    return key.startswith(MARKERS) and size <= SMALL


def _line(what: str, keys: list[str]) -> str:
    some = ", ".join(keys[:5])
    return f"{len(keys)} {what}: {some}{', ...' if len(keys) > 5 else ''}"
