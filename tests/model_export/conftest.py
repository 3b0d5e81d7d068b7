"""One model with every weight in play, and its graph in the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, MemoryAugmentedGRU
from model_export import gru_graph
from service.inference.engines.onnx_engine import OnnxEngine
from service.manifest import Dimensions

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> MemoryAugmentedGRU:
    """Random everywhere, LayerNorms and biases too: a constant folded wrongly shows."""
    torch.manual_seed(7)
    model = MemoryAugmentedGRU().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
        model.memory.memory.copy_(torch.randn_like(model.memory.memory))
    return model


@pytest.fixture(scope="session")
def graph_bytes(model: MemoryAugmentedGRU) -> bytes:
    return gru_graph.serialise(gru_graph.build(model))


@pytest.fixture(scope="session")
def engine(graph_bytes: bytes, tmp_path_factory: pytest.TempPathFactory) -> OnnxEngine:
    path: Path = tmp_path_factory.mktemp("graph") / "model.onnx"
    path.write_bytes(graph_bytes)
    return OnnxEngine(path, Dimensions(dim=DIM, layers=LAYERS, hidden=HIDDEN))
