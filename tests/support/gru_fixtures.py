"""Fixtures: a random Memory-Augmented GRU, its graph, and an engine that runs the graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from architectures.memory_augmented_gru import MemoryAugmentedGRU
from model_export import gru_graph
from service.inference.engines.onnx_engine import OnnxEngine


@pytest.fixture(scope="session")
def model() -> MemoryAugmentedGRU:
    """Randomises all parameters, LayerNorms and biases included, to expose folding errors."""
    torch.manual_seed(7)
    model = MemoryAugmentedGRU().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
        model.memory.memory.copy_(torch.randn_like(model.memory.memory))
    return model


@pytest.fixture(scope="session")
def graph_bytes(model: MemoryAugmentedGRU) -> bytes:
    return gru_graph.serialise(gru_graph.build(model.weights()))


@pytest.fixture(scope="session")
def engine(
    graph_bytes: bytes, model: MemoryAugmentedGRU, tmp_path_factory: pytest.TempPathFactory
) -> OnnxEngine:
    path: Path = tmp_path_factory.mktemp("graph") / "model.onnx"
    path.write_bytes(graph_bytes)
    return OnnxEngine(path, model.dimensions)
