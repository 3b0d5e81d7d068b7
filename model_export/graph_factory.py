"""Builds the graphs of a model of any architecture."""

from __future__ import annotations

import onnx

from architectures.model_weights import DECAYED_MEANS, ModelWeights
from model_export import decayed_means_graph, gru_graph, gru_step_graph


def build(model: ModelWeights) -> onnx.ModelProto:
    """The graph for contexts and steps; see `gru_graph.build`."""
    if model.architecture == DECAYED_MEANS:
        return decayed_means_graph.build(model)
    return gru_graph.build(model)


def build_step_int8(model: ModelWeights) -> onnx.ModelProto:
    """The graph for single steps with 8-bit weights."""
    if model.architecture == DECAYED_MEANS:
        return decayed_means_graph.build(model, "int8")
    return gru_step_graph.build(model)
