"""What mattes of known shapes say about themselves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from inference.neighbourhoods import local_mean
from inference.review.signals import SIGNALS, measure, signals

SIDE = 96


def canvas(ground: float = 0.9) -> Tensor:
    return torch.full((1, 3, SIDE, SIDE), ground)


def block(top: int, left: int, height: int, width: int, alpha: float = 1.0) -> Tensor:
    matte = torch.zeros(1, 1, SIDE, SIDE)
    matte[..., top : top + height, left : left + width] = alpha
    return matte


def on(matte: Tensor, ground: Tensor, colour: float = 0.1) -> Tensor:
    return torch.where(matte > 0.25, torch.tensor(colour), ground)


PLAIN = block(24, 24, 48, 48)


def signal(name: str, matte: Tensor, picture: Tensor | None = None) -> float:
    picture = on(matte, canvas()) if picture is None else picture
    return signals(measure(matte, picture)[0].tolist())[SIGNALS.index(name)]


def striped(ground: Tensor) -> Tensor:
    ground = ground.clone()
    ground[..., ::8, :] = 0.2
    return ground


WORSE: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "undecided": lambda: (block(24, 24, 48, 48, 0.6), on(PLAIN, canvas())),
    "unstable": lambda: (PLAIN + block(24, 72, 48, 16, 0.4), on(PLAIN, canvas())),
    "intricate": lambda: (block(8, 45, 80, 4) + block(40, 8, 4, 30), on(PLAIN, canvas())),
    "scattered": lambda: (block(8, 8, 32, 32) + block(56, 56, 32, 32), on(PLAIN, canvas())),
    "border": lambda: (block(24, 0, 48, 48), on(PLAIN, canvas())),
    "low_contrast": lambda: (PLAIN, canvas()),
    "shadow": lambda: (PLAIN, on(PLAIN, canvas(), 0.6)),
    "clutter": lambda: (PLAIN, on(PLAIN, striped(canvas()))),
    "coverage": lambda: (block(4, 4, 88, 88), on(PLAIN, canvas())),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_is_larger_where_its_fault_is(name: str) -> None:
    assert signal(name, *WORSE[name]()) > signal(name, PLAIN) + 0.01


def test_pictures_of_a_batch_are_measured_apart() -> None:
    mattes = torch.cat([PLAIN, block(24, 0, 48, 48), torch.zeros_like(PLAIN)])
    pictures = torch.cat([on(matte, canvas()) for matte in mattes[:, None]])
    together = measure(mattes, pictures)
    alone = torch.cat([measure(m[None], p[None]) for m, p in zip(mattes, pictures, strict=True)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.isfinite(together).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (150, 2)])
def test_any_shape_has_signals(shape: tuple[int, int]) -> None:
    assert torch.isfinite(measure(torch.rand(1, 1, *shape), torch.rand(1, 3, *shape))).all()


def test_the_largest_part_of_an_object_is_followed_however_it_winds() -> None:
    winding = torch.zeros(1, 1, SIDE, SIDE)
    winding[..., ::16, :] = winding[..., 1::16, :] = winding[..., 2::16, :] = winding[..., 3::16, :] = 1.0
    for row in range(0, SIDE - 16, 16):
        winding[..., row : row + 16, slice(-4, None) if row % 32 else slice(0, 4)] = 1.0
    assert signal("scattered", winding) == 0


@pytest.mark.parametrize("side", [5, 11])
@pytest.mark.parametrize("shape", [(27, 48), (1, 48), (3, 2)])
def test_local_means_are_those_of_a_pool(shape: tuple[int, int], side: int) -> None:
    plane = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(side))
    assert torch.allclose(local_mean(plane, side, False), local_mean(plane, side, True), atol=1e-6)
    assert torch.allclose(local_mean(plane, side, True), avg_pool2d(plane, side, 1, side // 2), atol=1e-6)
