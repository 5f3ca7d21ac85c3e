"""Runs a command and looks on: when it said what, and how much CPU time it and its children had used by then."""

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

PAUSE = 0.02
"""Seconds between two looks at the CPU time, which the system counts in steps of 0.01."""
_TICK = os.sysconf("SC_CLK_TCK")


class CommandFailed(Exception):
    """A command that was measured has failed; the message holds the end of what it said."""


@dataclass
class History:
    """What a command did. All times are by the monotonic clock of this process."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """When it wrote which JSON line; of an image, when that had ended."""
    looks: list[tuple[float, float, float]] = field(default_factory=list)
    """When it and its children, and when it alone, had used how many CPU seconds."""
    peak: int = 0
    """The most bytes of main memory that one of its processes held."""
    code: int = 0
    rest: list[str] = field(default_factory=list)
    """Lines that were not JSON."""

    def times(self, event: str) -> list[float]:
        """When it wrote lines of this event."""
        return [at for at, fields in self.events if fields.get("event") == event]

    def lines(self, event: str) -> list[tuple[float, dict[str, Any]]]:
        """The lines of this event."""
        return [(at, fields) for at, fields in self.events if fields.get("event") == event]

    def cpu(self, begin: float, end: float, *, alone: bool = False) -> float:
        """CPU seconds between two moments, of all of it or of the first process alone."""
        return self._cpu_at(end, alone) - self._cpu_at(begin, alone)

    def _cpu_at(self, moment: float, alone: bool) -> float:
        """Interpolated between the two looks around it."""
        times = [look[0] for look in self.looks]
        right = min(len(times) - 1, max(1, bisect.bisect(times, moment)))
        (t0, *before), (t1, *after) = self.looks[right - 1], self.looks[right]
        share = min(1.0, max(0.0, (moment - t0) / (t1 - t0))) if t1 > t0 else 1.0
        return before[alone] + share * (after[alone] - before[alone])


def observe(command: Sequence[str], environment: Mapping[str, str], *, cwd: Path, cores: Sequence[int] = ()) -> History:
    """Run a command to its end, on these cores alone. Raises CommandFailed where its exit code is not 0."""
    history = History()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [*_bound(cores), *command], cwd=cwd, env=dict(environment), stdout=output, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr
        reader = threading.Thread(target=_read, args=(process.stderr, history), daemon=True, name="lines")
        reader.start()
        try:
            _look_on(process, history)
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stderr.close()
    if history.code:
        raise CommandFailed(f"exit code {history.code} of {' '.join(command[:4])} ...: " + "\n".join(history.rest[-8:]))
    return history


def _bound(cores: Sequence[int]) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []


def _read(stream: IO[str], history: History) -> None:
    for line in stream:
        now = time.monotonic()
        try:
            fields = json.loads(line)
        except ValueError:
            history.rest.append(line.rstrip())
        else:
            history.events.append((_moment(now, fields), fields))


def _moment(now: float, fields: Mapping[str, Any]) -> float:
    """When it happened: an image's line is written later, with those of others."""
    ended = fields.get("ended")
    return now - max(0.0, time.time() - ended) if ended else now


def _look_on(process: subprocess.Popen[str], history: History) -> None:
    """Until it ends. The last look counts what its ended children had used, as the system hands it to their parent."""
    everything = own = 0.0
    while True:
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        tree = _tree(process.pid)
        everything = max(everything, sum(cpu for cpu, _ in tree.values()))
        own = max(own, _own(process.pid))
        history.peak = max(history.peak, *(resident for _, resident in tree.values()), 0)
        history.looks.append((time.monotonic(), everything, own))
        if ended:  # and not waited for yet: its counts are still there
            history.code = process.wait()
            return
        time.sleep(PAUSE)


def _tree(root: int) -> dict[int, tuple[float, int]]:
    """By process, the root and all below: CPU seconds, with those of children that have ended, and resident bytes."""
    found, waiting = {}, [root]
    while waiting:
        pid = waiting.pop()
        fields = _stat(pid)
        if fields:
            found[pid] = (sum(map(int, fields[11:15])) / _TICK, int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
            waiting += _children(pid)
    return found


def _own(pid: int) -> float:
    fields = _stat(pid)
    return sum(map(int, fields[11:13])) / _TICK if fields else 0.0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, _text(path).split())
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, which may hold anything; empty where it has ended. See proc(5)."""
    return _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
