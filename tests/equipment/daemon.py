"""A daemon as its users see it: folders, signals, pages and log lines. It runs in a process group of its own."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import secrets
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tests.equipment.support import STUCK, bind_by_permissions, clean_environment, wait_until
from watcher.core.jobs import Rejection
from watcher.core.python import python
from watcher.protocol import STAGES
from watcher.queues import open_queue
from watcher.queues.base import QueueStats

SIZE = (48, 40)
"""Width and height of a coloured picture."""
BACKGROUND = (245, 245, 245)
_BOX = (12, 10, 36, 30)


@dataclass(frozen=True)
class Folders:
    """The folders of one daemon, all below one folder."""

    top: Path

    @classmethod
    def below(cls, top: Path) -> Folders:
        """Make the folders."""
        folders = cls(top)
        for path in (folders.source, folders.sink, folders.outside):
            path.mkdir(parents=True)
        return folders

    @property
    def source(self) -> Path:
        """The source, into which pictures are dropped."""
        return self.top / "source"

    @property
    def sink(self) -> Path:
        """The sink, in which cut-outs appear."""
        return self.top / "sink"

    @property
    def places(self) -> tuple[str, str]:
        """Source and sink, as the command takes them."""
        return str(self.source), str(self.sink)

    @property
    def outside(self) -> Path:
        """A folder on the same file system that is not watched."""
        return self.top / "outside"

    @property
    def state(self) -> Path:
        """The state folder, with queue and lock."""
        return self.top / "state"

    @property
    def log(self) -> Path:
        """The log lines of all daemons that worked here, one after the other."""
        return self.top / "log.jsonl"

    @property
    def _queue(self) -> Path:
        return self.state / "queue.sqlite"

    def stats(self) -> QueueStats:
        """A snapshot of the queue; an empty one before there is a queue."""
        if not self._queue.exists():
            return QueueStats()
        with closing(open_queue(f"sqlite://{self._queue}")) as queue:
            return queue.stats()

    def rejected(self) -> dict[str, Rejection]:
        """The rejected images, by key."""
        with closing(open_queue(f"sqlite://{self._queue}")) as queue:
            return {job.ref.key: rejection for job, rejection in queue.rejected()}

    def in_flight(self) -> int:
        """The number of pictures in flight."""
        return self.stats().in_flight

    def all_done(self) -> bool:
        """Whether no picture waits or is in flight, and at least one has finished."""
        stats = self.stats()
        return bool(stats.ended) and not stats.open

    def outputs(self) -> set[str]:
        """The keys of the outputs, complete or not."""
        return {path.relative_to(self.sink).as_posix() for path in self.sink.rglob("*.png")}

    def temporary(self) -> list[Path]:
        """Temporary files of writers, unfinished or left behind."""
        return [path for path in self.sink.rglob("*") if path.is_file() and path.suffix != ".png"]


class Daemon:
    """`with Daemon(folders, "--rescan", "3600") as daemon: ...`; killed at the end, unless it was stopped before."""

    def __init__(
        self, folders: Folders, *options: str, model: str = "fake", command: str = "run", **variables: str
    ) -> None:
        self.folders, self.command = folders, command
        self._seen: list[dict[str, Any]] = []
        self._log_at = folders.log.stat().st_size if folders.log.exists() else 0
        where = [*folders.places, "--state", str(folders.state)]
        serving = [] if command == "once" else ["--http", "127.0.0.1:0"]
        usual = ["--log-format", "json", "--model", model, *([] if command == "watch" else ["--devices", "cpu"])]
        with folders.log.open("ab") as log:
            self.process = subprocess.Popen(
                python("-m", "watcher", command, *where, *serving, *usual, *options),
                cwd=folders.top,
                env=clean_environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                process_group=0,
                preexec_fn=self._prepare,
            )

    @staticmethod
    def _prepare() -> None:
        """Called in the new process before it becomes the command."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self.kill_group()
        if kind is not None:
            lines = self.folders.log.read_text("utf-8").splitlines()
            print("The daemon's last log lines:", *lines[-40:], sep="\n")

    # What it says.

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """The log lines of this daemon and its workers so far: all, or those of one event."""
        with self.folders.log.open("rb") as log:
            log.seek(self._log_at)
            lines, newline, _ = log.read().rpartition(b"\n")
        self._log_at += len(lines) + len(newline)
        self._seen += [json.loads(line) for line in lines.splitlines() if line.startswith(b"{")]
        return [event for event in self._seen if name in ("", event["event"])]

    def outcomes(self, key: str) -> list[str]:
        """The outcomes of a picture, in their order."""
        return [event["outcome"] for event in self.events("image") if event["key"] == key]

    def written(self) -> Counter[str]:
        """How often each key's output was written."""
        return Counter(event["key"] for event in self.events("image") if event["outcome"] == "written")

    def get(self, path: str) -> tuple[int, str]:
        """GET a path; returns the status and the text."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    @property
    def port(self) -> int:
        """The port of the HTTP server; waits until the daemon has logged it."""
        self.until(lambda: self.events("serving"), "the daemon never served its pages")
        return int(self.events("serving")[0]["address"].rpartition(":")[2])

    def unready(self) -> dict[str, str]:
        """The parts that are not ready according to /readyz, with the reasons; empty when the daemon is ready."""
        status, text = self.get("/readyz")
        answer = json.loads(text)
        assert (status == 200) is answer["ready"] is (not answer["unready"])
        return {part["part"]: part["reason"] for part in answer["unready"]}

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that have these labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def stage_seconds(self) -> dict[str, float]:
        """Seconds spent so far, by stage."""
        return {stage: self.metric("alphadrop_stage_duration_seconds_sum", stage=stage) for stage in STAGES}

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self.process.pid).children() if _is_worker(child)]
        return []

    # What is done to it.

    def until(self, predicate: Callable[[], object], problem: str) -> None:
        """Wait for a condition, but fail at once if the daemon ends."""

        def happened() -> bool:
            if predicate():
                return True
            assert self.process.poll() is None, f"{problem}: the daemon has ended"
            return False

        wait_until(happened, STUCK, problem)

    def wait_until_ready(self) -> None:
        """Wait until the daemon is ready."""
        self.until(lambda: not self.unready(), "the daemon never became ready")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait until the daemon ends by itself; returns the exit code."""
        return self.process.wait(STUCK)

    def stop(self) -> int:
        """Stop the daemon gracefully; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill_group(self) -> None:
        """Kill supervisor and workers at once, as a power failure would."""
        with contextlib.suppress(ProcessLookupError):  # whoever is left of the group, after its leader's end too
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STUCK)
        wait_until(lambda: not group_lives(self.process.pid), STUCK, "a killed worker is still there")


class UsersDaemon(Daemon):
    """A daemon to which file permissions apply, even if the tests run as root."""

    @staticmethod
    def _prepare() -> None:
        bind_by_permissions()


def finish(folders: Folders, *options: str, model: str = "fake", **variables: str) -> Daemon:
    """Process everything that is left with `once`; returns the finished daemon, for its log and exit code."""
    with Daemon(folders, *options, model=model, command="once", **variables) as daemon:
        daemon.wait()
    return daemon


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def group_lives(group: int) -> bool:
    """Whether a process of the group exists and is no zombie."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return any(_group_of(pid) == group and is_running(pid) for pid in psutil.pids())


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "watcher.worker.process" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def colour(number: int) -> tuple[int, int, int]:
    """A colour of its own for each of 25,600 pictures, far from the background's."""
    return number % 160, number // 160 % 160, 40 + number * 7 % 100


def photo(rgb: tuple[int, int, int]) -> bytes:
    """A PNG with an object of that colour on a light background."""
    image = Image.new("RGB", SIZE, BACKGROUND)
    image.paste(rgb, _BOX)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def coloured(path: Path, rgb: tuple[int, int, int]) -> None:
    """Write such a picture atomically: beside its path, then renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    temporary.write_bytes(photo(rgb))
    temporary.replace(path)


def shows(path: Path, rgb: tuple[int, int, int]) -> bool:
    """Whether a file is a complete cut-out of a picture with that colour, by every pixel."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError):
        return False
    left, top, right, bottom = _BOX
    wanted = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    wanted[top:bottom, left:right] = (*rgb, 255)
    return pixels.shape == wanted.shape and bool((pixels == wanted).all())
