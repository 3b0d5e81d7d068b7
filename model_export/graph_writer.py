"""What every graph here is written with: nodes and initializers in the order they are added."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

SMALLEST_NORM = 1e-12
"""As in `torch.nn.functional.normalize`: a shorter vector is divided by this."""


class GraphWriter:
    """A graph that grows. Nodes are named after what they make, so that bytes repeat."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.constant("smallest_norm", np.array(SMALLEST_NORM, np.float32))
        self.constant("last_axis", np.array([-1], np.int64))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """An initializer. Returns its name."""
        self.initializers.append(numpy_helper.from_array(value.copy(order="C"), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node of one output. Returns its name."""
        self.add_many(operator, inputs, [output], **attributes)
        return output

    def add_many(
        self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any
    ) -> None:
        """A node of several outputs."""
        name = f"{operator}_{outputs[-1]}"
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))

    def norm(self, rows: str, output: str) -> str:
        """The length of each row `[..., 1]`, at least `SMALLEST_NORM`."""
        length = self.add("ReduceL2", [rows, "last_axis"], f"{output}_raw", keepdims=1)
        return self.add("Max", [length, "smallest_norm"], output)
