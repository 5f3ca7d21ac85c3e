"""`alphadrop bench peers`: the same pictures and the same network through other pipelines, in turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from inference.models.entry import ModelEntry
from inference.models.registry import resolve
from watcher.commands.bench.children import ROOT
from watcher.commands.bench.daemon.process_log import CommandFailed, History, observe
from watcher.commands.bench.daemon.run_once import environment
from watcher.commands.bench.pictures import photos, spread_out
from watcher.commands.bench.plan import HD, name
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import Spread, ratios, spread

REMBG = "rembg[cpu]==2.0.86"
"""What is installed where no rembg is to be found; with it comes onnxruntime."""
SIDE = 320
"""The canvas that rembg's session for such models has, and so all have."""
OURS = "alphadrop once"
DISTINCT = 12
COMPARED = 6
"""Outputs whose alpha is compared."""


@dataclass(frozen=True)
class Contender:
    """A pipeline: what runs it from a source to a sink on so many cores."""

    name: str
    command: Callable[[Path, Path], list[str]]
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Result:
    """Milliseconds an image, one of each repeat."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0


@dataclass(frozen=True)
class Race:
    """What is run, on what, how often."""

    contenders: Sequence[Contender]
    source: Path
    work: Path
    limits: Sequence[tuple[int, ...]]
    """The cores that all may use, one set after the other."""
    repeats: int
    say: Callable[[str], None]


Results = dict[tuple[int, str], Result]
"""By number of cores and contender."""


def race(it: Race) -> tuple[Results, dict[str, float]]:
    """All contenders in turn, so often; and how far each one's alpha is from ours, 0..1. Raises CommandFailed."""
    found: Results = {(len(cores), one.name): Result() for cores in it.limits for one in it.contenders}
    for repeat in range(it.repeats):
        for cores in it.limits:
            for contender in it.contenders:
                it.say(f"{contender.name}, {len(cores)} cores, repeat {repeat + 1} of {it.repeats}")
                _run(it, contender, cores, found[len(cores), contender.name])
    alphas = {one.name: difference(it.work / OURS, it.work / one.name) for one in it.contenders}
    return found, alphas


def _run(it: Race, contender: Contender, cores: tuple[int, ...], result: Result) -> None:
    sink = it.work / contender.name
    shutil.rmtree(sink, ignore_errors=True)
    shutil.rmtree(it.work / "state", ignore_errors=True)
    variables = {"OMP_NUM_THREADS": str(len(cores))} if contender.name != OURS else {}
    history = observe(
        contender.command(it.source, sink),
        environment(**variables, **contender.variables),
        cwd=it.work,
        cores=cores,
    )
    _note(history, sum(1 for _ in it.source.iterdir()), result)


def _note(history: History, count: int, result: Result) -> None:
    """From the moment it was ready until its last image was written."""
    written = [at for at, image in history.lines("image") if image["outcome"] == "written"]
    if len(written) != count:
        raise CommandFailed(f"{len(written)} of {count} images were written: {' '.join(history.rest[-4:])}")
    begin, end = min(history.times("worker_ready")), max(written)
    result.wall.append(1000 * (end - begin) / count)
    result.cpu.append(1000 * history.cpu(begin, end) / count)
    result.peak = max(result.peak, history.peak)


def difference(these: Path, those: Path) -> float:
    """Mean difference of alpha, 0..1, over some of the outputs of two folders."""
    names = sorted(path.name for path in these.glob("*.png"))[:COMPARED]
    return fmean(float(np.abs(_alpha(these / name) - _alpha(those / name)).mean()) for name in names)


def _alpha(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    with Image.open(path) as image:
        return np.asarray(image.getchannel("A"), np.float64) / 255


def ours(model: str, canvas: int | None) -> Contender:
    """The daemon on the CPU, as anybody calls it: it chooses its workers itself."""

    def command(source: Path, sink: Path) -> list[str]:
        options = ["--state", str(sink.parent / "state"), "--model", model, "--log-format", "json"]
        options += ["--canvas", str(canvas)] if canvas else []
        return [sys.executable, "-m", "watcher", "once", str(source), str(sink), *options]

    return Contender(OURS if canvas else f"{OURS}, own canvas", command, {"CUDA_VISIBLE_DEVICES": ""})


def sequential(model: str) -> Contender:
    """The plain script."""
    module = [sys.executable, "-m", "watcher.commands.bench.peers.sequential"]
    return Contender("sequential script", lambda source, sink: [*module, str(source), str(sink), model])


def rembg(python: Path, model: Path) -> Contender:
    """rembg, which takes models from its own folder alone."""
    script = ROOT / "inference" / "bench" / "rembg_script.py"
    return Contender(
        "rembg",
        lambda source, sink: [str(python), str(script), str(source), str(sink), str(model)],
        {"REMBG_HOME": str(model.parent), "U2NET_HOME": str(model.parent), "PYTHONPATH": ""},
    )


def rembg_python(venv: Path) -> Path:
    """An interpreter that has rembg: this one, or that of the environment, which is made if need be.

    Raises CommandFailed where it cannot be installed.
    """
    if find_spec("rembg"):
        return Path(sys.executable)
    python = venv.absolute() / "bin" / "python"
    ready = venv / ".rembg"
    if not (ready.exists() and ready.read_text("utf-8") == REMBG):
        for command in (
            [sys.executable, "-m", "venv", str(venv)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REMBG],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CommandFailed(f"rembg could not be installed: {done.stderr.strip().splitlines()[-1]}")
        ready.write_text(REMBG, "utf-8")
    return python


@dataclass(frozen=True)
class PeerOptions:
    """What is compared."""

    model: str = "nano"
    images: Path | None = None
    """A folder of pictures; None: drawn ones."""
    count: int = 40
    repeats: int = 3
    venv: Path = Path(".venv-rembg")


def peers(options: PeerOptions, work: Path, say: Callable[[str], None]) -> Section:
    """The section of the report. Raises ModelError, or CommandFailed where one of the pipelines fails."""
    entry = resolve(options.model)
    say("preparing pictures")
    source, what = _pictures(options, work)
    contenders = [ours(options.model, SIDE), sequential(options.model)]
    if entry.canvas != SIDE:
        contenders.insert(1, ours(options.model, None))
    try:
        contenders.append(_rembg(entry, options.venv, work, say))
        missing = ""
    except CommandFailed as failure:
        missing = str(failure)
    allowed = sorted(os.sched_getaffinity(0))
    limits = [tuple(allowed[:count]) for count in (1, 2) if count <= len(allowed)]
    results, alphas = race(Race(contenders, source, work, limits, options.repeats, say))
    return section(results, alphas, what, missing)


def _pictures(options: PeerOptions, work: Path) -> tuple[Path, str]:
    """The folder of all runs, and what is in it."""
    if options.images:
        found = sorted(path for path in options.images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        what = f"{options.count} files from {len(found)} given pictures"
    else:
        found = photos(work / "photos", HD, min(DISTINCT, options.count))
        what = f"{options.count} {name(HD)} JPEGs, {len(found)} different drawn photos"
    if not found:
        raise CommandFailed(f"{options.images} holds no .jpg or .png files")
    spread_out(found, work / "source", options.count)
    return work / "source", what


def _rembg(entry: ModelEntry, venv: Path, work: Path, say: Callable[[str], None]) -> Contender:
    from watcher.commands.bench.engine.onnx import export

    say("exporting the network to ONNX")
    model = work / "models" / "cvunet.onnx"
    model.parent.mkdir()
    export(entry, model)
    say("installing rembg" if not venv.exists() else "looking for rembg")
    return rembg(rembg_python(venv), model)


def section(results: Results, alphas: Mapping[str, float], what: str, missing: str) -> Section:
    """The table and the chart."""
    cores = sorted({count for count, _ in results})
    names = list(dict.fromkeys(contender for _, contender in results))
    findings = [
        f"On {count} core{'s' * (count > 1)}, {contender} takes {_ratio(results, count, contender, 'wall')} times our "
        f"time and {_ratio(results, count, contender, 'cpu')} times our CPU time."
        for count in cores
        for contender in names
        if contender != OURS
    ]
    if missing:
        findings.append(f"rembg is not in the table. {missing}")
    return Section(
        key="peers",
        title="The same network in other pipelines",
        text=(
            f"{what}, from file to file, one pipeline after the other, in {len(next(iter(results.values())).wall)} "
            "rounds; each from the moment at which its model is loaded and warm. All have the same network and the "
            f"same weights at a canvas of {SIDE}; alphadrop also refines the edge at full size and takes the "
            "background's colour out of it, and flushes every output to the disk. `sequential script` is Pillow, "
            "torch, Pillow. rembg runs its own `remove()` on the network as an ONNX file, without connection to any "
            "network. All are bound to the same cores, with as many threads.",
        ),
        findings=tuple(findings),
        tables=tuple(_table(results, alphas, count, names) for count in cores),
        charts=(_chart(results, cores, names),),
    )


def _ratio(results: Results, cores: int, contender: str, kind: str) -> Spread:
    return ratios(getattr(results[cores, contender], kind), getattr(results[cores, OURS], kind))


def _table(results: Results, alphas: Mapping[str, float], cores: int, names: Sequence[str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for contender in names:
        result = results[cores, contender]
        times = [_ratio(results, cores, contender, kind) for kind in ("wall", "cpu")]
        rows.append((contender, spread(result.wall), spread(result.cpu), *times, result.peak / 1e9, alphas[contender]))
    return Table(
        name=f"peers-{cores}",
        title=f"{cores} core{'s' * (cores > 1)}",
        columns=(
            "",
            "ms an image",
            "CPU ms an image",
            "times our time",
            "times our CPU time",
            "largest process, GB",
            "mean difference of alpha",
        ),
        rows=tuple(rows),
        note="Ratios are of runs of the same repeat: median, lowest and highest.",
    )


def _chart(results: Results, cores: Sequence[int], names: Sequence[str]) -> Chart:
    bars = [
        Series.of(f"{count} core{'s' * (count > 1)}", [spread(results[count, name].wall) for name in names])
        for count in cores
    ]
    return Chart(
        name="peers",
        title="One image from file to file, the same network in all",
        kind="bar",
        x=tuple(names),
        x_label="",
        y_label="ms (less is better)",
        series=tuple(bars),
    )
