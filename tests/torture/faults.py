"""What goes wrong in a round: each fault begins, strikes while images are being made, and is over when it returns."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from random import Random

import psutil

from tests.equipment.daemon import Daemon, is_running
from tests.equipment.faulty import FaultyTcp
from tests.equipment.refusals import BROKEN, DENIED, EXPIRED, THROTTLED
from tests.equipment.support import STUCK, wait_until
from tests.torture.plans import DEVICE_TIMEOUT, Arrangement
from tests.torture.producer import Producer
from tests.torture.system import System, can_mount

STEPS = (
    "enqueue", "enqueued", "lease", "leased", "read", "read-done", "decode", "decoded", "infer", "inferred", "encode",
    "encoded", "put", "written", "renamed", "put-done", "forget-record", "record-forgotten", "acknowledge",
    "acknowledged", "record", "recorded", "reject", "rejected",
)  # fmt: skip
"""The steps of an image's path at which a process can be killed; see `saboteur`."""
REACHED = 8.0
"""Seconds that a kill waits for a process to come to its step."""
HANG = 2.0 * DEVICE_TIMEOUT
"""Seconds that the device hangs: longer than `--device-timeout`."""


@dataclass(frozen=True)
class Strike:
    """What a fault has to work with."""

    system: System
    producer: Producer
    random: Random

    def wait(self, least: float = 0.3, most: float = 1.5) -> None:
        """Let time pass."""
        time.sleep(self.random.uniform(least, most))

    @property
    def daemon(self) -> Daemon:
        """The daemon with workers, if there are two."""
        return [*self.system.daemons.values()][-1]

    @property
    def victims(self) -> list[int]:
        """The processes that hold images: workers and their supervisor."""
        return [self.daemon.process.pid, *self.daemon.workers()]

    @contextmanager
    def ordered(self, name: str, text: str = "") -> Iterator[None]:
        """The order stands inside the block."""
        path = self.system.orders / name
        path.write_text(text, "ascii")
        try:
            yield
        finally:
            path.unlink()


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong. It returns whether it could strike at all."""

    strike: Callable[[Strike], bool | None]
    family: str
    deaths: int = 0
    """Workers that may die of it while they have an image."""
    ends: bool = False
    """Whether daemons may end by it."""
    disk: str = ""
    """The folder that needs a file system of its own."""
    where: Callable[[Arrangement], bool] = lambda arrangement: True

    def fits(self, arrangement: Arrangement) -> bool:
        """Whether it can strike here."""
        return self.where(arrangement) and (not self.disk or _can_mount())


_can_mount = cache(can_mount)


# Processes.


def kill(whom: str, strike: Strike) -> bool:
    """Kill -9 at any moment."""
    strike.wait(0, 0.6)
    daemon, workers = strike.daemon, strike.daemon.workers()
    if whom == "worker":
        for pid in workers[:1]:
            os.kill(pid, signal.SIGKILL)
        return bool(workers)
    if whom == "supervisor":
        daemon.process.kill()
        daemon.process.wait()
    elif whom == "watch":
        next(iter(strike.system.daemons.values())).kill_group()
    else:
        daemon.kill_group()
    return True


def kill_at(step: str, strike: Strike) -> bool:
    """Kill -9 of a worker, its supervisor or both, at this step; at some steps, `worker` is the supervisor itself."""
    victim = strike.random.choice(("worker", "worker", "supervisor", "all"))
    done = strike.system.orders / f"done-{step}"
    done.unlink(missing_ok=True)
    if not _followed(strike, f"at-{step}", victim):
        return False
    wait_until(lambda: done.exists() and done.read_text("ascii").endswith("\n"), STUCK, f"nobody was killed at {step}")
    victim_pid = int(done.read_text("ascii"))
    wait_until(lambda: not is_running(victim_pid), STUCK, f"process {victim_pid}, killed at {step}, is still there")
    for daemon in strike.system.daemons.values():  # its end is known only once its last thread has ended
        if daemon.process.pid == victim_pid:
            daemon.process.wait(STUCK)
    return True


def freeze(strike: Strike) -> bool:
    """SIGSTOP of a worker or of everything, then SIGCONT."""
    frozen = strike.victims if strike.random.random() < 0.5 else strike.victims[1:2]
    with contextlib.ExitStack() as thawing:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
            thawing.callback(_signal, pid, signal.SIGCONT)
        strike.wait(0.5, 2.5)
    return bool(frozen)


def stop(number: signal.Signals, strike: Strike) -> None:
    """A signal that ends the daemon in good order."""
    strike.wait(0, 0.6)
    strike.daemon.signal(number)
    with contextlib.suppress(Exception):
        strike.daemon.process.wait(60)


def run_second(strike: Strike) -> bool:
    """A daemon with another state works on the same pair, and is killed: on this machine it would be refused.

    What it was writing is swept at the next start of any daemon.
    """
    with strike.system.second() as daemon:
        until = time.monotonic() + 3 * REACHED
        while not daemon.events("worker_ready") and daemon.process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        strike.wait(0.5, 2.5)
        struck = daemon.process.poll() is None
    stop(signal.SIGTERM, strike)
    return struck


# Disks and limits.


def fill(name: str, strike: Strike) -> bool:
    """The disk is full."""
    disk = strike.system.disks[name]
    assert disk
    try:
        full = _again(disk.fill)
        strike.wait(1, 3)
    finally:
        _again(disk.recover)
    return full


def use_up_inodes(strike: Strike) -> bool:
    """The sink has no place for one more file."""
    disk = strike.system.disks["sink"]
    assert disk
    try:
        full = _again(disk.use_up_inodes)
        strike.wait(1, 3)
    finally:
        _again(disk.recover)
    return full


def make_read_only(strike: Strike) -> bool:
    """The sink is mounted read-only."""
    disk = strike.system.disks["sink"]
    assert disk
    try:
        done = _again(lambda: disk.change("ro"))
        strike.wait(1, 3)
    finally:
        _again(disk.recover)
    return done


def unmount(strike: Strike) -> None:
    """The source's disk is gone: its mount point is an empty folder."""
    disk = strike.system.disks["source"]
    assert disk
    with strike.producer.held():
        disk.detach()
        try:
            strike.wait(0.5, 3)
        finally:
            disk.attach()


def rename_away(name: str, strike: Strike) -> bool:
    """A folder is renamed, and back; not where a disk is mounted, which cannot be renamed."""
    if strike.system.disks[name]:
        return False
    folder = strike.system.top / name
    away = folder.with_name(f"{name}-away")
    with strike.producer.held() if name == "source" else contextlib.nullcontext():
        folder.rename(away)
        try:
            strike.wait(1, 3)
        finally:
            away.rename(folder)
    return True


def delete_state(strike: Strike) -> None:
    """Somebody deletes the state folder under the running daemon."""
    strike.wait(0, 0.6)
    for path in (strike.system.top / "state").iterdir():
        path.unlink(missing_ok=True)
    with contextlib.suppress(Exception):
        strike.daemon.process.wait(60)


def slow_disk(strike: Strike) -> None:
    """Each fsync takes long."""
    with strike.ordered("slow-disk", str(strike.random.uniform(0.05, 0.5))):
        strike.wait(1, 3)


def limit(name: str, strike: Strike) -> bool:
    """A process may have no more descriptors, or no more memory, than it has."""
    victims = strike.victims[1:] if name == "memory" else strike.victims
    if not victims or not strike.daemon.events("started"):  # nobody expects Python itself to start like that
        return False
    pid = strike.random.choice(victims)
    kind = resource.RLIMIT_AS if name == "memory" else resource.RLIMIT_NOFILE
    try:
        process = psutil.Process(pid)
        now = process.memory_info().vms + (1 << 20) if name == "memory" else process.num_fds()
        before = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (now, before[1]))
    except (psutil.Error, ProcessLookupError):
        return False
    strike.wait(1, 2.5)
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, kind, before)
    return True


def set_clock(strike: Strike) -> None:
    """The wall clock jumps by minutes or days, and back."""
    shift = strike.random.choice((-1, 1)) * strike.random.choice((90, 4000, 86_400 * 3))
    with strike.ordered("clock", str(shift)):
        strike.wait(1, 3)


# The network.


def break_s3(strike: Strike) -> None:
    """A share of the requests to S3 fail in some way."""
    s3 = strike.system.s3
    assert s3
    s3.share = strike.random.uniform(0.1, 0.5)
    strike.wait(1, 3)
    s3.share = 0


def refuse_s3(strike: Strike) -> None:
    """S3 refuses every request."""
    s3 = strike.system.s3
    assert s3
    s3.refuse_all = strike.random.choice((BROKEN, DENIED, EXPIRED, THROTTLED))
    strike.wait(1, 3)
    s3.refuse_all = None


def break_broker(strike: Strike) -> None:
    """Requests to the broker fail, or its connections break."""
    broker = strike.system.broker
    assert broker
    broker.share = strike.random.uniform(0.1, 0.5)
    if isinstance(broker, FaultyTcp):
        broker.between_resets = 0.7
    strike.wait(1, 3)
    broker.share = 0
    if isinstance(broker, FaultyTcp):
        broker.between_resets = float("inf")


def cut_broker(strike: Strike) -> None:
    """Nobody reaches the broker."""
    broker = strike.system.broker
    assert broker
    if not isinstance(broker, FaultyTcp):
        broker.refuse_all = BROKEN
        strike.wait(1, 3)
        broker.refuse_all = None
        return
    broker.refuse()
    broker.cut()
    strike.wait(1, 3)
    broker.allow()


def freeze_broker(strike: Strike) -> None:
    """RabbitMQ neither answers nor hangs up."""
    with strike.system.services.rabbit.frozen():
        strike.wait(1, 4)


# The device.


def fill_device(strike: Strike) -> None:
    """The device's memory is full."""
    with strike.ordered("device-full"):
        strike.wait(0.5, 2)


def lose_device(strike: Strike) -> bool:
    """The device fails for good: only a new process can use it again."""
    return _followed(strike, "device-lost", "")


def hang_device(strike: Strike) -> bool:
    """The device never finishes its batch."""
    if not _followed(strike, "device-hang", str(HANG)):
        return False
    strike.wait(DEVICE_TIMEOUT, HANG)
    return True


def _followed(strike: Strike, name: str, text: str) -> bool:
    """Whether somebody has followed an order in time; it is withdrawn otherwise."""
    path = strike.system.orders / name
    path.write_text(text, "ascii")
    until = time.monotonic() + REACHED
    while path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    try:
        path.unlink()
    except FileNotFoundError:
        return True
    return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _again(attempt: Callable[[], bool]) -> bool:
    """Until it works: a mount cannot be changed while somebody writes."""
    until = time.monotonic() + 30
    while not (done := attempt()) and time.monotonic() < until:
        time.sleep(0.01)
    return done


def _embedded(arrangement: Arrangement) -> bool:
    return not arrangement.shared


def _keeps_sink(arrangement: Arrangement) -> bool:
    """Whether nobody starts meanwhile, who would make the folder again."""
    return not arrangement.sink_is_bucket and arrangement is not Arrangement.ONCE


def _folder_sink(arrangement: Arrangement) -> bool:
    return not arrangement.sink_is_bucket


def _folder_source(arrangement: Arrangement) -> bool:
    return not arrangement.source_is_bucket


def _uses_s3(arrangement: Arrangement) -> bool:
    return arrangement.source_is_bucket or arrangement.sink_is_bucket


def _shared(arrangement: Arrangement) -> bool:
    return arrangement.shared


def _rabbit(arrangement: Arrangement) -> bool:
    return arrangement in (Arrangement.AMQP, Arrangement.AMQP_FOLDERS)


def _run_only(arrangement: Arrangement) -> bool:
    return arrangement is Arrangement.RUN


FAULTS: Mapping[str, Fault] = {
    "kill a worker": Fault(partial(kill, "worker"), "kill", deaths=1),
    "kill the supervisor": Fault(partial(kill, "supervisor"), "kill", ends=True),
    "kill watch": Fault(partial(kill, "watch"), "kill", ends=True, where=_shared),
    "kill everything": Fault(partial(kill, "all"), "kill", ends=True),
    **{f"kill at {step}": Fault(partial(kill_at, step), "kill at a step", 1, ends=True) for step in STEPS},
    "freeze": Fault(freeze, "signals"),
    "hang up": Fault(partial(stop, signal.SIGHUP), "signals", ends=True),
    "terminate": Fault(partial(stop, signal.SIGTERM), "signals", ends=True),
    "second daemon": Fault(run_second, "second daemon", ends=True, where=_run_only),
    "sink full": Fault(partial(fill, "sink"), "disk", disk="sink", where=_folder_sink),
    "sink without inodes": Fault(use_up_inodes, "disk", disk="sink", where=_folder_sink),
    "sink read-only": Fault(make_read_only, "disk", disk="sink", where=_folder_sink),
    "queue's disk full": Fault(partial(fill, "state"), "disk", disk="state", where=_embedded),
    "state deleted": Fault(delete_state, "disk", ends=True, where=_embedded),
    "slow disk": Fault(slow_disk, "disk"),
    "source unmounted": Fault(unmount, "source", disk="source", where=_folder_source),
    "source renamed away": Fault(partial(rename_away, "source"), "source", where=_folder_source),
    "sink renamed away": Fault(partial(rename_away, "sink"), "disk", where=_keeps_sink),
    "no descriptors": Fault(partial(limit, "descriptors"), "limits", deaths=1),
    "no memory": Fault(partial(limit, "memory"), "limits", deaths=1),
    "clock set": Fault(set_clock, "clock"),
    "S3 breaks": Fault(break_s3, "network", where=_uses_s3),
    "S3 refuses": Fault(refuse_s3, "network", where=_uses_s3),
    "broker breaks": Fault(break_broker, "broker", where=_shared),
    "broker away": Fault(cut_broker, "broker", where=_shared),
    "broker frozen": Fault(freeze_broker, "broker", where=_rabbit),
    "device full": Fault(fill_device, "device"),
    "device lost": Fault(lose_device, "device", deaths=1),
    "device hangs": Fault(hang_device, "device", deaths=1),
}
