"""The graphs of a model, whatever its architecture."""

from __future__ import annotations

import onnx

from model_export import decayed_graph, graph, step_graph
from model_export.architecture import MemoryAugmentedGRU
from model_export.decayed_means import DecayedMeans
from model_export.model import NextVectorModel


def build(model: NextVectorModel) -> onnx.ModelProto:
    """The graph that takes contexts and steps; see `graph.build`."""
    if isinstance(model, DecayedMeans):
        return decayed_graph.build(model)
    assert isinstance(model, MemoryAugmentedGRU)
    return graph.build(model)


def build_step_int8(model: NextVectorModel) -> onnx.ModelProto:
    """A graph for single steps, its weights in 8 bits."""
    if isinstance(model, DecayedMeans):
        return decayed_graph.build(model, "int8")
    assert isinstance(model, MemoryAugmentedGRU)
    return step_graph.build(model)
