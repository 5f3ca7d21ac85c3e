"""What an output records of itself: in its file, whatever the format, and in the metadata of an object."""

from __future__ import annotations

import numpy as np
import pytest

from inference.compose import NO_METADATA, OutputSpec, compose
from inference.compose.values import Format
from inference.picture import Cutout
from watcher.core.jobs import Facts, ImageRef, Output
from watcher.stores.base import OutputInfo
from watcher.stores.output_metadata import (
    object_metadata,
    object_texts,
    output_text,
    read_box,
    read_object_metadata,
    read_output_info,
)

ONLY = Output("a" * 64, ImageRef("shoes/ä.jpg", "10-20", 5), "shoes/ä.png")
ONE_OF_SEVERAL = Output("a" * 64, ONLY.ref, "web/shoes/ä.webp", "b" * 64)
FACTS = Facts(0.25, (1, 2, 30, 40), "nano 123456789abc", '{"canvas":320,"output":{"background":"grün 50%.png"}}')


def made(format: Format, side: int = 300) -> bytes:
    spec = OutputSpec(format=format, background="white" if format is Format.JPEG else "none")
    pixels = np.random.default_rng(1).integers(0, 255, (side, side, 4), np.uint8)
    return compose(Cutout(pixels), spec, NO_METADATA, output_text(ONE_OF_SEVERAL, FACTS)).data


class Reader:
    """A file of which parts are read; counts the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.read = data, 0

    def __call__(self, offset: int, length: int) -> bytes:
        self.read += length
        return self.data[offset : offset + length]


def test_a_jobs_only_output_records_one_id_as_in_earlier_versions() -> None:
    assert output_text(ONLY) == {"alphadrop:job": "a" * 64, "alphadrop:source": "shoes/ä.jpg"}
    assert object_metadata(ONLY) == {
        "alphadrop-job": "a" * 64,
        "alphadrop-source": "shoes/%C3%A4.jpg",
        "alphadrop-version": "10-20",
    }


@pytest.mark.parametrize("output", [ONLY, ONE_OF_SEVERAL])
def test_an_object_says_the_same_as_its_file(output: Output) -> None:
    metadata = object_metadata(output, FACTS)
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    said = {name.removeprefix("alphadrop:"): text for name, text in output_text(output, FACTS).items()}
    assert object_texts(metadata | {"other": "x"}) == said | {"version": "10-20"}
    assert read_object_metadata(metadata, "etag") == OutputInfo("a" * 64, "shoes/ä.jpg", "etag")


@pytest.mark.parametrize(
    ("key", "left_out"),
    [("x.jpg", set()), ("ä" * 250 + "/x.jpg", {"alphadrop-options"}), ("ä" * 900, {"alphadrop-source"})],
)
def test_metadata_that_is_too_long_leaves_out_what_matters_least(key: str, left_out: set[str]) -> None:
    output = Output("a" * 64, ImageRef(key, "1", 1), "x", "b" * 64)
    metadata = object_metadata(output, Facts(0.5, (0, 0, 1, 1), "nano", "x" * 1000))
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048
    assert (metadata["alphadrop-job"], metadata["alphadrop-output"]) == ("b" * 64, "a" * 64)
    assert {"alphadrop-options", "alphadrop-source"} - metadata.keys() == left_out


@pytest.mark.parametrize("format", Format)
def test_the_ends_of_a_file_suffice(format: Format) -> None:
    reader = Reader(made(format))
    assert read_output_info(reader, len(reader.data)) == OutputInfo("a" * 64, "shoes/ä.jpg")
    assert reader.read < 40_000 < len(reader.data)


@pytest.mark.parametrize("format", [Format.PNG, Format.JPEG, Format.WEBP])
def test_a_file_that_is_broken_off_is_no_output(format: Format) -> None:
    whole = made(format, side=20)
    for size in (0, 5, len(whole) - 1):
        assert read_output_info(Reader(whole[:size]), size) in (None, OutputInfo(None, None))


def test_a_file_of_another_program_is_none_of_ours() -> None:
    for data in (b"GIF89a and more", b"\xff\xd8\xff\xd9", b"plain text"):
        assert read_output_info(Reader(data), len(data)) == OutputInfo(None, None)


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1,2,3,4,5", "-1,0,1,1"])
def test_a_box_that_makes_no_sense_is_none(text: str) -> None:
    assert read_box({"alphadrop:box": text}) is None
