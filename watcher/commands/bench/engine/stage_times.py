"""Wall and CPU time of the stages of an image, as the task `stages` returns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine.engine_process import EngineProcess
from watcher.commands.bench.stats import Spread, spread

STAGES = ("read", "decode", "upload", "resize, copy", "coarse", "refine", "decontaminate", "encode", "write")
CODECS = ("read", "decode", "encode", "write")
"""Stages that do not run on the device."""
STEPS = ("coarse", "refine", "decontaminate")
"""Stages that are steps of the model on the device."""
Runs = Sequence[Mapping[str, tuple[float, float]]]
"""Wall and CPU seconds per image by stage, of each repeat."""
WALL, CPU = 0, 1
"""Index of the kind of time in a pair."""


def measure_stages(
    context: BenchContext, process: EngineProcess, files: list[str], what: str, **options: object
) -> Runs:
    """Measure all stages on these files; `what` is shown beside the progress bar."""
    context.show(f"stages, {what}")
    task = {"batch": context.workload.stage_batch, "repeats": context.workload.repeats, **options}
    runs: Runs = process.ask("stages", files=files, **task)["runs"]
    return runs


def medians(runs: Runs, kind: int) -> dict[str, float]:
    """Median seconds by stage; `kind` is WALL or CPU. A stage that did not run counts as 0."""
    return {stage: median([run.get(stage, (0.0, 0.0))[kind] for run in runs]) for stage in STAGES}


def means(runs: Runs, kind: int) -> dict[str, float]:
    """Mean seconds by stage; `kind` is WALL or CPU. A stage that did not run counts as 0."""
    return {stage: fmean([run.get(stage, (0.0, 0.0))[kind] for run in runs]) for stage in STAGES}


def total(runs: Runs, kind: int) -> Spread:
    """Spread of the milliseconds per image of all stages together; `kind` is WALL or CPU."""
    return spread([1000 * sum(pair[kind] for pair in run.values()) for run in runs])


def device_times(runs: Runs) -> Iterator[float]:
    """Median wall seconds per image of each stage on the device."""
    times = medians(runs, WALL)
    return (times[stage] for stage in STAGES if stage not in CODECS)
