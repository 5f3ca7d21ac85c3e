"""Helpers for tests of several parts."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from watcher.core.python import python

ROOT = Path(__file__).parents[2]
STUCK = 600.0
"""Seconds after which a command is taken for stuck: far more than the slowest machine needs."""


def wait_until(predicate: Callable[[], object], timeout: float = 120.0, message: str = "", pause: float = 0.01) -> None:
    """Wait until `predicate` is true, or fail. The limit is for a stuck test, not a measure of speed.

    `pause` is the seconds between two looks: longer ones for looks that keep others from working.
    """
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(message or f"not true within {timeout} s: {predicate}")
        time.sleep(pause)


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Finished:
    """A command that has run to its end."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log lines."""
        return log_events(self.err)

    @property
    def outcomes(self) -> dict[str, str]:
        """The outcome of each image in this run, by key, from the log."""
        return {event["key"]: event["outcome"] for event in self.events if event["event"] == "image"}

    def words(self, first: str) -> list[str]:
        """The words of the first line of the output that begins with the word `first`; [] where there is none."""
        return next((line.split() for line in self.out.splitlines() if line.split()[:1] == [first]), [])


def log_events(text: str) -> list[dict[str, Any]]:
    """The JSON lines of a text."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


Call = Callable[..., Finished]
"""Runs a command within the process of the tests."""


def alphadrop(*arguments: object, cwd: Path | None = None, **variables: str) -> Finished:
    """Run the command as a process of its own, with `variables` and none of ours, and wait for its end."""
    return _finished(arguments, cwd, variables)


def alphadrop_as_user(*arguments: object, cwd: Path | None = None, **variables: str) -> Finished:
    """Run the command with file permissions applied to it, even if the tests run as root."""
    return _finished(arguments, cwd, variables, bind_by_permissions)


def _finished(
    arguments: Sequence[object],
    cwd: Path | None,
    variables: Mapping[str, str],
    prepare: Callable[[], None] | None = None,
) -> Finished:
    done = subprocess.run(
        python("-m", "watcher", *map(str, arguments)),
        cwd=cwd or ROOT,
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        timeout=STUCK,
        check=False,
        preexec_fn=prepare,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def bind_by_permissions() -> None:
    """Drop root's right to ignore file permissions; called in a new process before it executes another program."""
    libc = ctypes.CDLL(None)
    if os.geteuid() == 0 and any(libc.prctl(_CAPBSET_DROP, right, 0, 0, 0) for right in _IGNORING_PERMISSIONS):
        os._exit(126)


_CAPBSET_DROP, _IGNORING_PERMISSIONS = 24, (1, 2)
"""Numbers of prctl(2) and of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, capabilities(7)."""


@contextmanager
def daemon(*arguments: object, log: Path, command: str = "run", **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """`alphadrop run` (or another command) in the background, its log lines in a file; ended like a service is."""
    with (
        log.open("wb") as lines,
        subprocess.Popen(
            python("-m", "watcher", command, *map(str, arguments)),
            cwd=ROOT,
            env=clean_environment(**variables),
            stdout=lines,
            stderr=lines,
        ) as process,
    ):
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(STUCK)
        finally:
            process.kill()


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment without alphadrop's settings, and with wide tables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALPHADROP_")}
    return kept | {"COLUMNS": "250", "PYTHONPATH": str(ROOT)} | variables


def files_below(root: Path) -> set[str]:
    """The keys of all files below a folder, those in hidden and error folders too."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def identities(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and mtime of each file below a folder: they change when a file is rewritten, even with equal bytes."""
    status = {key: (root / key).stat() for key in files_below(root)}
    return {key: (found.st_ino, found.st_mtime_ns) for key, found in status.items()}


def error_records(sink: Path) -> dict[str, dict[str, Any]]:
    """The error records of a sink by the key of the image that they are about."""
    found = [json.loads(path.read_text("utf-8")) for path in (sink / "_failed").rglob("*.json")]
    return {record["key"]: record for record in found}


def peak_memory(pid: int | Literal["self"] = "self") -> int:
    """Peak resident set of a process in bytes; 0 if it has ended.

    The figure of `resource.getrusage` would begin with the peak of the process that started this one.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else 0
