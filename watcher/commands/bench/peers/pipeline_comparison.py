"""Runs several pipelines over the same folder in turn, and compares their times and their alpha."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from watcher.commands.bench.daemon.run_once import clean_environment
from watcher.commands.bench.peers.pipelines import OURS, Pipeline
from watcher.commands.bench.process_monitor import CommandFailed, CommandRecord, monitor_command

COMPARED = 6
"""Number of outputs whose alpha is compared."""


@dataclass
class PipelineResult:
    """Milliseconds per image of each repeat, and the largest resident set of a process in bytes."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_rss: int = 0


Results = dict[tuple[int, str], PipelineResult]
"""By number of cores and name of the pipeline."""


@dataclass(frozen=True)
class PipelineComparison:
    """What is run, on which pictures, and how often."""

    pipelines: Sequence[Pipeline]
    source: Path
    work: Path
    core_sets: Sequence[tuple[int, ...]]
    """Core numbers that all pipelines may use, one set after the other."""
    repeats: int
    show: Callable[[str], None]


def compare_pipelines(comparison: PipelineComparison) -> tuple[Results, dict[str, float]]:
    """Run all pipelines in turn; return their times, and the mean difference (0..1) of each one's alpha from ours.

    Raises CommandFailed.
    """
    results: Results = {
        (len(cores), pipeline.name): PipelineResult()
        for cores in comparison.core_sets
        for pipeline in comparison.pipelines
    }
    for repeat in range(comparison.repeats):
        for cores in comparison.core_sets:
            for pipeline in comparison.pipelines:
                comparison.show(f"{pipeline.name}, {len(cores)} cores, repeat {repeat + 1} of {comparison.repeats}")
                _run(comparison, pipeline, cores, results[len(cores), pipeline.name])
    work = comparison.work
    alphas = {pipeline.name: alpha_difference(work / OURS, work / pipeline.name) for pipeline in comparison.pipelines}
    return results, alphas


def _run(comparison: PipelineComparison, pipeline: Pipeline, cores: tuple[int, ...], result: PipelineResult) -> None:
    sink = comparison.work / pipeline.name
    shutil.rmtree(sink, ignore_errors=True)
    shutil.rmtree(comparison.work / "state", ignore_errors=True)
    variables = {"OMP_NUM_THREADS": str(len(cores))} if pipeline.name != OURS else {}
    record = monitor_command(
        pipeline.command(comparison.source, sink),
        clean_environment(**variables, **pipeline.variables),
        cwd=comparison.work,
        cores=cores,
    )
    add_run(record, sum(1 for _ in comparison.source.iterdir()), result)


def add_run(record: CommandRecord, count: int, result: PipelineResult) -> None:
    """Add the times of one run, from the moment its model was ready until its last image was written."""
    written = [at for at, image in record.lines("image") if image["outcome"] == "written"]
    if len(written) != count:
        raise CommandFailed(f"{len(written)} of {count} images were written: {' '.join(record.other_output[-4:])}")
    begin, end = min(record.times("worker_ready")), max(written)
    result.wall.append(1000 * (end - begin) / count)
    result.cpu.append(1000 * record.cpu(begin, end) / count)
    result.peak_rss = max(result.peak_rss, record.peak_rss)


def alpha_difference(folder: Path, other: Path) -> float:
    """Mean absolute difference of alpha, 0..1, over the first outputs of two folders."""
    names = sorted(path.name for path in folder.glob("*.png"))[:COMPARED]
    return fmean(float(np.abs(_alpha(folder / name) - _alpha(other / name)).mean()) for name in names)


def _alpha(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    with Image.open(path) as image:
        return np.asarray(image.getchannel("A"), np.float64) / 255
