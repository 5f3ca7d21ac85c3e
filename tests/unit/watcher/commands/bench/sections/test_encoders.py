"""Comparison of PNG encoders and filters."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.codec.png import END, SIGNATURE, chunk
from watcher.commands.bench import png_filters
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.photos import cutout_pixels
from watcher.commands.bench.sections import encoders
from watcher.commands.bench.workload import QUICK

SIZE = (96, 64)


def test_encoders_are_compared_on_the_same_pixels_and_checked(tmp_path: Path):
    workload = replace(QUICK, cutout_sizes=(SIZE,), cutouts=2)
    section = encoders.measure(BenchContext(workload, (), "fake", None, 1, tmp_path))
    table, by_filter = section.tables
    assert [row[0] for row in table.rows] == list(encoders.ENCODERS)
    assert {row[-1] for row in table.rows} == {"yes"}
    [base] = [row for row in table.rows if row[0] == encoders.BASE]
    assert base[2] == 1.0
    assert len(by_filter.rows) == len(png_filters.CHOICES) * len(png_filters.WINDOWS)


@pytest.mark.parametrize("number", range(5))
def test_filters_decode_as_png(number: int):
    pixels = cutout_pixels((30, 20), 3)
    header = struct.pack(">IIBBBBB", 30, 20, 8, 6, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(png_filters.filtered(pixels, number).tobytes()))
    file = io.BytesIO(SIGNATURE + chunk(b"IHDR", header) + body + END)
    assert np.array_equal(np.asarray(Image.open(file)), pixels)


def test_an_encoder_that_changes_pixels_is_detected():
    found, pixels = encoders.EncoderResult(), cutout_pixels(SIZE, 1)

    def lossy(pixels: encoders.Pixels) -> bytes:
        return encoders.ENCODERS[encoders.OURS](np.ascontiguousarray(pixels // 2 * 2))

    encoders.measure_encoder(found, lossy, pixels)
    assert found.changed == 1
