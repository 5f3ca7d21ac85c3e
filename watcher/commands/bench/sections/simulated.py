"""Section `simulated`: throughput with devices that take time but no CPU time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.daemon.run_once import OnceOptions
from watcher.commands.bench.daemon.steady_state import RunOnce, daemon_runner, measure_steady_state
from watcher.commands.bench.photos import encode_photo, fill_folder
from watcher.commands.bench.report import Chart, Section, Series, Table
from watcher.commands.bench.stats import number

SMALL = (96, 72)
"""Width and height of the pictures, small so that codecs cost almost nothing."""


def measure(context: BenchContext, run: RunOnce | None = None) -> Section:
    """Run the daemon with each number of simulated devices."""
    workload, rates, cpu = context.workload, {}, {}
    photo = context.folder / "small.jpg"
    photo.write_bytes(encode_photo(small_picture(), "JPEG"))
    for count in workload.simulated:

        def source(images: int, count: int = count) -> Path:
            context.show(f"{count} simulated devices, {images} images")
            return fill_folder([photo], context.folder / f"simulated-{images}-{count}", images)

        options = OnceOptions(f"cpu:{count}", f"fake:delay={workload.simulated_delay}", batch=1, threads=1)
        images = count * workload.simulated_images
        runner = run or daemon_runner(context.folder)
        state = measure_steady_state(runner, source, options, images, workload.simulated_images // 2)
        rates[count], cpu[count] = state.rate, state.cpu
    return _section(context, rates, cpu)


def small_picture() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A rectangle on a plain background, H x W x 3."""
    pixels = np.full((SMALL[1], SMALL[0], 3), 230, np.uint8)
    pixels[20:50, 30:60] = (40, 90, 160)
    return pixels


def _section(context: BenchContext, rates: Mapping[int, float], cpu: Mapping[int, float]) -> Section:
    delay, (first, *_) = context.workload.simulated_delay, rates
    rows = [
        (count, rate, first * rate / rates[first], f"{100 * rate * delay / count:.1f} %", 1000 * cpu[count])
        for count, rate in rates.items()
    ]
    table = Table(
        name="simulated",
        title=f"Simulated devices that take {1000 * delay:.0f} ms per image",
        columns=("devices", "img/s", "relative to one device", "share of the devices' maximum", "CPU ms per image"),
        rows=tuple(rows),
        note=f"Measured while every device has work. The maximum of a device is {number(1 / delay)} img/s; all of them "
        f"ran on {context.cores:g} cores.",
    )
    most = max(rates)
    chart = Chart(
        name="simulated",
        title="Throughput by number of simulated devices",
        kind="line",
        x=tuple(map(str, rates)),
        x_label="devices",
        y_label="images a second",
        series=(Series(label="the daemon", values=tuple(rates.values())),),
        ideal=Series(label="maximum of the devices", values=tuple(count / delay for count in rates)),
        log=True,  # the number of devices doubles at each step, so linear scaling is a straight line
    )
    return Section(
        key="simulated",
        title="More devices",
        text=(
            "`alphadrop once` on small pictures with a model that sleeps instead of computing, one worker per device. "
            "What is missing to a multiple of one device's throughput is lost in everything around the devices.",
        ),
        findings=(f"{most} devices have {first * rates[most] / rates[first]:.2f} times the throughput of one.",),
        tables=(table,),
        charts=(chart,),
    )
