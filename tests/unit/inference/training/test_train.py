"""The training: losses, plan, a few real steps, resuming, exporting."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from inference import Engine, EngineOptions, Picture
from inference.corpus.gathering import is_complete, mark_complete
from inference.corpus.layout import Layout
from inference.models.cvunet import SIZES, CVUNet
from inference.synthetic import SampleStream
from inference.training.__main__ import main
from inference.training.export import CANVAS, export
from inference.training.loader import render_batch
from inference.training.losses import (
    band_weight,
    laplacian_loss,
    lifting_loss,
    matting_loss,
    overlap_loss,
    thin_parts,
    transition_band,
)
from inference.training.schedule import LARGEST_PICTURE, PHASES, Shape, edge_shape, shape_at
from inference.training.train import FROZEN_STAGES, Trainer, TrainOptions


def disc() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return ((20 - torch.hypot(x - 32, y - 32)) / 4 + 0.5).clamp(0, 1)[None, None]


def test_the_right_matte_costs_less_than_a_wrong_one() -> None:
    right = torch.logit(disc(), eps=1e-4)
    weight = band_weight(disc())
    assert matting_loss(right, disc(), weight) < 0.2 * matting_loss(torch.zeros_like(right), disc(), weight)
    assert laplacian_loss(disc(), disc()) == 0


def test_the_overlap_counts_small_objects_like_large_ones() -> None:
    small = torch.zeros(1, 1, 64, 64)
    small[..., :8, :8] = 1
    assert overlap_loss(small, small) == overlap_loss(torch.zeros_like(small), torch.zeros_like(small)) == 0
    half = small.clone()
    half[..., :4, :] = 0
    assert overlap_loss(half, small) == pytest.approx(0.5, abs=0.02)
    both = torch.cat((half, disc())), torch.cat((small, disc()))
    assert overlap_loss(*both) == pytest.approx(0.25, abs=0.01)


def test_pictures_as_small_as_the_canvas_teach_the_unet_alone(tmp_path: Path) -> None:
    trainer = Trainer(TrainOptions(out=tmp_path, threads=1))
    trainer.step(*render_batch(SampleStream(5), Shape(64, 64, 1, 4)))
    assert all(weight.grad is None for weight in trainer.network.edge.parameters())
    trainer.step(*render_batch(SampleStream(5), Shape(128, 128, 2, 4)))
    assert all(weight.grad is not None for weight in trainer.network.parameters() if weight.requires_grad)


def test_what_is_lifted_may_go_beyond_what_there_is_but_not_the_other_way() -> None:
    weight = band_weight(disc())
    outer = (disc() - 0.5) * 4 + 0.5
    assert lifting_loss(outer, disc(), weight) < 0.1 * lifting_loss(1 - outer, disc(), weight)


def test_the_band_is_where_alpha_changes() -> None:
    band = transition_band(disc())
    assert band[0, 0, 32, 32] == 0
    assert band[0, 0, 0, 0] == 0
    assert band[0, 0, 32, 52] == 1


def test_thin_parts_and_thin_gaps_are_told_from_broad_ones() -> None:
    alpha = torch.zeros(1, 1, 64, 64)
    alpha[..., 10:50, 5:30] = 1
    alpha[..., 30:33, 5:60] = 1
    alpha[..., 12:48, 16:19] = 0
    thin = thin_parts(alpha)[0, 0]
    assert thin[31, 45] == 1 and thin[20, 17] == 1, "a wire, and a slot"
    assert thin[20, 24] == 0 and thin[20, 50] == 0, "the object, and what is around it"


@pytest.mark.parametrize("progress", [0.0, 0.29, 0.5, 0.99, 1.0])
def test_every_shape_suits_the_network(progress: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = shape_at(progress, rng)
        assert shape.height % (32 * shape.ratio) == 0
        assert shape.width % (32 * shape.ratio) == 0
        assert shape.batch >= 8
        assert min(shape.height, shape.width) >= 64


@pytest.mark.parametrize("seed", range(20))
def test_the_edge_heads_pictures_are_several_canvases(seed: int) -> None:
    shape = edge_shape(np.random.default_rng(seed))
    assert shape.height % (32 * shape.ratio) == 0 and shape.width % (32 * shape.ratio) == 0
    assert shape.ratio > 1 and max(shape.height, shape.width) <= LARGEST_PICTURE
    assert 4 <= shape.batch <= 16


def test_pretrained_weights_are_trained_at_a_tenth_of_the_rate(tmp_path: Path) -> None:
    trainer = Trainer(TrainOptions(out=tmp_path, threads=1))
    encoder = trainer.network.unet.encoder
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    trainer.step(*render_batch(SampleStream(5), Shape(64, 64, 1, 4)))
    fresh, pretrained = trainer.optimiser.param_groups
    assert pretrained["lr"] == pytest.approx(0.1 * fresh["lr"])
    changed = {name for name, new in encoder.state_dict().items() if not torch.equal(before[name], new)}
    assert changed and not any("filter" in name or "running" in name or name.startswith("stem") for name in changed)
    assert min(int(name.split(".")[1]) for name in changed) == FROZEN_STAGES


def test_the_encoder_begins_with_imagenets_weights(tmp_path: Path) -> None:
    torch.manual_seed(3)
    published = published_weights()
    layout = Layout(tmp_path / "data")
    layout.models.mkdir(parents=True)
    torch.save(published, layout.encoder)
    trainer = Trainer(TrainOptions(out=tmp_path / "run", threads=1, data=layout.root))
    weights, average = (network.unet.encoder.state_dict() for network in (trainer.network, trainer.average))
    # The published network is fed -1..1, ours twice that.
    assert torch.equal(weights["stem.conv.weight"], published["_conv_stem.weight"] / 2)
    assert torch.equal(weights["stages.0.0.filter.norm.running_mean"], published["_blocks.0._bn1.running_mean"])
    assert torch.equal(weights["stages.5.3.widen.conv.weight"], published["_blocks.14._expand_conv.weight"])
    assert all(torch.equal(weights[name], average[name]) for name in weights)


def test_an_incomplete_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the teacher's mattes, say, a training would silently see no whole photographs."""
    layout = Layout(tmp_path / "data")
    assert not is_complete(layout)
    mark_complete(layout)
    assert is_complete(layout)
    layout.complete.write_text("the sources of an earlier version", "utf-8")
    run = ["train", "--out", str(tmp_path / "run"), "--data", str(layout.root), "--minutes", "1"]
    assert main(run) == 1
    assert "run `make training-data`, which goes on where it stopped" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def published_weights() -> dict[str, torch.Tensor]:
    """Random weights under EfficientNet-Lite0's published names, its last block and classifier with them."""
    ours = CVUNet(SIZES["nano"]).unet.encoder.state_dict()
    places = [(stage, block) for stage, count in enumerate((1, 2, 2, 3, 3, 4)) for block in range(count)]
    parts = {
        "stem.conv": "_conv_stem",
        "stem.norm": "_bn0",
        "widen.conv": "_expand_conv",
        "widen.norm": "_bn0",
        "filter.conv": "_depthwise_conv",
        "filter.norm": "_bn1",
        "narrow.conv": "_project_conv",
        "narrow.norm": "_bn2",
    }
    result = {}
    for name, tensor in ours.items():
        *place, part, module, kind = name.split(".")
        block = f"_blocks.{places.index((int(place[1]), int(place[2])))}." if place else ""
        result[f"{block}{parts[f'{part}.{module}']}.{kind}"] = torch.rand_like(tensor.float())
    left_out = ("_blocks.15._bn2.bias", "_conv_head.weight", "_fc.bias")
    return result | {name: torch.ones(8) for name in left_out}


def test_the_edge_head_is_trained_alone(tmp_path: Path) -> None:
    trainer = Trainer(TrainOptions(out=tmp_path, threads=1, edge=True))
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    for _ in range(2):
        trainer.step(*render_batch(SampleStream(5), Shape(128, 128, 2, 2)))
    changed = {
        name.split(".")[0] for name, new in trainer.network.state_dict().items() if not torch.equal(before[name], new)
    }
    assert changed == {"edge"}


def test_the_plan_ends_at_the_canvas_of_run_time() -> None:
    assert max(PHASES[-1].sides) == CANVAS
    assert PHASES[-1].until == 1.0


@pytest.mark.timeout(600)
def test_it_learns_resumes_and_exports_what_the_engine_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = TrainOptions(out=tmp_path / "run", minutes=1000, threads=1)
    pictures, alphas, ratio = render_batch(SampleStream(5), Shape(64, 64, 1, 8))
    trainer = Trainer(options)
    trainer.steps = 200  # past the warm-up, in which it hardly learns
    losses = [trainer.step(pictures, alphas, ratio) for _ in range(12)]
    assert min(losses[-3:]) < losses[0]
    trainer.seconds = 60.0
    trainer.note(losses[-1], _quiet())
    trainer.save()
    assert (tmp_path / "run" / "curve.png").stat().st_size > 1000

    again = Trainer(options)
    assert (again.steps, again.samples, again.seconds) == (212, 96, 60.0)
    for one, two in zip(trainer.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, two)

    path = export(tmp_path / "run", tmp_path / "weights.safetensors")
    with Engine(EngineOptions(model=str(path), threads=1)) as engine:
        cutout = engine.submit(Picture(pictures[0].numpy())).result()
    assert cutout.pixels.shape == (64, 64, 4)

    half = export(tmp_path / "run", tmp_path / "half.safetensors", zeros(path, tmp_path / "zeros.safetensors"), 0.5)
    for name, weight in load_file(half).items():
        assert torch.allclose(weight.float(), load_file(path)[name].float() / 2, atol=1e-3)

    another = Trainer(TrainOptions(out=tmp_path / "another", threads=1, start=path))
    mean, begun = trainer.average.unet.matte.weight, another.network.unet.matte.weight
    assert torch.allclose(begun, mean, atol=1e-3) and another.steps == 0


def zeros(weights: Path, to: Path) -> Path:
    save_file({name: torch.zeros_like(weight) for name, weight in load_file(weights).items()}, to)
    return to


def _quiet():
    from rich.console import Console

    return Console(quiet=True)
