"""TorchScript and torch.export archives run, and Python never unpickles or executes anything in a file."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference import Engine, EngineOptions, Picture
from inference.errors import ModelError
from inference.models.registry import resolve
from inference.models.thirdparty.torch_archives import checked_export, checked_torchscript

SIDE = 96


class Red(torch.nn.Module):
    """Undoes what IS-Net's contract does; the matte is the red channel, in a tuple as IS-Net gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """B x 3 x h x w."""
        return torch.clamp(x[:, :1] + self.shift, 0.0, 1.0), [x]


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]


def script(path: Path, module: torch.nn.Module | None = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module or Red()), str(path))
    return path


def export(path: Path, dynamic: bool = False) -> Path:
    shapes = ({0: torch.export.Dim("b", min=1)},) if dynamic else None
    program = torch.export.export(Red().eval(), (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def change(path: Path, name: str, content: bytes | Callable[[Any], Any]) -> Path:
    """Replace or add a file in an archive, or change its JSON."""
    with zipfile.ZipFile(path) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    folder = next(iter(files)).partition("/")[0]
    entry = f"{folder}/{name}"
    files[entry] = content if isinstance(content, bytes) else json.dumps(content(json.loads(files[entry]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in files.items():
            archive.writestr(each, data)
    return path


def start(path: Path, contract: str = "isnet") -> None:
    Engine(EngineOptions(model=str(path), contract=contract, canvas=None if path.suffix == ".pt2" else SIDE)).start()


@pytest.mark.parametrize(
    ("write", "kind", "batch"),
    [
        (lambda folder: script(folder / "a.pt"), "torchscript", 0),
        (lambda folder: export(folder / "a.pt2"), "exported", 2),
        (lambda folder: export(folder / "b.pt2", dynamic=True), "exported", 0),
    ],
)
def test_an_archive_of_either_kind_gives_the_right_alpha(
    tmp_path: Path, write: Callable[[Path], Path], kind: str, batch: int
) -> None:
    path = write(tmp_path)
    entry = resolve(str(path), contract="isnet")
    assert (entry.kind, entry.fixed[0]) == (kind, batch)
    pixels = np.full((50, 70, 3), 90, np.uint8)
    pixels[..., 0] = np.linspace(10, 240, 70)[None]
    with Engine(
        EngineOptions(model=str(path), contract="isnet", canvas=None if batch or entry.fixed[1] else SIDE)
    ) as engine:
        for future in [engine.submit(Picture(pixels)) for _ in range(3)]:
            assert np.abs(future.result().pixels[..., 3].astype(int) - pixels[..., 0]).max() <= 2


def test_neither_kind_determines_its_contract(tmp_path: Path) -> None:
    for path in (script(tmp_path / "a.pt"), export(tmp_path / "a.pt2")):
        with pytest.raises(ModelError, match="choose it with --model-contract"):
            resolve(str(path))


# Pickles.


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.pt2", "a.onnx", "a.ckpt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_save_are_refused_and_never_unpickled(tmp_path: Path, name: str, zipped: bool) -> None:
    trap = tmp_path / "sprung"
    torch.save({"model": Trap(trap)}, tmp_path / name, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match="is a pickle"):
        resolve(str(tmp_path / name), contract="isnet")
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(trap)))
    assert trap.exists(), "otherwise the trap proves nothing"


def test_a_pickle_in_a_torchscript_archive_fails_in_torchs_own_reader(tmp_path: Path) -> None:
    """That reader creates only tensors and TorchScript types."""
    trap = tmp_path / "sprung"
    change(script(tmp_path / "a.pt"), "data.pkl", pickle.dumps(Trap(trap), protocol=2))
    with pytest.raises(ModelError, match="cannot be used"):
        start(tmp_path / "a.pt")
    assert not trap.exists()


@pytest.mark.parametrize(
    "call",
    [
        "torch.save(x, NAME)",
        "ops . aten . save(x, NAME)",
        "t = torch\n    t.save(x, NAME)",
        'getattr(torch, "\\x73ave")(x, NAME)',
        "x = torch.from_file(NAME, True, 9)",
    ],
)
def test_torchscript_that_accesses_files_is_not_run(tmp_path: Path, call: str) -> None:
    path, trap = script(tmp_path / "a.pt"), tmp_path / "sprung"
    name, code = next((n, c) for n, c in contents(path).items() if n.endswith(".py") and b"def forward" in c)
    body = "Tensor:\n    " + call.replace("NAME", f'"{trap}"') + "\n    return x\n"
    change(path, name, code[: code.index(b"Tuple[")] + body.encode())
    with pytest.raises(ModelError, match=r"calls aten::(save|from_file)|cannot be used"):
        start(path)
    assert not trap.exists()


def test_torchscript_that_runs_code_while_loading_is_refused(tmp_path: Path) -> None:
    code = b"def __setstate__(self, x: Tensor) -> None:\n  pass\n"
    with pytest.raises(ModelError, match="runs while loading"):
        checked_torchscript(change(script(tmp_path / "b.pt"), "code/__torch__/more.py", code))


# What torch.export.load would unpickle or execute.


def bait(path: Path) -> str:
    """An expression that creates a file."""
    return f"__import__('pathlib').Path('{path}').touch() or 1"


def first_size(program: Any, text: str) -> Any:
    """Replace a size by an expression for sympy."""
    tensors = program["graph_module"]["graph"]["tensor_values"]
    tensors["x"]["sizes"][0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}
    return program


def call_specification(program: Any, tree: str) -> Any:
    program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = tree
    return program


def first_target(program: Any, target: str) -> Any:
    program["graph_module"]["graph"]["nodes"][0]["target"] = target
    return program


def rename_input(program: Any, name: str) -> Any:
    return json.loads(json.dumps(program).replace('"x"', json.dumps(name)))


ENUM = (
    '[1, {"type": "builtins.tuple", "context": '
    '"{\\"__enum__\\": true, \\"fqn\\": \\"os:system\\", \\"name\\": \\"x\\"}", "children_spec": []}]'
)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda program, trap: first_size(program, bait(trap)),
        lambda program, trap: first_size(program, "s0.__class__"),
        lambda program, trap: call_specification(program, ENUM),
        lambda program, trap: first_target(program, "torch.ops.aten.from_file.default"),
        lambda program, trap: first_target(program, "torch.serialization.load"),
        lambda program, trap: first_target(program, "_operator.methodcaller"),
        lambda program, trap: first_target(program, "torch.ops.mine.evil.default"),
        lambda program, trap: rename_input(program, f"x=({bait(trap)})"),
    ],
)
def test_a_program_that_contains_code_is_not_loaded(tmp_path: Path, spoil: Callable[[Any, Path], Any]) -> None:
    path, trap = export(tmp_path / "a.pt2"), tmp_path / "sprung"
    change(path, "models/model.json", lambda program: spoil(program, trap))
    with pytest.raises(ModelError, match=r"not loaded|only ATen operations"):
        checked_export(path)
    assert not trap.exists()


def test_guards_and_sample_inputs_are_removed(tmp_path: Path) -> None:
    path, trap = export(tmp_path / "a.pt2"), tmp_path / "sprung"
    pickled = io.BytesIO()
    torch.save(Trap(trap), pickled)
    change(path, "data/sample_inputs/model.pt", pickled.getvalue())
    change(path, "models/model.json", lambda program: program | {"guards_code": [bait(trap)]})
    start(path)
    assert not trap.exists()


def pickled_weight(config: Any) -> Any:
    config["config"]["shift"]["use_pickle"] = True
    return config


def test_pickled_weights_and_compiled_code_are_refused(tmp_path: Path) -> None:
    path = export(tmp_path / "a.pt2")
    config = next(c for c in ("constants", "weights") if b"shift" in read(path, f"data/{c}/model_{c}_config.json"))
    with pytest.raises(ModelError, match="contains the pickle"):
        checked_export(change(path, f"data/{config}/model_{config}_config.json", pickled_weight))
    path = export(tmp_path / "b.pt2")
    with pytest.raises(ModelError, match=r"contains data/aotinductor/model/a\.so, which would be executed"):
        checked_export(change(path, "data/aotinductor/model/a.so", b"\x7fELF"))


def read(path: Path, name: str) -> bytes:
    return contents(path)[name]


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.partition("/")[2]: archive.read(entry) for entry in archive.namelist()}


# Damage.


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: float) -> None:
    path = script(tmp_path / "a.pt")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ModelError, match="is truncated"):
        resolve(str(path), contract="isnet")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = script(tmp_path / "a.pt")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\3\4", 100) + 80] ^= 255
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"damaged|cannot be used"):
        start(path)


def test_two_files_with_the_same_name_are_refused(tmp_path: Path) -> None:
    """Zip readers disagree about which one to use."""
    path = script(tmp_path / "a.pt")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore", UserWarning)
        archive.writestr(archive.namelist()[0], b"another one")
    with pytest.raises(ModelError, match="two files with the same name"):
        checked_torchscript(path)
