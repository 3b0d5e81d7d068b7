"""Collects the nodes and initializers of an ONNX graph in the order in which they are added."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from architectures.sizes import SMALLEST_NORM


class GraphWriter:
    """Writes a graph. Nodes are named after their outputs, so that bytes are reproducible."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.constant("smallest_norm", np.array(SMALLEST_NORM, np.float32))
        self.constant("last_axis", np.array([-1], np.int64))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add an initializer. Returns its name."""
        self.initializers.append(numpy_helper.from_array(value.copy(order="C"), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output. Returns the output's name."""
        self.add_many(operator, inputs, [output], **attributes)
        return output

    def add_many(
        self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any
    ) -> None:
        """Add a node with several outputs."""
        name = f"{operator}_{outputs[-1]}"
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))

    def norm(self, rows: str, output: str) -> str:
        """Add the length of each row `[..., 1]`, at least `SMALLEST_NORM`. Returns its name."""
        length = self.add("ReduceL2", [rows, "last_axis"], f"{output}_raw", keepdims=1)
        return self.add("Max", [length, "smallest_norm"], output)
