"""Breaks a process of alphadrop from within: Python imports this module at its start where the folder is in PYTHONPATH.

The folder `TORTURE` holds the orders, one file each: `at-STEP` kills somebody when a process gets to that step; other
files change what the disk, the clock and the device do while they are there. `TORTURE_MUTATION` names a deliberate
error in alphadrop itself, which shows that the judge finds it. Nothing of this is part of the product.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ORDERS = Path(os.environ.get("TORTURE") or os.devnull)
MUTATION = os.environ.get("TORTURE_MUTATION", "")
Patch = Callable[[Any], None]
"""Changes a module."""
FIRST_LOST = 10
"""Outputs that are not lost: those of the calm before the storm, whose length is the measure of what may take long."""
CLONE_NEWNET = 0x40000000
PATCHES: dict[str, list[Patch]] = {}
_time = time.time


def order(name: str) -> str | None:
    """The text of an order; None if there is none."""
    try:
        return (ORDERS / name).read_text("ascii")
    except OSError:
        return None


def taken(name: str) -> str | None:
    """The text of an order that only the first who gets to it follows."""
    text = order(name)
    if text is None:  # there is none, or this process has no descriptor left to read it, so another one must
        return None
    try:
        (ORDERS / name).unlink()
    except OSError:
        return None
    return text


def step(name: str) -> None:
    """A process is at this step: kill whoever the order names, and leave word of who that was."""
    victim = taken(f"at-{name}")
    if victim is None:
        return
    pid = {"all": os.getpgid(0), "supervisor": _supervisor()}.get(victim, os.getpid())
    (ORDERS / f"done-{name}").write_text(f"{pid}\n", "ascii")
    if victim == "all":
        os.killpg(0, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


def _supervisor() -> int:
    """This process, or the one that has started this worker; not whoever has adopted an orphan."""
    if "worker.process" in " ".join(sys.orig_argv):
        parent = os.getppid()
        if b"watcher" in Path(f"/proc/{parent}/cmdline").read_bytes():
            return parent
    return os.getpid()


def around(owner: Any, name: str, before: str = "", after: str = "") -> None:
    """Make steps of the beginning and the end of a function."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*args: Any, **keywords: Any) -> Any:
        if before:
            step(before)
        result = function(*args, **keywords)
        if after:
            step(after)
        return result

    setattr(owner, name, wrapped)


def patches(module: str, mutation: str = "") -> Callable[[Patch], Patch]:
    """Call the function with this module once it is imported: always, or only where that mutation is wanted."""

    def register(patch: Patch) -> Patch:
        if mutation in ("", MUTATION):
            PATCHES.setdefault(module, []).append(patch)
        return patch

    return register


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that are patched, as others would."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's spec, with a loader that patches."""
        if name not in PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            _patch_after(spec.loader, PATCHES[name])
        return spec


def _patch_after(loader: Any, wanted: list[Patch]) -> None:
    load = loader.exec_module

    def exec_module(module: Any) -> None:
        load(module)
        for patch in wanted:
            patch(module)

    loader.exec_module = exec_module


# Another machine.

if os.environ.get("TORTURE_ANOTHER_MACHINE"):
    ctypes.CDLL(None).unshare(CLONE_NEWNET)  # a network of its own, in which no name of ours is taken


# The steps of an image's path.


@patches("watcher.queues.sqlite")
def _embedded_queue(module: Any) -> None:
    around(module.SqliteQueue, "lease", "lease", "leased")
    around(module.SqliteQueue, "put", "enqueue", "enqueued")
    around(module.SqliteLease, "done", "acknowledge", "acknowledged")
    around(module.SqliteLease, "reject", "reject", "rejected")


@patches("watcher.queues.broker")
def _broker_queue(module: Any) -> None:
    around(module.BrokerQueue, "lease", "lease", "leased")
    around(module.BrokerQueue, "put", "enqueue", "enqueued")
    around(module.BrokerLease, "done", "acknowledge", "acknowledged")
    around(module.BrokerLease, "reject", "reject", "rejected")


@patches("watcher.worker.image_path")
def _path(module: Any) -> None:
    around(module, "decode", "decode", "decoded")
    around(module, "write_error_record", "record", "recorded")
    around(module, "delete_error_record", "forget-record", "record-forgotten")
    around(module.ImagePath, "_cut_out", "infer", "inferred")
    around(module.OutputMaker, "encode", "encode", "encoded")
    around(module.OutputWriter, "put", "put", "put-done")


@patches("watcher.stores.local")
def _folder(module: Any) -> None:
    around(module.LocalStore, "read", "read", "read-done")


@patches("watcher.stores.s3")
def _bucket(module: Any) -> None:
    around(module.S3Store, "read", "read", "read-done")


@patches("watcher.stores.atomic")
def _atomic(module: Any) -> None:
    around(module, "_write_and_move", after="renamed")

    class Os(ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fsync(self, fd: int) -> None:
            step("written")
            os.fsync(fd)

    module.os = Os("os")


@patches("watcher.wiring")
def _wiring(module: Any) -> None:
    around(module.Parts, "open", "open", "opened")


# The world around it.


def _shifted_time() -> float:
    """The wall clock, as somebody has set it."""
    return _time() + float(order("clock") or 0)


def _slow_fsync(fd: Any) -> None:
    time.sleep(float(order("slow-disk") or 0))
    _fsync(fd)


_fsync = os.fsync
os.fsync = _slow_fsync
time.time = _shifted_time


@patches("inference.fake_engine")
def _device(module: Any) -> None:
    from inference.errors import DeviceFull, DeviceLost

    run_batch = module.FakeEngine._run_batch

    def fail(batch: Any, error: Exception) -> None:
        for request in batch.items:
            request.future.set_exception(error)

    def broken(engine: Any, batch: Any) -> None:
        if order("device-full") is not None:
            fail(batch, DeviceFull("the device's memory is full"))
        elif taken("device-lost") is not None:
            engine.lost.set()
            fail(batch, DeviceLost("the device has failed"))
        else:
            if (seconds := taken("device-hang")) is not None:
                engine._busy_since = time.monotonic()
                time.sleep(float(seconds))
            run_batch(engine, batch)

    module.FakeEngine._run_batch = broken


# Deliberate errors.


@patches("watcher.worker.output_writer", "lose-an-output")
def _lose(module: Any) -> None:
    put, written = module.OutputWriter.put, module.Outcome.WRITTEN
    numbers: dict[str, int] = {}

    def lose(writer: Any, output: Any, *rest: Any) -> Any:
        number = numbers.setdefault(output.id, len(numbers))
        lost = number >= FIRST_LOST and number % 5 == 0
        return written if lost else put(writer, output, *rest)

    module.OutputWriter.put = lose


@patches("watcher.worker.output_writer", "swap-two-outputs")
def _swap(module: Any) -> None:
    put = module.OutputWriter.put
    last: list[bytes] = []

    def swap(writer: Any, output: Any, data: bytes, *rest: Any) -> Any:
        last.append(data)
        return put(writer, output, last[-2] if len(last) % 7 == 0 else data, *rest)

    module.OutputWriter.put = swap


@patches("watcher.worker.image_path", "name-a-wrong-reason")
def _wrong_reason(module: Any) -> None:
    write = module.write_error_record

    def lie(sink: Any, job: Any, rejection: Any) -> None:
        write(sink, job, module.Rejection(module.Reason.ARCHIVED, rejection.detail))

    module.write_error_record = lie


@patches("watcher.worker.output_writer", "write-a-copy")
def _copy(module: Any) -> None:
    put = module.OutputWriter.put

    def twice(writer: Any, output: Any, data: bytes, *rest: Any) -> Any:
        writer.sink.put_record(output.key.replace(".png", " copy.png"), data)
        return put(writer, output, data, *rest)

    module.OutputWriter.put = twice


@patches("watcher.stores.atomic", "write-in-place")
def _in_place(module: Any) -> None:
    def in_place(temporary: str, target: str, data: bytes) -> None:
        with open(target, "wb", buffering=0) as file:
            file.write(data[: len(data) // 2])
            time.sleep(0.2)
            file.write(data[len(data) // 2 :])

    module._write_and_move = in_place


@patches("watcher.worker.image_path", "blame-the-image")
def _blame(module: Any) -> None:
    def blame(path: Any, lease: Any, error: Exception, timer: Any) -> None:
        path._reject(lease, module.Rejection(module.Reason.OTHER, str(error)), timer)

    module.ImagePath._release = blame


@patches("watcher.queues.sqlite", "keep-dead-leases")
def _keep_leases(module: Any) -> None:
    module.SqliteQueue.abandon = lambda *args, **keywords: []
    module.SqliteQueue.abandon_all = lambda *args: 0


@patches("watcher.telemetry.health", "stay-unready")
def _unready(module: Any) -> None:
    change = module.Health.set
    failed: set[str] = set()

    def stick(health: Any, part: str, ok: bool, why: str = "") -> None:
        if not ok and why and part == "images":
            failed.add(part)
        change(health, part, ok and part not in failed, why)

    module.Health.set = stick


@patches("watcher.stores.local", "leak-descriptors")
def _leak(module: Any) -> None:
    read = module.LocalStore.read

    def leak(store: Any, ref: Any) -> Any:
        os.open(store.root, os.O_RDONLY)
        return read(store, ref)

    module.LocalStore.read = leak


@patches("watcher.stores.atomic", "leave-temporary-files")
def _leave(module: Any) -> None:
    module.sweep = lambda top: 0


with contextlib.suppress(ValueError):
    sys.meta_path.insert(0, _Finder())
