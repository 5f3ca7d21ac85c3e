"""How much is measured: in full, or quickly; and what everything that measures is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from watcher.commands.bench.children import Setup
from watcher.commands.bench.pictures import photos

Size = tuple[int, int]
"""Width and height in pixels."""

ARTICLE_SIZES: tuple[Size, ...] = ((800, 800), (1200, 1200), (1920, 1080))
"""Those of the seed article's tables 1 and 2."""
HD: Size = (1920, 1080)
FORMATS = ("JPEG", "PNG", "WEBP")


@dataclass(frozen=True)
class Plan:
    """Sizes and numbers; every section says which of them it used."""

    name: str
    sizes: tuple[Size, ...] = ARTICLE_SIZES
    hd: Size = HD
    square: Size = ARTICLE_SIZES[0]
    """The pictures of the article's tables 1 to 4."""
    distinct: int = 16
    """So many different photos; where more are needed, they come again."""
    repeats: int = 7
    folder_images: int = 500
    folder_batch: int = 8
    """Table 3: so many images in batches of so many."""
    daemon_images: int = 300
    """For each setup that is held against the ceiling."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    batch_images: int = 128
    """Table 4: images for each batch size, of all devices together."""
    stage_sizes: tuple[Size, ...] = ((640, 360), (1280, 720), HD, (2560, 1440), (3840, 2160), (6000, 4000))
    stage_batch: int = 4
    sweep_batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    canvases: tuple[int, ...] = (192, 256, 320, 448, 640, 768)
    cutouts: int = 50
    cutout_sizes: tuple[Size, ...] = (HD, (1080, 1920), (1200, 1200), (800, 800), (2000, 1500))
    process_images: int = 64
    process_repeats: int = 5
    simulated: tuple[int, ...] = (1, 2, 4, 8)
    simulated_images: int = 150
    """For each simulated device."""
    simulated_delay: float = 0.1
    overhead_jobs: int = 2000


FULL = Plan("full")
QUICK = Plan(
    "quick",
    distinct=4,
    repeats=3,
    folder_images=20,
    daemon_images=60,
    batch_images=8,
    stage_sizes=((960, 540), HD, (3840, 2160)),
    stage_batch=2,
    sweep_batches=(1, 4, 16),
    canvases=(256, 320, 512),
    cutouts=8,
    cutout_sizes=(HD, (800, 800), (720, 1280), (640, 640)),
    process_images=12,
    process_repeats=2,
    simulated_images=25,
    overhead_jobs=500,
)


@dataclass(frozen=True)
class Bench:
    """What is measured on, with what, and who is told how far it has come."""

    plan: Plan
    setups: tuple[Setup, ...]
    """One device, then several."""
    model: str
    canvas: int | None
    cores: float
    work: Path
    """A folder for what is only needed meanwhile."""
    say: Callable[[str], None] = field(default=lambda text: None)

    def photos(self, size: Size, count: int = 0, format: str = "JPEG") -> list[str]:
        """Photos of that size as files; `plan.distinct` of them unless another number is given."""
        self.say(f"drawing {size[0]} x {size[1]} photos")
        return [str(path) for path in photos(self.work / "photos", size, count or self.plan.distinct, format)]

    @property
    def on_cpu(self) -> bool:
        """Whether the devices share the cores with everything else."""
        return all(device == "cpu" for setup in self.setups for device in setup.devices)

    @property
    def whole_cores(self) -> int:
        """At least 1."""
        return max(1, int(self.cores))

    @property
    def one(self) -> Setup:
        """The setup of one device."""
        return self.setups[0]


def name(size: Size) -> str:
    """As the article writes it."""
    return f"{size[0]}x{size[1]}"
