"""The sections of a report. Each is a module of the same name here with `measure(context) -> Section`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.commands.bench.context import BenchContext
    from watcher.commands.bench.report import Section

SECTIONS: Mapping[str, str] = {
    "single": "latency and memory of one image, tables 1 and 2 of the reference article",
    "folder": "a folder through the daemon, table 3",
    "batches": "throughput by batch size, table 4",
    "stages": "cost of each stage, by format and size",
    "daemon": "maximum throughput of the stages, and how close the daemon gets",
    "api": "latency of synchronous calls, alone and with a backlog in the queue",
    "sweeps": "batch sizes and canvases, without codecs",
    "encoders": "PNG encoders",
    "outputs": "formats, backgrounds and presets of outputs",
    "processes": "one process per device, or one for all",
    "simulated": "1, 2, 4 and 8 devices that use no CPU time",
    "launches": "kernel launches of a card by step, counted on any machine",
    "onnx": "an ONNX model with and without IO binding, opened batches and several sessions",
    "cascade": "two models alone and as a cascade, for --strong and --strong-share",
    "roofline": "operations and bytes against the device's rates",
}
"""Name for `--only` and what the section measures, in the order of the report."""


def measure(name: str, context: BenchContext) -> Section:
    """Measure one section. Its module is loaded here, because most of them load torch."""
    section: Section = import_module(f"{__name__}.{name}").measure(context)
    return section
