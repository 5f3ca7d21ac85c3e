"""The sections of a report, by the name that `--only` takes."""

from collections.abc import Mapping

SECTIONS: Mapping[str, str] = {
    "single": "one image: time and memory, tables 1 and 2 of the seed article",
    "folder": "a folder through the daemon, table 3",
    "batches": "throughput by batch size, table 4",
    "stages": "what each stage costs, by format and size",
    "daemon": "the pipeline's ceiling, and how near the daemon comes to it",
    "sweeps": "batch sizes and canvases, without codecs",
    "encoders": "PNG encoders",
    "processes": "one process per device, or one for all",
    "simulated": "1, 2, 4 and 8 devices that cost no CPU time",
    "roofline": "operations and bytes against the device's rates",
}
"""What can be measured, in its order."""
