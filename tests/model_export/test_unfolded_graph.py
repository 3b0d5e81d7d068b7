"""The unfolded graph answers as the model does: what is compared with is the same model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS
from model_export import gru_graph, unfolded_graph
from model_export.parity import draw_walk
from service.inference.engines.onnx_engine import OnnxEngine
from service.manifest import Dimensions


@pytest.mark.slow
def test_it_answers_as_the_model(model, tmp_path):
    """From a warm state, for a batch."""
    path = tmp_path / "direct.onnx"
    path.write_bytes(gru_graph.serialise(unfolded_graph.build(model.weights())))
    engine = OnnxEngine(path, Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN))
    rng = np.random.default_rng(1)
    vectors = draw_walk(rng, 20, 3)
    state = rng.uniform(-1, 1, (LAYERS, 3, HIDDEN)).astype(np.float32)
    with torch.inference_mode():
        expected, expected_state = model.predict(torch.tensor(vectors), torch.tensor(state))
    answer, next_state = engine.run(vectors, np.full(3, 20, np.int32), state)
    np.testing.assert_allclose(answer, expected.numpy(), atol=1e-5, rtol=0)
    np.testing.assert_allclose(next_state, expected_state.numpy(), atol=1e-5, rtol=0)
