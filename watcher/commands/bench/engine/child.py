"""Measure on one device, in a process like a worker's: `python -m watcher.commands.bench.engine.child`.

The first line of its input says what it runs on, every other one is a task; each is answered with one line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import torch

from inference.codec import decode, encode
from inference.engine import Engine, EngineOptions, open_device
from inference.models import open_model
from inference.models.base import MattingModel
from inference.models.registry import resolve
from inference.picture import Cutout, Picture
from watcher.commands.bench.children import ChildConfig
from watcher.commands.bench.engine.probe import StepClock, around_steps
from watcher.commands.bench.engine.roofline import Work, copy_rate, matmul_rate
from watcher.commands.bench.timing import Times

Answer = dict[str, Any]
PATIENCE = 1.0
"""Seconds that a batch waits for pictures that are announced: here they always come."""


class Child:
    """Answers tasks, one after the other. An engine stays open for as long as tasks ask for the same one."""

    def __init__(self, config: ChildConfig) -> None:
        self.config = config
        self.device = open_device(config.device)
        self._opened: tuple[Any, Engine, MattingModel] | None = None

    def answer(self, task: str, options: Answer) -> Answer:
        """Do a task of that name."""
        return _TASKS[task](self, **options)

    def engine(self, batch: int, canvas: int | None = None, cuda_graphs: bool = True) -> tuple[Engine, MattingModel]:
        """An engine that is warm."""
        wanted = (batch, canvas, cuda_graphs)
        if self._opened and self._opened[0] == wanted:
            return self._opened[1:]
        self.close()
        model = self.open_model(canvas)
        options = replace(self._options(self.config.device, batch), cuda_graphs=cuda_graphs)
        engine = Engine(options, model=model)
        engine.start()
        self._opened = (wanted, engine, model)
        return engine, model

    def open_model(self, canvas: int | None = None) -> MattingModel:
        """The model, not loaded yet."""
        return open_model(resolve(self.config.model, canvas or self.config.canvas))

    def engines(self, devices: Sequence[str], batch: int, threads: int) -> list[Engine]:
        """Several in this one process, all warm."""
        self.close()
        torch.set_num_threads(threads)
        options = [self._options(device, batch, threads) for device in devices]
        engines = [Engine(one, model=self.open_model()) for one in options]
        for engine in engines:
            engine.start()
        return engines

    def _options(self, device: str, batch: int, threads: int = 0) -> EngineOptions:
        return EngineOptions(device, batch=batch, max_wait=PATIENCE, threads=threads or self.config.threads)

    def close(self) -> None:
        """End the engine."""
        if self._opened:
            self._opened[1].close()
            self._opened = None


def facts(child: Child) -> Answer:
    """What the device is."""
    on_gpu = child.device.type == "cuda"
    return {
        "name": torch.cuda.get_device_name(child.device) if on_gpu else "CPU",
        "driver": _driver() if on_gpu else "",
        "memory": torch.cuda.get_device_properties(child.device).total_memory if on_gpu else 0,
    }


def _driver() -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
        return f"NVIDIA {pynvml.nvmlSystemGetDriverVersion()}, CUDA {torch.version.cuda}"
    except Exception:  # only a line of the report
        return f"CUDA {torch.version.cuda}"


def single(child: Child, files: list[str], repeats: int) -> Answer:
    """One picture after the other, each from its bytes to the cut-out's bytes; the first one warms up."""
    engine, _ = child.engine(batch=1)
    contents = [Path(file).read_bytes() for file in files]
    reset_peak(child.device)
    times = Times()
    one_by_one(engine, contents[0])
    for index in range(repeats):
        with times.one():
            one_by_one(engine, contents[index % len(contents)])
    return {"wall": times.wall, "cpu": times.cpu, "peak": peak(child.device)}


def one_by_one(engine: Engine, data: bytes) -> int:
    """The path of one image alone; the bytes of its cut-out."""
    return len(encode(engine.submit(decode(data)).result()))


def prepare(child: Child, batch: int) -> Answer:
    """Have the engine for `stream` ready."""
    child.engine(batch=batch)
    return {}


def stream(child: Child, files: list[str], count: int, batch: int) -> Answer:
    """Many pictures, as many in flight as a worker of the daemon would have."""
    engine, _ = child.engine(batch=batch)
    reset_peak(child.device)
    before = engine.stats().out_of_memory
    with ThreadPoolExecutor(in_flight(engine, batch)) as pool:
        list(pool.map(lambda index: announced(engine, files[index % len(files)]), range(count)))
    return {"out_of_memory": engine.stats().out_of_memory - before, "peak": peak(child.device)}


def in_flight(engine: Engine, batch: int) -> int:
    """One batch on the device, and what comes and goes beside it: as `watcher.worker.process` does it."""
    return batch + 2 if engine.options.device == "cpu" else 2 * batch + 2


def announced(engine: Engine, file: str) -> int:
    """The path of one image among others."""
    data = Path(file).read_bytes()
    with engine.coming() as submit:
        promise = submit(decode(data))
    return len(encode(promise.result()))


def together(
    child: Child, files: list[str], count: int, devices: list[str], threads: int, batch: int, cores: list[int]
) -> Answer:
    """`stream` in one process that has all the devices, one device thread on each."""
    bind(cores)
    engines = child.engines(devices, batch, threads)
    workers = sum(in_flight(engine, batch) for engine in engines)
    with closing_all(engines), ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        jobs = [(engines[index % len(engines)], files[index % len(files)]) for index in range(count)]
        list(pool.map(lambda job: announced(*job), jobs))
        return {"seconds": time.perf_counter() - started}


def lockstep(
    child: Child, files: list[str], count: int, devices: list[str], threads: int, batch: int, cores: list[int]
) -> Answer:
    """One process as DataParallel runs it: a batch is decoded, split over all devices, waited for, and encoded."""
    bind(cores)
    engines = child.engines(devices, batch, threads)
    share = -(-batch // len(engines))
    with closing_all(engines):
        started = time.perf_counter()
        for first in range(0, count, batch):
            names = [files[index % len(files)] for index in range(first, min(count, first + batch))]
            pictures = [decode(Path(name).read_bytes()) for name in names]
            parts = [pictures[index * share : (index + 1) * share] for index in range(len(engines))]
            for cutout in scattered(engines, parts):
                encode(cutout)
        return {"seconds": time.perf_counter() - started}


def scattered(engines: Sequence[Engine], parts: Sequence[Sequence[Picture]]) -> list[Cutout]:
    """Each engine gets its part as one batch; all are waited for."""
    promises = []
    with ExitStack() as stack:
        submits = [
            [stack.enter_context(engine.coming()) for _ in part] for engine, part in zip(engines, parts, strict=True)
        ]
        for submit_all, part in zip(submits, parts, strict=True):
            promises += [submit(picture) for submit, picture in zip(submit_all, part, strict=True)]
    return [promise.result() for promise in promises]


@contextmanager
def closing_all(engines: Sequence[Engine]) -> Iterator[None]:
    """Close every engine in the end."""
    try:
        yield
    finally:
        for engine in engines:
            engine.close()


def stages(
    child: Child, files: list[str], batch: int, repeats: int, canvas: int | None = None, cuda_graphs: bool = True
) -> Answer:
    """Wall and CPU seconds an image by stage, one list entry a repeat; nothing overlaps, so all is attributable.

    A repeat is a batch: read and decoded, inferred as one, encoded and written.
    """
    engine, model = child.engine(batch, canvas, cuda_graphs)
    clock = StepClock(child.device)
    reset_peak(child.device)
    runs = []
    with around_steps(model, clock), tempfile.TemporaryDirectory(dir=Path(files[0]).parent) as folder:
        for index in range(repeats + 1):
            clock.clear()
            names = [files[(index * batch + place) % len(files)] for place in range(batch)]
            runs.append(staged(engine, names, clock, Path(folder)))
    return {"runs": runs[1:], "peak": peak(child.device)}  # the first one warms up


def staged(engine: Engine, files: Sequence[str], clock: StepClock, folder: Path) -> dict[str, tuple[float, float]]:
    """Seconds of wall and CPU time an image, by stage, of one batch. What is written into the folder does not stay."""
    read, decoded, inferred, encoded, written = Times(), Times(), Times(), Times(), Times()
    with read.one():
        contents = [Path(file).read_bytes() for file in files]
    with decoded.one():
        pictures = [decode(data) for data in contents]
    with inferred.one():
        cutouts = scattered([engine], [pictures])
    with encoded.one():
        outputs = [encode(cutout) for cutout in cutouts]
    places = [folder / f"{index}.png" for index in range(len(outputs))]
    with written.one():
        for place, output in zip(places, outputs, strict=True):
            place.write_bytes(output)
    for place in places:
        place.unlink()
    steps = {"read": read, "decode": decoded, **clock.steps, "encode": encoded, "write": written}
    sums = {stage: (sum(times.wall), sum(times.cpu)) for stage, times in steps.items()}
    known = [sum(sums[step][kind] for step in clock.steps) for kind in (0, 1)]
    rest = (sum(inferred.wall) - known[0], sum(inferred.cpu) - known[1])
    sums["resize, copy"] = (max(0.0, rest[0]), max(0.0, rest[1]))
    return {stage: (wall / len(files), cpu / len(files)) for stage, (wall, cpu) in sums.items()}


def roofline(child: Child, file: str, repeats: int) -> Answer:
    """Operations and bytes of each step for one picture, and what the device does of both in a second."""
    engine, model = child.engine(batch=1, cuda_graphs=False)  # what a graph replays cannot be counted
    work, picture = Work(), decode(Path(file).read_bytes())
    with around_steps(model, work):
        engine.submit(picture).result()
    times = stages(child, [file], 1, repeats)["runs"]
    child.close()
    torch.set_num_threads(child.config.threads)
    rates = {"matmul": matmul_rate(child.device, model.dtype, repeats), "copy": copy_rate(child.device, repeats)}
    return {
        "flops": dict(work.flops),
        "bytes": dict(work.bytes),
        "runs": times,
        "rates": rates,
        "dtype": str(model.dtype),
    }


_TASKS: dict[str, Callable[..., Answer]] = {
    task.__name__: task for task in (facts, single, prepare, stream, together, lockstep, stages, roofline)
}


def reset_peak(device: torch.device) -> None:
    """From now on the peak is a new one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size


def peak(device: torch.device) -> int:
    """Bytes: the most that torch has reserved on the card, or the most of this process that was in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bind(cores: Sequence[int]) -> None:
    """From now on this thread and those that it starts use these cores alone; none named: as before."""
    if cores:
        os.sched_setaffinity(0, cores)


def main(lines: TextIO, answers: TextIO) -> None:
    """Answer every line until there are no more."""
    config = json.loads(lines.readline())
    bind(config["cores"])
    torch.set_num_threads(config["threads"])
    child = Child(ChildConfig(**config))
    for line in lines:
        task = json.loads(line)
        print(json.dumps(child.answer(task.pop("task"), task)), file=answers, flush=True)
    child.close()


if __name__ == "__main__":
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    main(sys.stdin, private)
