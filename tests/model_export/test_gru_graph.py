"""The graph agrees with the model row by row, whatever the other rows contain."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, MemoryAugmentedGRU
from model_export import gru_graph
from model_export.parity import draw_walk
from model_export.weight_folding import fold
from service.inference.engines.engine import Engine

Array = NDArray[np.float32]
TOLERANCE = 1e-5


def _random_state(rng: np.random.Generator, batch: int) -> Array:
    return rng.uniform(-1, 1, (LAYERS, batch, HIDDEN)).astype(np.float32)


def _torch(model: MemoryAugmentedGRU, vectors: Array, state: Array) -> tuple[Array, Array]:
    with torch.inference_mode():
        answer, end = model.predict(torch.tensor(vectors), torch.tensor(state))
    return answer.numpy(), end.numpy()


def _lengths(*lengths: int) -> NDArray[np.int32]:
    return np.array(lengths, np.int32)


def test_it_agrees_with_the_model_from_a_state(model: MemoryAugmentedGRU, engine: Engine) -> None:
    """Predictions and states, for a batch of warm states."""
    rng = np.random.default_rng(1)
    vectors, state = draw_walk(rng, 40, 3), _random_state(rng, 3)
    answer, end = engine.run(vectors, _lengths(40, 40, 40), state)
    expected_answer, expected_end = _torch(model, vectors, state)
    np.testing.assert_allclose(answer, expected_answer, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(end, expected_end, atol=TOLERANCE, rtol=0)


def test_a_short_row_ends_at_its_length_and_padding_is_not_read(
    model: MemoryAugmentedGRU, engine: Engine
) -> None:
    """NaN and huge values after a row's end affect no row."""
    rng = np.random.default_rng(2)
    vectors, state = draw_walk(rng, 20, 3), _random_state(rng, 3)
    padded = vectors.copy()
    padded[7:, 1] = np.nan
    padded[1:, 2] = 1e30
    answer, end = engine.run(padded, _lengths(20, 7, 1), state)
    for row, length in enumerate((20, 7, 1)):
        one = slice(row, row + 1)
        expected_answer, expected_end = _torch(model, vectors[:length, one], state[:, one])
        np.testing.assert_allclose(answer[one], expected_answer, atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(end[:, one], expected_end, atol=TOLERANCE, rtol=0)


def test_a_row_does_not_depend_on_its_batch(engine: Engine) -> None:
    """A row alone and in a batch gives the same prediction."""
    rng = np.random.default_rng(3)
    vectors, state = draw_walk(rng, 12, 8), _random_state(rng, 8)
    together, _ = engine.run(vectors, _lengths(*[12] * 8), state)
    alone, _ = engine.run(
        np.ascontiguousarray(vectors[:, 4:5]), _lengths(12), np.ascontiguousarray(state[:, 4:5])
    )
    np.testing.assert_allclose(alone[0], together[4], atol=1e-6, rtol=0)


def test_pieces_on_a_kept_state_equal_one_pass(engine: Engine) -> None:
    """3 + 1 + 16 vectors equal 20."""
    vectors = draw_walk(np.random.default_rng(4), 20, 2)
    state = np.zeros((LAYERS, 2, HIDDEN), np.float32)
    whole, end = engine.run(vectors, _lengths(20, 20), state)
    for first, last in ((0, 3), (3, 4), (4, 20)):
        size = last - first
        answer, state = engine.run(vectors[first:last], _lengths(size, size), state)
    np.testing.assert_allclose(answer, whole, atol=1e-6, rtol=0)
    np.testing.assert_allclose(state, end, atol=1e-6, rtol=0)


def test_predictions_are_unit_vectors(engine: Engine) -> None:
    """Also for inputs of another norm, and for a zero vector."""
    vectors = 5 * draw_walk(np.random.default_rng(5), 4, 2)
    vectors[:, 1] = 0
    answer, _ = engine.run(vectors, _lengths(4, 4), np.zeros((LAYERS, 2, HIDDEN), np.float32))
    np.testing.assert_allclose(np.linalg.norm(answer, axis=1), [1, 1], atol=1e-6)


def test_the_interface_is_fixed(graph_bytes: bytes) -> None:
    """Names, types and dimensions. Time and batch are dynamic."""
    proto = onnx.load_from_string(graph_bytes).graph

    def described(values: list[onnx.ValueInfoProto]) -> dict[str, tuple[int, list[str | int]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    floats, ints = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    assert {
        "vectors": (floats, ["time", "batch", DIM]),
        "lengths": (ints, ["batch"]),
        "state": (floats, [LAYERS, "batch", HIDDEN]),
    } == described(list(proto.input))
    assert {
        "next_vector": (floats, ["batch", DIM]),
        "next_state": (floats, [LAYERS, "batch", HIDDEN]),
    } == described(list(proto.output))


def test_gru_nodes_have_the_form_that_cuda_supports(graph_bytes: bytes) -> None:
    """Four time-major nodes with `linear_before_reset`, lengths, and weights as initializers."""
    proto = onnx.load_from_string(graph_bytes)
    assert [("", gru_graph.OPSET)] == [(o.domain, o.version) for o in proto.opset_import]
    initializers = {tensor.name for tensor in proto.graph.initializer}
    nodes = [node for node in proto.graph.node if node.op_type == "GRU"]
    assert 4 == len(nodes)
    for node in nodes:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert {"hidden_size": HIDDEN, "linear_before_reset": 1} == attributes
        assert set(node.input[1:4]) <= initializers
        assert "lengths" == node.input[4]


def test_constants_are_folded(graph_bytes: bytes) -> None:
    """The constant half of the first input, the width of the slots and the write gate are gone."""
    shapes = {
        tensor.name: tuple(tensor.dims)
        for tensor in onnx.load_from_string(graph_bytes).graph.initializer
    }
    assert (1, 3 * HIDDEN, DIM) == shapes["gru_0_w"]
    assert (2048, HIDDEN) == shapes["content"]
    assert (HIDDEN, 2048) == shapes["products_weight"]
    assert not any("write_gate" in name for name in shapes)


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes(
    model: MemoryAugmentedGRU, graph_bytes: bytes
) -> None:
    """A digest identifies a checkpoint."""
    again = gru_graph.serialise(gru_graph.build(model.weights()))
    assert hashlib.sha256(graph_bytes).hexdigest() == hashlib.sha256(again).hexdigest()


def test_gates_are_reordered_for_onnx(model: MemoryAugmentedGRU) -> None:
    """PyTorch stacks reset, update, new; ONNX update, reset, new."""
    layer = fold(model.weights()).gru[2]
    reset, update, new = model.gru.weight_hh_l2.detach().numpy().reshape(3, HIDDEN, HIDDEN)
    np.testing.assert_array_equal(np.concatenate([update, reset, new])[None], layer.r)


def test_folding_does_not_change_the_model(model: MemoryAugmentedGRU) -> None:
    """It is still fp32, with the same weights."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fold(model.weights())
    for key, value in model.state_dict().items():
        assert torch.float32 == value.dtype
        torch.testing.assert_close(value, before[key], atol=0, rtol=0)


def test_initializers_are_finite_fp32(graph_bytes: bytes) -> None:
    """Folded in float64, stored in float32."""
    for tensor in onnx.load_from_string(graph_bytes).graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype.kind == "f":
            assert np.float32 == value.dtype
            assert np.isfinite(value).all()
