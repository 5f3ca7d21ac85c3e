"""Starts processes that measure, gives them tasks, and has several of them begin at the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from inference.device.environment import WORKER

ROOT = Path(__file__).parents[3]


class ChildDied(Exception):
    """A process that measured has ended; the message says how, with the end of what it said."""


@dataclass(frozen=True)
class Setup:
    """Devices that are measured together, a process on each; `threads` is each one's share of the cores."""

    name: str
    devices: tuple[str, ...]
    threads: int

    def __len__(self) -> int:
        return len(self.devices)


@dataclass(frozen=True)
class ChildConfig:
    """What a process measures on. `cores` are those that it may use, empty for all."""

    device: str
    threads: int
    model: str
    canvas: int | None = None
    cores: tuple[int, ...] = ()


class ChildProcess:
    """One process."""

    def __init__(self, config: ChildConfig) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115, closed at exit
        self._process = subprocess.Popen(
            [sys.executable, "-m", "watcher.commands.bench.engine.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=environment(),
        )
        self._say(asdict(config))

    def send(self, task: str, **options: Any) -> None:
        """Begin a task."""
        self._say({"task": task, **options})

    def receive(self) -> dict[str, Any]:
        """The answer. Raises ChildDied."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise ChildDied(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, task: str, **options: Any) -> dict[str, Any]:
        """Do a task and wait for it. Raises ChildDied."""
        self.send(task, **options)
        return self.receive()

    def _say(self, words: dict[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ChildDied(self._last_words()) from error

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        return f"exit code {code}: {said[-1] if said else 'without a word'}"

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
    """That of the workers; our packages are found wherever the process is started."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**WORKER, **os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables}


@contextmanager
def children(
    setup: Setup, model: str, canvas: int | None, cores: Sequence[Sequence[int]] = ()
) -> Iterator[list[ChildProcess]]:
    """A process on each device; `cores` names those that each may use."""
    with ExitStack() as stack:
        configs = [
            ChildConfig(device, setup.threads, model, canvas, tuple(cores[index]) if cores else ())
            for index, device in enumerate(setup.devices)
        ]
        yield [stack.enter_context(ChildProcess(config)) for config in configs]


def ask_all(processes: Sequence[ChildProcess], task: str, **options: Any) -> tuple[float, list[dict[str, Any]]]:
    """The same task for all at the same moment; the seconds until the last has answered, and the answers."""
    started = time.perf_counter()
    for process in processes:
        process.send(task, **options)
    answers = [process.receive() for process in processes]
    return time.perf_counter() - started, answers
