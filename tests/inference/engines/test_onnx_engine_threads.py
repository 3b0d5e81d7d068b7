"""The engine on several threads: the same results, and no busy waiting between runs."""

from __future__ import annotations

import numpy as np
import pytest

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS
from model_export.parity import draw_walk
from service.inference.engines.onnx_engine import CPU, OnnxEngine, open_session
from service.manifest import Dimensions


@pytest.fixture
def path(graph_bytes, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(graph_bytes)
    return path


def test_two_threads_give_the_result_of_one(engine, path):
    """They split the columns of a product, not its sums."""
    two = OnnxEngine(path, Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN), threads=2)
    rng = np.random.default_rng(3)
    vectors = draw_walk(rng, 5, 3)
    state = rng.uniform(-1, 1, (LAYERS, 3, HIDDEN)).astype(np.float32)
    lengths = np.full(3, 5, np.int32)
    for expected, actual in zip(
        engine.run(vectors, lengths, state), two.run(vectors, lengths, state), strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("threads", "spinning"), [(1, "0"), (2, "1")])
def test_threads_spin_within_a_run_and_never_after_it(path, threads, spinning):
    """A single thread never spins."""
    options = open_session(path, CPU, threads).get_session_options()
    entries = ("session.intra_op.allow_spinning", "session.force_spinning_stop")
    assert [spinning] * 2 == [options.get_session_config_entry(entry) for entry in entries]
