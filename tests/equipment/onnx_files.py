"""Small ONNX files with the signatures of known families, whose correct alpha is the red channel.

Each reverts the normalisation of its contract, so that a wrong normalisation gives a wrong alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import NodeProto

from inference.models.thirdparty.contracts import IMAGENET_MEAN, IMAGENET_STD

Dim = int | str
RED_MEAN, RED_STD = IMAGENET_MEAN[0], IMAGENET_STD[0]
EPSILON = 1e-3
"""Clips before the logit, so that black and white stay finite."""


class Graph:
    """Builds a graph node by node; methods take and return names of values."""

    def __init__(self, dtype: type = np.float32) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.dtype = dtype

    def constant(self, values: object, dtype: type | None = None) -> str:
        """Add a weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, dtype or self.dtype), name))
        return name

    def add(self, operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node."""
        output = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def red(self, x: str, axis: int = 1) -> str:
        """Take the first channel."""
        start, end, axes = (self.constant([value], np.int64) for value in (0, 1, axis))
        return self.add("Slice", x, start, end, axes)

    def affine(self, x: str, scale: float, shift: float) -> str:
        """Compute x * scale + shift."""
        return self.add("Add", self.add("Mul", x, self.constant(scale)), self.constant(shift))

    def logit(self, x: str) -> str:
        """Compute the logit, which a sigmoid reverts."""
        safe = self.add("Clip", x, self.constant(EPSILON), self.constant(1 - EPSILON))
        inverse = self.add("Sub", self.constant(1.0), safe)
        return self.add("Log", self.add("Div", safe, inverse))

    def save(self, path: Path, input_: tuple[str, Sequence[Dim]], outputs: Sequence[tuple[str, Sequence[Dim]]]) -> Path:
        """Write the file, with opset 17."""
        kind = TensorProto.FLOAT16 if self.dtype is np.float16 else TensorProto.FLOAT
        onnx.save(self.model(kind, input_, outputs), str(path))
        return path

    def model(
        self, kind: int, input_: tuple[str, Sequence[Dim]], outputs: Sequence[tuple[str, Sequence[Dim]]]
    ) -> onnx.ModelProto:
        """Build the model, and let onnx check it."""
        ports = [helper.make_tensor_value_info(name, kind, list(dims)) for name, dims in outputs]
        entry = helper.make_tensor_value_info(input_[0], kind, list(input_[1]))
        graph = helper.make_graph(self.nodes, "matting", [entry], ports, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def u2net(path: Path, batch: Dim = 1, outputs: int = 7) -> Path:
    """Seven mattes, the correct one first, each after its own sigmoid."""
    graph = Graph()
    red = graph.affine(graph.red("input.1"), RED_STD, RED_MEAN)
    names = [f"{1959 + number}" for number in range(outputs)]
    graph.add("Sigmoid", graph.logit(red), output=names[0])
    for number, name in enumerate(names[1:]):
        graph.add("Sigmoid", graph.affine(red, 0.0, float(number)), output=name)
    return graph.save(path, ("input.1", (batch, 3, 320, 320)), [(name, (batch, 1, 320, 320)) for name in names])


def isnet(path: Path, batch: Dim = 1, outputs: int = 6, sides: tuple[Dim, Dim] = (1024, 1024)) -> Path:
    """Six mattes, the correct one first."""
    graph = Graph()
    red = graph.affine(graph.red("img"), 1.0, 0.5)
    names = [f"mask{number}" for number in range(outputs)]
    graph.add("Sigmoid", graph.logit(red), output=names[0])
    for name in names[1:]:
        graph.add("Sigmoid", graph.affine(red, 0.0, -3.0), output=name)
    return graph.save(path, ("img", (batch, 3, *sides)), [(name, (batch, 1, *sides)) for name in names])


def birefnet(path: Path, batch: Dim = 1, side: Dim = 1024) -> Path:
    """Logits."""
    graph = Graph()
    graph.add("Identity", graph.logit(graph.affine(graph.red("input_image"), RED_STD, RED_MEAN)), output="output_image")
    return graph.save(path, ("input_image", (batch, 3, side, side)), [("output_image", (batch, 1, side, side))])


def rmbg(path: Path, batch: Dim = "batch", dtype: type = np.float32) -> Path:
    """One matte, 0 to 1."""
    graph = Graph(dtype)
    red = graph.affine(graph.red("pixel_values"), RED_STD, RED_MEAN)
    graph.add("Sigmoid", graph.logit(red), output="alphas")
    return graph.save(path, ("pixel_values", (batch, 3, 1024, 1024)), [("alphas", (batch, 1, 1024, 1024))])


def modnet(path: Path, batch: Dim = "batch_size") -> Path:
    """Any size, and an instance normalisation that contributes nothing to the result."""
    graph = Graph()
    red = graph.affine(graph.red("input"), 0.5, 0.5)
    one, none = graph.constant([1.0]), graph.constant([0.0])
    nothing = graph.affine(graph.add("InstanceNormalization", red, one, none), 0.0, 0.0)
    graph.add("Sigmoid", graph.add("Add", graph.logit(red), nothing), output="output")
    return graph.save(path, ("input", (batch, 3, "height", "width")), [("output", (batch, 1, "height", "width"))])


def cvunet_modelscope(path: Path) -> Path:
    """H x W x 3 to H x W x 4 without a batch dimension: the picture, with red as alpha."""
    graph = Graph()
    graph.add("Concat", "input_image:0", graph.red("input_image:0", axis=2), output="output_png:0", axis=2)
    return graph.save(path, ("input_image:0", ("h", "w", 3)), [("output_png:0", ("h", "w", 4))])
