"""Runs a command and records what it logs, and how much CPU time its process tree has used at any moment.

The process tree is read from /proc directly, not with psutil: its `children(recursive=True)` reads the state of every
process of the machine, which took 2.1 ms of CPU time per sample with 106 processes, where this takes 0.16 ms. At 50
samples a second that would be a tenth of a core that the measured command loses.
"""

from __future__ import annotations

import bisect
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

INTERVAL = 0.02
"""Seconds between two samples of the CPU time, which the kernel counts in steps of 0.01 s."""
_TICK = os.sysconf("SC_CLK_TCK")


class CommandFailed(Exception):
    """A measured command has failed; the message has the end of its output."""


@dataclass
class CommandRecord:
    """What a command logged and used. All times are by the monotonic clock of this process."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """JSON lines with the time at which each was written or, for an image, at which it was finished."""
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    """Time, CPU seconds of the process tree until then, CPU seconds of the first process until then."""
    peak_rss: int = 0
    """Largest resident set of one of its processes, in bytes."""
    code: int = 0
    """Exit code."""
    other_output: list[str] = field(default_factory=list)
    """Lines that were not JSON."""

    def times(self, event: str) -> list[float]:
        """Times of the lines with this event."""
        return [at for at, fields in self.events if fields.get("event") == event]

    def lines(self, event: str) -> list[tuple[float, dict[str, Any]]]:
        """Times and fields of the lines with this event."""
        return [(at, fields) for at, fields in self.events if fields.get("event") == event]

    def cpu(self, begin: float, end: float, *, alone: bool = False) -> float:
        """CPU seconds between two times, of the process tree or of the first process alone."""
        return self._cpu_at(end, alone) - self._cpu_at(begin, alone)

    def _cpu_at(self, moment: float, alone: bool) -> float:
        """Interpolate between the two samples around a time."""
        times = [sample[0] for sample in self.samples]
        right = min(len(times) - 1, max(1, bisect.bisect(times, moment)))
        (t0, *before), (t1, *after) = self.samples[right - 1], self.samples[right]
        share = min(1.0, max(0.0, (moment - t0) / (t1 - t0))) if t1 > t0 else 1.0
        return before[alone] + share * (after[alone] - before[alone])


def monitor_command(
    command: Sequence[str], environment: Mapping[str, str], *, cwd: Path, cores: Sequence[int] = ()
) -> CommandRecord:
    """Run a command to its end, restricted to these cores. Raises CommandFailed where its exit code is not 0."""
    record = CommandRecord()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*_affinity(cores), *command],
            cwd=cwd,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        reader = threading.Thread(target=_read, args=(process.stderr, record), daemon=True, name="read-log")
        reader.start()
        try:
            _sample_until_exit(process, record)
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stderr.close()
    if record.code:
        output_end = "\n".join(record.other_output[-8:])
        raise CommandFailed(f"exit code {record.code} of {' '.join(command[:4])} ...: {output_end}")
    return record


def _affinity(cores: Sequence[int]) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []


def _read(stream: IO[str], record: CommandRecord) -> None:
    for line in stream:
        now = time.monotonic()
        try:
            fields = json.loads(line)
        except ValueError:
            record.other_output.append(line.rstrip())
        else:
            record.events.append((_event_time(now, fields), fields))


def _event_time(now: float, fields: Mapping[str, Any]) -> float:
    """When the event happened: lines of images are written later, several at a time."""
    finished = fields.get("finished_at")
    return now - max(0.0, time.time() - finished) if finished else now


def _sample_until_exit(process: subprocess.Popen[str], record: CommandRecord) -> None:
    """Sample until the command exits. The last sample includes children that it has waited for."""
    tree_cpu = own_cpu = 0.0
    while True:
        exited = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        tree = _process_tree(process.pid)
        tree_cpu = max(tree_cpu, sum(cpu for cpu, _ in tree.values()))
        own_cpu = max(own_cpu, _own_cpu(process.pid))
        record.peak_rss = max(record.peak_rss, *(resident for _, resident in tree.values()), 0)
        record.samples.append((time.monotonic(), tree_cpu, own_cpu))
        if exited:  # but not waited for yet, so its counts could still be read
            record.code = process.wait()
            return
        time.sleep(INTERVAL)


def _process_tree(root: int) -> dict[int, tuple[float, int]]:
    """CPU seconds, with those of children that were waited for, and resident bytes of a process and its descendants."""
    found, pending = {}, [root]
    while pending:
        pid = pending.pop()
        fields = _stat(pid)
        if fields:
            found[pid] = (sum(map(int, fields[11:15])) / _TICK, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
            pending += _children(pid)
    return found


def _own_cpu(pid: int) -> float:
    fields = _stat(pid)
    return sum(map(int, fields[11:13])) / _TICK if fields else 0.0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, _text(path).split())
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name, which may contain any character; empty if it is gone. See proc(5)."""
    return _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
