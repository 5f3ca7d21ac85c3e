"""What `make gpu-check` measures: `python -m scripts.gpu_steps STEP` runs one step on the first GPU.

Each step is a function that returns Markdown. Without a GPU it runs over the stand-in, with a handful of tiny pictures:
its figures mean nothing then, but its code has run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from inference.codec import decode, encode
from inference.device.hardware import CudaHardware, Hardware
from inference.engine import Engine, EngineOptions, open_device
from inference.errors import DeviceFull, DeviceLost, EngineError
from inference.models import open_model
from inference.models.registry import resolve
from inference.picture import Picture
from scripts.gpu_codecs import decoded, encoded
from watcher.commands.bench.device_groups import DeviceGroup
from watcher.commands.bench.engine.engine_process import ask_all, start_processes
from watcher.commands.bench.engine.launch_counts import StandIn, count_launches, run_batch
from watcher.commands.bench.photos import draw_photos
from watcher.fleet.cores import available_cores, available_memory

GIB = 1 << 30


@dataclass(frozen=True)
class Setup:
    """What a step runs on, and with how many pictures of which size."""

    device: str
    model: str
    size: tuple[int, int]
    distinct: int
    images: int
    batch: int
    workers: tuple[int, ...]
    left: int
    """Bytes of the device's memory that the stranger leaves free."""

    @property
    def on_card(self) -> bool:
        """Whether there is a GPU."""
        return self.device != "cpu"


CARD = Setup("cuda:0", "nano", (1920, 1080), 16, 400, 8, (1, 3), 4 * GIB)
STAND_IN = Setup("cpu", "fake", (96, 64), 2, 4, 2, (1,), 0)


def machine(setup: Setup) -> str:
    """Name what is measured: the card, its driver, its mode, and what feeds it."""
    asked = "name,driver_version,memory.total,mig.mode.current,compute_mode,pcie.link.gen.current,clocks.max.sm"
    lines = [f"- torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"]  # type: ignore[no-untyped-call]
    lines.append(f"- {available_cores():g} cores, {available_memory() / GIB:.0f} GiB of memory")
    if setup.on_card:
        lines.append(f"- {asked}: {_output(['nvidia-smi', f'--query-gpu={asked}', '--format=csv,noheader'])}")
    return "\n".join(lines)


def rate(setup: Setup) -> str:
    """Measure the device alone, count its launches, and show a profile."""
    pictures = _pictures(setup)
    rows = []
    for batch in (setup.batch, 4 * setup.batch):
        with _engine(setup, batch) as engine:
            _run(engine, pictures, batch)
            seconds = _seconds(partial(_run, engine, pictures, batch, setup.images))
            rows.append((batch, setup.images / seconds))
            profile = _profile(engine, [pictures[index % len(pictures)] for index in range(batch)])
    return "\n\n".join(
        (
            _table(("batch", "img/s without codecs"), rows),
            _counted(setup, pictures),
            f"Profile of a batch of {rows[-1][0]}:\n\n```\n{profile}\n```",
        )
    )


def codecs(setup: Setup) -> str:
    """Measure with decoding and encoding beside the device, in threads of its process and in processes."""
    files = _photos(setup)
    count, cores = setup.images, max(2, int(available_cores()) - 2)
    rows = []
    with _engine(setup, setup.batch, codecs=cores) as engine:
        with ThreadPoolExecutor(4 * setup.batch) as pool:
            rows.append(("threads", count / _seconds(partial(_through, pool, engine, files, count))))
        with (
            ProcessPoolExecutor(cores, get_context("spawn")) as workers,
            ThreadPoolExecutor(4 * setup.batch) as pool,
        ):
            list(workers.map(decoded, files))  # their imports do not count
            rows.append(("processes", count / _seconds(partial(_through, pool, engine, files, count, workers))))
    return _table(("codecs in", "img/s"), rows)


def workers(setup: Setup) -> str:
    """Measure one worker against several that share the card, each with an equal share of cores and memory."""
    files, rows = _photos(setup), []
    for count in setup.workers:
        group = DeviceGroup(str(count), (setup.device,) * count, max(1, int(available_cores()) // count))
        each = setup.images // count
        with start_processes(group, setup.model, None) as processes:
            ask_all(processes, "prepare", batch=setup.batch)
            ask_all(processes, "stream", files=files, count=2 * setup.batch, batch=setup.batch)
            seconds, _ = ask_all(processes, "stream", files=files, count=each, batch=setup.batch)
        rows.append((count, each * count / seconds))
    return _table(("workers on the card", "img/s, codecs included"), rows)


def plans(setup: Setup) -> str:
    """Compare each batch's first run with its second: a shape that no warm-up has seen makes the first one slow."""
    pictures, rows = _pictures(setup), []
    with _engine(setup, setup.batch) as engine:
        for start in range(0, len(pictures), setup.batch):
            batch = pictures[start : start + setup.batch]
            first, second = (_seconds(partial(run_batch, engine, batch)) for _ in range(2))
            rows.append((start // setup.batch + 1, 1000 * first, 1000 * second, first / second))
    return _table(("batch", "first run, ms", "second run, ms", "ratio"), rows)


def stranger(setup: Setup) -> str:
    """Fill the card from another process, and see that pictures are cut out or released, and none rejected."""
    pictures = _pictures(setup)
    with _stranger(setup), _engine(setup, 0) as engine:
        outcomes = [_outcome(engine, picture) for picture in pictures[: 2 * setup.batch]]
        stats = engine.stats()
    return (
        _table(("outcome", "pictures"), [(name, outcomes.count(name)) for name in sorted(set(outcomes))])
        + f"\n\nBatch limit {stats.batch_limit}; memory ran out {stats.out_of_memory} times."
    )


def accuracy(setup: Setup) -> str:
    """Compare the card's 16 bits with 32 bits on the CPU."""
    pictures, rows = _pictures(setup)[:4], []
    with _engine(setup, len(pictures)) as card, Engine(EngineOptions(model=setup.model)) as cpu:
        for number, picture in enumerate(pictures, 1):
            found, wanted = (engine.submit(picture).result().pixels.astype(int) for engine in (card, cpu))
            difference = np.abs(found - wanted)
            alpha, colour = difference[..., 3], difference[wanted[..., 3] > 0][:, :3]
            rows.append((number, alpha.mean(), alpha.max(), colour.mean()))
    return _table(("picture", "alpha, mean of 255", "alpha, largest", "colour, mean"), rows)


STEPS: Mapping[str, Callable[[Setup], str]] = MappingProxyType(
    {step.__name__: step for step in (machine, rate, codecs, workers, plans, stranger, accuracy)}
)
FILL = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
kept = torch.empty(max(0, free - int(sys.argv[1])), dtype=torch.uint8, device="cuda")
print("filled", flush=True)
sys.stdin.read()
"""


@contextmanager
def _stranger(setup: Setup) -> Iterator[None]:
    """Another process that holds all of the card's memory but `setup.left`."""
    if not setup.on_card:
        yield
        return
    command = [sys.executable, "-c", FILL, str(setup.left)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()


def _outcome(engine: Engine, picture: Picture) -> str:
    try:
        engine.submit(picture).result()
        return "cut out"
    except DeviceFull:
        return "released"
    except DeviceLost:
        raise
    except EngineError as error:
        return f"rejected: {error}"


def _hardware(setup: Setup) -> Hardware:
    device = open_device(setup.device)
    return CudaHardware(device, graphs=False) if setup.on_card else StandIn(device)


@contextmanager
def _engine(setup: Setup, batch: int, codecs: int = 0) -> Iterator[Engine]:
    options = EngineOptions(setup.device, setup.model, batch=batch, max_wait=1.0, codecs=codecs)
    with Engine(options, hardware=None if setup.on_card else _hardware(setup)) as engine:
        yield engine


def _photos(setup: Setup) -> list[str]:
    folder = Path(tempfile.gettempdir()) / "alphadrop-gpu-check"
    return [str(path) for path in draw_photos(folder, setup.size, setup.distinct, "JPEG")]


def _pictures(setup: Setup) -> list[Picture]:
    return [decode(Path(file).read_bytes()) for file in _photos(setup)]


def _run(engine: Engine, pictures: Sequence[Picture], batch: int, count: int = 0) -> None:
    for start in range(0, count or batch, batch):
        run_batch(engine, [pictures[(start + index) % len(pictures)] for index in range(batch)])


def _through(
    pool: ThreadPoolExecutor, engine: Engine, files: Sequence[str], count: int, codecs: Executor | None = None
) -> None:
    """Take `count` files through decoding, the engine and encoding; in the processes of `codecs`, if there are any."""

    def one(index: int) -> int:
        file = files[index % len(files)]
        with engine.announce() as submit:
            if codecs:
                future = submit(Picture(codecs.submit(decoded, file).result()))
                return codecs.submit(encoded, future.result().pixels).result()
            with engine.core_lock:
                picture = Picture(decoded(file))
            future = submit(picture)
        cutout = future.result()
        with engine.core_lock:
            return len(encode(cutout))

    list(pool.map(one, range(count)))


def _counted(setup: Setup, pictures: Sequence[Picture]) -> str:
    batch = [pictures[index % len(pictures)] for index in range(setup.batch)]
    counts = count_launches(open_model(resolve(setup.model)), _hardware(setup), batch)
    rows = [(step, number, number / setup.batch, counts.waits[step]) for step, number in counts.launches.items()]
    return _table(("step", f"launches of a batch of {setup.batch}", "a picture", "waits"), rows)


def _profile(engine: Engine, pictures: Sequence[Picture]) -> str:
    """Profile one batch: kernels and calls of CUDA in all threads, those that take longest first."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities) as profiled:
        run_batch(engine, pictures)
    order = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    found = profiled.key_averages()
    calls = {event.key: event.count for event in found if event.key.startswith("cuda")}
    shown = ", ".join(f"{name} {count}" for name, count in sorted(calls.items())) or "no call of CUDA"
    return f"{shown}\n\n{found.table(sort_by=order, row_limit=20, max_name_column_width=60)}"


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


if __name__ == "__main__":
    with torch.inference_mode():
        print(STEPS[sys.argv[1]](CARD))
