"""`python -m tests.torture.soak --images 200000`: one daemon, many small pictures, and what it holds meanwhile."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.equipment.daemon import Daemon, Folders, colour, photo
from tests.equipment.support import STUCK
from tests.torture.levels import Level

KINDS = 100
"""Different pictures; files of the same one are links to it."""
MOST_WAITING = 2000
"""Files that are put and have no output yet."""
FIRST_SHARE = 0.25
"""Of the images, before which memory may grow: caches and allocators fill."""
SLOPE_LIMIT = {"supervisor": 12.0, "worker": 12.0}
"""MiB that a process may grow for 100,000 images; the supervisor remembers each file of the source, in 35 bytes."""
MORE_DESCRIPTORS = 8


@dataclass
class Soak:
    """What was measured: after how many images which process held what."""

    images: int
    seconds: float = 0.0
    samples: dict[str, list[tuple[int, Level]]] = field(default_factory=dict)

    def add(self, done: int, process: str, level: Level | None) -> None:
        """Remember a sample."""
        if level is not None:
            self.samples.setdefault(process, []).append((done, level))

    def late(self, process: str) -> list[tuple[int, Level]]:
        """The samples after the first quarter."""
        return [(done, level) for done, level in self.samples[process] if done >= FIRST_SHARE * self.images]

    def slope(self, process: str) -> float:
        """MiB of resident memory for 100,000 images, by a straight line through the late samples."""
        done, rss = np.array([(done, level.rss / 2**20) for done, level in self.late(process)]).T
        return float(np.polyfit(done / 100_000, rss, 1)[0])

    @property
    def problems(self) -> list[str]:
        """What has grown more than it may."""
        return [*self._problems()]

    def _problems(self) -> Iterator[str]:
        for process, limit in SLOPE_LIMIT.items():
            levels = [level for _, level in self.late(process)]
            if self.slope(process) > limit:
                yield f"the {process} grows by {self.slope(process):.1f} MiB for 100,000 images"
            if levels[-1].descriptors > levels[0].descriptors + MORE_DESCRIPTORS:
                yield f"the {process} holds {levels[-1].descriptors} descriptors after {levels[0].descriptors}"
            if levels[-1].threads > levels[0].threads + MORE_DESCRIPTORS:
                yield f"the {process} has {levels[-1].threads} threads after {levels[0].threads}"

    def __str__(self) -> str:
        lines = [f"soak: {self.images:,} images in {self.seconds:.0f} s"]
        for process in SLOPE_LIMIT:
            first, last = self.late(process)[0][1], self.samples[process][-1][1]
            lines.append(
                f"{process}: {first.rss / 2**20:.0f} MiB after a quarter, {last.rss / 2**20:.0f} MiB at the end "
                f"({self.slope(process):+.1f} MiB for 100,000 images); descriptors {first.descriptors} and "
                f"{last.descriptors}, threads {first.threads} and {last.threads}"
            )
        return "; ".join(lines)


def soak(folders: Folders, images: int) -> Soak:
    """Put so many pictures while the daemon works, no faster than it can, and sample what it holds."""
    kinds = [folders.outside / f"{number}.png" for number in range(KINDS)]
    for number, path in enumerate(kinds):
        path.write_bytes(photo(colour(number)))
    result, started, put = Soak(images), time.monotonic(), 0
    with Daemon(folders, model="fake") as daemon:
        daemon.wait_until_ready()
        done = moved = 0
        while done < images:
            while put < min(images, done + MOST_WAITING):
                _link(folders, kinds, put)
                put += 1
            time.sleep(1)
            before, done = done, int(daemon.metric("alphadrop_images_processed_total", outcome="written"))
            moved = 0 if done > before else moved + 1
            assert moved < STUCK, f"nothing moves after {done} images"
            result.add(done, "supervisor", Level.of(daemon.process.pid))
            result.add(done, "worker", Level.of(daemon.workers()[0]))
        result.seconds = time.monotonic() - started
        assert daemon.stop() == 0
    assert sum(1 for _ in folders.sink.rglob("*.png")) == images
    return result


def _link(folders: Folders, kinds: Sequence[Path], number: int) -> None:
    path = folders.source / f"{number // 1000:03}" / f"{number % 1000:03}.png"
    path.parent.mkdir(exist_ok=True)
    path.hardlink_to(kinds[number % KINDS])


def main() -> int:
    """Print what was measured; exit code 1 if something grows."""
    parser = argparse.ArgumentParser("python -m tests.torture.soak", description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory(prefix="soak-") as top:
        result = soak(Folders.below(Path(top)), images)
    print(str(result).replace("; ", "\n"))
    print(*result.problems, sep="\n")
    return int(bool(result.problems))


if __name__ == "__main__":
    sys.exit(main())
