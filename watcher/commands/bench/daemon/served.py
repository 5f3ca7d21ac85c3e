"""Runs `alphadrop run --api` and asks it over HTTP."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from watcher.commands.bench.daemon.run_once import clean_environment
from watcher.commands.bench.process_monitor import CommandFailed
from watcher.core.python import python

START_TIMEOUT = 300.0
"""Seconds in which a worker must be ready."""
REQUEST_TIMEOUT = 600.0
_POLL = 0.1


@dataclass(frozen=True)
class ServedDaemon:
    """A daemon that serves its API on this machine."""

    source: Path
    port: int

    def status(self) -> dict[str, Any]:
        """What GET /v1/status says."""
        with closing(self.connect()) as connection:
            connection.request("GET", "/v1/status")
            status: dict[str, Any] = json.loads(connection.getresponse().read())
            return status

    def connect(self) -> HTTPConnection:
        """A connection for several requests."""
        return HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_TIMEOUT)


@contextmanager
def served_daemon(work: Path, flags: Sequence[str]) -> Iterator[ServedDaemon]:
    """Run the daemon on an empty source below `work`; killed at the end. Raises CommandFailed if it does not start."""
    source = work / "in"
    source.mkdir(parents=True)
    command = python("-m", "watcher", "run", str(source), str(work / "out"), "--state", str(work / "state"))
    serving = ["--api", "--http", "127.0.0.1:0", "--log-format", "json", "--log-level", "info"]
    log = work / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *serving, *flags], env=clean_environment(), cwd=work, stderr=output)
        try:
            yield ServedDaemon(source, _port(process, log))
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:  # images of the backlog are in flight
                process.terminate()  # the second signal ends it at once
                process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port, once a worker is ready."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in log.read_bytes().splitlines(keepends=True) if line.endswith(b"}\n")]
        events = {line["event"]: line for line in lines}
        if "worker_ready" in events:
            return int(events["serving"]["address"].rpartition(":")[2])
        if process.poll() is not None:
            break
        time.sleep(_POLL)
    raise CommandFailed(f"the daemon did not become ready: {log.read_text('utf-8', 'replace')[-2000:]}")


@contextmanager
def kept_backlog(daemon: ServedDaemon, photos: Sequence[Path], images: int) -> Iterator[None]:
    """Keep at least this many images waiting: link photos into the source again and again."""
    stop, number = threading.Event(), 0

    def top_up() -> None:
        nonlocal number
        while not stop.wait(_POLL):
            if (daemon.status()["backlog"] or 0) < images:
                for _ in range(images):
                    photo = photos[number % len(photos)]
                    (daemon.source / f"batch-{number:06}{photo.suffix}").hardlink_to(photo)
                    number += 1

    thread = threading.Thread(target=top_up, name="backlog", daemon=True)
    thread.start()
    try:
        while (daemon.status()["backlog"] or 0) < images:
            time.sleep(_POLL)
        yield
    finally:
        stop.set()
        thread.join()
