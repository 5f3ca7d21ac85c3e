"""Each family's contract, in the engine: small files with its signature, whose correct alpha is the red channel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inference import BatchStats, Engine, EngineOptions, Picture
from inference.errors import ModelError
from inference.models.registry import resolve
from inference.models.thirdparty.contracts import CONTRACTS, LONGEST, canvas_for, warmup_canvases
from inference.models.thirdparty.known import KNOWN
from tests.equipment import onnx_files

Pixels = NDArray[np.uint8]
Write = Callable[[Path], Path]

FIXED: dict[str, Write] = {
    "u2net": onnx_files.u2net,
    "isnet": onnx_files.isnet,
    "birefnet": onnx_files.birefnet,
    "rmbg": lambda path: onnx_files.rmbg(path, batch=1),
    "modnet": lambda path: onnx_files.modnet(path, batch=1),
    "cvunet-modelscope": onnx_files.cvunet_modelscope,
}
DYNAMIC: dict[str, Write] = {
    "u2net": lambda path: onnx_files.u2net(path, batch="b"),
    "isnet": lambda path: onnx_files.isnet(path, batch="b"),
    "birefnet": lambda path: onnx_files.birefnet(path, batch="b"),
    "rmbg": onnx_files.rmbg,
    "modnet": onnx_files.modnet,
}
CASES = [(name, 1, write) for name, write in FIXED.items()] + [(name, 0, write) for name, write in DYNAMIC.items()]


def slope(red: int = 230, height: int = 240, width: int = 320) -> Picture:
    """A gradient of red that survives resizing to a canvas; the other channels differ."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(20, red, width)[None]
    pixels[..., 1] = np.linspace(90, 10, height)[:, None]
    pixels[..., 2] = 130
    return Picture(pixels)


def alpha(engine: Engine, picture: Picture) -> NDArray[np.int16]:
    return engine.submit(picture).result().pixels[..., 3].astype(np.int16)


def right(picture: Picture, name: str) -> NDArray[np.floating]:
    """The correct alpha: the red channel, divided by the picture's maximum if the contract does that."""
    highest = picture.pixels.max() if name == "u2net" else 255
    return picture.pixels[..., 0] * (255 / highest)


@pytest.mark.parametrize(
    ("name", "batch", "write"), CASES, ids=[f"{name}-{batch or 'any'}" for name, batch, _ in CASES]
)
def test_a_file_of_each_family_is_detected_and_gives_the_right_alpha(
    tmp_path: Path, name: str, batch: int, write: Write
) -> None:
    path = write(tmp_path / "model.onnx")
    entry = resolve(str(path))
    assert (entry.kind, entry.contract, entry.fixed[0]) == ("onnx", name, batch)
    pictures = [slope(230), slope(140), slope(180)]
    engine = Engine(EngineOptions(model=str(path), batch=3, max_wait=30))
    futures = [engine.submit(picture) for picture in pictures]
    with engine:
        wait(futures)
    for picture, future in zip(pictures, futures, strict=True):
        found = future.result().pixels[..., 3]
        assert np.abs(found - right(picture, name)).max() <= 2


def test_a_fixed_batch_of_four_is_padded(tmp_path: Path) -> None:
    path = onnx_files.u2net(tmp_path / "four.onnx", batch=4)
    assert "a fixed batch size of 4" in resolve(str(path)).limits
    seen: list[BatchStats] = []
    engine = Engine(EngineOptions(model=str(path), batch=3, max_wait=30), on_batch=seen.append)
    pictures = [slope(230), slope(120), slope(200)]
    futures = [engine.submit(picture) for picture in pictures]
    with engine:
        for picture, future in zip(pictures, futures, strict=True):
            assert np.abs(future.result().pixels[..., 3] - right(picture, "u2net")).max() <= 2
    assert [stats.size for stats in seen] == [3]


def test_half_precision_inputs_get_half_precision(tmp_path: Path) -> None:
    path = onnx_files.rmbg(tmp_path / "half.onnx", dtype=np.float16)
    with Engine(EngineOptions(model=str(path))) as engine:
        assert np.abs(alpha(engine, slope()) - right(slope(), "rmbg")).max() <= 3


def test_a_low_matte_is_not_rescaled(tmp_path: Path) -> None:
    path = onnx_files.isnet(tmp_path / "model.onnx")
    dark = Picture(np.full((64, 64, 3), 12, np.uint8))
    with Engine(EngineOptions(model=str(path))) as engine:
        assert set(np.unique(alpha(engine, dark))) <= {11, 12, 13}


def test_one_picture_does_not_change_another_ones_matte(tmp_path: Path) -> None:
    path = onnx_files.u2net(tmp_path / "model.onnx", batch="b")
    with Engine(EngineOptions(model=str(path))) as engine:
        alone = alpha(engine, slope(90))
    engine = Engine(EngineOptions(model=str(path), batch=2, max_wait=30))
    first, _ = engine.submit(slope(90)), engine.submit(slope(255))
    with engine:
        assert np.abs(first.result().pixels[..., 3] - alone).max() <= 1


def test_logits_where_the_contract_expects_a_matte_fail_at_start(tmp_path: Path) -> None:
    path = onnx_files.birefnet(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"values from .* choose another --model-contract \(birefnet"):
        Engine(EngineOptions(model=str(path), contract="rmbg")).start()


def test_the_chosen_contract_becomes_part_of_the_options(tmp_path: Path) -> None:
    path = onnx_files.isnet(tmp_path / "model.onnx", outputs=1)
    one, other = resolve(str(path), contract="isnet"), resolve(str(path), contract="rmbg")
    assert one.digest == other.digest
    assert one.options != other.options


@pytest.mark.parametrize(
    ("width", "height", "canvas"), [(800, 600, (512, 672)), (600, 800, (672, 512)), (9, 900, (2048, 512))]
)
def test_modnets_short_side_is_512_and_both_are_multiples_of_32(
    width: int, height: int, canvas: tuple[int, int]
) -> None:
    assert canvas_for(CONTRACTS["modnet"], (0, 0), 512, width, height) == canvas


def test_a_native_canvas_is_the_pictures_own_size_up_to_a_limit() -> None:
    contract = CONTRACTS["cvunet-modelscope"]
    assert canvas_for(contract, (0, 0), 0, 301, 97) == (97, 301)
    assert max(canvas_for(contract, (0, 0), 0, 6000, 4000)) == 1536


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.name)
def test_the_warm_up_includes_the_largest_canvas(contract) -> None:
    tried = warmup_canvases(contract, (0, 0), contract.side)
    largest = max(height * width for height, width in tried)
    for size in [(640, 480), (480, 640), (4000, 100), (LONGEST * 100, 100), (2048, 2048)]:
        height, width = canvas_for(contract, (0, 0), contract.side, *size)
        assert height * width <= largest


def test_every_rembg_model_has_a_contract() -> None:
    assert {model.contract for model in KNOWN.values()} <= set(CONTRACTS)
