"""Section `api`: how long a synchronous call takes, alone and with a backlog of other images behind it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.daemon.run_once import OnceOptions
from watcher.commands.bench.daemon.served import ServedDaemon, kept_backlog, served_daemon
from watcher.commands.bench.process_monitor import CommandFailed
from watcher.commands.bench.report import Cell, Section, Table
from watcher.commands.bench.stats import number
from watcher.commands.bench.workload import size_label

_WAIT = "/v1/cutouts?wait=600"


@dataclass(frozen=True)
class Calls:
    """The calls of some clients, each of which sends the next picture when it has the last one."""

    clients: int
    backlog: bool
    seconds: tuple[float, ...]
    """Of each call, from the first byte sent to the last one received."""
    took: float
    """Seconds for all of them."""

    def quantile(self, share: float) -> float:
        """The shortest time that this share of the calls did not exceed.

        >>> Calls(1, False, (0.3, 0.1, 0.2), 1.0).quantile(0.5)
        0.2
        """
        return sorted(self.seconds)[max(0, math.ceil(share * len(self.seconds)) - 1)]


def measure(context: BenchContext) -> Section:
    """Ask a daemon with 1, 8 and 32 clients, first with nothing else to do, then with a backlog."""
    workload = context.workload
    photos = [Path(path) for path in context.photos(workload.hd)]
    pictures = [path.read_bytes() for path in photos]
    numbers = count()
    options = OnceOptions(",".join(context.groups[-1].devices), context.model, context.canvas)
    found: list[Calls] = []

    def next_picture() -> bytes:
        index = next(numbers)
        return with_comment(pictures[index % len(pictures)], f"call {index}")

    flags = [*options.flags, "--api-waits", str(max(workload.api_clients)), "--api-timeout", "600"]
    with served_daemon(context.folder / "api", flags) as daemon:
        ask(daemon, next_picture, 1, 1)  # until all is warm
        for backlog in (False, True):
            waiting = kept_backlog(daemon, photos, workload.api_backlog) if backlog else nullcontext()
            with waiting:
                for clients in workload.api_clients:
                    context.show(f"{clients} clients{', with a backlog in the queue' if backlog else ''}")
                    calls = max(workload.api_requests, clients * workload.api_requests // 4)
                    seconds, took = ask(daemon, next_picture, clients, calls)
                    found.append(Calls(clients, backlog, tuple(seconds), took))
    return _section(context, found)


def with_comment(jpeg: bytes, text: str) -> bytes:
    """The same JPEG with a comment: for the daemon it is another picture."""
    comment = text.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def ask(daemon: ServedDaemon, next_picture: Callable[[], bytes], clients: int, calls: int) -> tuple[list[float], float]:
    """Send this many pictures; returns the seconds of each call, and of all together. Raises CommandFailed."""
    seconds: list[float] = []
    problems: list[str] = []
    bodies = [next_picture() for _ in range(calls)]
    lock = threading.Lock()

    def client() -> None:
        with closing(daemon.connect()) as connection:
            while not problems:
                with lock:
                    if not bodies:
                        return
                    body = bodies.pop()
                began = time.perf_counter()
                connection.request("POST", _WAIT, body, {"content-type": "image/jpeg"})
                answer = connection.getresponse()
                data = answer.read()
                took = time.perf_counter() - began
                with lock:
                    seconds.append(took)
                    if answer.status != 200:
                        problems.append(f"status {answer.status}: {data[:300]!r}")

    began = time.perf_counter()
    threads = [threading.Thread(target=client, name=f"client-{index}") for index in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems or len(seconds) < calls:
        raise CommandFailed(f"a call failed: {problems[0] if problems else 'a connection broke off'}")
    return seconds, time.perf_counter() - began


def _section(context: BenchContext, found: Sequence[Calls]) -> Section:
    rows: list[tuple[Cell, ...]] = [
        (
            str(calls.clients),
            f"{context.workload.api_backlog:,} or more" if calls.backlog else "none",
            len(calls.seconds),
            *(1000 * calls.quantile(share) for share in (0.5, 0.95, 0.99)),
            len(calls.seconds) / calls.took,
        )
        for calls in found
    ]
    table = Table(
        name="api",
        title=f"POST {_WAIT.partition('?')[0]} with a time to wait, {size_label(context.workload.hd)} JPEGs",
        columns=("clients", "other images queued", "calls", "p50 ms", "p95 ms", "p99 ms", "their img/s"),
        rows=tuple(rows),
        note="Each client sends its next picture when it has the last one, so more clients wait longer for each other.",
    )
    with_backlog = [calls for calls in found if calls.backlog]
    findings = [
        f"With a backlog, {calls.clients} at a time: half of the calls take {number(calls.quantile(0.5))} s or less, "
        f"99 % of them {number(calls.quantile(0.99))} s or less."
        for calls in with_backlog
    ]
    return Section(
        key="api",
        title="Synchronous calls of the API",
        text=(
            "`alphadrop run --api` with its default settings. A call sends a picture, waits for its turn and gets the "
            "cut-out. Clients and daemon share the machine. Three of four images that a worker takes are uploads as "
            "long as any wait, so calls overtake the backlog, and wait only for images that are in flight already.",
        ),
        findings=tuple(findings),
        tables=(table,),
    )
