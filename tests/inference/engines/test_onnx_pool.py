"""The state pool on ONNX Runtime's CPU provider, with the graphs that a GPU runs."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS
from model_export import gru_graph, gru_step_graph
from model_export.parity import draw_walk
from service.errors import VersionError
from service.inference.engines import onnx_pool
from service.inference.engines.device_engine import DeviceEngine
from service.inference.engines.engine_factory import with_pool
from service.inference.engines.graph_replay import find_stale_buckets
from service.inference.engines.onnx_engine import CPU, CUDA, open_session, refuse_fallback
from service.inference.engines.state_pool import MIN_SLOTS
from service.inference.engines.states import advance
from service.inference.repository import VersionFiles
from service.manifest import STATE_READ, STATE_WRITE, STEP_POOLED, Dimensions
from service.settings import EngineSettings
from tests.support.fakes import manifest_of

pytestmark = pytest.mark.slow

DIMENSIONS = Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN)
COLD = np.zeros((LAYERS, HIDDEN), np.float32)


@pytest.fixture(scope="module")
def folder(model, graph_bytes, tmp_path_factory):
    """The files of a version for a GPU, in fp32."""
    made = tmp_path_factory.mktemp("pooled")
    (made / "model.onnx").write_bytes(graph_bytes)
    protos = {
        STEP_POOLED["fp32"]: gru_step_graph.build(model.weights(), "fp32", pooled=True),
        STATE_READ: gru_step_graph.build_read(),
        STATE_WRITE: gru_step_graph.build_write(),
    }
    for name, proto in protos.items():
        (made / name).write_bytes(gru_graph.serialise(proto))
    return made


@pytest.fixture(scope="module")
def files(folder):
    manifest = manifest_of("phase-3", 1000, "0" * 64)
    digests = {path.name: "0" * 64 for path in folder.iterdir()}
    return VersionFiles(
        manifest.model_copy(update={"dimensions": DIMENSIONS, "files": digests}),
        folder / "model.onnx",
    )


@pytest.fixture(scope="module")
def kept(files, engine):
    """An engine with contexts in fp32 and steps over the pool."""
    return with_pool(EngineSettings(device_states=MIN_SLOTS), files, engine, "fp32")


@pytest.mark.parametrize("batch", [1, 3, 33])
def test_sessions_equal_those_of_the_plain_engine(kept, engine, batch):
    """Predictions and states agree for contexts, steps and appends of every size."""
    assert isinstance(kept, DeviceEngine)
    vectors = draw_walk(np.random.default_rng(1), 12, batch)
    plain, pooled = [COLD] * batch, [COLD] * batch
    done = 0
    for count in (4, 1, 1, 4, 1, 1):
        block = np.ascontiguousarray(vectors[done : done + count])
        lengths = np.full(batch, count, np.int32)
        expected, plain = advance(engine, block, lengths, plain)
        answer, pooled = advance(kept, block, lengths, pooled)
        np.testing.assert_allclose(expected, answer, atol=1e-5)
        done += count
    assert not isinstance(pooled[0], np.ndarray)
    for one, other in zip(plain, pooled, strict=True):
        np.testing.assert_allclose(one, np.asarray(other), atol=1e-5)


def test_the_pool_is_updated_in_place(folder):
    """Input and output share one buffer. Slots that are not targets do not change."""
    device = onnx_pool.OnnxPool(folder / STEP_POOLED["fp32"], DIMENSIONS, CPU, MIN_SLOTS)
    states = np.random.default_rng(2).uniform(-1, 1, (5, LAYERS, HIDDEN)).astype(np.float32)
    slots = np.array([7, 3, 100, 127, 50], np.int64)
    device.write(slots, states)
    vectors = draw_walk(np.random.default_rng(3), 1, 3)
    device.step(vectors, slots[:3], np.array([8, 9, 10], np.int64))
    np.testing.assert_array_equal(states, device.read(slots))
    assert np.isfinite(device.read(np.array([0, 8, 9, 10], np.int64))).all()


def test_replays_are_compared_with_runs(folder):
    """The CPU captures nothing, so every size passes."""
    device = onnx_pool.OnnxPool(
        folder / STEP_POOLED["fp32"], DIMENSIONS, CPU, MIN_SLOTS, graphed=True
    )
    assert () == find_stale_buckets(device, DIMENSIONS)


def test_wrong_replays_disable_graphs_with_an_error(folder, monkeypatch, caplog):
    """The version is then served without graphs."""
    monkeypatch.setattr(onnx_pool, "find_stale_buckets", lambda _device, _sizes: (4, 8))
    with caplog.at_level(logging.ERROR):
        device = onnx_pool.open_pool(
            folder / STEP_POOLED["fp32"], DIMENSIONS, CPU, MIN_SLOTS, graphs=True
        )
    assert not device.graphed
    assert "CUDA graphs are disabled" in caplog.text
    assert "batches of 4, 8" in caplog.text


def test_a_version_without_the_step_for_a_pool_steps_on_the_host(files, engine):
    """Versions that were exported for the CPU have no such step."""
    without = VersionFiles(files.manifest.model_copy(update={"files": {}}), files.graph)
    assert engine is with_pool(EngineSettings(), without, engine, "fp32")


def test_the_profile_shows_nodes_on_the_cpu(folder, tmp_path):
    """The profile is ONNX Runtime's own. On CUDA these GRU nodes would be fallbacks."""
    path = folder / "model.onnx"

    def profiled():
        session = open_session(path, CPU, 1, profile=tmp_path / "profile")
        feeds = {
            "vectors": draw_walk(np.random.default_rng(4), 2, 1),
            "lengths": np.array([2], np.int32),
            "state": COLD[:, None],
        }
        session.run(None, feeds)
        return session

    refuse_fallback(profiled(), path, CPU)
    with pytest.raises(
        VersionError, match=r"(GRU_end_\d on CPU.*; ){3}.*Set engine\.device to cpu"
    ):
        refuse_fallback(profiled(), path, CUDA)
