"""How much is measured: sizes and numbers of the full and of the quick run."""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, int]
"""Width and height in pixels."""

ARTICLE_SIZES: tuple[Size, ...] = ((800, 800), (1200, 1200), (1920, 1080))
"""Those of tables 1 and 2 of the reference article."""
HD: Size = (1920, 1080)
FORMATS = ("JPEG", "PNG", "WEBP")


@dataclass(frozen=True)
class Workload:
    """Sizes and numbers of everything that is measured; each section of the report states those that it used."""

    name: str
    sizes: tuple[Size, ...] = ARTICLE_SIZES
    """Pictures of tables 1 and 2."""
    hd: Size = HD
    """Pictures of table 3, and of the sections about stages, the daemon and the roofline."""
    square: Size = ARTICLE_SIZES[0]
    """Pictures of table 4 and of the sections about sweeps and processes."""
    distinct: int = 16
    """Number of different photos; where more files are needed, these repeat."""
    repeats: int = 7
    folder_images: int = 500
    """Table 3: images in the folder."""
    folder_batch: int = 8
    """Table 3: images in a batch."""
    daemon_images: int = 300
    """Images for each group of devices that is compared with the throughput ceiling."""
    daemon_rounds: int = 3
    """How often ceiling and daemon take turns; odd, so that one round has the median."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Table 4: batch sizes."""
    batch_images: int = 128
    """Table 4: images for each batch size, on all devices together."""
    stage_sizes: tuple[Size, ...] = ((640, 360), (1280, 720), HD, (2560, 1440), (3840, 2160), (6000, 4000))
    stage_batch: int = 4
    sweep_batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    canvases: tuple[int, ...] = (192, 256, 320, 448, 640, 768)
    cutouts: int = 50
    cutout_sizes: tuple[Size, ...] = (HD, (1080, 1920), (1200, 1200), (800, 800), (2000, 1500))
    cascade_images: int = 40
    """Pictures for each model alone, and for both."""
    process_images: int = 64
    process_repeats: int = 5
    simulated: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of simulated devices."""
    simulated_images: int = 150
    """Images for each simulated device."""
    simulated_delay: float = 0.1
    """Seconds that a simulated device takes for an image."""
    overhead_jobs: int = 2000
    api_clients: tuple[int, ...] = (1, 8, 32)
    """Numbers of clients that call at the same time."""
    api_requests: int = 50
    """Calls at least; a quarter of that for each client."""
    api_backlog: int = 400
    """Images that wait behind the calls."""


FULL = Workload("full")
QUICK = Workload(
    "quick",
    distinct=4,
    repeats=3,
    folder_images=20,
    daemon_images=60,
    daemon_rounds=1,
    batch_images=8,
    stage_sizes=((960, 540), HD, (3840, 2160)),
    stage_batch=2,
    sweep_batches=(1, 4, 16),
    canvases=(256, 320, 512),
    cutouts=8,
    cutout_sizes=(HD, (800, 800), (720, 1280), (640, 640)),
    cascade_images=7,
    process_images=12,
    process_repeats=2,
    simulated_images=25,
    overhead_jobs=500,
    api_requests=10,
    api_backlog=100,
)


def size_label(size: Size) -> str:
    """A size as the reference article writes it, such as `1920x1080`."""
    return f"{size[0]}x{size[1]}"
