"""Draws a contact sheet of training samples."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from inference.evaluation.contact_sheet import Row, contact_sheet
from inference.synthetic import SampleStream

PER_ROW = 4


def render_samples(path: Path, *, count: int, size: int, seed: int) -> None:
    """Draw `count` samples of size x size pixels, each beside its alpha."""
    stream = SampleStream(seed)
    samples = [stream.next(size, size) for _ in range(count)]
    rows = [
        Row(
            f"{start}",
            [Image.fromarray(pixels) for s in samples[start : start + PER_ROW] for pixels in (s.image, s.alpha)],
        )
        for start in range(0, count, PER_ROW)
    ]
    contact_sheet(rows, ["picture", "alpha"] * PER_ROW, path, cell=size)
