"""The engine benchmark on the CPU, with small sizes and real graphs."""

from __future__ import annotations

import pytest
import torch

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, MemoryAugmentedGRU
from loadtest.bench import device
from loadtest.streams import Streams
from model_export import device_graphs, gru_graph
from service.clock import SystemClock
from service.errors import VersionError
from service.inference.engines.onnx_engine import OnnxEngine
from service.inference.repository import VersionFiles
from service.manifest import Dimensions
from tests.support.fakes import FakeEngine, manifest_of, unit_vectors

pytestmark = pytest.mark.slow

STREAMS = Streams(unit_vectors(400, dim=DIM))
DIMENSIONS = Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An untrained version, exported for a GPU."""
    torch.manual_seed(0)
    model = MemoryAugmentedGRU().eval()
    folder = tmp_path_factory.mktemp("version")
    (folder / "model.onnx").write_bytes(gru_graph.serialise(gru_graph.build(model.weights())))
    device_graphs.write(model.weights(), folder, OnnxEngine(folder / "model.onnx", DIMENSIONS))
    manifest = manifest_of("phase-3", 1000, "0" * 64)
    return VersionFiles(
        manifest.model_copy(update={"dimensions": DIMENSIONS}), folder / "model.onnx"
    )


def plan(provider):
    return device.DeviceBenchmark(
        provider, 0.01, 1, batches=(1, 2), context_goals_ms={5: 2.5, 10: 5.0}
    )


def test_every_size_precision_and_place_of_the_state_has_a_row(files):
    """Only a single context has a goal. The CPU has no CUDA graphs."""
    rows = list(device.measure_device(files, plan("cpu"), STREAMS, SystemClock()))
    found = {row.what: row for row in rows}
    assert len(rows) == len(found) == 1 + 2 * (2 * 2 + 2 * 2) + 2
    assert 2.5 == found["context of 5, batch of 1, fp32"].goal.bound
    assert found["context of 10, batch of 2, fp16"].goal is None
    assert found["context of 10, fp16 beside fp32"].met
    for way in ("host", "device"):
        row = found[f"step, batch of 2, fp16, states on the {way}"]
        assert row.times.count >= 3
        assert pytest.approx(row.value) == row.times.p50 * 1000
    assert not any("CUDA graph" in what for what in found)


def test_cuda_without_a_gpu_is_refused(files):
    """It does not fall back to the CPU."""
    with pytest.raises(VersionError, match=r"engine\.device is cuda"):
        next(device.measure_device(files, plan("cuda"), STREAMS, SystemClock()))


def test_steps_carry_their_states():
    """Each call runs the next vector of every stream."""
    engine = FakeEngine()
    streams = Streams(unit_vectors(50))
    step = device._make_step(engine, streams, 2)
    for _ in range(3):
        step()
    assert [[1, 1]] * 3 == engine.batches
