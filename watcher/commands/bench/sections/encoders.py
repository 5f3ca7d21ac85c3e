"""Section `encoders`: time and file size of PNG encoders, and whether every pixel is preserved."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.codec import encode_png
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.photos import cutout_pixels
from watcher.commands.bench.png_filters import FilterComparison
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import ratios, spread
from watcher.commands.bench.timing import repeat

Pixels = NDArray[np.uint8]
BASE = "Pillow 6 (its default)"
OURS = "alphadrop 1 (its default)"


def _pillow(level: int) -> Callable[[Pixels], bytes]:
    def encode(pixels: Pixels) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=level)
        return file.getvalue()

    return encode


def _ours(level: int) -> Callable[[Pixels], bytes]:
    return lambda pixels: encode_png(pixels, level=level, keep_hidden=False)


ENCODERS: Mapping[str, Callable[[Pixels], bytes]] = {
    "alphadrop 0": _ours(0),
    OURS: _ours(1),
    "alphadrop 2": _ours(2),
    "alphadrop 3": _ours(3),
    "Pillow 1": _pillow(1),
    BASE: _pillow(6),
    "Pillow 9": _pillow(9),
}


@dataclass
class EncoderResult:
    """Results of one encoder, one entry per cut-out."""

    seconds: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    changed: int = 0
    """Number of cut-outs that did not decode to the same pixels."""


def measure(context: BenchContext) -> Section:
    """Encode drawn cut-outs of several sizes with every encoder, one after the other."""
    workload = context.workload
    found, filters = {name: EncoderResult() for name in ENCODERS}, FilterComparison()
    megapixels = []
    for seed in range(workload.cutouts):
        context.show(f"cut-out {seed + 1} of {workload.cutouts}")
        pixels = cutout_pixels(workload.cutout_sizes[seed % len(workload.cutout_sizes)], seed)
        megapixels.append(pixels.shape[0] * pixels.shape[1] / 1e6)
        for name, encode in ENCODERS.items():
            measure_encoder(found[name], encode, pixels)
        filters.add(pixels)
    return _section(found, filters, megapixels)


def measure_encoder(found: EncoderResult, encode: Callable[[Pixels], bytes], pixels: Pixels) -> None:
    """Encode once as a warm-up, whose output is decoded and compared, and once for the time."""
    data = encode(pixels)
    found.bytes.append(len(data))
    with Image.open(io.BytesIO(data)) as decoded:
        found.changed += decoded.mode != "RGBA" or not np.array_equal(np.asarray(decoded), pixels)
    found.seconds += repeat(lambda: encode(pixels), 1, warmups=0).wall


def _section(found: Mapping[str, EncoderResult], filters: FilterComparison, megapixels: Sequence[float]) -> Section:
    base, ours = found[BASE], found[OURS]
    rows = [_row(name, one, base, megapixels) for name, one in found.items()]
    faster, larger = ratios(base.seconds, ours.seconds), sum(ours.bytes) / sum(base.bytes)
    changed = sum(one.changed for one in found.values())
    table = Table(
        name="encoders",
        title=f"{len(megapixels)} cut-outs, {sum(megapixels):.0f} megapixels, one thread",
        columns=(
            "encoder",
            "ms per megapixel",
            "size relative to Pillow's default",
            "speed-up over Pillow's default",
            "lossless",
        ),
        rows=tuple(rows),
        note="All encode the same pixels, black where alpha is 0. Every file is decoded by Pillow and compared.",
    )
    return Section(
        key="encoders",
        title="PNG encoders",
        text=("Cut-outs are written as PNG, which takes most of the time in many pipelines.",),
        findings=(
            f"alphadrop's default is {faster} times as fast as Pillow's, with files {larger:.2f} times as large"
            f" ({sum(base.seconds) / sum(ours.seconds):.1f} times as fast over all cut-outs).",
            f"{changed} of {len(found) * len(megapixels)} files decoded to different pixels.",
        ),
        tables=(table, filters.table(sum(base.bytes), megapixels)),
        charts=(_chart(found, base, megapixels),),
    )


def _row(name: str, one: EncoderResult, base: EncoderResult, megapixels: Sequence[float]) -> tuple[Cell, ...]:
    per_megapixel = [1000 * seconds / size for seconds, size in zip(one.seconds, megapixels, strict=True)]
    exact = "yes" if not one.changed else f"no: {one.changed} changed"
    larger = sum(one.bytes) / sum(base.bytes)
    return name, spread(per_megapixel), round(larger, 3), ratios(base.seconds, one.seconds), exact


def _chart(found: Mapping[str, EncoderResult], base: EncoderResult, megapixels: Sequence[float]) -> Chart:
    speed = tuple(sum(base.seconds) / sum(one.seconds) for one in found.values())
    size = tuple(sum(one.bytes) / sum(base.bytes) for one in found.values())
    names = tuple(name.replace(" (its default)", "\n(default)") for name in found)
    return Chart(
        name="encoders",
        title="PNG encoders relative to Pillow's default, all cut-outs together",
        kind="bar",
        x=names,
        x_label="",
        y_label="relative to Pillow's default",
        series=(
            Series(label="speed (higher is better)", values=speed),
            Series(label="file size (lower is better)", values=size),
        ),
        log=True,
    )
