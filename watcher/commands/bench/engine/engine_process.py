"""Subprocesses that run an engine and answer measuring tasks; several of them can start a task at the same moment.

`tasks.py` is what runs in the subprocess. Both sides exchange one JSON object per line.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from watcher.commands.bench.device_groups import DeviceGroup
from watcher.core.python import python
from watcher.fleet.worker_environment import WORKER_ENVIRONMENT

ROOT = Path(__file__).parents[4]
"""The folder that holds the packages `watcher` and `inference`."""


class EngineProcessFailed(Exception):
    """A measuring process has ended early; the message has its exit code and the last line of its standard error."""


@dataclass(frozen=True)
class EngineProcessConfig:
    """What a process measures on. `cores` are the core numbers that it may use; empty means all."""

    device: str
    threads: int
    model: str
    canvas: int | None = None
    cores: tuple[int, ...] = ()
    sharing: int = 1
    """Processes that share the device, if it is a GPU."""


class EngineProcess:
    """The parent's side of one measuring process."""

    def __init__(self, config: EngineProcessConfig) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115, closed at exit
        self._process = subprocess.Popen(
            python("-m", "watcher.commands.bench.engine.tasks"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=environment(),
        )
        self._write(asdict(config))

    def send(self, task: str, **options: Any) -> None:
        """Start a task. Raises EngineProcessFailed."""
        self._write({"task": task, **options})

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to the task that was sent. Raises EngineProcessFailed."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise EngineProcessFailed(self._describe_exit())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, task: str, **options: Any) -> dict[str, Any]:
        """Start a task and wait for its answer. Raises EngineProcessFailed."""
        self.send(task, **options)
        return self.receive()

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise EngineProcessFailed(self._describe_exit()) from error

    def _describe_exit(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"exit code {code}: {lines[-1] if lines else 'no error output'}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process.wait()
        self._errors.close()


def environment(**variables: str) -> dict[str, str]:
    """The environment of a worker, in which our packages are found from any working directory."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**WORKER_ENVIRONMENT, **os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables}


@contextmanager
def start_processes(
    group: DeviceGroup, model: str, canvas: int | None, cores: Sequence[Sequence[int]] = ()
) -> Iterator[list[EngineProcess]]:
    """Start one process per device; item i of `cores` has the core numbers that process i may use."""
    with ExitStack() as stack:
        configs = [
            EngineProcessConfig(
                device,
                group.threads,
                model,
                canvas,
                tuple(cores[index]) if cores else (),
                group.devices.count(device),
            )
            for index, device in enumerate(group.devices)
        ]
        yield [stack.enter_context(EngineProcess(config)) for config in configs]


def ask_all(processes: Sequence[EngineProcess], task: str, **options: Any) -> tuple[float, list[dict[str, Any]]]:
    """Start a task in all processes at once; return the seconds until the last one has answered, and the answers."""
    started = time.perf_counter()
    for process in processes:
        process.send(task, **options)
    answers = [process.receive() for process in processes]
    return time.perf_counter() - started, answers
