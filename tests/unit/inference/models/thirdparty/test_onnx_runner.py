"""What makes ONNX files faster on a GPU, tried on the CPU: opened batches, and lanes. `-m gpu` tries it on a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from inference import Engine, EngineOptions
from inference.models.registry import resolve
from inference.models.thirdparty.adapter import ThirdPartyModel
from inference.models.thirdparty.onnx_runner import LANES, OnnxRunner, _Lane
from inference.models.thirdparty.open_batch import open_batch
from tests.equipment import onnx_files
from tests.equipment.onnx_files import Graph
from tests.equipment.real_models import real_model

CPU = torch.device("cpu")
SIDE = 64


def loaded(path: Path, *, for_gpu: bool) -> OnnxRunner:
    runner = OnnxRunner(path, for_gpu)
    runner.load(CPU)
    return runner


def pictures(count: int, side: int = 320) -> torch.Tensor:
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(count))


def reshaped(path: Path) -> Path:
    """A graph that is only valid for one picture: a constant in it contains the batch size."""
    graph = Graph()
    red = graph.red("x")
    shape = graph.constant([1, 1, SIDE, SIDE], np.int64)
    graph.add("Sigmoid", graph.add("Reshape", red, shape), output="y")
    return graph.save(path, ("x", (1, 3, SIDE, SIDE)), [("y", (1, 1, SIDE, SIDE))])


def mixing(path: Path) -> Path:
    """A graph that takes any batch, but in which pictures change each other: the mean is taken over the batch."""
    graph = Graph()
    red = graph.red("x")
    graph.add("Sub", red, graph.add("ReduceMean", red, axes=[0]), output="y")
    return graph.save(path, ("x", (1, 3, SIDE, SIDE)), [("y", (1, 1, SIDE, SIDE))])


def test_a_fixed_batch_is_opened_where_the_graph_allows_it(tmp_path: Path) -> None:
    path = onnx_files.u2net(tmp_path / "a.onnx")
    runner, plain = loaded(path, for_gpu=True), loaded(path, for_gpu=False)
    assert (runner.opens_batch, plain.opens_batch) == (True, False)
    batch = pictures(5)
    [together] = runner.run([batch])
    assert torch.allclose(together, torch.cat(plain.run(torch.split(batch, 1))), atol=1e-6)


def test_the_copy_is_a_valid_file_with_the_same_weights(tmp_path: Path) -> None:
    path = onnx_files.isnet(tmp_path / "a.onnx")
    content = open_batch(path, "img")
    assert content is not None
    model, original = onnx.load_from_string(content), onnx.load(str(path))
    onnx.checker.check_model(model)
    assert [port.type.tensor_type.shape.dim[0].dim_param for port in (*model.graph.input, *model.graph.output)] == [
        "batch"
    ] * 7
    assert model.graph.node == original.graph.node and model.graph.initializer == original.graph.initializer


@pytest.mark.parametrize("write", [reshaped, mixing])
def test_a_graph_that_takes_only_its_own_batch_runs_in_lanes(tmp_path: Path, write) -> None:
    path = write(tmp_path / "a.onnx")
    runner, plain = loaded(path, for_gpu=True), loaded(path, for_gpu=False)
    assert not runner.opens_batch and len(runner._lanes) == LANES and len(plain._lanes) == 1
    pieces = torch.split(pictures(5, SIDE), 1)
    for found, right in zip(runner.run(pieces), plain.run(pieces), strict=True):
        assert torch.equal(found, right)


def test_the_adapter_uses_the_opened_batch(tmp_path: Path) -> None:
    path = onnx_files.u2net(tmp_path / "a.onnx")
    model = ThirdPartyModel(resolve(str(path)), OnnxRunner(path, for_gpu=True))
    model.load(CPU)
    [matte] = model.coarse(pictures(3))
    assert matte.shape == (3, 1, 320, 320)
    [alone] = model.coarse(pictures(3)[1:2])
    assert torch.allclose(matte[1:2], alone, atol=1e-6)


def test_u2netp_takes_batches() -> None:
    runner = loaded(real_model("u2netp"), for_gpu=True)
    assert runner.opens_batch


class Recorded:
    """Stands in for a stream of torch and for a session of onnxruntime, and records what is asked of them."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def wait_stream(self, other: Recorded) -> None:
        self.calls.append(f"{self.name} waits for {other.name}")

    def io_binding(self) -> Recorded:
        return self

    def bind_input(self, *_: object) -> None:
        """Nothing is recorded of it."""

    bind_output = bind_input

    def run_with_iobinding(self, binding: object, options: object) -> None:
        self.calls.append(f"{self.name} runs {options}")


def test_lanes_start_after_what_computes_the_pictures_and_later_work_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a runner on a GPU with two lanes
    calls: list[str] = []
    runner = loaded(onnx_files.u2net(tmp_path / "a.onnx"), for_gpu=False)
    runner._device = torch.device("cuda", 0)
    runner._lanes = [_Lane(Recorded(name, calls), Recorded(name, calls), "unsynchronised") for name in ("one", "two")]
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Recorded("torch", calls))
    # When three batches run
    runner._run(pictures(3).split(1), pictures(3)[:, :1].split(1))
    # Then each lane waits for torch's stream, then runs, and then torch's stream waits for it
    assert calls[:2] == ["one waits for torch", "two waits for torch"]
    assert sorted(calls[2:5]) == ["one runs unsynchronised", "one runs unsynchronised", "two runs unsynchronised"]
    assert calls[5:] == ["torch waits for one", "torch waits for two"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_an_onnx_file_gives_the_cpus_matte() -> None:
    path = real_model("u2netp")
    batch = pictures(3)
    runner = OnnxRunner(path)
    runner.load(torch.device("cuda", 0))
    [found] = runner.run([batch.cuda()])
    assert runner.opens_batch
    right = torch.cat(loaded(path, for_gpu=False).run(torch.split(batch, 1)))
    assert torch.allclose(found.cpu(), right, atol=5e-3)
    with Engine(EngineOptions(model=str(path), device="cuda:0", contract="u2net")) as engine:
        assert engine.batch_limit > 1
