"""The measuring tasks, in a process that is set up like a worker's: `python -m watcher.commands.bench.engine.tasks`.

The first line of standard input is an EngineProcessConfig, every other line is a task; each task is answered with one
line. All lines are JSON objects.
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
from inference.device.hardware import CudaHardware
from inference.engine import Engine, EngineOptions, open_device
from inference.kernels import kernels_for, without_kernels
from inference.models import open_model
from inference.models.base import MattingModel
from inference.models.registry import resolve
from inference.picture import Cutout, Picture
from watcher.commands.bench.engine.cascade_timing import measure_cascade
from watcher.commands.bench.engine.engine_process import EngineProcessConfig
from watcher.commands.bench.engine.launch_counts import StandIn, count_launches
from watcher.commands.bench.engine.onnx_methods import measure_methods
from watcher.commands.bench.engine.operation_counts import OperationCounts, copy_rate, matmul_rate
from watcher.commands.bench.engine.step_hooks import StepTimer, wrap_steps
from watcher.commands.bench.timing import Times
from watcher.config.settings import rembg_path

Answer = dict[str, Any]
MAX_WAIT = 1.0
"""Seconds that a batch waits for announced pictures, which always come here."""


class TaskRunner:
    """Runs tasks one after the other, and keeps an engine open while tasks ask for the same options."""

    def __init__(self, config: EngineProcessConfig) -> None:
        self.config = config
        self.device = open_device(config.device)
        self._opened: tuple[Any, Engine, MattingModel] | None = None

    def answer(self, task: str, options: Answer) -> Answer:
        """Run the task of this name."""
        return _TASKS[task](self, **options)

    def engine(self, batch: int, canvas: int | None = None, cuda_graphs: bool = True) -> tuple[Engine, MattingModel]:
        """A warmed-up engine with these options, and its model."""
        key = (batch, canvas, cuda_graphs, kernels_for(self.device) is None)
        if self._opened and self._opened[0] == key:
            return self._opened[1:]
        self.close()
        model = self.open_model(canvas)
        options = replace(self.options(self.config.device, batch), cuda_graphs=cuda_graphs)
        engine = Engine(options, model=model)
        engine.start()
        self._opened = (key, engine, model)
        return engine, model

    def open_model(self, canvas: int | None = None) -> MattingModel:
        """The configured model, not loaded yet."""
        return open_model(resolve(self.config.model, canvas or self.config.canvas, folder=rembg_path()))

    def engines(self, devices: Sequence[str], batch: int, threads: int) -> list[Engine]:
        """Warmed-up engines of several devices, all in this process."""
        self.close()
        torch.set_num_threads(threads)
        options = [self.options(device, batch, threads) for device in devices]
        engines = [Engine(one, model=self.open_model()) for one in options]
        for engine in engines:
            engine.start()
        return engines

    def options(self, device: str, batch: int, threads: int = 0) -> EngineOptions:
        threads = threads or self.config.threads
        return EngineOptions(device, batch=batch, max_wait=MAX_WAIT, threads=threads, sharing=self.config.sharing)

    def close(self) -> None:
        """Close the engine that is open."""
        if self._opened:
            self._opened[1].close()
            self._opened = None


def facts(runner: TaskRunner) -> Answer:
    """Name, memory in bytes and driver of the device."""
    on_gpu = runner.device.type == "cuda"
    return {
        "name": torch.cuda.get_device_name(runner.device) if on_gpu else "CPU",
        "driver": _driver() if on_gpu else "",
        "memory": torch.cuda.get_device_properties(runner.device).total_memory if on_gpu else 0,
    }


def _driver() -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
        return f"NVIDIA {pynvml.nvmlSystemGetDriverVersion()}, CUDA {torch.version.cuda}"
    except Exception:  # the driver is one line of the report, not worth a failure
        return f"CUDA {torch.version.cuda}"


def single(runner: TaskRunner, files: list[str], repeats: int) -> Answer:
    """Latency of one picture at a time, from a file's bytes to the cut-out's bytes, after a warm-up picture."""
    engine, _ = runner.engine(batch=1)
    contents = [Path(file).read_bytes() for file in files]
    reset_peak(runner.device)
    times = Times()
    process_alone(engine, contents[0])
    for index in range(repeats):
        with times.measure():
            process_alone(engine, contents[index % len(contents)])
    return {"wall": times.wall, "cpu": times.cpu, "peak": peak(runner.device)}


def process_alone(engine: Engine, data: bytes) -> int:
    """Process one image with nothing else in flight; return the size of its cut-out in bytes."""
    return len(encode(engine.submit(decode(data, rgbx=engine.takes_rgbx)).result()))


def prepare(runner: TaskRunner, batch: int) -> Answer:
    """Open the engine that `stream` uses."""
    runner.engine(batch=batch)
    return {}


def stream(runner: TaskRunner, files: list[str], count: int, batch: int) -> Answer:
    """Process `count` pictures, with as many in flight as in a worker of the daemon."""
    engine, _ = runner.engine(batch=batch)
    reset_peak(runner.device)
    before = engine.stats().out_of_memory
    with ThreadPoolExecutor(in_flight(engine, batch)) as pool:
        list(pool.map(lambda index: process_announced(engine, files[index % len(files)]), range(count)))
    return {"out_of_memory": engine.stats().out_of_memory - before, "peak": peak(runner.device)}


def in_flight(engine: Engine, batch: int) -> int:
    """Images in flight: those on the device and those in the codecs, as many as in `watcher.worker.process`."""
    return batch + 3 if engine.options.device == "cpu" else 2 * batch + 2


def process_announced(engine: Engine, file: str) -> int:
    """Process one image that is announced to the batcher; return the size of its cut-out in bytes."""
    data = Path(file).read_bytes()
    with engine.announce() as submit:
        future = submit(decode(data, rgbx=engine.takes_rgbx))
    return len(encode(future.result()))


def pipelined(
    runner: TaskRunner, files: list[str], count: int, devices: list[str], threads: int, batch: int, cores: list[int]
) -> Answer:
    """`stream` in one process that owns all devices, with one device thread for each."""
    bind(cores)
    engines = runner.engines(devices, batch, threads)
    workers = sum(in_flight(engine, batch) for engine in engines)
    with closing_all(engines), ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        jobs = [(engines[index % len(engines)], files[index % len(files)]) for index in range(count)]
        list(pool.map(lambda job: process_announced(*job), jobs))
        return {"seconds": time.perf_counter() - started}


def lockstep(
    runner: TaskRunner, files: list[str], count: int, devices: list[str], threads: int, batch: int, cores: list[int]
) -> Answer:
    """One process that works as DataParallel does: decode a batch, split it over all devices, wait, and encode."""
    bind(cores)
    engines = runner.engines(devices, batch, threads)
    share = -(-batch // len(engines))
    with closing_all(engines):
        started = time.perf_counter()
        for first in range(0, count, batch):
            names = [files[index % len(files)] for index in range(first, min(count, first + batch))]
            pictures = [decode(Path(name).read_bytes(), rgbx=engines[0].takes_rgbx) for name in names]
            parts = [pictures[index * share : (index + 1) * share] for index in range(len(engines))]
            for cutout in submit_batches(engines, parts):
                encode(cutout)
        return {"seconds": time.perf_counter() - started}


def submit_batches(engines: Sequence[Engine], parts: Sequence[Sequence[Picture]]) -> list[Cutout]:
    """Give each engine its part as one batch, and wait for all of them."""
    futures = []
    with ExitStack() as stack:
        submits = [
            [stack.enter_context(engine.announce()) for _ in part] for engine, part in zip(engines, parts, strict=True)
        ]
        for submit_all, part in zip(submits, parts, strict=True):
            futures += [submit(picture) for submit, picture in zip(submit_all, part, strict=True)]
    return [future.result() for future in futures]


@contextmanager
def closing_all(engines: Sequence[Engine]) -> Iterator[None]:
    """Close every engine when the block ends."""
    try:
        yield
    finally:
        for engine in engines:
            engine.close()


def plain_stages(runner: TaskRunner, **options: Any) -> Answer:
    """Measure `stages` with plain torch instead of the compiled kernels, on a CPU."""
    with without_kernels():
        return stages(runner, **options)


def stages(
    runner: TaskRunner, files: list[str], batch: int, repeats: int, canvas: int | None = None, cuda_graphs: bool = True
) -> Answer:
    """Wall and CPU seconds per image and stage, one list entry per repeat.

    A repeat is one batch: read, decode, infer, encode and write. No stages overlap, so that all time can be attributed.
    """
    engine, model = runner.engine(batch, canvas, cuda_graphs)
    timer = StepTimer(runner.device)
    reset_peak(runner.device)
    runs = []
    with wrap_steps(model, timer), tempfile.TemporaryDirectory(dir=Path(files[0]).parent) as folder:
        for index in range(repeats + 1):
            timer.clear()
            names = [files[(index * batch + place) % len(files)] for place in range(batch)]
            runs.append(run_stages(engine, names, timer, Path(folder)))
    return {"runs": runs[1:], "peak": peak(runner.device)}  # the first one warms up


def run_stages(engine: Engine, files: Sequence[str], timer: StepTimer, folder: Path) -> dict[str, tuple[float, float]]:
    """Wall and CPU seconds per image and stage for one batch. Files written into the folder are removed again."""
    read, decoded, inferred, encoded, written = Times(), Times(), Times(), Times(), Times()
    with read.measure():
        contents = [Path(file).read_bytes() for file in files]
    with decoded.measure():
        pictures = [decode(data, rgbx=engine.takes_rgbx) for data in contents]
    with inferred.measure():
        cutouts = submit_batches([engine], [pictures])
    with encoded.measure():
        outputs = [encode(cutout) for cutout in cutouts]
    paths = [folder / f"{index}.png" for index in range(len(outputs))]
    with written.measure():
        for path, output in zip(paths, outputs, strict=True):
            path.write_bytes(output)
    for path in paths:
        path.unlink()
    steps = {"read": read, "decode": decoded, **timer.steps, "encode": encoded, "write": written}
    sums = {stage: (sum(times.wall), sum(times.cpu)) for stage, times in steps.items()}
    hooked = [sum(sums[step][kind] for step in timer.steps) for kind in (0, 1)]
    sums["resize, copy"] = (max(0.0, sum(inferred.wall) - hooked[0]), max(0.0, sum(inferred.cpu) - hooked[1]))
    return {stage: (wall / len(files), cpu / len(files)) for stage, (wall, cpu) in sums.items()}


def roofline(runner: TaskRunner, file: str, repeats: int) -> Answer:
    """Operations and bytes of each step for one picture, and the device's rates of both."""
    engine, model = runner.engine(batch=1, cuda_graphs=False)  # operations that a graph replays cannot be counted
    counts, picture = OperationCounts(), decode(Path(file).read_bytes())
    with wrap_steps(model, counts):
        engine.submit(picture).result()
    times = stages(runner, [file], 1, repeats)["runs"]
    runner.close()
    torch.set_num_threads(runner.config.threads)
    rates = {"matmul": matmul_rate(runner.device, model.dtype, repeats), "copy": copy_rate(runner.device, repeats)}
    return {
        "flops": dict(counts.flops),
        "bytes": dict(counts.bytes),
        "runs": times,
        "rates": rates,
        "dtype": str(model.dtype),
    }


def launches(runner: TaskRunner, files: list[str], batch: int) -> Answer:
    """Launches, and how often the host waits, by step for one batch; on a CPU, what they would be on a card."""
    runner.close()
    torch.set_num_threads(runner.config.threads)
    pictures = [decode(Path(files[index % len(files)]).read_bytes()) for index in range(batch)]
    hardware = StandIn(runner.device) if runner.device.type == "cpu" else CudaHardware(runner.device, graphs=False)
    counts = count_launches(runner.open_model(), hardware, pictures)
    return {"launches": dict(counts.launches), "waits": dict(counts.waits)}


def onnx(runner: TaskRunner, batches: list[int], repeats: int) -> Answer:
    """Seconds of each run of a batch by method and batch size, see `onnx_methods`."""
    runner.close()
    entry = resolve(runner.config.model, runner.config.canvas, folder=rembg_path())
    return dict(measure_methods(entry, runner.device, batches, repeats))


def cascade(runner: TaskRunner, files: list[str], strong: str, count: int, sent: int, repeats: int) -> Answer:
    """Wall and CPU seconds of each repeat for `count` pictures, by way; see `cascade_timing`."""
    runner.close()
    torch.set_num_threads(runner.config.threads)
    decoded = [decode(Path(file).read_bytes()) for file in files[:count]]
    pictures = [decoded[index % len(decoded)] for index in range(count)]
    models = runner.open_model(), open_model(resolve(strong, None, folder=rembg_path()))
    options = replace(runner.options(runner.config.device, 0), max_wait=0.0)
    times = measure_cascade(options, *models, pictures, sent, repeats)
    return {name: {"wall": found.wall, "cpu": found.cpu} for name, found in times.items()}


_TASKS: dict[str, Callable[..., Answer]] = {
    task.__name__: task
    for task in (
        facts,
        single,
        prepare,
        stream,
        pipelined,
        lockstep,
        stages,
        plain_stages,
        roofline,
        launches,
        onnx,
        cascade,
    )
}


def reset_peak(device: torch.device) -> None:
    """Start a new measurement of peak memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size


def peak(device: torch.device) -> int:
    """Peak memory in bytes: reserved by torch on a GPU, or the resident set of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bind(cores: Sequence[int]) -> None:
    """Restrict this thread, and threads that it starts later, to these cores; an empty list changes nothing."""
    if cores:
        os.sched_setaffinity(0, cores)


def main(lines: TextIO, answers: TextIO) -> None:
    """Answer every line until the input ends."""
    config = json.loads(lines.readline())
    bind(config["cores"])
    torch.set_num_threads(config["threads"])
    runner = TaskRunner(EngineProcessConfig(**config))
    for line in lines:
        task = json.loads(line)
        print(json.dumps(runner.answer(task.pop("task"), task)), file=answers, flush=True)
    runner.close()


if __name__ == "__main__":
    private = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints goes to standard error, not among the answers
    main(sys.stdin, private)
