"""Graphs for a GPU, run on the CPU: steps agree with the model, and states stay in a pool."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS
from model_export import gru_graph, gru_step_graph
from model_export.parity import draw_walk
from service.inference.engines.onnx_engine import OnnxEngine
from service.manifest import Dimensions

pytestmark = pytest.mark.slow

DIMENSIONS = Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN)


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("fp16", 5e-3)])
def test_a_step_in_either_precision_agrees_with_the_model(model, tmp_path, precision, apart):
    """Predictions and states. In fp16 only the products are rounded."""
    path = tmp_path / "step.onnx"
    path.write_bytes(gru_graph.serialise(gru_step_graph.build(model.weights(), precision)))
    rng = np.random.default_rng(1)
    vectors = draw_walk(rng, 1, 3)
    state = rng.uniform(-1, 1, (LAYERS, 3, HIDDEN)).astype(np.float32)
    with torch.inference_mode():
        expected, expected_state = model.predict(torch.tensor(vectors), torch.tensor(state))
    engine = OnnxEngine(path, DIMENSIONS, precision=precision)
    answer, next_state = engine.run(vectors, np.ones(3, np.int32), state)
    np.testing.assert_allclose(expected.numpy(), answer, atol=apart)
    np.testing.assert_allclose(expected_state.numpy(), next_state, atol=apart)


def test_contexts_in_fp16_are_close_to_the_model(model, engine, tmp_path):
    """With rows of different lengths. Inputs and outputs stay in fp32."""
    path = tmp_path / "model-fp16.onnx"
    path.write_bytes(gru_graph.serialise(gru_graph.build(model.weights(), half=True)))
    vectors = draw_walk(np.random.default_rng(2), 60, 2)
    args = vectors, np.array([60, 7], np.int32), np.zeros((LAYERS, 2, HIDDEN), np.float32)
    expected, expected_state = engine.run(*args)
    answer, state = OnnxEngine(path, DIMENSIONS, precision="fp16").run(*args)
    assert (np.sum(expected * answer, axis=1) > 0.9999).all()
    np.testing.assert_allclose(expected_state, state, atol=0.02)
    assert path.stat().st_size < 22e6


def test_states_are_read_from_the_pool_and_written_to_it():
    """Slots that are not named do not change."""
    states = np.random.default_rng(3).standard_normal((5, LAYERS, HIDDEN)).astype(np.float32)
    slots = np.array([3, 1], np.int64)
    (read,) = ReferenceEvaluator(gru_step_graph.build_read()).run(
        None, {"states": states, "slots": slots}
    )
    np.testing.assert_array_equal(states[[3, 1]], read)
    (after,) = ReferenceEvaluator(gru_step_graph.build_write()).run(
        None, {"states": states, "slots": slots, "written": -read}
    )
    np.testing.assert_array_equal(-states[[3, 1]], after[[3, 1]])
    np.testing.assert_array_equal(states[[0, 2, 4]], after[[0, 2, 4]])
