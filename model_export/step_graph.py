"""One step with 8-bit weights: the recurrence written out in matrix products.

ONNX Runtime has no quantised GRU, but it has quantised products, and one step
of a GRU is two of them a layer. The weights are a quarter the size, which is
what a step at a small batch costs: the time to read them. `MatMulNBits` takes
blocks of `BLOCK` weights with a float scale each; accuracy level 4 rounds the
other side to 8 bits as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from model_export.architecture import DIM, HIDDEN, LAYERS, MemoryAugmentedGRU
from model_export.fold import Folded, GRULayer, Linear, fold
from model_export.graph import IR_VERSION, OPSET

BLOCK = 64
_ACCURACY_LEVEL = 4
_ZERO_POINT = 128
_STATE_SHAPE: list[int | str] = [LAYERS, "batch", HIDDEN]


def build(model: MemoryAugmentedGRU) -> onnx.ModelProto:
    """The step graph of `model`: the contract's inputs and outputs, `time` 1.

    `lengths` is an input for the engine's sake and is not read: all are 1.
    """
    writer, weights = _Writer(), fold(model)
    hidden = _recurrence(writer, weights)
    step = _head(writer, weights, hidden)
    moved = writer.add("Add", ["newest", step], "moved")
    writer.add("Div", [moved, writer.norm(moved, "moved_norm")], "next_vector")
    proto = helper.make_model(
        writer.finish(),
        opset_imports=[
            helper.make_opsetid("", OPSET),
            helper.make_opsetid("com.microsoft", 1),
        ],
        ir_version=IR_VERSION,
        producer_name="nextvec",
    )
    onnx.checker.check_model(proto)
    return proto


def quantised(
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """`weight` `[inputs, outputs]` in blocks down each output's column.

    `[outputs, blocks, BLOCK]` about `_ZERO_POINT`, and a scale a block `[outputs * blocks]`.
    """
    columns = weight.T.reshape(weight.shape[1], -1, BLOCK)
    scales = np.abs(columns).max(axis=2) / np.float32(127)
    safe = np.where(scales == 0, np.float32(1), scales)
    levels = np.rint(columns / safe[:, :, None]) + _ZERO_POINT
    return levels.astype(np.uint8), safe.reshape(-1).astype(np.float32)


def _recurrence(writer: _Writer, weights: Folded) -> str:
    writer.constant("first_axis", np.array([0], np.int64))
    writer.constant("unit_scale", np.ones(DIM, np.float32))
    newest = writer.add("Squeeze", ["vectors", "first_axis"], "newest")
    value = writer.add(
        "LayerNormalization", [newest, "unit_scale"], "normed", epsilon=weights.input_epsilon
    )
    states = [f"state_{layer}" for layer in range(LAYERS)]
    writer.add_many("Split", ["state"], states, axis=0, num_outputs=LAYERS)
    ends = []
    for layer, layer_weights in enumerate(weights.gru):
        before = writer.add("Squeeze", [states[layer], "first_axis"], f"before_{layer}")
        value = _gru(writer, layer, layer_weights, value, before)
        ends.append(writer.add("Unsqueeze", [value, "first_axis"], f"end_{layer}"))
    writer.add("Concat", ends, "next_state", axis=0)
    return value


def _gru(writer: _Writer, number: int, layer: GRULayer, value: str, before: str) -> str:
    """h' = (1 - z) * n + z * h, with z and r the gates and n = tanh(x + r * (Rh + b))."""
    biases = np.split(layer.b[0], 2)
    inner = writer.linear(value, Linear(layer.w[0].T, biases[0]), f"inner_{number}")
    outer = writer.linear(before, Linear(layer.r[0].T, biases[1]), f"outer_{number}")
    names = [
        [f"{part}_{gate}_{number}" for gate in ("update", "reset", "new")]
        for part in ("inner", "outer")
    ]
    for source, parts in zip((inner, outer), names, strict=True):
        writer.add_many("Split", [source], parts, axis=-1, num_outputs=3)
    gates = []
    for gate in range(2):
        total = writer.add("Add", [names[0][gate], names[1][gate]], f"total_{gate}_{number}")
        gates.append(writer.add("Sigmoid", [total], f"gate_{gate}_{number}"))
    update, reset = gates
    damped = writer.add("Mul", [reset, names[1][2]], f"damped_{number}")
    summed = writer.add("Add", [names[0][2], damped], f"summed_{number}")
    new = writer.add("Tanh", [summed], f"new_{number}")
    away = writer.add("Sub", [before, new], f"away_{number}")
    kept = writer.add("Mul", [update, away], f"kept_{number}")
    return writer.add("Add", [new, kept], f"hidden_{number}")


def _head(writer: _Writer, weights: Folded, hidden: str) -> str:
    query_norm = writer.norm(writer.linear(hidden, weights.query, "query"), "query_norm")
    products = writer.linear(hidden, weights.scores, "products")
    cosines = writer.add("Div", [products, query_norm], "cosines")
    attention = writer.add("Softmax", [cosines], "attention", axis=-1)
    read = writer.product(attention, weights.content, "read")
    own = writer.linear(hidden, weights.fusion, "fusion")
    fused = writer.add("Gelu", [writer.add("Add", [own, read], "fused_sum")], "fused")
    writer.constant("fused_scale", np.ones(HIDDEN, np.float32))
    normed = writer.add(
        "LayerNormalization", [fused, "fused_scale"], "fused_normed", epsilon=weights.fusion_epsilon
    )
    wide = writer.add("Gelu", [writer.linear(normed, weights.expand, "expand")], "wide")
    return writer.linear(wide, weights.output, "step")


class _Writer:
    """Nodes and initializers in the order they are added."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self.constant("smallest_norm", np.array(1e-12, np.float32))
        self.constant("last_axis", np.array([-1], np.int64))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self._initializers.append(numpy_helper.from_array(value.copy(order="C"), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.add_many(operator, inputs, [output], **attributes)
        return output

    def add_many(
        self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any
    ) -> None:
        name = f"{operator}_{outputs[-1]}"
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))

    def product(self, value: str, weight: NDArray[np.float32], output: str) -> str:
        levels, scales = quantised(weight)
        inputs = [
            value,
            self.constant(f"{output}_levels", levels),
            self.constant(f"{output}_scales", scales),
        ]
        return self.add(
            "MatMulNBits",
            inputs,
            output,
            domain="com.microsoft",
            K=weight.shape[0],
            N=weight.shape[1],
            bits=8,
            block_size=BLOCK,
            accuracy_level=_ACCURACY_LEVEL,
        )

    def linear(self, value: str, layer: Linear, output: str) -> str:
        product = self.product(value, layer.weight, f"{output}_product")
        return self.add("Add", [product, self.constant(f"{output}_bias", layer.bias)], output)

    def norm(self, value: str, output: str) -> str:
        length = self.add("ReduceL2", [value, "last_axis"], f"{output}_raw", keepdims=1)
        return self.add("Max", [length, "smallest_norm"], output)

    def finish(self) -> onnx.GraphProto:
        value = helper.make_tensor_value_info
        return helper.make_graph(
            self._nodes,
            "next_vector_step",
            inputs=[
                value("vectors", TensorProto.FLOAT, [1, "batch", DIM]),
                value("lengths", TensorProto.INT32, ["batch"]),
                value("state", TensorProto.FLOAT, _STATE_SHAPE),
            ],
            outputs=[
                value("next_vector", TensorProto.FLOAT, ["batch", DIM]),
                value("next_state", TensorProto.FLOAT, _STATE_SHAPE),
            ],
            initializer=self._initializers,
        )
