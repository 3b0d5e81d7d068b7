"""The kernels' weights are read from the exported graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from architectures.memory_augmented_gru import MemoryAugmentedGRU
from model_export import gru_graph
from model_export.weight_folding import fold
from service.inference.engines.cuda.graph_weights import UnsupportedGraphError, read_weights


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(3)
    model = MemoryAugmentedGRU()
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    path.write_bytes(gru_graph.serialise(gru_graph.build(model.weights())))
    return model, path


def test_weights_equal_the_folded_weights_of_the_export(exported):
    """Weights are [outputs, inputs]; gates are in PyTorch's order: reset, update, new."""
    model, path = exported
    gru, head = read_weights(path, model.dimensions)
    folded = fold(model.weights())
    update, reset, new = np.split(folded.gru[1].w[0], 3)
    np.testing.assert_array_equal(gru.w[1], np.concatenate([reset, update, new]))
    np.testing.assert_array_equal(gru.w[0], 0)
    assert (1536, 768) == gru.w0.shape
    assert folded.input_epsilon == pytest.approx(gru.epsilon)
    np.testing.assert_array_equal(head.first[:768], folded.query.weight.T)
    np.testing.assert_array_equal(head.first[-512:], folded.fusion.weight.T)
    np.testing.assert_array_equal(head.content, folded.content.T)
    np.testing.assert_array_equal(head.output_bias, folded.output.bias)
    assert (2048, 1024) == (head.slots, head.expanded)


def test_a_graph_without_a_weight_is_refused(exported, tmp_path):
    """The error names the weight. ONNX Runtime then serves the graph."""
    model, path = exported
    proto = onnx.load(str(path))
    remaining = [tensor for tensor in proto.graph.initializer if tensor.name != "content"]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(remaining)
    other = tmp_path / "model.onnx"
    onnx.save(proto, str(other))
    with pytest.raises(UnsupportedGraphError, match="no weight content"):
        read_weights(other, model.dimensions)


def test_another_precision_is_refused(exported, tmp_path):
    """The kernels support fp32 only."""
    model, path = exported
    proto = onnx.load(str(path))
    tensor = next(t for t in proto.graph.initializer if t.name == "gru_2_r")
    half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), "gru_2_r")
    tensor.CopyFrom(half)
    other = tmp_path / "model.onnx"
    onnx.save(proto, str(other))
    with pytest.raises(UnsupportedGraphError, match="gru_2_r is float16"):
        read_weights(other, model.dimensions)
