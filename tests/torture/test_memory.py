"""Large pictures, and many small ones: memory stays where it is, since the pixels in flight are bounded."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.synthetic import render_sample
from tests.equipment.daemon import Daemon, Folders
from tests.equipment.support import STUCK, peak_memory

WIDTH, HEIGHT = 6000, 4000
MIB = 1 << 20
LIMIT = 2048 * MIB
"""By default 100 megapixels are in flight, with 3 bytes a pixel decoded, 4 cut out and 1 to 2 as PNG: 0.9 GiB. One
picture at a time is on the device, with some 16 bytes a pixel: 0.4 GiB. Python and torch take 0.25 GiB, and what malloc
keeps for itself some 0.2 GiB more. Measured over 200 pictures: 1.6 GiB."""

pytestmark = [pytest.mark.torture, pytest.mark.slow, pytest.mark.timeout(3600)]


def save_photo(path: Path, seed: int, orientation: int = 1) -> None:
    """A JPEG of 24 megapixels as a camera writes it: a grainy object with a soft border on a light background."""
    random = np.random.default_rng(seed)
    rows, columns = np.ogrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    inside = np.clip((0.8 - np.hypot(rows, columns)) * 40, 0, 1).astype(np.float32)[..., None]
    grain = random.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels = (inside * (grain + np.float32(40)) + (1 - inside) * 240).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, "JPEG", quality=90, exif=exif)


def peaks_of_a_run(folders: Folders, count: int) -> tuple[int, int]:
    """The largest resident set of a worker, in bytes, when a tenth of the pictures was done, and at the end."""
    started, early, late = time.monotonic(), 0, 0
    with Daemon(folders, command="once") as daemon:
        while daemon.process.poll() is None:
            late = max([late, *map(peak_memory, daemon.workers())])
            early = early or (late if len(folders.outputs()) >= count / 10 else 0)
            assert time.monotonic() - started < 15 * STUCK
            time.sleep(0.05)
    assert daemon.wait() == 0
    assert len(folders.outputs()) == count
    return early, late


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_many_small_pictures_need_no_more_memory_than_a_tenth_of_them(
    folders: Folders, full_campaign: bool, figures: Callable[[str], None]
) -> None:
    kinds = [folders.outside / f"{seed}.jpg" for seed in range(20)]
    for seed, path in enumerate(kinds):
        sample = render_sample(np.random.default_rng([8, seed]), 120 + seed, 160)
        Image.fromarray(sample.image).save(path, quality=90)
    count = 10_000 if full_campaign else 400
    for number in range(count):
        (folders.source / f"{number:05}.jpg").hardlink_to(kinds[number % len(kinds)])
    early, late = peaks_of_a_run(folders, count)
    peaks = f"{early / MIB:.0f} MiB after a tenth of them, {late / MIB:.0f} MiB at the end"
    figures(f"memory: {count} small pictures, a worker's peak {peaks}")
    assert 0 < late < 1.05 * early + 16 * MIB


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_many_large_pictures_need_no_more_memory_than_a_few(
    folders: Folders, full_campaign: bool, figures: Callable[[str], None]
) -> None:
    kinds = [folders.outside / f"{seed}.jpg" for seed in range(3)]
    for seed, path in enumerate(kinds):
        save_photo(path, seed, orientation=6 if seed == 2 else 1)
    count = 200 if full_campaign else 6
    for number in range(count):
        (folders.source / f"{number:03}.jpg").hardlink_to(kinds[number % 3])
    started = time.monotonic()
    peak = max(peaks_of_a_run(folders, count))
    seconds = time.monotonic() - started
    with Image.open(folders.sink / "002.png") as output:
        assert output.size == (HEIGHT, WIDTH)  # turned upright
    figures(
        f"memory: {count} pictures of 24 megapixels, {seconds / count:.2f} s each; the worker's peak was "
        f"{peak / MIB:.0f} MiB of {LIMIT / MIB:.0f} allowed"
    )
    assert 0 < peak < LIMIT
