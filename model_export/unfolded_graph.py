"""The graph that a tracing exporter would write, unfolded. A baseline of `nextvec bench`.

It has the operators that `torch.onnx.export(dynamo=True)` of torch 2.13 generates: the constant
content is concatenated to every input vector, so the first layer is twice as wide; LayerNorms
keep their scale and shift; the memory is read unchanged; linear layers are `Gemm` with a
transposed weight. ONNX Runtime applies its own folding at load as usual. Never served.

    python -m model_export.unfolded_graph CHECKPOINT GRAPH
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from architectures import weights_file
from architectures.model_weights import MEMORY_AUGMENTED_GRU, ModelWeights
from architectures.sizes import DIM, EPSILON, HIDDEN, LAYERS
from model_export.gru_graph import IR_VERSION, OPSET, serialise

_STATE_SHAPE: list[int | str] = [LAYERS, "batch", HIDDEN]


def build(model: ModelWeights) -> onnx.ModelProto:
    """The graph of `model` with the inputs and outputs of `gru_graph.build`.

    The engine needs the input `lengths`, but the graph does not read it: all rows run to the end
    of `vectors` `[time, batch, dim]`.
    """
    writer = _UnfoldedGraphWriter(dict(model.tensors))
    writer.constant("last_axis", np.array([-1], np.int64))
    writer.constant("first_axis", np.array([0], np.int64))
    writer.constant("last", np.array(-1, np.int64))
    writer.constant("smallest_norm", np.array(1e-12, np.float32))
    writer.constant("dim", np.array([DIM], np.int64))
    slots = writer.normalise("memory.memory", "slots")
    writer.add("Transpose", [slots], "slots_t", perm=[1, 0])
    writer.constant("no_query", np.zeros((1, HIDDEN), np.float32))
    content = _read(writer, "no_query", "first")
    shape = writer.add("Shape", ["vectors"], "time_batch", end=2)
    spread = writer.add("Concat", [shape, "dim"], "content_shape", axis=0)
    expanded = writer.add("Expand", [content, spread], "content")
    normed = writer.layer_norm("vectors", "input_norm", EPSILON, "normed")
    sequence = writer.add("Concat", [normed, expanded], "augmented", axis=-1)
    ends = []
    for layer in range(LAYERS):
        sequence, end = _gru(writer, layer, sequence)
        ends.append(end)
    writer.add("Concat", ends, "next_state", axis=0)
    hidden = writer.add("Gather", [sequence, "last"], "hidden", axis=0)
    read = _read(writer, hidden, "second")
    joined = writer.add("Concat", [hidden, read], "joined", axis=-1)
    fused = writer.add("Gelu", [writer.linear(joined, "fusion.0", "fusion")], "fused")
    fused = writer.layer_norm(fused, "fusion.3", EPSILON, "fused_normed")
    wide = writer.add("Gelu", [writer.linear(fused, "output_proj.0", "expand")], "wide")
    step = writer.linear(wide, "output_proj.3", "step")
    newest = writer.add("Gather", ["vectors", "last"], "newest", axis=0)
    moved = writer.add("Add", [newest, step], "moved")
    writer.normalise(moved, "next_vector")
    proto = helper.make_model(
        writer.finish(), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _read(writer: _UnfoldedGraphWriter, hidden: str, name: str) -> str:
    query = writer.normalise(
        writer.linear(hidden, "memory.query_proj", f"{name}_query"), f"{name}_unit"
    )
    scores = writer.add("MatMul", [query, "slots_t"], f"{name}_scores")
    attention = writer.add("Softmax", [scores], f"{name}_attention", axis=-1)
    return writer.add("MatMul", [attention, "memory.memory"], f"{name}_read")


def _gru(writer: _UnfoldedGraphWriter, layer: int, sequence: str) -> tuple[str, str]:
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        gates = writer.weights[f"gru.{part}_l{layer}"]
        reset, update, new = np.split(gates, 3)
        writer.constant(f"{part}_{layer}", np.concatenate([update, reset, new])[None])
    biases = [f"bias_ih_{layer}", f"bias_hh_{layer}"]
    bias = writer.add("Concat", biases, f"bias_{layer}", axis=1)
    writer.constant(f"from_{layer}", np.array([layer], np.int64))
    writer.constant(f"to_{layer}", np.array([layer + 1], np.int64))
    state = writer.add(
        "Slice", ["state", f"from_{layer}", f"to_{layer}", "first_axis"], f"state_{layer}"
    )
    inputs = [sequence, f"weight_ih_{layer}", f"weight_hh_{layer}", bias, "", state]
    output, end = f"output_{layer}", f"end_{layer}"
    writer.add_many("GRU", inputs, [output, end], hidden_size=HIDDEN, linear_before_reset=1)
    turned = writer.add("Transpose", [output], f"turned_{layer}", perm=[0, 2, 1, 3])
    writer.constant(f"flat_{layer}", np.array([0, 0, -1], np.int64))
    return writer.add("Reshape", [turned, f"flat_{layer}"], f"sequence_{layer}"), end


class _UnfoldedGraphWriter:
    """Writes the graph; a module's weight becomes an initializer at its first use."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self.weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self._initializers[name] = numpy_helper.from_array(value.copy(order="C"), name)
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.add_many(operator, inputs, [output], **attributes)
        return output

    def add_many(
        self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any
    ) -> None:
        for name in inputs:
            if name in self.weights and name not in self._initializers:
                self.constant(name, self.weights[name])
        self._nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def linear(self, value: str, module: str, output: str) -> str:
        return self.add("Gemm", [value, f"{module}.weight", f"{module}.bias"], output, transB=1)

    def layer_norm(self, value: str, module: str, epsilon: float, output: str) -> str:
        inputs = [value, f"{module}.weight", f"{module}.bias"]
        return self.add("LayerNormalization", inputs, output, epsilon=epsilon)

    def normalise(self, value: str, output: str) -> str:
        length = self.add("ReduceL2", [value, "last_axis"], f"{output}_length", keepdims=1)
        clipped = self.add("Max", [length, "smallest_norm"], f"{output}_clipped")
        return self.add("Div", [value, clipped], output)

    def finish(self) -> onnx.GraphProto:
        value = helper.make_tensor_value_info
        return helper.make_graph(
            self._nodes,
            "direct",
            inputs=[
                value("vectors", TensorProto.FLOAT, ["time", "batch", DIM]),
                value("lengths", TensorProto.INT32, ["batch"]),
                value("state", TensorProto.FLOAT, _STATE_SHAPE),
            ],
            outputs=[
                value("next_vector", TensorProto.FLOAT, ["batch", DIM]),
                value("next_state", TensorProto.FLOAT, _STATE_SHAPE),
            ],
            initializer=list(self._initializers.values()),
        )


if __name__ == "__main__":
    loaded = weights_file.load(Path(sys.argv[1]))
    if loaded.architecture != MEMORY_AUGMENTED_GRU:
        raise SystemExit(f"{sys.argv[1]}: is of {loaded.architecture}, which has no unfolded graph")
    Path(sys.argv[2]).write_bytes(serialise(build(loaded)))
