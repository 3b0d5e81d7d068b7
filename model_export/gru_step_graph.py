"""The graph of one GRU step as matrix products, in 8 bits, fp16 or fp32.

ONNX Runtime has no quantised GRU, but it has quantised products, and a GRU step is two of them
a layer. At a small batch a step costs the time to read its weights, and 8-bit weights are a
quarter the size. `MatMulNBits` takes blocks of `BLOCK` weights with one float scale each;
accuracy level 4 also rounds the activations to 8 bits. In fp16 only the products run in fp16;
everything else, in particular the state, stays in fp32.

On a GPU, copying the state to the device and back costs more than the step. `pooled` graphs keep
the states of many sessions in one tensor `[slots, layers, hidden]`. They gather the batch's
states from it and scatter the new ones into other slots, so a failed step changes nothing. The
pool's input and output are bound to the same memory, so the pool is not copied. Without a GRU
node and lengths, and with fixed shapes, the graph can be captured as a CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from architectures.model_weights import ModelWeights
from architectures.sizes import DIM, HIDDEN, LAYERS
from model_export.graph_writer import GraphWriter
from model_export.gru_graph import IR_VERSION, OPSET
from model_export.weight_folding import FoldedWeights, GRULayer, Linear, fold
from service.manifest import Precision

BLOCK = 64
_ACCURACY_LEVEL = 4
_ZERO_POINT = 128
_STATE_SHAPE: list[int | str] = [LAYERS, "batch", HIDDEN]


def build(
    model: ModelWeights, precision: Precision = "int8", *, pooled: bool = False
) -> onnx.ModelProto:
    """The step graph of a Memory-Augmented GRU.

    It has the inputs and outputs of `gru_graph.build`, with `time` 1. The engine needs the input
    `lengths`, but the graph does not read it. A `pooled` graph has the inputs int64 `sources` and
    `targets` `[batch]` and float32 `states` `[slots, layers, hidden]` instead of `lengths` and
    `state`, and the output `next_states`, which is `states` with the new states at `targets`,
    instead of `next_state`.
    """
    writer, weights = _StepGraphWriter(precision), fold(model)
    if pooled:
        _gather(writer)
    hidden = _recurrence(writer, weights)
    step = _head(writer, weights, hidden)
    moved = writer.add("Add", ["newest", step], "moved")
    writer.add("Div", [moved, writer.norm(moved, "moved_norm")], "next_vector")
    if pooled:
        _scatter(writer)
    proto = helper.make_model(
        writer.finish(_POOLED if pooled else _PLAIN, "next_vector_step"),
        opset_imports=[
            helper.make_opsetid("", OPSET),
            helper.make_opsetid("com.microsoft", 1),
        ],
        ir_version=IR_VERSION,
        producer_name="nextvec",
    )
    onnx.checker.check_model(proto)
    return proto


def build_read() -> onnx.ModelProto:
    """The graph that reads states from the pool: `states`, `slots` `[n]` → `read`."""
    writer = _StepGraphWriter("fp32")
    writer.add("Gather", ["states", "slots"], "read", axis=0)
    return _plain_model(writer, _READ, "read_states")


def build_write() -> onnx.ModelProto:
    """The graph that writes states into the pool: `states`, `slots`, `written` → `next_states`."""
    writer = _StepGraphWriter("fp32")
    _write_to_pool(writer, "slots", "written")
    return _plain_model(writer, _WRITE, "write_states")


def _plain_model(writer: _StepGraphWriter, ends: _GraphSignature, name: str) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(
        writer.finish(ends, name), opset_imports=opsets, ir_version=IR_VERSION
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def quantise(
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantise `weight` `[inputs, outputs]` in blocks along each output's column.

    Returns levels `[outputs, blocks, BLOCK]` around `_ZERO_POINT` and scales `[outputs * blocks]`.
    """
    columns = weight.T.reshape(weight.shape[1], -1, BLOCK)
    scales = np.abs(columns).max(axis=2) / np.float32(127)
    safe = np.where(scales == 0, np.float32(1), scales)
    levels = np.rint(columns / safe[:, :, None]) + _ZERO_POINT
    return levels.astype(np.uint8), safe.reshape(-1).astype(np.float32)


def _gather(writer: _StepGraphWriter) -> None:
    """Add `state` `[layers, batch, hidden]`, read from the pool."""
    rows = writer.add("Gather", ["states", "sources"], "rows", axis=0)
    writer.add("Transpose", [rows], "state", perm=[1, 0, 2])


def _scatter(writer: _StepGraphWriter) -> None:
    """Add the write of `next_state` to the pool."""
    rows = writer.add("Transpose", ["next_state"], "next_rows", perm=[1, 0, 2])
    _write_to_pool(writer, "targets", rows)


def _write_to_pool(writer: _StepGraphWriter, slots: str, rows: str) -> None:
    """Add the write of `rows` to `slots` of the pool, element by element.

    ScatterND would be shorter, but on CUDA, ONNX Runtime copies its strides from host memory that
    it frees after the run, which a replayed CUDA graph would read again. ScatterElements passes
    them as kernel arguments.
    """
    writer.constant("state_axes", np.array([1, 2], np.int64))
    writer.constant("state_shape", np.array([1, LAYERS, HIDDEN], np.int64))
    column = writer.add("Unsqueeze", [slots, "state_axes"], "places")
    every = writer.add("Expand", [column, "state_shape"], "places_of_elements")
    writer.add("ScatterElements", ["states", every, rows], "next_states", axis=0)


def _recurrence(writer: _StepGraphWriter, weights: FoldedWeights) -> str:
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


def _gru(writer: _StepGraphWriter, number: int, layer: GRULayer, value: str, before: str) -> str:
    """Add h' = (1 - z) * n + z * h, with the gates z and r and n = tanh(x + r * (Rh + b))."""
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


def _head(writer: _StepGraphWriter, weights: FoldedWeights, hidden: str) -> str:
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


_Tensor = tuple[str, Any, list[int | str]]
"""Name, element type and shape."""


@dataclass(frozen=True)
class _GraphSignature:
    """A graph's inputs and outputs."""

    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]


_VECTORS: _Tensor = ("vectors", TensorProto.FLOAT, [1, "batch", DIM])
_ANSWER: _Tensor = ("next_vector", TensorProto.FLOAT, ["batch", DIM])
_POOL: list[int | str] = ["slots", LAYERS, HIDDEN]
_SLOTS: _Tensor = ("slots", TensorProto.INT64, ["n"])
_STATES: _Tensor = ("states", TensorProto.FLOAT, _POOL)
_NEXT_STATES: _Tensor = ("next_states", TensorProto.FLOAT, _POOL)

_PLAIN = _GraphSignature(
    (
        _VECTORS,
        ("lengths", TensorProto.INT32, ["batch"]),
        ("state", TensorProto.FLOAT, _STATE_SHAPE),
    ),
    (_ANSWER, ("next_state", TensorProto.FLOAT, _STATE_SHAPE)),
)
_POOLED = _GraphSignature(
    (
        _VECTORS,
        ("sources", TensorProto.INT64, ["batch"]),
        ("targets", TensorProto.INT64, ["batch"]),
        _STATES,
    ),
    (_ANSWER, _NEXT_STATES),
)
_READ = _GraphSignature((_STATES, _SLOTS), (("read", TensorProto.FLOAT, ["n", LAYERS, HIDDEN]),))
_WRITE = _GraphSignature(
    (_STATES, _SLOTS, ("written", TensorProto.FLOAT, ["n", LAYERS, HIDDEN])), (_NEXT_STATES,)
)


class _StepGraphWriter(GraphWriter):
    """A graph writer whose products run in `precision`."""

    def __init__(self, precision: Precision) -> None:
        super().__init__()
        self._precision = precision

    def product(self, value: str, weight: NDArray[np.float32], output: str) -> str:
        """Add `value @ weight`."""
        if self._precision == "int8":
            return self._add_quantised_product(value, weight, output)
        return self._add_in_precision("MatMul", value, [self._weight(weight, output)], output)

    def linear(self, value: str, layer: Linear, output: str) -> str:
        if self._precision == "int8":
            product = self.product(value, layer.weight, f"{output}_product")
            return self.add("Add", [product, self.constant(f"{output}_bias", layer.bias)], output)
        weights = [self._weight(layer.weight, output), self._weight(layer.bias, f"{output}_bias")]
        return self._add_in_precision("Gemm", value, weights, output)

    def _weight(self, weight: NDArray[np.float32], output: str) -> str:
        half = self._precision == "fp16"
        return self.constant(f"{output}_weight", weight.astype(np.float16) if half else weight)

    def _add_in_precision(self, operator: str, value: str, weights: list[str], output: str) -> str:
        if self._precision == "fp32":
            return self.add(operator, [value, *weights], output)
        narrow = self.add("Cast", [value], f"{output}_narrow", to=TensorProto.FLOAT16)
        product = self.add(operator, [narrow, *weights], f"{output}_half")
        return self.add("Cast", [product], output, to=TensorProto.FLOAT)

    def _add_quantised_product(self, value: str, weight: NDArray[np.float32], output: str) -> str:
        levels, scales = quantise(weight)
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

    def finish(self, ends: _GraphSignature, name: str) -> onnx.GraphProto:
        def value_infos(tensors: tuple[_Tensor, ...]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(*tensor) for tensor in tensors]

        used = {name for node in self.nodes for name in node.input}
        constants = [constant for constant in self.initializers if constant.name in used]
        return helper.make_graph(
            self.nodes,
            name,
            value_infos(ends.inputs),
            value_infos(ends.outputs),
            initializer=constants,
        )
