"""A user's pictures with their true mattes: which belong together, and the score of a model on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from inference.codec import MAX_PIXELS, decode
from inference.engine import Engine
from inference.errors import PictureError
from inference.evaluation.scoring import Judged, judged
from inference.picture import Cutout, Picture

T = TypeVar("T")
ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"))
AHEAD = 8
"""Pictures that are with the engine at a time."""
SIXTEEN_BITS = 257
"""What 255 is, times this, in 16 bits."""

Complain = Callable[[str, str], None]
"""Called with the name of each file that was left out, and the reason."""


@dataclass(frozen=True)
class Pair:
    """A picture and its true matte. `key` is the picture's path below its folder."""

    key: str
    picture: Path
    truth: Path


def match(images: Path, alphas: Path, complain: Complain) -> list[Pair]:
    """Pair pictures and mattes whose paths differ by the extension only, in order of their names."""
    pictures, truths = by_stem(images), by_stem(alphas)
    pairs = []
    for stem in sorted(pictures | truths):
        ours, theirs = pictures.get(stem, []), truths.get(stem, [])
        if len(ours) == len(theirs) == 1:
            pairs.append(Pair(str(ours[0].relative_to(images)), ours[0], theirs[0]))
            continue
        complain(stem, f"{_count(ours, 'picture')}, {_count(theirs, 'matte')}")
    return pairs


def _count(paths: Sequence[Path], what: str) -> str:
    return f"{len(paths) or 'no'} {what}{'' if len(paths) == 1 else 's'}"


def by_stem(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder that are pictures by their names, by their path below it without the ending."""
    found: dict[str, list[Path]] = {}
    for path in pictures_below(folder):
        found.setdefault(str(path.relative_to(folder).with_suffix("")), []).append(path)
    return found


def pictures_below(folder: Path) -> list[Path]:
    """The files below a folder that are pictures by their names, without hidden files and folders."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def judge_pairs(engine: Engine, pairs: Sequence[Pair], complain: Complain) -> Iterator[Judged | None]:
    """Yield the figures of each pair, None for one that is left out; the next ones are read while the engine works."""
    waiting: deque[tuple[Pair, _Read | None]] = deque()
    for pair in pairs:
        waiting.append((pair, _tried(pair, complain, lambda pair=pair: _read(engine, pair))))  # type: ignore[misc]
        if len(waiting) >= AHEAD:
            yield _finished(*waiting.popleft(), complain)
    while waiting:
        yield _finished(*waiting.popleft(), complain)


@dataclass(frozen=True, eq=False)
class _Read:
    picture: Picture
    truth: NDArray[np.uint8]
    promise: Future[Cutout]


def _read(engine: Engine, pair: Pair) -> _Read:
    picture, truth = decode(pair.picture.read_bytes(), max_pixels=MAX_PIXELS), read_alpha(pair.truth)
    if truth.shape != picture.pixels.shape[:2]:
        raise ValueError(f"{picture.width} x {picture.height} pixels, its matte {truth.shape[1]} x {truth.shape[0]}")
    return _Read(picture, truth, engine.submit(picture))


def _finished(pair: Pair, read: _Read | None, complain: Complain) -> Judged | None:
    if read is None:
        return None
    picture, truth, promise = read.picture.pixels, read.truth, read.promise
    return _tried(pair, complain, lambda: judged(pair.key, picture, truth, promise.result()))


def _tried(pair: Pair, complain: Complain, make: Callable[[], T]) -> T | None:
    try:
        return make()
    except (PictureError, OSError, ValueError) as error:
        complain(pair.key, str(error))
        return None


def read_alpha(path: Path) -> NDArray[np.uint8]:
    """A true matte, H x W: the alpha of a file that has one, else its brightness. Raises ValueError."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits
                return (np.asarray(image).astype(np.uint32) // SIXTEEN_BITS).clip(0, 255).astype(np.uint8)
            has_alpha = image.has_transparency_data
            return np.array(image.convert("RGBA").getchannel("A") if has_alpha else image.convert("L"))
    except (UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(f"its matte cannot be read ({error})") from error
