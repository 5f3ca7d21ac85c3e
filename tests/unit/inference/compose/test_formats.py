"""Each output format as another program reads it: ImageMagick, libwebp, libtiff, libavif and exiftool."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inference.codec.png import encode_png_of_any_depth
from inference.compose import OutputSpec, SourceMetadata, compose
from inference.errors import OutputDoesNotFit
from tests.equipment.composing import TEXT, block, disc, made, opened
from tests.equipment.encoded_pictures import far, noise
from tests.equipment.requirements import require_program

MAGICK = "magick" if shutil.which("magick") else "convert"
"""ImageMagick's command, which was `convert` before version 7."""
PACKAGES = {
    MAGICK: "imagemagick",
    "dwebp": "webp",
    "webpinfo": "webp",
    "tiffinfo": "libtiff-tools",
    "avifdec": "libavif-bin",
    "exiftool": "libimage-exiftool-perl",
}
RIGHTS = {0x8298: "(c) 2026 Käse GmbH".encode().decode("latin-1"), 0x013B: "Ann Artist"}
"""As Pillow reads UTF-8, which it takes for Latin-1."""
SOURCE = SourceMetadata(dpi=(300.0, 300.0), exif=RIGHTS)
WITH_ALPHA: list[dict[str, Any]] = [
    {"exif": "rights"},
    {"format": "webp", "lossless": True},
    {"format": "webp"},
    {"format": "tiff"},
    {"format": "avif"},
]
ON_WHITE: list[dict[str, Any]] = [
    *[options | {"background": "white"} for options in WITH_ALPHA],
    {"format": "jpeg", "background": "white"},
]
MASKS: list[dict[str, Any]] = [{"content": "mask", "format": name} for name in ("png", "webp", "jpeg", "tiff", "avif")]


KINDS = [*WITH_ALPHA, *ON_WHITE, *MASKS]


def run(program: str, *arguments: object) -> str:
    """Run a program of the system's packages and return what it prints; its warnings fail the test."""
    require_program(program, f"make services, or apt-get install {PACKAGES[program]}")
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0 and not done.stderr, f"{program}: {done.stdout}{done.stderr}"
    return done.stdout


def written(folder: Path, name: str = "out", **options: Any) -> Path:
    spec = OutputSpec(**options)
    path = folder / f"{name}{spec.format.suffix}"
    path.write_bytes(compose(disc(), spec, SOURCE, TEXT).data)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each kind, by its options."""
    folder = tmp_path_factory.mktemp("kinds")
    return {str(options): written(folder, str(index), **options) for index, options in enumerate(KINDS)}


@pytest.fixture(scope="module")
def by_magick(files: dict[str, Path]) -> dict[str, NDArray[np.uint8]]:
    """Each file as ImageMagick decodes it, H x W x 4; one process for all of them."""
    outputs = [["(", path, "-depth", "8", "-write", f"rgba:{path}.raw", "+delete", ")"] for path in files.values()]
    # -quiet: version 6 warns of any XMP in a WebP, whatever is in it.
    run(MAGICK, "-quiet", *(argument for output in outputs for argument in output), "xc:black", "null:")
    raws = {name: Path(f"{path}.raw").read_bytes() for name, path in files.items()}
    return {name: np.frombuffer(raw, np.uint8).reshape(90, 120, 4) for name, raw in raws.items()}


@pytest.fixture(scope="module")
def by_exiftool(files: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """What exiftool reads of each file, by group and tag; one process for all of them."""
    report = json.loads(run("exiftool", "-q", "-json", "-G1", "-a", "-validate", "-warning", "-all", *files.values()))
    return dict(zip(files, report, strict=True))


# Version 6 of ImageMagick does not read the alpha of an AVIF; avifdec does, below.
@pytest.mark.parametrize("options", WITH_ALPHA[:-1], ids=str)
def test_imagemagick_sees_the_same_transparent_pixels(options: dict[str, Any], by_magick: dict[str, NDArray[np.uint8]]):
    pixels, subject = by_magick[str(options)], disc().pixels
    lossy = OutputSpec(**options).is_lossy
    opaque, hidden = subject[..., 3] == 255, subject[..., 3] == 0
    assert far(pixels[..., 3], subject[..., 3]) <= (12 if lossy else 0)
    assert far(pixels[opaque], subject[opaque]) <= (60 if lossy else 0)
    assert np.abs(pixels[opaque].astype(int) - subject[opaque]).mean() <= 4
    assert lossy or not pixels[hidden].any()


@pytest.mark.parametrize("options", ON_WHITE, ids=str)
def test_imagemagick_sees_the_same_opaque_pixels(options: dict[str, Any], by_magick: dict[str, NDArray[np.uint8]]):
    pixels = by_magick[str(options)]
    expected = opened(made(disc(), background="white"))
    assert (pixels[..., 3] == 255).all()
    assert far(pixels[:8, :, :3], expected[:8]) <= (2 if OutputSpec(**options).is_lossy else 0)
    assert np.abs(pixels[..., :3].astype(int) - expected).mean() <= 2


@pytest.mark.parametrize("options", MASKS, ids=str)
def test_imagemagick_sees_a_mask(options: dict[str, Any], by_magick: dict[str, NDArray[np.uint8]]):
    expected = disc().pixels[..., 3:].repeat(3, axis=2)
    assert far(by_magick[str(options)][..., :3], expected) <= (40 if OutputSpec(**options).is_lossy else 0)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_exiftool_finds_size_rights_resolution_and_text(
    options: dict[str, Any], by_exiftool: dict[str, dict[str, Any]]
):
    facts = by_exiftool[str(options)]
    values = {name.partition(":")[2]: value for name, value in facts.items()}
    is_png = values["FileType"] == "PNG"
    assert (values["ImageWidth"], values["ImageHeight"]) == (120, 90)
    assert (values["Copyright"], values["Artist"]) == ("(c) 2026 Käse GmbH", "Ann Artist")
    assert (values["XResolution"], values["YResolution"]) == (300, 300)
    assert "Orientation" not in values
    assert is_png or options.get("content") == "mask" or values["ProfileDescription"] == "sRGB"
    assert values["Alphadropjob" if is_png else "Job"] == TEXT["alphadrop:job"]
    assert not is_png or values["PixelsPerUnitX"] == 11811
    # exiftool knows no compression of a TIFF but those of cameras, and asks of a JPEG where its chroma samples lie.
    harmless = ("0x0103 Compression", "0x0213 YCbCrPositioning")
    assert values["Validate"] == "OK" or values["Warning"].endswith(harmless), facts


def test_webpinfo_and_dwebp_accept_a_webp(tmp_path: Path):
    path = written(tmp_path, format="webp", lossless=True)
    report = run("webpinfo", path)
    assert "No error detected." in report
    assert all(f"Chunk {name}" in report for name in ("VP8X", "ICCP", "VP8L", "EXIF", "XMP"))
    run("dwebp", "-quiet", path, "-o", tmp_path / "again.png")
    again = np.asarray(Image.open(tmp_path / "again.png"))
    assert np.array_equal(again[..., 3], disc().pixels[..., 3])


def test_tiffinfo_accepts_a_tiff_of_each_kind(tmp_path: Path):
    report = run("tiffinfo", "-D", written(tmp_path, format="tiff"))
    for line in ("120 Image Length: 90", "Bits/Sample: 8", "AdobeDeflate", "unassoc-alpha", "Resolution: 300, 300"):
        assert line in report
    assert "min-is-black" in run("tiffinfo", "-D", written(tmp_path, format="tiff", content="mask"))
    colours = noise(90, 120, 3).astype(np.uint16) * 257
    spec = OutputSpec.model_validate({"format": "tiff", "depth": 16, "trim": True})
    path = tmp_path / "deep.tif"
    path.write_bytes(compose(disc(), spec, SourceMetadata(deep=colours), TEXT).data)
    assert "Bits/Sample: 16" in run("tiffinfo", "-D", path)


def test_avifdec_accepts_an_avif(tmp_path: Path):
    path = written(tmp_path, format="avif")
    report = run("avifdec", "--info", path)
    for line in ("Resolution     : 120x90", "Format         : YUV444", "Alpha          : Not premultiplied"):
        assert line in report
    run("avifdec", path, tmp_path / "again.png")
    again, subject = np.asarray(Image.open(tmp_path / "again.png")), disc().pixels
    assert np.array_equal(again[..., 3], subject[..., 3]), "the matte is stored without loss"
    assert far(again[subject[..., 3] == 255], subject[subject[..., 3] == 255]) <= 40


def test_imagemagick_reads_16_bits(tmp_path: Path):
    pixels = np.arange(90 * 120 * 3, dtype=np.uint16).reshape(90, 120, 3) * 2
    path = tmp_path / "deep.png"
    path.write_bytes(encode_png_of_any_depth(pixels))
    run(MAGICK, path, "-depth", 16, "-endian", "LSB", f"rgb:{tmp_path / 'raw'}")
    assert np.array_equal(np.frombuffer((tmp_path / "raw").read_bytes(), "<u2").reshape(pixels.shape), pixels)


@pytest.mark.parametrize("options", [*WITH_ALPHA, *ON_WHITE, *MASKS], ids=str)
def test_identical_input_gives_identical_bytes(options: dict[str, Any]):
    first, second = (compose(disc(), OutputSpec(**options), SOURCE, TEXT).data for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_the_quality_falls_until_the_file_fits(name: str):
    subject = disc(200, 200, 90)
    subject.pixels[..., :3] = noise(200, 200, 3)
    whole = len(made(subject, format=name, background="white").data)
    limit = whole * 2 // 3
    fitting = made(subject, format=name, background="white", max_bytes=limit).data
    assert limit // 2 < len(fitting) <= limit
    with pytest.raises(OutputDoesNotFit, match=r"at quality 20, the limit is 500; set a smaller max_side"):
        made(subject, format=name, background="white", max_bytes=500)


def test_without_loss_a_file_that_is_too_large_is_refused_by_name():
    with pytest.raises(OutputDoesNotFit, match=r"bytes without loss, the limit is 100; choose jpeg, webp or avif"):
        made(disc(), max_bytes=100)
    assert len(made(disc(), max_bytes=100_000).data) <= 100_000


def test_an_output_that_its_format_cannot_hold_is_refused_by_name():
    wide = block(20_000, 1, (5, 0, 10, 1))
    with pytest.raises(OutputDoesNotFit, match=r"20000 x 1 pixels and WEBP holds 16383 a side; set max_side = 16383"):
        made(wide, format="webp")
    assert made(wide, format="webp", max_side=16_383).width == 16_383


def test_a_resolution_of_the_settings_wins_over_the_sources():
    for name in ("jpeg", "tiff", "png"):
        data = made(disc(), SOURCE, format=name, dpi=72, background="white").data
        assert Image.open(io.BytesIO(data)).info["dpi"] == pytest.approx((72, 72), abs=0.01)
