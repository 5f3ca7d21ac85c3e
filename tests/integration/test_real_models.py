"""Models that others have trained: fetched from a server, tried by the doctor, and used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inference.models.registry import resolve
from inference.models.thirdparty.known import KNOWN
from inference.models.thirdparty.onnx_runner import OnnxRunner
from tests.equipment.model_server import model_server
from tests.equipment.real_models import real_model
from tests.equipment.support import alphadrop
from watcher.commands.model_files import ensure_model
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError, Unavailable
from watcher.wiring import find_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def picture_of_a_disc(side: int = 200) -> Image.Image:
    """A shaded orange disc on a grey background: what every matting model finds."""
    y, x = np.mgrid[:side, :side] - side / 2
    inside = np.hypot(x, y) < side / 3
    pixels = np.full((side, side, 3), 185, np.uint8)
    pixels[inside] = (np.array([230, 120, 40]) * (0.75 + 0.25 * (-x - y)[inside, None] / side)).astype(np.uint8)
    return Image.fromarray(pixels)


def is_the_disc(path: Path) -> bool:
    with Image.open(path) as image:
        alpha = np.asarray(image)[..., 3]
    middle, corners = alpha[80:120, 80:120], np.concatenate([alpha[:20, :20], alpha[-20:, -20:]])
    return bool(middle.min() > 230 and corners.max() < 25)


def test_a_model_is_pulled_tried_and_used(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    picture_of_a_disc().save(tmp_path / "photos" / "disc.png")
    home, places = tmp_path / "models", (tmp_path / "photos", tmp_path / "cutouts", "--state", tmp_path / "state")
    variables: dict[str, Any] = {"U2NET_HOME": str(home), "ALPHADROP_MODEL": "u2netp", "ALPHADROP_DEVICES": "cpu"}
    with model_server({"u2netp.onnx": real_model("u2netp").read_bytes()}) as server:
        pulled = alphadrop("models", "pull", **variables, ALPHADROP_MODEL_SOURCE=server.address)
    assert pulled.code == 0, pulled.err
    assert f"SHA-256 {KNOWN['u2netp'].sha256}" in pulled.out and "licence Apache-2.0, https://" in pulled.out
    assert [event["event"] for event in pulled.events] == ["model_download_started", "model_downloaded"]
    # From here on without the server
    doctor = alphadrop("doctor", **variables)
    assert doctor.code == 0 and "licence Apache-2.0, contract u2net, tried on the CPU" in doctor.out
    done = alphadrop("once", *places, **variables)
    assert done.code == 0, done.err
    assert is_the_disc(tmp_path / "cutouts" / "disc.png")


def test_a_known_model_that_is_not_here_is_fetched_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    content = real_model("u2netp").read_bytes()
    with model_server({"u2netp.onnx": content}) as server:
        settings = Settings(source="in", sink="out", model="u2netp", model_source=server.address)
        with pytest.raises(ConfigurationError, match="does not exist: fetch it with `alphadrop models pull"):
            find_model(settings)
        ensure_model(settings)
        ensure_model(settings)
        assert (find_model(settings).digest, len(server.requests)) == (KNOWN["u2netp"].sha256, 1)
        (tmp_path / "u2netp.onnx").unlink()
        server.files.clear()
        with pytest.raises(Unavailable, match="answers 404"):
            ensure_model(settings)
        with pytest.raises(ConfigurationError, match="--offline forbids"):
            ensure_model(Settings(source="in", sink="out", model="u2netp", offline=True))


def test_the_entry_without_the_file_is_the_one_with_it() -> None:
    path = real_model("u2netp")
    here, elsewhere = (resolve("u2netp", folder=folder, need_file=False) for folder in (path.parent, Path("/nowhere")))
    assert (here.digest, here.options) == (elsewhere.digest, elsewhere.options)


@pytest.mark.real_models
@pytest.mark.timeout(3600)
def test_batches_of_u2net_can_be_opened() -> None:
    """As docs/models.md says."""
    runner = OnnxRunner(real_model("u2net"), for_gpu=True)
    runner.load(torch.device("cpu"))
    assert runner.opens_batch


@pytest.mark.real_models
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["u2netp", "u2net"])
def test_a_real_model_finds_the_disc(name: str, tmp_path: Path, figures: Callable[[str], None]) -> None:
    (tmp_path / "photos").mkdir()
    picture_of_a_disc().save(tmp_path / "photos" / "disc.png")
    home = str(real_model(name).parent)
    checked = alphadrop("models", "pull", name, U2NET_HOME=home)  # checks the digests of what is there
    assert checked.code == 0, checked.err
    places = (tmp_path / "photos", tmp_path / "cutouts", "--state", tmp_path / "state", "--devices", "cpu")
    done = alphadrop("once", *places, "--model", name, U2NET_HOME=home)
    assert done.code == 0 and is_the_disc(tmp_path / "cutouts" / "disc.png"), done.err
    [image] = [event for event in done.events if event["event"] == "image"]
    figures(f"{name}: {image['stages']['infer']:.2f} s for one picture on this CPU")
