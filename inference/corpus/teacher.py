"""The teacher: U-2-Net makes mattes of photographs for which nobody has drawn one, and a check finds the sure ones.

U-2-Net: Qin et al., "U^2-Net: Going Deeper with Nested U-Structure for Salient Object Detection", 2020.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.corpus.gathering import write

SIDE = 320
"""Side of the square that the teacher looks at, and of its mattes."""
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
UNDECIDED = (0.1, 0.9)
SURE = 0.22
"""The most undecided pixels, as a share of the object's, of a matte that is believed."""
LEAST, MOST = 0.02, 0.85
"""The shares of a picture that a believed object may cover."""
NOTHING = 0.004
"""Below this mean alpha the teacher has found nothing."""

Bytes = NDArray[np.uint8]


class Matting(Protocol):
    """A model that makes a matte of a photograph."""

    def matte(self, photograph: Image.Image) -> Bytes:
        """SIDE x SIDE alpha of an RGB photograph."""


class Teacher:
    """U-2-Net in onnxruntime, on `threads` threads."""

    def __init__(self, model: Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def matte(self, photograph: Image.Image) -> Bytes:
        """SIDE x SIDE alpha of an RGB photograph, which is stretched to that."""
        square = photograph.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        pixels = np.asarray(square, np.float32)
        normalised = (pixels / max(float(pixels.max()), 1.0) - MEAN) / DEVIATION
        matte = self._session.run(None, {self._input: normalised.transpose(2, 0, 1)[None]})[0][0, 0]
        return (matte * 255).round().clip(0, 255).astype(np.uint8)  # type: ignore[no-any-return]


def write_mattes(photographs: Path, mattes: Path, load: Callable[[], Matting], report: Callable[[str], None]) -> int:
    """Let the teacher make a matte for every photograph without one; returns how many.

    `load` is called if there is one; `report` gets a line now and then.
    """
    missing = [path for path in sorted(photographs.iterdir()) if not (mattes / f"{path.stem}.png").exists()]
    teacher = load() if missing else None
    for done, path in enumerate(missing):
        if teacher is not None:
            with Image.open(path) as image:
                matte = teacher.matte(image)
            content = io.BytesIO()
            Image.fromarray(matte).save(content, "PNG")
            write(mattes / f"{path.stem}.png", content.getvalue())
        if done % 25 == 24 or done + 1 == len(missing):
            report(f"mattes: {done + 1} of {len(missing)}")
    return len(missing)


def is_sure(matte: Bytes) -> bool:
    """Whether a teacher's matte can be used: it has an object, and little of it is undecided."""
    alpha = matte.astype(np.float32) / 255
    inside = float((alpha > 0.5).mean())
    undecided = float(((alpha > UNDECIDED[0]) & (alpha < UNDECIDED[1])).mean())
    return LEAST < inside < MOST and undecided < SURE * inside


def finds_nothing(matte: Bytes) -> bool:
    """Whether the teacher finds no object, so that the photograph can serve as a background."""
    return float(matte.mean()) / 255 < NOTHING
