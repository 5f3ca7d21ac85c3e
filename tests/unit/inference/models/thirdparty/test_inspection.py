"""Inspection of third-party model files: which are refused, and with which message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper
from pydantic import TypeAdapter

from inference import Engine, EngineOptions, Picture
from inference.errors import ModelError
from inference.models.entry import ModelEntry
from inference.models.registry import resolve, verify
from inference.models.thirdparty.contracts import CONTRACTS
from inference.models.thirdparty.known import KNOWN
from inference.models.thirdparty.onnx_header import read_onnx
from tests.equipment import onnx_files
from tests.equipment.onnx_files import Graph


def complaint(path: Path, contract: str = "", canvas: int | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        resolve(str(path), canvas, contract)
    return str(caught.value)


# Which contract.


def test_one_output_of_1024_pixels_fits_two_contracts(tmp_path: Path) -> None:
    assert "--model-contract, one of isnet, rmbg (" in complaint(onnx_files.isnet(tmp_path / "a.onnx", outputs=1))


def test_an_open_size_proves_nothing(tmp_path: Path) -> None:
    path = onnx_files.isnet(tmp_path / "a.onnx", sides=("h", "w"))
    assert "one of u2net, isnet (" in complaint(path)
    assert resolve(str(path), contract="isnet").canvas == 1024
    assert resolve(str(path), 512, "isnet").canvas == 512


def test_at_320_pixels_only_seven_outputs_prove_u2net(tmp_path: Path) -> None:
    path = onnx_files.u2net(tmp_path / "a.onnx", outputs=1)
    assert "one of u2net (" in complaint(path)
    assert resolve(str(path), contract="u2net").canvas == 320


def test_for_an_unknown_signature_all_contracts_are_possible(tmp_path: Path) -> None:
    path = onnx_files.birefnet(tmp_path / "a.onnx", side=768)
    assert f"one of {', '.join(CONTRACTS)} (" in complaint(path)
    assert resolve(str(path), contract="birefnet").canvas == 768


def test_birefnet_of_2048_pixels_is_detected(tmp_path: Path) -> None:
    entry = resolve(str(onnx_files.birefnet(tmp_path / "a.onnx", side=2048)))
    assert (entry.contract, entry.canvas) == ("birefnet", 2048)


def test_a_contract_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "There is no contract 'sam'" in complaint(onnx_files.isnet(tmp_path / "a.onnx"), "sam")


def test_a_contract_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = onnx_files.isnet(tmp_path / "a.onnx")
    assert "the contract cvunet-modelscope expects H x W x 3" in complaint(path, "cvunet-modelscope")


def test_a_canvas_is_refused_where_the_file_has_one(tmp_path: Path) -> None:
    assert "takes only 1024 x 1024 pixels, so omit --canvas" in complaint(
        onnx_files.isnet(tmp_path / "a.onnx"), canvas=512
    )
    native = onnx_files.cvunet_modelscope(tmp_path / "b.onnx")
    assert "takes each picture at its own size, so omit --canvas" in complaint(native, canvas=512)


def test_our_own_weights_need_no_contract() -> None:
    with pytest.raises(ModelError, match="needs no contract"):
        resolve("nano", contract="u2net")


# Invalid files.


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_truncated_anywhere_is_refused(tmp_path: Path, kept: float) -> None:
    path = onnx_files.u2net(tmp_path / "a.onnx")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert "is not a complete ONNX file" in complaint(path)


@pytest.mark.parametrize("content", [b"Dear all", b"\x08", b"\xff" * 40, b"<html>", bytes(100)])
def test_a_file_named_onnx_with_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    assert "is not a complete ONNX file" in complaint(path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Dear all")
    assert "is not a model" in complaint(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("write", "wanted"),
    [
        (lambda: one_input((1, 4, 64, 64)), "takes 1 x 4 x 64 x 64 in 'x'"),
        (lambda: one_input((1, 3, 64)), "takes 1 x 3 x 64 in 'x'"),
        (lambda: one_input(("b", 3, 64, 64), TensorProto.UINT8), "takes uint8 in 'x': export it"),
        (lambda: one_input((1, 3, 1024, 1024), given=(1, 1000)), "returns 1 x 1000 in 'y'"),
        (lambda: one_input((1, 3, 1024, 1024), given=(1, 3, 1024, 1024)), "returns 1 x 3 x 1024 x 1024 in 'y'"),
        (lambda: two_inputs(), "has 2 inputs (x, z)"),
    ],
)
def test_a_graph_that_is_not_a_matting_model_is_refused(
    tmp_path: Path, write: Callable[[], onnx.ModelProto], wanted: str
) -> None:
    onnx.save(write(), str(tmp_path / "a.onnx"))
    assert wanted in complaint(tmp_path / "a.onnx", "isnet")


def one_input(
    taken: tuple[int | str, ...], kind: int = TensorProto.FLOAT, given: tuple[int, ...] = (1, 1, 64, 64)
) -> onnx.ModelProto:
    ports = [helper.make_tensor_value_info(n, kind, d) for n, d in (("x", list(taken)), ("y", list(given)))]
    return helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ports[:1], ports[1:]))


def two_inputs() -> onnx.ModelProto:
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 64, 64]) for name in "xyz")
    return helper.make_model(helper.make_graph([helper.make_node("Add", ["x", "z"], ["y"])], "g", [x, z], [y]))


@pytest.mark.parametrize("opset", [5000, 99])
def test_an_unknown_operator_set_is_refused_at_start(tmp_path: Path, opset: int) -> None:
    model = onnx.load(str(onnx_files.isnet(tmp_path / "a.onnx")))
    model.opset_import[0].version = opset
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(ModelError, match=r"a\.onnx cannot be used .*opset"):
        Engine(EngineOptions(model=str(tmp_path / "a.onnx"))).start()


def test_an_unknown_operator_is_refused_at_start(tmp_path: Path) -> None:
    model = onnx.load(str(onnx_files.isnet(tmp_path / "a.onnx")))
    model.graph.node[0].op_type = "Sliced"
    onnx.save(model, str(tmp_path / "a.onnx"))
    with pytest.raises(ModelError, match=r"a\.onnx cannot be used .*Sliced"):
        Engine(EngineOptions(model=str(tmp_path / "a.onnx"))).start()


def test_inconsistent_shapes_are_found_in_the_warm_up(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Reshape", "x", graph.constant([1, 1, 7, 7], np.int64), output="y")
    path = graph.save(tmp_path / "a.onnx", ("x", (1, 3, 64, 64)), [("y", (1, 1, "h", "w"))])
    with pytest.raises(ModelError, match="cannot be used"):
        Engine(EngineOptions(model=str(path), contract="isnet")).start()


# External weights.


def with_external_weights(folder: Path, location: str = "weights.bin", value: float = 0.5) -> Path:
    """Write an ONNX file whose weights are in a separate file."""
    graph = Graph()
    graph.add("Sigmoid", graph.affine(graph.red("img"), value, value), output="mask")
    path = graph.save(folder / "a.onnx", ("img", (1, 3, 1024, 1024)), [("mask", (1, 1, 1024, 1024))])
    model = onnx.load(str(path))
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            external_data_helper.set_external_data(weight, "weights.bin")
    onnx.save(model, str(path))
    if location != "weights.bin":
        path.write_bytes(path.read_bytes().replace(b"weights.bin", location.encode()))
    return path


def test_external_weights_are_used_and_part_of_the_digest(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path, value=0.5)
    assert [file.name for file in read_onnx(path).external] == ["weights.bin"]
    one = resolve(str(path), contract="isnet")
    with Engine(EngineOptions(model=str(path), contract="isnet")) as engine:
        grey = Picture(np.full((20, 20, 3), 128, np.uint8))  # 0 for the model, so that the constant is left
        assert engine.submit(grey).result().pixels[0, 0, 3] in (158, 159, 160)
    (tmp_path / "weights.bin").unlink()  # onnx would append to it
    with_external_weights(tmp_path, value=0.25)
    assert resolve(str(path), contract="isnet").digest != one.digest


def test_missing_external_weights_are_named(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert "has weights in weights.bin, which is missing" in complaint(path, "isnet")


@pytest.mark.parametrize("location", ["/etc/passwd", "../weights0"])  # as long as the name that they replace
def test_external_weights_in_other_folders_are_refused(tmp_path: Path, location: str) -> None:
    assert f"has weights in '{location}', outside of its folder" in complaint(
        with_external_weights(tmp_path, location), "isnet"
    )


def test_truncated_external_weights_are_found_at_start(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be used"):
        Engine(EngineOptions(model=str(path), contract="isnet")).start()


# Names.


def test_a_rembg_model_is_found_by_its_name(tmp_path: Path) -> None:
    onnx_files.isnet(tmp_path / "isnet-general-use.onnx", outputs=1)  # the file alone would not determine the contract
    entry = resolve("isnet-general-use", folder=tmp_path)
    assert (entry.name, entry.contract, entry.path) == (
        "isnet-general-use",
        "isnet",
        tmp_path / "isnet-general-use.onnx",
    )


def test_a_missing_rembg_model_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{tmp_path}/silueta.onnx does not exist"):
        resolve("silueta", folder=tmp_path)


def test_an_unknown_name_lists_rembg_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="birefnet-general-lite"):
        resolve("isnet-anime", folder=tmp_path)
    assert "isnet-anime" not in KNOWN  # it needs another normalisation


# Other processes.


ODD = b"caf\xe9.onnx".decode("utf-8", "surrogateescape")
"""A file's name that is not valid UTF-8."""


def test_an_entry_is_the_same_in_another_process(tmp_path: Path) -> None:
    adapter = TypeAdapter(ModelEntry)
    for entry in (resolve("fake"), resolve("nano"), resolve(str(onnx_files.u2net(tmp_path / ODD)))):
        text = json.dumps(adapter.dump_python(entry, mode="json"))
        assert adapter.validate_python(json.loads(text)) == entry


def test_a_replaced_file_is_detected(tmp_path: Path) -> None:
    entry = resolve(str(onnx_files.u2net(tmp_path / "a.onnx")))
    verify(entry)
    onnx_files.u2net(tmp_path / "a.onnx", batch="b")
    with pytest.raises(ModelError, match="has changed since"):
        verify(entry)
