"""Builds the graphs of a model of any architecture."""

from __future__ import annotations

import onnx

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from architectures.model import NextVectorModel
from model_export import decayed_means_graph, gru_graph, gru_step_graph


def build(model: NextVectorModel) -> onnx.ModelProto:
    """The graph for contexts and steps; see `gru_graph.build`."""
    if isinstance(model, DecayedMeans):
        return decayed_means_graph.build(model)
    assert isinstance(model, MemoryAugmentedGRU)
    return gru_graph.build(model)


def build_step_int8(model: NextVectorModel) -> onnx.ModelProto:
    """The graph for single steps with 8-bit weights."""
    if isinstance(model, DecayedMeans):
        return decayed_means_graph.build(model, "int8")
    assert isinstance(model, MemoryAugmentedGRU)
    return gru_step_graph.build(model)
