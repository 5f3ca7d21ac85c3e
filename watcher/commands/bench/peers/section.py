"""`alphadrop bench peers`: prepares pictures and pipelines, compares them, and makes the section of the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.models.entry import ModelEntry
from inference.models.registry import resolve
from watcher.commands.bench.peers.pipeline_comparison import PipelineComparison, Results, compare_pipelines
from watcher.commands.bench.peers.pipelines import OURS, Pipeline, alphadrop, rembg, rembg_python, sequential_script
from watcher.commands.bench.photos import draw_photos, fill_folder
from watcher.commands.bench.process_monitor import CommandFailed
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import Spread, ratios, spread
from watcher.commands.bench.workload import HD, size_label

SIDE = 320
"""Canvas of rembg's session for such models, and so of all pipelines."""
DISTINCT = 12
"""Number of different synthetic photos to render."""


@dataclass(frozen=True)
class PeerOptions:
    """Options of `alphadrop bench peers`."""

    model: str = "nano"
    images: Path | None = None
    """A folder of pictures; None: drawn ones."""
    count: int = 40
    repeats: int = 3
    venv: Path = Path(".venv-rembg")


def measure_peers(options: PeerOptions, work: Path, show: Callable[[str], None]) -> Section:
    """Compare all pipelines. Raises ModelError, or CommandFailed where a pipeline fails."""
    entry = resolve(options.model)
    show("preparing pictures")
    source, pictures = prepare_pictures(options, work)
    pipelines = [alphadrop(options.model, SIDE), sequential_script(options.model)]
    if entry.canvas != SIDE:
        pipelines.insert(1, alphadrop(options.model, None))
    try:
        pipelines.append(_prepare_rembg(entry, options.venv, work, show))
        missing = ""
    except CommandFailed as failure:
        missing = str(failure)
    allowed = sorted(os.sched_getaffinity(0))
    core_sets = [tuple(allowed[:count]) for count in (1, 2) if count <= len(allowed)]
    comparison = PipelineComparison(pipelines, source, work, core_sets, options.repeats, show)
    results, alphas = compare_pipelines(comparison)
    return peers_section(results, alphas, pictures, missing)


def prepare_pictures(options: PeerOptions, work: Path) -> tuple[Path, str]:
    """Fill the source folder of all runs; return it and a description. Raises CommandFailed for an empty folder."""
    if options.images:
        found = sorted(path for path in options.images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        description = f"{options.count} files from {len(found)} given pictures"
    else:
        found = draw_photos(work / "photos", HD, min(DISTINCT, options.count))
        description = f"{options.count} {size_label(HD)} JPEGs, {len(found)} different drawn photos"
    if not found:
        raise CommandFailed(f"{options.images} holds no .jpg or .png files")
    return fill_folder(found, work / "source", options.count), description


def _prepare_rembg(entry: ModelEntry, venv: Path, work: Path, show: Callable[[str], None]) -> Pipeline:
    from watcher.commands.bench.peers.onnx_export import export

    show("exporting the network to ONNX")
    model = work / "models" / "cvunet.onnx"
    model.parent.mkdir()
    export(entry, model)
    show("checking for rembg" if venv.exists() else "installing rembg")
    return rembg(rembg_python(venv), model)


def peers_section(results: Results, alphas: Mapping[str, float], pictures: str, missing: str) -> Section:
    """Make the section; `missing` says why rembg is not in the results, and is empty where it is."""
    cores = sorted({count for count, _ in results})
    names = list(dict.fromkeys(name for _, name in results))
    findings = [
        f"On {_cores(count)}, {name} takes {_ratio(results, count, name, 'wall')} times our "
        f"time and {_ratio(results, count, name, 'cpu')} times our CPU time."
        for count in cores
        for name in names
        if name != OURS
    ]
    if missing:
        findings.append(f"rembg is not in the table. {missing}")
    rounds = len(next(iter(results.values())).wall)
    return Section(
        key="peers",
        title="The same network in other pipelines",
        text=(
            f"{pictures}, from file to file, one pipeline after the other, in {rounds} rounds; each is timed from the "
            "moment its model is loaded and warm. All run the same network with the same weights at a canvas of "
            f"{SIDE}. alphadrop also refines the edge at full size, removes the background's colour from it, and "
            "flushes every output to the disk. `sequential script` is Pillow, torch, Pillow. rembg runs its own "
            "`remove()` on the network as an ONNX file, without network connections. All are restricted to the same "
            "cores, with one thread per core.",
        ),
        findings=tuple(findings),
        tables=tuple(_table(results, alphas, count, names) for count in cores),
        charts=(_chart(results, cores, names),),
    )


def _ratio(results: Results, cores: int, name: str, kind: str) -> Spread:
    return ratios(getattr(results[cores, name], kind), getattr(results[cores, OURS], kind))


def _cores(count: int) -> str:
    return f"{count} core{'s' * (count > 1)}"


def _table(results: Results, alphas: Mapping[str, float], cores: int, names: Sequence[str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        result = results[cores, name]
        times = [_ratio(results, cores, name, kind) for kind in ("wall", "cpu")]
        rows.append((name, spread(result.wall), spread(result.cpu), *times, result.peak_rss / 1e9, alphas[name]))
    return Table(
        name=f"peers-{cores}",
        title=_cores(cores),
        columns=(
            "",
            "ms per image",
            "CPU ms per image",
            "times our time",
            "times our CPU time",
            "largest process, GB",
            "mean difference of alpha",
        ),
        rows=tuple(rows),
        note="Ratios compare runs of the same repeat: median, lowest and highest.",
    )


def _chart(results: Results, cores: Sequence[int], names: Sequence[str]) -> Chart:
    bars = [Series.of(_cores(count), [spread(results[count, name].wall) for name in names]) for count in cores]
    return Chart(
        name="peers",
        title="One image from file to file, the same network in all",
        kind="bar",
        x=tuple(names),
        x_label="",
        y_label="ms (lower is better)",
        series=tuple(bars),
    )
