"""The exported ONNX file: onnxruntime and torch compute the same matte."""

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from inference.models.cvunet import load_network
from inference.models.registry import resolve
from watcher.commands.bench.peers import sequential
from watcher.commands.bench.peers.onnx_export import DEVIATION, MEAN, SIDE, export, exportable
from watcher.commands.bench.photos import draw_sample

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path = tmp_path_factory.mktemp("onnx") / "cvunet.onnx"
    export(resolve("nano"), path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # the weights are inside
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_the_file_has_u2nets_inputs_and_outputs(session: onnxruntime.InferenceSession):
    [given], [matte] = session.get_inputs(), session.get_outputs()
    assert (given.shape, given.type) == ([1, 3, SIDE, SIDE], "tensor(float)")
    assert (matte.shape, matte.type) == ([1, 1, SIDE, SIDE], "tensor(float)")


def test_onnxruntime_and_torch_compute_the_same_matte(session: onnxruntime.InferenceSession):
    given = torch.randn((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = exportable(resolve("nano"))(given).numpy()
    [theirs] = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    assert theirs.min() >= 0 and theirs.max() <= 1
    assert np.abs(ours - theirs).max() < 1e-4


def test_a_photo_gets_the_same_matte_as_from_the_plain_script(session: onnxruntime.InferenceSession):
    picture = Image.fromarray(draw_sample((SIDE, SIDE), 3).image)
    pixels = np.asarray(picture, np.float32) / 255
    given = ((pixels - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32)
    [theirs] = session.run(None, {session.get_inputs()[0].name: given})
    ours = sequential.matte(load_network(resolve("nano")).eval().fold(), picture)
    assert np.abs(np.asarray(ours) / 255 - theirs[0, 0]).max() < 0.02
    assert np.asarray(ours).max() > 200  # the matte is not empty
