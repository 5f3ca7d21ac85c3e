"""The model registry: which models exist, and the errors for those that do not."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from inference.errors import ModelError
from inference.models.registry import CATALOGUE, FORMAT, resolve, shipped_path


def weights(path: Path, **metadata: str) -> Path:
    save_file({"x": np.zeros(3, np.float16)}, path, metadata=metadata)
    return path


def test_nano_is_included_and_small() -> None:
    entry = resolve("nano")
    assert entry.path is not None
    assert entry.path.stat().st_size < 8_000_000
    assert (entry.kind, entry.size, len(entry.digest)) == ("cvunet", "nano", 64)
    assert entry.canvas % 64 == 0


@pytest.mark.parametrize("size", [s.name for s in CATALOGUE if not shipped_path(s.name).exists()])
def test_a_size_without_weights_says_how_to_get_them(size: str) -> None:
    with pytest.raises(ModelError, match=f"training train --size {size}"):
        resolve(size)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match="nano, lite, full"):
        resolve("huge")


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 100, b"\x02" + b"\0" * 7 + b"[]"])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="safetensors"):
        resolve(str(path))


def test_safetensors_of_other_programs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=FORMAT):
        resolve(str(weights(tmp_path / "x.safetensors", format="pt")))
    with pytest.raises(ModelError, match="an earlier version"):
        resolve(str(weights(tmp_path / "y.safetensors", format="alphadrop.cvunet/1", size="nano", canvas="320")))


def test_a_path_is_resolved_and_its_digest_depends_on_the_content(tmp_path: Path) -> None:
    one = resolve(str(weights(tmp_path / "a.safetensors", format=FORMAT, size="nano", canvas="320")))
    two = resolve(str(weights(tmp_path / "b.safetensors", format=FORMAT, size="nano", canvas="384")))
    assert (one.canvas, two.canvas) == (320, 384)
    assert one.digest != two.digest


def test_the_canvas_can_be_chosen_in_steps() -> None:
    assert resolve("nano", 512).canvas == 512
    with pytest.raises(ModelError, match="multiple of 64"):
        resolve("nano", 500)


def test_the_fake_models_options_are_part_of_its_digest() -> None:
    assert resolve("fake").digest != resolve("fake:delay=1").digest
