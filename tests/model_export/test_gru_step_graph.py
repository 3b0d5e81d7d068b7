"""The step with 8-bit weights is close to the model, and refused if it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS
from model_export import gru_graph, gru_step_graph
from model_export.parity import draw_walk
from service.inference.engines.onnx_engine import OnnxEngine
from service.inference.engines.step_engine import StepEngine
from service.manifest import Dimensions


@pytest.fixture(scope="module")
def step(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("step") / "step-int8.onnx"
    path.write_bytes(gru_graph.serialise(gru_step_graph.build(model.weights())))
    return OnnxEngine(path, Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([64, 128]), st.integers(1, 5))
def test_a_weight_is_off_by_half_a_level_at_most(seed, inputs, outputs):
    """A level is 1/127 of the largest value of a block. A block of zeros stays zero."""
    weight = np.random.default_rng(seed).standard_normal((inputs, outputs)).astype(np.float32)
    weight[:64, 0] = 0
    levels, scales = gru_step_graph.quantise(weight)
    back = (levels.astype(np.float32) - 128) * scales.reshape(outputs, -1, 1)
    back = back.reshape(outputs, inputs).T
    largest = np.abs(weight.T.reshape(outputs, -1, 64)).max(axis=2)
    bound = np.repeat(largest, 64, axis=1).T / 254 + 1e-7
    assert (np.abs(back - weight) <= bound).all()
    assert (back[:64, 0] == 0).all()


def test_one_step_is_close_to_the_model(model, step):
    """Predictions and states, for a batch of warm states."""
    rng = np.random.default_rng(1)
    vectors = draw_walk(rng, 1, 3)
    state = rng.uniform(-1, 1, (LAYERS, 3, HIDDEN)).astype(np.float32)
    with torch.inference_mode():
        expected, expected_state = model.predict(torch.tensor(vectors), torch.tensor(state))
    answer, next_state = step.run(vectors, np.ones(3, np.int32), state)
    assert (np.sum(expected.numpy() * answer, axis=1) > 0.999).all()
    np.testing.assert_allclose(expected_state.numpy(), next_state, atol=0.05)


def test_single_vectors_step_and_everything_else_runs_in_full(engine, step):
    """A session can alternate between the two on one state."""
    both = StepEngine(engine, step)
    vectors = draw_walk(np.random.default_rng(3), 5, 2)
    cold = np.zeros((LAYERS, 2, HIDDEN), np.float32)
    _, state = both.run(vectors[:4], np.full(2, 4, np.int32), cold)
    np.testing.assert_array_equal(engine.run(vectors[:4], np.full(2, 4, np.int32), cold)[1], state)
    got, _ = both.run(vectors[4:], np.ones(2, np.int32), state)
    np.testing.assert_array_equal(step.run(vectors[4:], np.ones(2, np.int32), state)[0], got)
