"""How often an image's pixels are copied, as docs/design.md states."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.codec import decode, encode
from inference.device.thread import upload
from inference.device.transfers import Transfers
from inference.foreground.reference import cut_out
from inference.picture import Cutout, Picture
from tests.equipment.encoded_pictures import cutout, saved

WIDTH, HEIGHT = 1600, 1200
PIXELS = WIDTH * HEIGHT


@pytest.fixture(scope="module")
def drawn() -> NDArray[np.uint8]:
    """H x W x 4."""
    return cutout(WIDTH, HEIGHT)


def peak(work: Callable[[], object]) -> int:
    """Peak memory in bytes that Python and numpy allocate while this runs."""
    work()  # allocates what is cached
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_jpeg_is_decoded_into_its_only_copy(drawn: NDArray[np.uint8]) -> None:
    data = saved(np.ascontiguousarray(drawn[..., :3]), "JPEG", quality=90)
    assert 3 * PIXELS <= peak(lambda: decode(data)) < 3.2 * PIXELS


def test_a_jpeg_can_be_decoded_to_the_memory_of_its_cut_out(drawn: NDArray[np.uint8]) -> None:
    data = saved(np.ascontiguousarray(drawn[..., :3]), "JPEG", quality=90)
    assert 4 * PIXELS <= peak(lambda: decode(data, rgbx=True)) < 4.2 * PIXELS
    picture, cpu = decode(data, rgbx=True), Transfers(torch.device("cpu"))
    assert peak(lambda: upload(picture, cpu)) < PIXELS / 10
    assert picture.rgbx is not None and upload(picture, cpu).data_ptr() == picture.rgbx.ctypes.data


def test_the_upload_is_the_copy_that_becomes_the_cut_out(drawn: NDArray[np.uint8]) -> None:
    picture, alpha = Picture(np.ascontiguousarray(drawn[..., :3])), torch.from_numpy(drawn[..., 3].copy())
    assert 4 * PIXELS <= peak(lambda: upload(picture, Transfers(torch.device("cpu")))) < 4.2 * PIXELS
    uploaded = upload(picture, Transfers(torch.device("cpu")))
    assert peak(lambda: cut_out(uploaded, alpha)) < PIXELS


def test_encoding_holds_a_stripe_and_the_file(drawn: NDArray[np.uint8]) -> None:
    shown = drawn * (drawn[..., 3:] > 0)
    file = len(encode(Cutout(shown)))
    assert peak(lambda: encode(Cutout(shown))) < 2 * file + (3 << 19)
