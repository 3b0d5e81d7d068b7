"""The ONNX graph of the Decayed Means: a context of any length is one product.

A recurrence with fixed decays is a sum with known weights: the weight of a vector at its row's
end depends only on its distance from the end. The graph therefore has no loop, a step and a
prefill use the same nodes, and rows of different lengths differ only in their weights.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, shape_inference

from architectures.model_weights import ModelWeights
from architectures.sizes import DIM
from model_export.graph_writer import GraphWriter
from model_export.gru_graph import IR_VERSION, OPSET
from model_export.gru_step_graph import BLOCK, quantise
from service.manifest import Dimensions

_NEVER = 1e9
"""The age of padding past a row's end: every decay to this power is 0."""


def build(model: ModelWeights, precision: Literal["fp32", "int8"] = "fp32") -> onnx.ModelProto:
    """The graph of `model`, with the inputs and outputs of `gru_graph.build`.

    The scales are folded into the linear map. With `int8`, its weights have 8 bits.
    """
    writer = GraphWriter()
    sizes = model.dimensions
    centre = writer.constant("centre", model.tensors["centre"])
    writer.constant("basis", model.tensors["basis"])
    centred = writer.add("Sub", ["vectors", centre], "centred")
    _means(writer, model, centred)
    last = writer.add("MatMul", [_last_row(writer, centred), "basis"], "last_seen")
    rows = writer.add("Concat", [last, "next_state"], "rows", axis=0)
    by_row = writer.add("Transpose", [rows], "by_row", perm=[1, 0, 2])
    units = writer.add("Div", [by_row, writer.norm(by_row, "row_length")], "units")
    writer.constant("flat_shape", np.array([0, (sizes.layers + 1) * sizes.hidden], np.int64))
    flat = writer.add("Reshape", [units, "flat_shape"], "flat")
    mixed = _add_mix(writer, model, flat, precision)
    direction = writer.add("Gemm", [mixed, "basis"], "direction", transB=1)
    writer.add("Div", [direction, writer.norm(direction, "length")], "next_vector")
    return _build_model(writer, sizes, precision)


def _means(writer: GraphWriter, model: ModelWeights, centred: str) -> None:
    """Add `next_state`: the weighted sum of all vectors, plus the decayed state."""
    decay = model.exact("decay")[:, None]
    writer.constant("fade", _array(np.log(np.maximum(decay, 1e-30))))
    writer.constant("share", _array(1 - decay))
    writer.constant("zero", np.array(0, np.float32))
    writer.constant("one", np.array(1, np.float32))
    writer.constant("never", np.array(_NEVER, np.float32))
    writer.constant("first", np.array(0, np.int64))
    writer.constant("row_axis", np.array([1], np.int64))
    writer.constant("row_axes", np.array([1, 2], np.int64))
    # age[batch, time]: 0 at a row's last vector, negative in the padding.
    time = writer.add("Gather", [writer.add("Shape", ["vectors"], "shape"), "first"], "time")
    floats = writer.add("Cast", [time], "time_float", to=TensorProto.FLOAT)
    place = writer.add("Range", ["zero", floats, "one"], "place")
    length = writer.add("Cast", ["lengths"], "length_float", to=TensorProto.FLOAT)
    column = writer.add("Unsqueeze", [length, "row_axis"], "length_column")
    age = writer.add("Sub", [writer.add("Sub", [column, "one"], "newest"), place], "age")
    past = writer.add("Less", [age, "zero"], "past")
    ages = writer.add("Where", [past, "never", age], "ages")
    # Weights [batch, means, time]: each decay to the power of the age.
    wide = writer.add("Unsqueeze", [ages, "row_axis"], "ages_wide")
    kept = writer.add("Exp", [writer.add("Mul", [wide, "fade"], "log_kept")], "kept")
    weights = writer.add("Mul", [kept, "share"], "weights")
    by_row = writer.add("Transpose", [centred], "context", perm=[1, 0, 2])
    # The projection is linear, so project the sums instead of every vector.
    read = writer.add("MatMul", [weights, by_row], "read_wide")
    read = writer.add("MatMul", [read, "basis"], "read")
    new = writer.add("Transpose", [read], "new", perm=[1, 0, 2])
    # The decay of the given state, [means, batch, 1].
    gone = writer.add("Mul", ["fade", length], "log_left")
    left = writer.add("Unsqueeze", [writer.add("Exp", [gone], "left"), "left_axis"], "left_column")
    writer.constant("left_axis", np.array([2], np.int64))
    writer.add("Add", [new, writer.add("Mul", [left, "state"], "old")], "next_state")


def _last_row(writer: GraphWriter, centred: str) -> str:
    """Add each row's last centred vector, `[1, batch, dim]`."""
    writer.constant("one_int", np.array(1, np.int32))
    writer.constant("outer_axes", np.array([0, 2], np.int64))
    writer.constant("every_dim", np.zeros((1, 1, DIM), np.int32))
    index = writer.add("Sub", ["lengths", "one_int"], "last_index")
    column = writer.add("Unsqueeze", [index, "outer_axes"], "last_column")
    spread = writer.add("Add", [column, "every_dim"], "last_indices")
    return writer.add("GatherElements", [centred, spread], "last", axis=0)


def _add_mix(writer: GraphWriter, model: ModelWeights, flat: str, precision: str) -> str:
    """Add the prediction in the basis, `[batch, width]`."""
    own = np.eye(model.dimensions.hidden)
    scaled = np.concatenate([scale * own for scale in model.exact("scale")], axis=1)
    weight = _array((model.exact("mix.weight") + scaled).T)
    bias = writer.constant("bias", model.tensors["mix.bias"])
    if precision == "fp32":
        return writer.add("Gemm", [flat, writer.constant("weight", weight), bias], "mixed")
    levels, scales = quantise(weight)
    inputs = [flat, writer.constant("levels", levels), writer.constant("scales", scales)]
    sizes = {"K": weight.shape[0], "N": weight.shape[1], "bits": 8, "block_size": BLOCK}
    product = writer.add(
        "MatMulNBits", inputs, "product", domain="com.microsoft", accuracy_level=4, **sizes
    )
    return writer.add("Add", [product, bias], "mixed")


def _array(exact: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(exact, np.float32)


def _build_model(writer: GraphWriter, sizes: Dimensions, precision: str) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    state: list[int | str] = [sizes.layers, "batch", sizes.hidden]
    graph = helper.make_graph(
        writer.nodes,
        "next_vector",
        inputs=[
            value("vectors", TensorProto.FLOAT, ["time", "batch", DIM]),
            value("lengths", TensorProto.INT32, ["batch"]),
            value("state", TensorProto.FLOAT, state),
        ],
        outputs=[
            value("next_vector", TensorProto.FLOAT, ["batch", DIM]),
            value("next_state", TensorProto.FLOAT, state),
        ],
        initializer=writer.initializers,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if precision == "int8":
        opsets.append(helper.make_opsetid("com.microsoft", 1))
    proto = helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="nextvec"
    )
    if precision == "int8":  # shape inference does not know com.microsoft operators
        onnx.checker.check_model(proto)
        return proto
    proto = shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(proto, full_check=True)
    return proto
