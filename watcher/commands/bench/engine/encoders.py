"""PNG encoders side by side: time, bytes, and whether every pixel comes back."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.codec import encode_png
from watcher.commands.bench.engine.filters import Candidates
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
class Measured:
    """One encoder over all cut-outs, in their order."""

    seconds: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    wrong: int = 0
    """Cut-outs of which a pixel came back changed."""


def measure(
    sizes: Sequence[tuple[int, int]],
    draw: Callable[[tuple[int, int], int], Pixels],
    count: int,
    say: Callable[[str], None],
) -> Section:
    """Encode `count` cut-outs, of these sizes in turn, with every encoder, one after the other."""
    found, candidates = {name: Measured() for name in ENCODERS}, Candidates()
    megapixels = []
    for seed in range(count):
        say(f"cut-out {seed + 1} of {count}")
        pixels = draw(sizes[seed % len(sizes)], seed)
        megapixels.append(pixels.shape[0] * pixels.shape[1] / 1e6)
        for name, encode in ENCODERS.items():
            try_one(found[name], encode, pixels)
        candidates.add(pixels)
    return section(found, candidates, megapixels)


def try_one(found: Measured, encode: Callable[[Pixels], bytes], pixels: Pixels) -> None:
    """Once to warm up and to be decoded again, once for the time."""
    data = encode(pixels)
    found.bytes.append(len(data))
    with Image.open(io.BytesIO(data)) as back:
        found.wrong += back.mode != "RGBA" or not np.array_equal(np.asarray(back), pixels)
    found.seconds += repeat(lambda: encode(pixels), 1, warmups=0).wall


def section(found: Mapping[str, Measured], candidates: Candidates, megapixels: Sequence[float]) -> Section:
    """The tables, the chart and what they say."""
    base, ours = found[BASE], found[OURS]
    rows = [_row(name, one, base, megapixels) for name, one in found.items()]
    faster, larger = ratios(base.seconds, ours.seconds), sum(ours.bytes) / sum(base.bytes)
    wrong = sum(one.wrong for one in found.values())
    table = Table(
        name="encoders",
        title=f"{len(megapixels)} cut-outs, {sum(megapixels):.0f} megapixels, one thread",
        columns=(
            "encoder",
            "ms a megapixel",
            "bytes, of Pillow's default",
            "times as fast as Pillow's default",
            "exact",
        ),
        rows=tuple(rows),
        note="The same pixels for all: no colour where alpha is 0. Every file is decoded by Pillow and compared.",
    )
    return Section(
        key="encoders",
        title="PNG encoders",
        text=("Cut-outs are written as PNG, and in most pipelines that is where the time goes.",),
        findings=(
            f"alphadrop's default is {faster} times as fast as Pillow's, at {larger:.2f} times its bytes"
            f" (in all {sum(base.seconds) / sum(ours.seconds):.1f} times as fast).",
            f"{wrong} of {len(found) * len(megapixels)} files came back with a changed pixel.",
        ),
        tables=(table, candidates.table(sum(base.bytes), megapixels)),
        charts=(_chart(found, base, megapixels),),
    )


def _row(name: str, one: Measured, base: Measured, megapixels: Sequence[float]) -> tuple[Cell, ...]:
    per_megapixel = [1000 * seconds / size for seconds, size in zip(one.seconds, megapixels, strict=True)]
    exact = "yes" if not one.wrong else f"no: {one.wrong} changed"
    larger = sum(one.bytes) / sum(base.bytes)
    return name, spread(per_megapixel), round(larger, 3), ratios(base.seconds, one.seconds), exact


def _chart(found: Mapping[str, Measured], base: Measured, megapixels: Sequence[float]) -> Chart:
    speed = tuple(sum(base.seconds) / sum(one.seconds) for one in found.values())
    size = tuple(sum(one.bytes) / sum(base.bytes) for one in found.values())
    names = tuple(name.replace(" (its default)", "\n(default)") for name in found)
    return Chart(
        name="encoders",
        title="PNG encoders against Pillow's default, all cut-outs together",
        kind="bar",
        x=names,
        x_label="",
        y_label="times Pillow's default",
        series=(
            Series(label="speed (more is better)", values=speed),
            Series(label="bytes (less is better)", values=size),
        ),
        log=True,
    )
