"""The system under test: alphadrop's daemons, what they work on, and the services between."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.equipment.cluster import VISIBILITY, Buckets, new_sqs_queue
from tests.equipment.daemon import Daemon, group_lives
from tests.equipment.faulty import FaultyHttp, FaultyTcp
from tests.equipment.moto import CREDENTIALS, Moto, moto_server
from tests.equipment.rabbit import Rabbit, queue_name, running_rabbit
from tests.equipment.support import ROOT, STUCK
from tests.torture.levels import Level
from tests.torture.pictures import OUTPUT_OPTIONS
from tests.torture.places import Bucket, Folder, Place
from tests.torture.plans import DEVICE_TIMEOUT, Arrangement, Plan

SABOTEUR = Path(__file__).parent / "saboteur"
ORPHAN_SECONDS = 10.0
"""How long a process may outlive the daemon that it belonged to."""
FULL_SIZE = 64 << 20
"""Bytes of a small disk while it is not full."""


class Services:
    """Emulated AWS and a RabbitMQ node, each started when it is first asked for and shared by all rounds."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._starting = threading.Lock()
        self._node: Rabbit | None = None

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def use_rabbit(self, node: Rabbit) -> None:
        """Use a node that is running already."""
        self._node = node

    @property
    def rabbit(self) -> Rabbit:
        """The node."""
        with self._starting:
            if self._node is None:
                self._node = self._stack.enter_context(running_rabbit())
            return self._node

    @property
    def aws(self) -> Moto:
        """The server of buckets and queues."""
        with self._starting:
            return moto_server()


@dataclass
class Disk:
    """A small file system of its own for a folder, where this user may mount one."""

    path: Path
    behind: Path | None = None
    """Another folder that shows the same disk, so that it outlives being unmounted from `path`."""

    def mount(self) -> None:
        """Mount it over the folder."""
        if self.behind is None:
            _mount_small(self.path)
            return
        self.behind.mkdir()
        _mount_small(self.behind)
        self.attach()

    def attach(self) -> None:
        """Mount it over the folder again."""
        _command("mount", "--bind", self.behind, self.path)

    def detach(self) -> None:
        """Unmount it from the folder, whoever uses it."""
        _command("umount", "-l", self.path)

    def unmount(self) -> None:
        """Unmount it for good."""
        self.detach()
        if self.behind is not None:
            _command("umount", "-l", self.behind)

    def change(self, options: str) -> bool:
        """Mount it again with other options; False if that is not possible at present."""
        return subprocess.run(["mount", "-o", f"remount,{options}", self.path], capture_output=True).returncode == 0

    def fill(self) -> bool:
        """Leave no room at all."""
        status = os.statvfs(self.path)
        return self.change(f"size={(status.f_blocks - status.f_bfree) * status.f_frsize}")

    def use_up_inodes(self) -> bool:
        """Leave no place for one more file."""
        status = os.statvfs(self.path)
        return self.change(f"nr_inodes={status.f_files - status.f_ffree}")

    def recover(self) -> bool:
        """Make it writable, with room enough; False if that is not possible at present."""
        return self.change(f"rw,size={FULL_SIZE},nr_inodes=100000")


def can_mount() -> bool:
    """Whether this user may mount file systems."""
    return os.geteuid() == 0 and shutil.which("mount") is not None and _mounts_work()


@dataclass
class System:
    """The daemons of one round. `with System(...) as system: ...`"""

    plan: Plan
    top: Path
    services: Services
    small_disks: frozenset[str] = frozenset()
    """The folders that need a file system of their own: source, sink, state."""
    daemons: dict[str, Daemon] = field(default_factory=dict)
    """The present ones, by role."""
    ends: list[tuple[str, int]] = field(default_factory=list)
    """Role and exit code of each daemon that has ended."""
    started: list[Daemon] = field(default_factory=list)
    _reviving: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> System:
        self._stack = ExitStack()
        with contextlib.ExitStack() as until_done:
            until_done.callback(self._stack.close)
            self._prepare()
            until_done.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def _prepare(self) -> None:
        for folder in (self.orders, self.temporary):
            folder.mkdir(parents=True)
        self.disks = {name: self._disk(name) for name in ("source", "sink", "state")}
        arrangement = self.plan.arrangement
        self.s3 = self._s3() if arrangement.source_is_bucket or arrangement.sink_is_bucket else None
        self.source = self._place("source", "in/", arrangement.source_is_bucket)
        self.sink = self._place("sink", "out/", arrangement.sink_is_bucket)
        self.broker: FaultyHttp | FaultyTcp | None = None
        self.queue = ""
        if arrangement.shared:
            self.broker, self.queue = self._queue()

    def _disk(self, name: str) -> Disk | None:
        """A disk for that folder, if a fault needs one."""
        folder = self.top / name
        folder.mkdir()
        if name not in self.small_disks:
            return None
        disk = Disk(folder, self.top / "source-disk" if name == "source" else None)
        disk.mount()
        self._stack.callback(disk.unmount)
        return disk

    def _s3(self) -> FaultyHttp:
        return self._stack.enter_context(FaultyHttp(self.services.aws.port, self.plan.seed, share=0))

    @cached_property
    def _bucket(self) -> str:
        return self.services.aws.bucket()

    def _place(self, name: str, prefix: str, is_bucket: bool) -> Place:
        if is_bucket:
            return Bucket(self.services.aws.client(), self._bucket, prefix)
        return Folder(self.top / name)

    def _queue(self) -> tuple[FaultyHttp | FaultyTcp, str]:
        seed = self.plan.seed
        if self.plan.arrangement is Arrangement.SQS:
            sqs = self._stack.enter_context(FaultyHttp(self.services.aws.port, seed, share=0))
            return sqs, f"sqs://{new_sqs_queue(self.services.aws)}"
        tcp = self._stack.enter_context(FaultyTcp(self.services.rabbit.port, seed, share=0))
        return tcp, f"amqp://guest:guest@127.0.0.1:{tcp.port}/?queue={queue_name()}"

    @property
    def orders(self) -> Path:
        """The folder with the orders for `saboteur`."""
        return self.top / "orders"

    @property
    def temporary(self) -> Path:
        """The daemons' folder for temporary files."""
        return self.top / "tmp"

    @property
    def roles(self) -> tuple[str, ...]:
        """The commands that run."""
        if self.plan.arrangement.shared:
            return ("watch", "work")
        return ("once",) if self.plan.arrangement is Arrangement.ONCE else ("run",)

    # Starting and ending.

    def start(self, role: str, state: str = "state", *options: str, **variables: str) -> Daemon:
        """Start a daemon in that role; with its queue in another folder, if it is the second one."""
        top = self.top / (role if state == "state" else f"{role}-{state}")
        top.mkdir(exist_ok=True)
        folders = Buckets(top, (self.source.address, self.sink.address))
        options = (*self._options(role), f"--state={self.top / state}", *options)
        environment = self._environment() | variables
        daemon = Daemon(folders, *options, model=self.plan.model, command=role, **environment)
        self._stack.enter_context(daemon)
        self.started.append(daemon)
        return daemon

    def _options(self, role: str) -> Iterator[str]:
        plan = self.plan
        if plan.two_outputs:
            yield from OUTPUT_OPTIONS
        if role == "watch" or (role == "run" and not plan.arrangement.shared):
            yield from ("--rescan", str(min(plan.rescan, 2.0) if plan.arrangement.source_is_bucket else plan.rescan))
        if role != "watch" and "device hangs" in plan.faults:
            yield from ("--device-timeout", str(DEVICE_TIMEOUT))
        if role == "work":
            yield from ("--visibility", str(VISIBILITY))

    def _environment(self) -> dict[str, str]:
        variables = {
            "PYTHONPATH": f"{SABOTEUR}:{ROOT}",
            "TORTURE": str(self.orders),
            "TORTURE_MUTATION": self.plan.mutation,
            "TMPDIR": str(self.temporary),
            "ALPHADROP_TEST_HOOK": "kill:killer" if self.plan.mixture.killers else "",
            "ALPHADROP_QUEUE": self.queue,
        }
        if self.s3 is not None:
            sqs = self.broker.url if isinstance(self.broker, FaultyHttp) else self.s3.url
            variables |= {**CREDENTIALS, "AWS_ENDPOINT_URL_S3": self.s3.url, "AWS_ENDPOINT_URL_SQS": sqs}
        return variables

    def revive(self) -> list[tuple[str, int]]:
        """Start whatever has ended, as a service manager would; what had ended, with its exit code."""
        with self._reviving:
            return self._revive()

    def _revive(self) -> list[tuple[str, int]]:
        ended = []
        for role in self.roles:
            daemon = self.daemons.get(role)
            code = daemon.process.poll() if daemon else None
            if daemon is not None and code is None:
                continue
            if daemon is not None and code is not None:
                daemon.kill_group()
                ended.append((role, code))
            self.daemons[role] = self.start(role)
        self.ends += ended
        return ended

    @contextmanager
    def second(self) -> Iterator[Daemon]:
        """A second daemon on the same pair with a state of its own, as if on another machine."""
        here = {"TORTURE": os.devnull, "TORTURE_ANOTHER_MACHINE": "yes"}  # the orders are for the first one
        daemon = self.start("run", "state-2", "--http", "off", **here)
        try:
            yield daemon
        finally:
            daemon.kill_group()

    # Looking.

    def ready(self) -> bool:
        """Whether every daemon that has pages says that it is ready."""
        return all(self._is_ready(daemon) for daemon in self.daemons.values() if daemon.command != "once")

    @staticmethod
    def _is_ready(daemon: Daemon) -> bool:
        if daemon.process.poll() is not None or not daemon.events("serving"):
            return False
        try:
            return not daemon.unready()
        except (OSError, ValueError):
            return False

    def processes(self) -> dict[str, list[int]]:
        """The process ids by kind: supervisors by their role, and their workers."""
        found: dict[str, list[int]] = {}
        for role, daemon in self.daemons.items():
            if daemon.process.poll() is None:
                found[role] = [daemon.process.pid]
                found[f"{role} worker"] = daemon.workers()
        return found

    def levels(self) -> dict[str, Level]:
        """What the processes of each kind hold now, at the most."""
        levels: dict[str, Level] = {}
        for kind, pids in self.processes().items():
            for level in filter(None, map(Level.of, pids)):
                levels[kind] = level.max(levels[kind]) if kind in levels else level
        return levels

    def litter(self) -> list[str]:
        """Files and processes that no daemon should leave when it has stopped.

        A worker that was told to end, or killed, with its supervisor may need a moment more.
        """
        until = time.monotonic() + ORPHAN_SECONDS
        while (groups := [one.process.pid for one in self.started if group_lives(one.process.pid)]) and (
            time.monotonic() < until
        ):
            time.sleep(0.05)
        usual = {"lock", "queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm"}
        left = [f"in the state: {path.name}" for path in (self.top / "state").rglob("*") if path.name not in usual]
        left += [f"in the temporary folder: {path.name}" for path in self.temporary.iterdir()]
        if isinstance(self.sink, Folder):
            left += [f"in the sink: {name}" for name in self.sink.hidden()]
        return left + [f"process group {group}" for group in groups]


def _mount_small(folder: Path) -> None:
    _command("mount", "-t", "tmpfs", "-o", f"size={FULL_SIZE},nr_inodes=100000", "torture", folder)


def _command(*words: object) -> None:
    subprocess.run([*map(str, words)], check=True, capture_output=True, timeout=STUCK)


def _mounts_work() -> bool:
    """Tried once: a container may run as root without being allowed to mount."""
    disk = Disk(Path("/tmp") / f"torture-{os.getpid()}-{time.monotonic_ns()}")
    disk.path.mkdir()
    try:
        disk.mount()
        disk.unmount()
    except (subprocess.CalledProcessError, OSError):
        return False
    finally:
        disk.path.rmdir()
    return True
