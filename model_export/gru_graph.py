"""The ONNX graph of the Memory-Augmented GRU for whole contexts and steps.

Written node by node instead of traced, because these details decide the speed: GRU nodes with
`linear_before_reset=1` (PyTorch's form, and the only one that runs on CUDA), time-major layout
(ONNX Runtime refuses batch-major), W and R as initializers (otherwise they are not cached), no
shape arithmetic, and `sequence_lens`, so that rows of different lengths run in one batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference

from architectures.model_weights import ModelWeights
from architectures.sizes import DIM, HIDDEN, LAYERS
from model_export.graph_writer import GraphWriter
from model_export.weight_folding import Float32, FoldedWeights, GRULayer, Linear, fold

OPSET = 20
"""The first opset with Gelu, and before GRU-22, which ONNX Runtime may not support."""

IR_VERSION = 9
"""The format version of opset 20."""


def build(model: ModelWeights, *, half: bool = False) -> onnx.ModelProto:
    """The graph of a Memory-Augmented GRU, checked and with its shapes inferred.

    With `half`, products and the GRU run in fp16, for CUDA; inputs, outputs, norms and the
    softmax stay in fp32.

    Inputs: `vectors` float32 `[time, batch, dim]`, `lengths` int32 `[batch]`
    (1 ≤ length ≤ time), `state` float32 `[layers, batch, hidden]`. Outputs:
    `next_vector` float32 `[batch, dim]`, unit length, and `next_state`, like
    `state`. Padding past a row's length has no effect.
    """
    graph = _GRUGraphWriter(half=half)
    weights = fold(model)
    hidden = _recurrence(graph, weights)
    step = _head(graph, weights, hidden)
    _add_to_last(graph, step)
    proto = helper.make_model(
        graph.finish(),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nextvec",
    )
    proto = shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def serialise(proto: onnx.ModelProto) -> bytes:
    """Serialise the graph; the same weights give the same bytes."""
    serialised: bytes = proto.SerializeToString(deterministic=True)
    return serialised


def _recurrence(graph: _GRUGraphWriter, weights: FoldedWeights) -> str:
    """Add the GRU. Returns its output at each row's end `[1, batch, hidden]`; adds `next_state`."""
    graph.constant("unit_scale", np.ones(DIM, np.float32))
    sequence = graph.add(
        "LayerNormalization", ["vectors", "unit_scale"], "normed", epsilon=weights.input_epsilon
    )
    sequence = graph.narrow(sequence)
    states = [f"state_{layer}" for layer in range(LAYERS)]
    graph.add_many("Split", [graph.narrow("state")], states, axis=0, num_outputs=LAYERS)
    # Past a row's length Y is zero, so Y[-1] is wrong for shorter rows; Y_h is right for all.
    ends = [f"end_{layer}" for layer in range(LAYERS)]
    graph.constant("direction_axis", np.array([1], np.int64))
    for layer, layer_weights in enumerate(weights.gru):
        output = f"output_{layer}" if layer < LAYERS - 1 else ""
        graph.gru(layer, layer_weights, sequence, states[layer], (output, ends[layer]))
        if output:
            sequence = graph.add("Squeeze", [output, "direction_axis"], f"sequence_{layer + 1}")
    graph.add_widened("Concat", ends, "next_state", axis=0)
    return ends[-1]


def _head(graph: _GRUGraphWriter, weights: FoldedWeights, end: str) -> str:
    """Add the head, which predicts the step: `[1, batch, hidden] -> [batch, dim]`."""
    graph.constant("layer_axis", np.array([0], np.int64))
    hidden = graph.add("Squeeze", [end, "layer_axis"], "hidden")
    # cosine(query, slot) = (query . slot / |slot|) / |query|
    # The query's sum of squares can overflow fp16.
    query = graph.add_wide_linear(hidden, weights.query, "query")
    query_norm = graph.norm(query, "query_norm")
    products = graph.add_wide_linear(hidden, weights.scores, "products")
    cosines = graph.add("Div", [products, query_norm], "cosines")
    attention = graph.add("Softmax", [cosines], "attention", axis=-1)
    graph.weight("content", weights.content)
    read = graph.add_widened("MatMul", [graph.narrow(attention), "content"], "read")
    own = graph.add_wide_linear(hidden, weights.fusion, "fusion")
    fused = graph.add("Gelu", [graph.add("Add", [own, read], "fused_sum")], "fused")
    graph.constant("fused_scale", np.ones(HIDDEN, np.float32))
    normed = graph.add(
        "LayerNormalization",
        [fused, "fused_scale"],
        "fused_normed",
        epsilon=weights.fusion_epsilon,
    )
    expanded = graph.add_wide_linear(graph.narrow(normed), weights.expand, "expand")
    wide = graph.add("Gelu", [expanded], "wide")
    return graph.add_wide_linear(graph.narrow(wide), weights.output, "step")


def _add_to_last(graph: _GRUGraphWriter, step: str) -> None:
    """Add `next_vector = normalise(vectors[lengths - 1] + step)`."""
    graph.constant("one", np.array(1, np.int32))
    graph.constant("outer_axes", np.array([0, 2], np.int64))
    graph.constant("every_dim", np.zeros((1, 1, DIM), np.int32))
    index = graph.add("Sub", ["lengths", "one"], "last_index")
    column = graph.add("Unsqueeze", [index, "outer_axes"], "last_column")
    spread = graph.add("Add", [column, "every_dim"], "last_indices")
    gathered = graph.add("GatherElements", ["vectors", spread], "last_row", axis=0)
    last = graph.add("Squeeze", [gathered, "layer_axis"], "last")
    moved = graph.add("Add", [last, step], "moved")
    graph.add("Div", [moved, graph.norm(moved, "moved_norm")], "next_vector")


class _GRUGraphWriter(GraphWriter):
    """A graph writer whose weights, products and GRU are in fp16 if `half`."""

    def __init__(self, *, half: bool) -> None:
        super().__init__()
        self._half = half

    def weight(self, name: str, value: Float32) -> str:
        """Add a constant in the graph's precision."""
        return self.constant(name, value.astype(np.float16) if self._half else value)

    def narrow(self, value: str) -> str:
        """Cast `value` to the graph's precision."""
        if not self._half:
            return value
        return self.add("Cast", [value], f"{value}_narrow", to=TensorProto.FLOAT16)

    def add_widened(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an operator in the graph's precision, with its output cast to fp32."""
        if not self._half:
            return self.add(operator, inputs, output, **attributes)
        half = self.add(operator, inputs, f"{output}_half", **attributes)
        return self.add("Cast", [half], output, to=TensorProto.FLOAT)

    def add_wide_linear(self, value: str, layer: Linear, output: str) -> str:
        weight = self.weight(f"{output}_weight", layer.weight)
        bias = self.weight(f"{output}_bias", layer.bias)
        return self.add_widened("Gemm", [value, weight, bias], output)

    def gru(
        self, number: int, layer: GRULayer, sequence: str, state: str, outputs: tuple[str, str]
    ) -> None:
        names = [
            self.weight(f"gru_{number}_{part}", getattr(layer, part)) for part in ("w", "r", "b")
        ]
        self.add_many(
            "GRU",
            [sequence, *names, "lengths", state],
            list(outputs),
            hidden_size=HIDDEN,
            linear_before_reset=1,
        )

    def finish(self) -> onnx.GraphProto:
        return helper.make_graph(
            self.nodes,
            "next_vector",
            inputs=[
                helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["time", "batch", DIM]),
                helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
                helper.make_tensor_value_info("state", TensorProto.FLOAT, _STATE_SHAPE),
            ],
            outputs=[
                helper.make_tensor_value_info("next_vector", TensorProto.FLOAT, ["batch", DIM]),
                helper.make_tensor_value_info("next_state", TensorProto.FLOAT, _STATE_SHAPE),
            ],
            initializer=self.initializers,
        )


_STATE_SHAPE: list[int | str] = [LAYERS, "batch", HIDDEN]
