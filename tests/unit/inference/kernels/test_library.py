"""The compiled kernels are loaded where they fit, and do the same as torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inference import compiled
from inference.engine import Engine, EngineOptions
from inference.kernels import Kernels, KernelsUnavailable, kernels_for, kernels_problem, library, without_kernels
from inference.models import band, cvunet
from inference.models.blocks import ConvBN
from inference.models.fake import FakeModel

SIDES = st.integers(1, 150)
CPU = torch.device("cpu")


def random_words(height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**31), 2**31, (height, width), dtype=torch.int32, generator=generator)


def smooth(height: int, width: int, seed: int) -> torch.Tensor:
    """Logits -9..9 in patches: some cells are decided, others are not."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(1, 1, 5, 4, generator=generator) * 18 - 9
    return F.interpolate(patches, size=(height, width), mode="bicubic")[0, 0].contiguous()


@settings(max_examples=20)
@given(height=SIDES, width=SIDES, seed=st.integers(0, 99))
def test_halves_as_band_does(kernels: Kernels, height: int, width: int, seed: int) -> None:
    picture = random_words(height, width, seed)
    assert torch.equal(kernels.halve(picture), band.halve(picture))


@settings(max_examples=20)
@given(height=SIDES, width=SIDES, into=st.tuples(SIDES, SIDES) | st.none())
def test_enlarges_as_torch_does(kernels: Kernels, height: int, width: int, into: tuple[int, int] | None) -> None:
    """To any size; to twice the size, as most levels need it, by a way of its own. Rows may have a stride."""
    plane = smooth(height, width + 1, 1)[:, :width]
    size = into or (2 * height, 2 * width)
    wanted = F.interpolate(plane[None, None], size=size, mode="bilinear")[0, 0]
    assert (kernels.enlarge(plane, *size) - wanted).abs().max() < 1e-3


@settings(max_examples=20)
@given(height=SIDES, width=SIDES, down=st.integers(1, 300), across=st.integers(1, 300), seed=st.integers(0, 99))
def test_finds_the_cells_that_band_finds(
    kernels: Kernels, height: int, width: int, down: int, across: int, seed: int
) -> None:
    logits = smooth(height, width, seed)
    low, high = band.cell_bounds(logits, down, across)
    undecided = (low < band.DECIDED) & (high > -band.DECIDED)
    cells, states = kernels.find_cells(logits, down, across, band.DECIDED)
    assert torch.equal(cells.long(), undecided.nonzero())
    assert torch.equal(states, torch.where(undecided, 1, (low > 0) * 255).to(torch.uint8))


@settings(max_examples=20)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    factor=st.sampled_from([1, 2, 3]),
    channels=st.sampled_from([16, 24, 40]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
@torch.inference_mode()
def test_joins_levels_as_torch_does(
    kernels: Kernels, size: tuple[int, int], factor: int, channels: int, dtype: torch.dtype
) -> None:
    """In 16 bits to within a rounding: the kernel rounds once, where torch rounds after every operation."""
    up = cvunet.Up(channels, 32, blocks=0).eval().to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in up.modules():
        if isinstance(module, ConvBN):
            module.fold()
    skip = torch.randn(2, channels, size[0] * factor, size[1] * factor).to(dtype)
    coarse = torch.randn(2, 32, *size).to(dtype)
    wanted = up(skip, coarse).float()
    up.fuse(kernels)
    tolerance = 1e-5 if dtype is torch.float32 else 2**-7 * float(wanted.max().clamp_min(1))
    assert (up(skip, coarse).float() - wanted).abs().max() <= tolerance


def test_channels_that_c_would_misread_are_refused(kernels: Kernels) -> None:
    def plane(channels: int) -> torch.Tensor:
        return torch.zeros(1, channels, 2, 2)

    with pytest.raises(ValueError, match="12 channels must be a multiple of 8"):
        kernels.join(plane(12), plane(8), plane(8), plane(12), torch.zeros(8), 0.0)
    with pytest.raises(ValueError, match="6 of 4"):
        kernels.join(plane(16), plane(6), plane(6), plane(16), torch.zeros(6), 0.0)


def test_planes_that_c_would_misread_are_refused(kernels: Kernels) -> None:
    with pytest.raises(ValueError, match="contiguous"):
        kernels.halve(random_words(4, 6, 0).T)
    with pytest.raises(ValueError, match="floats"):
        kernels.enlarge(torch.zeros(4, 4, dtype=torch.half), 8, 8)
    with pytest.raises(ValueError, match="float16"):
        kernels.gather(random_words(4, 4, 0), torch.zeros(4, 4), torch.zeros(1, 2, dtype=torch.int32), torch.half)


def test_the_kernels_have_the_constants_of_the_reference() -> None:
    assert (library.CELL, library.PARTS, library.RIM) == (band.CELL, band.PARTS, cvunet.RIM)
    assert max(library.FACTORS) == 1 << band.MOST_LIFTS


def test_only_a_cpu_has_kernels(kernels: Kernels) -> None:
    assert kernels_for(CPU) is not None and kernels_problem(CPU) == ""
    assert kernels_for(torch.device("cuda:0")) is None and kernels_problem(torch.device("cuda:0")) == ""


def test_without_kernels_a_cpu_has_none_until_the_block_ends(kernels: Kernels) -> None:
    with without_kernels():
        assert kernels_for(CPU) is None
    assert kernels_for(CPU) is not None


def test_a_missing_library_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(KernelsUnavailable, match=r"kernels-x\.so is missing; `make kernels`"):
        library.load(tmp_path / "kernels-x.so")


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kernels-x.so").write_bytes(b"no library")
    with pytest.raises(KernelsUnavailable, match="could not be loaded"):
        library.load(tmp_path / "kernels-x.so")


def test_a_library_of_another_source_is_refused(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "source_digest", lambda: "another")
    with pytest.raises(KernelsUnavailable, match=r"another version of kernels\.c"):
        library.load(compiled.library_path())


def test_a_processor_without_vectors_is_refused(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    with pytest.raises(KernelsUnavailable, match="AVX2"):
        library.load(compiled.library_path())


def test_a_processor_without_vectors_has_no_compiled_pixel_kernels(
    kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : sse2 avx f16c\n")
    monkeypatch.setattr(compiled, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(KernelsUnavailable, match="AVX2"):
        compiled.require_vectors()


def test_an_engine_without_kernels_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no compiled kernels, the engine starts, and names the problem once among its slowdowns."""
    monkeypatch.setattr(library, "_loaded", lambda: KernelsUnavailable("kernels-x.so is missing"))
    with Engine(EngineOptions(threads=1), model=FakeModel()) as engine:
        [note] = engine.slowdowns
    assert note.startswith("compiled kernels are not used") and "kernels-x.so is missing" in note
